"""Classic BPF: programs that the kernel runs on each packet before a socket receives it.

The machine has an accumulator A, an index register X, 16 words of scratch memory and no loops. A
program ends with the number of bytes of the packet to keep: 0 drops it.

`compile` makes one of an expression, by libpcap; `udp_port`, `arp` and their like put one together
without; `assemble` and `disassemble` are text, both ways. `Program.run` does what the kernel does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .ancillary import Ancillary, Extension
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

if TYPE_CHECKING:
    from .assembler import assemble
else:
    # Its regular expressions take a tenth of what it takes to load the whole package.
    def __getattr__(name: str) -> Any:
        if name != "assemble":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
        value = globals()[name] = import_module(".assembler", __name__).assemble
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
