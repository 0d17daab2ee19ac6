"""`compile`: a program for packets that begin as a link type says, in a file or live."""

from dataclasses import replace

from ..errors import FilterError
from .expression import MAX_SNAPLEN, compile_for_link, rejects_all
from .ground import ground_of_link
from .linktypes import LINKTYPES, LinkTypeLike, linktype_number
from .live import compile_ethernet
from .match import Match, generate
from .program import Program
from .splice import asks_the_kernel

__all__ = ("compile",)


def compile(
    expression: str | Match,
    linktype: LinkTypeLike = "ethernet",
    snaplen: int = MAX_SNAPLEN,
    *,
    live: bool = False,
) -> Program:
    """Make a program of an expression of pcap-filter(7), or of what the builder's functions return.

    Args:
        expression: As tcpdump takes it, for one difference: names of hosts and networks are not
            looked up. Needs cypcap (the extra ``filter``). A match needs nothing.
        linktype: What packets begin with: a name (``"ethernet" "raw" "linux_sll"`` …) or a
            LINKTYPE_… number.
        snaplen: Bytes that the program keeps of a packet.
        live: For frames as a packet socket receives them. The kernel has taken the outer VLAN tag
            out of those: ``vlan`` asks for it. Else for frames as they stand in a file.

    Raises:
        FilterError: It cannot be compiled: libpcap's own words, and the ``position`` where they
            let it be found. Or cypcap is not installed.
    """
    number = linktype_number(linktype)
    if isinstance(snaplen, bool) or not isinstance(snaplen, int) or not 1 <= snaplen <= 0x7FFFFFFF:
        raise FilterError(f"snaplen {snaplen!r} is not a number from 1 to {0x7FFFFFFF}")
    if isinstance(expression, Match):
        return _of_match(expression, number, snaplen, live)
    if not isinstance(expression, str):
        raise FilterError(
            f"an expression is a string, not {expression!r:.60}", text=str(expression)
        )
    if live and number == LINKTYPES["ethernet"]:
        return compile_ethernet(expression, snaplen)
    program = compile_for_link(expression, number, snaplen)
    if program is None:
        raise rejects_all(expression)
    if not live and asks_the_kernel(program):
        raise FilterError(
            f"filter {expression!r} is about what only the kernel knows of a live packet",
            text=expression,
            hint="live=True makes a program for a socket",
        )
    return program


def _of_match(match: Match, linktype: int, snaplen: int, live: bool) -> Program:
    ground = ground_of_link(linktype)
    if ground is None:
        raise FilterError(
            f"the builder does not know where things are in link type {linktype}",
            hint="an expression may: libpcap knows more link types",
        )
    return generate(match, replace(ground, live=live), snaplen)
