"""ICMP: echoes, and errors with what they quote (RFC 792, RFC 1191, RFC 4884)."""

import struct
from collections.abc import Callable
from typing import Final

from .addresses import ipv4
from .result import Dissection, Value

__all__ = ("Quote", "parse_icmp")

# Puts into words the packet that an error quotes, which begins at an offset.
Quote = Callable[[bytes, int], str]

_UNREACHABLE: Final = (
    "network unreachable", "host unreachable", "protocol unreachable", "port unreachable",
    "fragmentation needed", "source route failed", "network unknown", "host unknown",
    "source isolated", "network prohibited", "host prohibited", "network unreachable for this TOS",
    "host unreachable for this TOS", "communication prohibited", "host precedence violation",
    "precedence cut-off",
)  # fmt: skip
_REDIRECT: Final = ("network", "host", "network and TOS", "host and TOS")
_EXCEEDED: Final = ("time to live exceeded", "fragment reassembly time exceeded")
_ECHO: Final = {8: "echo request", 0: "echo reply"}
_NUMBERED: Final = {13: "timestamp request", 14: "timestamp reply", 17: "address mask request",
                    18: "address mask reply"}  # fmt: skip
_OTHERS: Final = {4: "source quench", 9: "router advertisement", 10: "router solicitation",
                  12: "parameter problem", 42: "extended echo request",
                  43: "extended echo reply"}  # fmt: skip
_QUOTING: Final = frozenset({3, 4, 5, 11, 12})


def parse_icmp(into: Dissection, data: bytes, at: int, quote: Quote) -> None:
    """Read a message; of an error, what it quotes."""
    kind, code, _, high, low = struct.unpack_from("!BBHHH", data, at)
    fields: dict[str, Value] = {"type": kind, "code": code}
    words = _words(kind, code)
    if kind in _ECHO or kind in _NUMBERED:
        fields |= {"id": high, "seq": low}
        words += f" id {high} seq {low}"
    elif (kind, code) == (3, 4):
        fields["mtu"] = low
        words += f", MTU {low}"
    elif kind == 5:
        gateway = ipv4(data[at + 4 : at + 8])
        fields["gateway"] = gateway
        words += f" to {gateway}"
    if kind in _QUOTING:
        fields["quoted"] = quote(data, at + 8)
        words += f" for {fields['quoted']}" if fields["quoted"] else ""
    into.add("icmp", **fields)
    into.info = words


def _words(kind: int, code: int) -> str:
    if kind in _ECHO:
        return _ECHO[kind]
    if kind in _NUMBERED:
        return _NUMBERED[kind]
    for of, table, what in ((3, _UNREACHABLE, "unreachable"), (5, _REDIRECT, "redirect"),
                            (11, _EXCEEDED, "time exceeded")):  # fmt: skip
        if kind == of:
            name = table[code] if code < len(table) else f"{what}, code {code}"
            return f"redirect {name}" if kind == 5 else name
    return _OTHERS.get(kind, f"type {kind}, code {code}")
