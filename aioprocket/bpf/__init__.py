"""Classic BPF: programs that the kernel runs on each packet before a socket receives it.

The machine has an accumulator A, an index register X, 16 words of scratch memory and no loops. A
program ends with the number of bytes of the packet to keep: 0 drops it.

`compile` makes one of an expression, by libpcap; `udp_port`, `arp` and their like put one together
without; `assemble` and `disassemble` are text, both ways. `Program.run` does what the kernel does.
"""

from .ancillary import Ancillary, Extension
from .assembler import assemble
from .builder import (
    all_of,
    any_of,
    arp,
    dhcp,
    ethertype,
    host,
    icmp6_type,
    icmp_id,
    icmp_type,
    ip_protocol,
    negate,
    tcp_port,
    udp_port,
    vlan,
)
from .compiler import compile
from .disassembler import disassemble
from .explain import explain
from .icmp6 import Icmp6Filter, icmp6_types
from .linktypes import LINKTYPES, linktype_number
from .match import Match
from .program import Program, ProgramLike, accept_all, drop_all
from .view import FilterLike, View, program_for

__all__ = (
    "LINKTYPES",
    "Ancillary",
    "Extension",
    "FilterLike",
    "Icmp6Filter",
    "Match",
    "Program",
    "ProgramLike",
    "View",
    "accept_all",
    "all_of",
    "any_of",
    "arp",
    "assemble",
    "compile",
    "dhcp",
    "disassemble",
    "drop_all",
    "ethertype",
    "explain",
    "host",
    "icmp6_type",
    "icmp6_types",
    "icmp_id",
    "icmp_type",
    "ip_protocol",
    "linktype_number",
    "negate",
    "program_for",
    "tcp_port",
    "udp_port",
    "vlan",
)
