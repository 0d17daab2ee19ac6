"""libpcap's compiler: from an expression of pcap-filter(7) to a program, by way of cypcap.

The compiler looks up names of ports and protocols in the machine's files. A host's name it would
ask the network for, and wait; such an expression is refused before.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from ..errors import FilterError
from .linktypes import LINKTYPES, dlt_number
from .opcodes import JUMP
from .program import Program
from .splice import moved
from .words import Word, host_name, split

__all__ = ("MAX_SNAPLEN", "compile_for_link", "rejects_all")

MAX_SNAPLEN: Final = 262144  # MAXIMUM_SNAPLEN of tcpdump
_NETMASK_UNKNOWN: Final = 0xFFFFFFFF
_SYNTAX_ERROR: Final = "syntax error"
_REJECTS_ALL: Final = "expression rejects all packets"
# The header is the number of an address family, which is another one for IPv6 on each system, and
# in this or that order of bytes: the version of the IP header behind it says the same.
_FAMILY_HEADERS: Final = (LINKTYPES["null"], LINKTYPES["loop"])
_FAMILY_LENGTH: Final = 4
_LINK_HEADERS: Final = frozenset({"link", "ether", "ppp", "slip", "fddi", "tr", "wlan"})
_INSTALL: Final = "pip install cypcap"

# What can follow where an expression breaks off: one of them fits wherever something does.
_ENDINGS: Final = (
    "", " 1", " tcp", " 1.1.1.1", " port 1", " host 1.1.1.1", " \\tcp", " 1-2", " 0:0:0:0:0:0",
    " 255.0.0.0", "[0] = 0", " = 0", "] = 0", " 0] = 0", ":1] = 0", " 1] = 0", " + 1 = 1", "/8",
    " mgt", " beacon", " nods", " 1 = 1", " proto 1", " net 1",
)  # fmt: skip


def compile_for_link(expression: str, linktype: int, snaplen: int) -> Program | None:
    """The program for packets that begin as LINKTYPE_… ``linktype``; None: it would reject all.

    Raises:
        FilterError: libpcap refuses it, in its own words; or it names a host; or there is no
            cypcap.
    """
    words = _checked(expression)
    if linktype in _FAMILY_HEADERS and not any(word.text in _LINK_HEADERS for word in words):
        program = compile_for_link(expression, LINKTYPES["raw"], snaplen)
        return None if program is None else moved(program, _FAMILY_LENGTH)
    cypcap = _cypcap()
    try:
        compiled = cypcap.compile(dlt_number(linktype), snaplen, expression, True, _NETMASK_UNKNOWN)
    except cypcap.Error as error:
        said = _said(error)
        if said == _REJECTS_ALL:
            return None
        raise _refusal(cypcap, expression, words, linktype, said) from None
    instructions = list(compiled)
    if any(code == JUMP and k >= 1 << 31 for code, _, _, k in instructions):
        raise _loops(expression, words)
    return Program(instructions)


def _loops(expression: str, words: list[Word]) -> FilterError:
    found = next((word.position for word in words if word.text == "protochain"), None)
    return FilterError(
        f"filter {expression!r}: it takes a loop, which the kernel does not run",
        text=expression,
        position=found,
        hint="proto looks at the first header behind that of IP, protochain would at all",
    )


def rejects_all(expression: str) -> FilterError:
    """The error for an expression that no packet can match."""
    return FilterError(f"filter {expression!r}: {_REJECTS_ALL}", text=expression)


def _cypcap() -> Any:
    try:
        import cypcap
    except ImportError as error:
        raise FilterError(
            f"an expression needs cypcap, which brings libpcap's compiler: {error}", hint=_INSTALL
        ) from None
    return cypcap


def _said(error: Exception) -> str:
    return str(error.args[-1]).removeprefix("can't parse filter expression: ")


def _checked(expression: str) -> list[Word]:
    for position, character in enumerate(expression):
        if character == "\0" or not character.isascii():
            raise FilterError(
                f"filter {expression!r}: no expression has the character {character!r}",
                text=expression,
                position=position,
            )
    words = split(expression)
    name = host_name(words)
    if name is not None:
        raise FilterError(
            f"filter {expression!r}: {name.text!r} is neither a keyword nor an address",
            text=expression,
            position=name.position,
            hint="names of hosts and networks are not looked up here: say the address",
        )
    return words


def _refusal(
    cypcap: Any, expression: str, words: list[Word], linktype: int, said: str
) -> FilterError:
    name = next((name for name, number in LINKTYPES.items() if number == linktype), str(linktype))
    return FilterError(
        f"filter {expression!r}, for link type {name}: {said}",
        text=expression,
        position=_position(cypcap, expression, words, linktype, said),
        hint="pcap-filter(7) is the language of expressions" if said == _SYNTAX_ERROR else "",
    )


def _position(
    cypcap: Any, expression: str, words: list[Word], linktype: int, said: str
) -> int | None:
    """The first word with which libpcap cannot go on, found by asking for what comes before it."""
    for quoted in re.findall(r"'([^']+)'|\b(\d+)\b", said):
        for word in words:
            if word.text.removeprefix("\\") in quoted:
                return word.position
    for count in range(1, len(words) + 1):
        before = expression[: words[count - 1].end]
        answers = list(_answers(cypcap, before, words[:count], linktype))
        if said == _SYNTAX_ERROR and all(answer == said for answer in answers):
            return words[count - 1].position
        if said != _SYNTAX_ERROR and said in answers:
            return words[count - 1].position
    return len(expression) if said == _SYNTAX_ERROR else None


def _answers(cypcap: Any, before: str, words: list[Word], linktype: int) -> Iterator[str]:
    """What libpcap says to the beginning of an expression, completed in several ways."""
    closing = _closing(words)
    texts = (before + ending + closing for ending in _ENDINGS)
    for text in (text for text in texts if host_name(split(text)) is None):
        try:
            cypcap.compile(dlt_number(linktype), MAX_SNAPLEN, text, False, _NETMASK_UNKNOWN)
        except cypcap.Error as error:
            yield _said(error)
        else:
            yield ""


def _closing(words: Iterable[Word]) -> str:
    texts = [word.text for word in words]
    return ")" * max(0, texts.count("(") - texts.count(")"))
