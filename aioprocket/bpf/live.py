"""Expressions for live packets, whose outer VLAN tag the kernel has taken out of the data.

libpcap's compiler knows that only of a capture that it has opened itself. What it makes then is,
put into words: where the kernel holds a tag, the first ``vlan`` of the expression is about that tag
and everything else about the data as it is; where it holds none, all is as in a file. Two programs,
and the kernel's answer decides between them.
"""

import re
from typing import Final

from .ancillary import Extension
from .expression import compile_for_link, rejects_all
from .linktypes import LINKTYPES
from .program import Program, drop_all
from .splice import either, uncooked
from .words import Word, split

__all__ = ("compile_ethernet", "compile_network")

_ETHERNET: Final = LINKTYPES["ethernet"]
_COOKED: Final = LINKTYPES["cooked"]
# An id, in as many parentheses as one likes.
_VLAN_ID = re.compile(r"\s*((?:\(\s*)*)(0[xX][0-9A-Fa-f]+|\d+)((?:\s*\))*)", re.ASCII)
# Behind these a tag is one of the packet inside, and in the data.
_INNER: Final = frozenset({"geneve", "vxlan"})
_HAS_TAG: Final = f"ether[{int(Extension.VLAN_TAG_PRESENT):#x}:1] = 1"
_TAG_ID: Final = f"ether[{int(Extension.VLAN_TAG):#x}:2] & 0xfff"


def compile_ethernet(expression: str, snaplen: int) -> Program:
    """For what a packet(7) socket of type raw sees on Ethernet.

    Raises:
        FilterError: As `compile_for_link`, or no packet can match.
    """
    in_data = compile_for_link(expression, _ETHERNET, snaplen)
    beside = _about_the_kernels_tag(expression)
    if beside is None:
        if in_data is None:
            raise rejects_all(expression)
        return in_data
    tagged = compile_for_link(beside, _ETHERNET, snaplen)
    if tagged is None and in_data is None:
        raise rejects_all(expression)
    return either(Extension.VLAN_TAG_PRESENT, (1,), tagged or drop_all, in_data or drop_all)


def compile_network(expression: str, snaplen: int, network: int) -> Program:
    """For what a packet(7) socket sees from the network header on, which is at ``network``.

    Raises:
        FilterError: As `compile_for_link`, or it is about the link header, or no packet can match.
    """
    program = compile_for_link(_about_the_kernels_tag(expression) or expression, _COOKED, snaplen)
    if program is None:
        raise rejects_all(expression)
    return uncooked(program, expression, network)


def _about_the_kernels_tag(expression: str) -> str | None:
    """The expression with its first ``vlan`` asking the kernel; None: it has none of that tag."""
    words = split(expression)
    first = next((word for word in words if word.text == "vlan"), None)
    if first is None or any(word.text in _INNER for word in words[: words.index(first)]):
        return None
    end, number = _operand(expression, first)
    test = _HAS_TAG if number is None else f"{_HAS_TAG} and {_TAG_ID} = {number}"
    return f"{expression[: first.position]} ({test}) {expression[end:]}"


def _operand(expression: str, vlan: Word) -> tuple[int, str | None]:
    found = _VLAN_ID.match(expression, vlan.end)
    if found is None:
        return vlan.end, None
    # Of the closing parentheses behind the number, as many are its own as were opened.
    end = found.end(2)
    for _ in range(found[1].count("(")):
        end = expression.index(")", end) + 1
    return end, found[2]
