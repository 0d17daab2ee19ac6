"""What the filter of a socket sees, and the program that an expression or a match means there.

The kernel runs a filter when the packet has come as far as the socket: a packet(7) socket's sees
the frame, a raw IPv4 socket's the IP header first, all others' what is behind the IP header, which
they reach by SKF_NET_OFF.
"""

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Final, TypeAlias

from ..errors import FilterError
from .ancillary import Extension
from .expression import MAX_SNAPLEN, compile_for_link, rejects_all
from .ground import ETHERNET, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ground
from .icmp6 import Icmp6Filter
from .linktypes import LINKTYPES
from .live import compile_ethernet, compile_network
from .match import Match, generate
from .opcodes import NETWORK_BASE
from .program import Program, drop_all
from .splice import behind_network_header, either

__all__ = ("FilterLike", "View", "program_for")

# What every `filter=` takes: an expression of pcap-filter(7), what the builder's functions return,
# a Program, or bare instructions.
FilterLike: TypeAlias = str | Match | Iterable[Sequence[int]]

# ARPHRD_ETHER, ARPHRD_LOOPBACK: linux/if_arp.h.
_WITH_ETHERNET_HEADER: Final = (1, 772)


class View(Enum):
    """Sockets by what their filter sees."""

    FRAME = "frames"
    NETWORK = "frames without their link header"
    IPV4 = "IPv4 packets"
    BEHIND_IPV4 = "what is behind the IPv4 header"
    BEHIND_IPV6 = "what is behind the IPv6 header"
    BEHIND_IP = "what is behind the IP header"
    ICMPV6 = "ICMPv6 messages"
    FOREIGN = "messages of another protocol"
    STREAM = "a stream"


_LINKS: Final = {
    View.IPV4: "ipv4",
    View.BEHIND_IPV4: "ipv4",
    View.BEHIND_IPV6: "ipv6",
    View.BEHIND_IP: "raw",
    View.ICMPV6: "ipv6",
}
# Of a device whose link header is of any length, or is none.
_BY_KERNEL: Final = Ground(NETWORK_BASE, "kernel", live=True)
_GROUNDS: Final = {
    View.NETWORK: Ground(0, "kernel", live=True),
    View.IPV4: Ground(0, "always", ETHERTYPE_IPV4),
    View.BEHIND_IPV4: Ground(NETWORK_BASE, "always", ETHERTYPE_IPV4),
    View.BEHIND_IPV6: Ground(NETWORK_BASE, "always", ETHERTYPE_IPV6),
    View.BEHIND_IP: Ground(NETWORK_BASE, "version"),
    View.ICMPV6: Ground(NETWORK_BASE, "always", ETHERTYPE_IPV6),
}


def program_for(filter: FilterLike, view: View) -> Program:
    """The program that ``filter`` means on a socket whose filter has this view.

    Raises:
        FilterError: It is none, or can mean nothing there.
    """
    if isinstance(filter, Icmp6Filter) and view is not View.ICMPV6:
        raise FilterError(
            f"a filter of ICMPv6 types is for open_icmp(6), not for {view.value}",
            hint="bpf.icmp6_type(…) is for all sockets",
        )
    if isinstance(filter, str | Match) and view in (View.FOREIGN, View.STREAM):
        raise FilterError(
            f"filter {filter!r:.80}: an expression is about frames or IP packets, and this socket "
            f"receives {view.value}",
            text=str(filter),
            hint="give it a Program, or instructions",
        )
    if isinstance(filter, str):
        return _compiled(filter, view)
    if isinstance(filter, Match):
        return _generated(filter, view)
    return Program.of(filter)


def _compiled(expression: str, view: View) -> Program:
    if view is View.FRAME:
        ethernet = compile_ethernet(expression, MAX_SNAPLEN)
        return _by_hardware(ethernet, _elsewhere(expression))
    if view is View.NETWORK:
        return compile_network(expression, MAX_SNAPLEN, 0)
    program = compile_for_link(expression, LINKTYPES[_LINKS[view]], MAX_SNAPLEN)
    if program is None:
        raise rejects_all(expression)
    if view is View.IPV4:
        return program
    return behind_network_header(program, expression, lengths=False)


def _elsewhere(expression: str) -> Program:
    """On a device without Ethernet headers, where what asks for those has nothing to match."""
    try:
        return compile_network(expression, MAX_SNAPLEN, NETWORK_BASE)
    except FilterError:
        return drop_all


def _generated(match: Match, view: View) -> Program:
    if view is not View.FRAME:
        return generate(match, _GROUNDS[view], MAX_SNAPLEN)
    ethernet = Ground(ETHERNET.network, ETHERNET.told_by, ETHERNET.told_at, live=True)
    return _by_hardware(
        generate(match, ethernet, MAX_SNAPLEN), generate(match, _BY_KERNEL, MAX_SNAPLEN)
    )


def _by_hardware(ethernet: Program, elsewhere: Program) -> Program:
    # The device may be any, and be another one later: the packet says what it came by.
    return either(Extension.HATYPE, _WITH_ETHERNET_HEADER, ethernet, elsewhere)
