"""Capture files: pcapng, and the older pcap.

A `Writer` records packets while they come and never holds up the loop; a `Reader` reads a file,
with a loop or without, and `open` makes one a source of packets with a channel's interface;
`replay` sends what a file has.
"""

from ..wire.pcapng import InterfaceStatistics
from .interface import Interface
from .reader import Reader, open
from .replay import Replayed, replay
from .rotation import Rotation
from .writer import Writer, WriterStats

__all__ = (
    "Interface",
    "InterfaceStatistics",
    "Reader",
    "Replayed",
    "Rotation",
    "Writer",
    "WriterStats",
    "open",
    "replay",
)
