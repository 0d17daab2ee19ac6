"""What a packet is, in one line: addresses, ports, and what its headers say.

`summarize` reads a packet's bytes from its link header to the names in DNS and DHCP. It takes any
bytes, raises nothing, and does a bounded amount of work. It judges no checksum, keeps no state
between packets and puts no fragments together: that is for tshark and scapy.
"""

from .addresses import endpoint
from .link import LINKTYPES, Linktype
from .result import Layer, Summary, Value
from .summarize import summarize

__all__ = ("LINKTYPES", "Layer", "Linktype", "Summary", "Value", "endpoint", "summarize")
