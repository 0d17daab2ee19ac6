"""ICMPv6: echoes, errors, neighbour discovery and multicast listeners.

Source: RFC 4443, RFC 4861 (neighbour discovery), RFC 3810 (MLD)
"""

import struct
from typing import Final

from ..errors import WireError
from .addresses import ipv6
from .icmp import Quote
from .result import Dissection, Value

__all__ = ("parse_icmpv6",)

_UNREACHABLE: Final = (
    "no route", "communication prohibited", "beyond scope of source", "address unreachable",
    "port unreachable", "source address failed policy", "route rejected",
    "source routing header error",
)  # fmt: skip
_EXCEEDED: Final = ("hop limit exceeded", "fragment reassembly time exceeded")
_PROBLEM: Final = ("erroneous header field", "unrecognized next header", "unrecognized option")
_ECHO: Final = {128: "echo request", 129: "echo reply"}
_ERRORS: Final = {1: _UNREACHABLE, 2: ("packet too big",), 3: _EXCEEDED, 4: _PROBLEM}
_OTHERS: Final = {
    130: "listener query", 131: "listener report", 132: "listener done", 138: "renumbering",
    139: "node information query", 140: "node information reply", 143: "listener report v2",
    151: "multicast router advertisement", 155: "RPL",
}  # fmt: skip
_MAX_OPTIONS: Final = 16
_MAX_RECORDS: Final = 8

_SOURCE_LINK, _TARGET_LINK, _PREFIX, _MTU = 1, 2, 3, 5
_RDNSS: Final = 25


def parse_icmpv6(into: Dissection, data: bytes, at: int, quote: Quote) -> None:
    """Read a message; of an error, what it quotes."""
    kind, code, _, rest = struct.unpack_from("!BBHI", data, at)
    fields: dict[str, Value] = {"type": kind, "code": code}
    if kind in _ECHO:
        fields |= {"id": rest >> 16, "seq": rest & 0xFFFF}
        words = f"{_ECHO[kind]} id {fields['id']} seq {fields['seq']}"
    elif kind in _ERRORS:
        words = _error(fields, kind, code, rest)
        fields["quoted"] = quote(data, at + 8)
        words += f" for {fields['quoted']}" if fields["quoted"] else ""
    elif kind in _DISCOVERY:
        words = _DISCOVERY[kind](fields, data, at, rest)
    else:
        words = _OTHERS.get(kind, f"type {kind}, code {code}")
        if kind in (130, 131, 132):
            fields["group"] = _address(data, at + 8)
            words += "" if fields["group"] == "::" else f" {fields['group']}"
        elif kind == 143:
            groups = _records(data, at + 8, rest & 0xFFFF)
            fields["groups"] = groups
            words = " ".join((words, *groups))
    into.add("icmpv6", **fields)
    into.info = words


def _error(fields: dict[str, Value], kind: int, code: int, rest: int) -> str:
    table = _ERRORS[kind]
    words = table[code] if code < len(table) else f"error {kind}, code {code}"
    if kind == 2:
        fields["mtu"] = rest
        words = f"packet too big, MTU {rest}"
    elif kind == 4:
        fields["pointer"] = rest
        words += f" at {rest}"
    return words


def _address(data: bytes, at: int) -> str:
    (raw,) = struct.unpack_from("16s", data, at)
    return ipv6(raw)


def _records(data: bytes, at: int, count: int) -> tuple[str, ...]:
    groups = []
    for _ in range(min(count, _MAX_RECORDS)):
        auxiliary, sources, raw = struct.unpack_from("!xBH16s", data, at)
        groups.append(ipv6(raw))
        at += 20 + sources * 16 + auxiliary * 4
    return tuple(groups)


def _router_solicitation(fields: dict[str, Value], data: bytes, at: int, rest: int) -> str:
    _options(fields, data, at + 8)
    return "router solicitation" + _from_mac(fields, "source_mac", " from")


def _router_advertisement(fields: dict[str, Value], data: bytes, at: int, rest: int) -> str:
    flags = rest >> 16 & 0xFF
    fields |= {
        "hop_limit": rest >> 24, "lifetime": rest & 0xFFFF, "managed": bool(flags & 0x80),
        "other": bool(flags & 0x40),
    }  # fmt: skip
    _options(fields, data, at + 16)
    words = f"router advertisement, lifetime {rest & 0xFFFF} s"
    prefixes = fields.get("prefixes", ())
    assert isinstance(prefixes, tuple)
    return ", ".join((words, *map(str, prefixes)))


def _solicitation(fields: dict[str, Value], data: bytes, at: int, rest: int) -> str:
    fields["target"] = _address(data, at + 8)
    _options(fields, data, at + 24)
    return f"who-has {fields['target']}" + _from_mac(fields, "source_mac", " tell")


def _advertisement(fields: dict[str, Value], data: bytes, at: int, rest: int) -> str:
    names = ("override", "solicited", "router")
    fields |= {name: bool(rest >> bit & 1) for bit, name in enumerate(names, 29)}
    fields["target"] = _address(data, at + 8)
    _options(fields, data, at + 24)
    words = f"{fields['target']}" + (_from_mac(fields, "target_mac", " is-at") or " is here")
    said = [name for name in reversed(names) if fields[name]]
    return ", ".join((words, *said))


def _redirect(fields: dict[str, Value], data: bytes, at: int, rest: int) -> str:
    fields["target"] = _address(data, at + 8)
    fields["destination"] = _address(data, at + 24)
    _options(fields, data, at + 40)
    return f"redirect {fields['destination']} to {fields['target']}"


def _from_mac(fields: dict[str, Value], key: str, word: str) -> str:
    return f"{word} {fields[key]}" if key in fields else ""


def _options(fields: dict[str, Value], data: bytes, at: int) -> None:
    prefixes: list[str] = []
    servers: list[str] = []
    for _ in range(_MAX_OPTIONS):
        if at + 1 >= len(data):
            break
        kind, size = data[at], data[at + 1] * 8
        if size == 0:
            raise WireError("an option of no length")
        if kind == _SOURCE_LINK:
            fields["source_mac"] = data[at + 2 : at + 8].hex(":")
        elif kind == _TARGET_LINK:
            fields["target_mac"] = data[at + 2 : at + 8].hex(":")
        elif kind == _PREFIX:
            prefixes.append(f"{_address(data, at + 16)}/{data[at + 2]}")
        elif kind == _MTU:
            (fields["mtu"],) = struct.unpack_from("!I", data, at + 4)
        elif kind == _RDNSS:
            servers += [_address(data, place) for place in range(at + 8, at + size - 15, 16)[:4]]
        at += size
    if prefixes:
        fields["prefixes"] = tuple(prefixes)
    if servers:
        fields["dns_servers"] = tuple(servers)


_DISCOVERY: Final = {
    133: _router_solicitation, 134: _router_advertisement, 135: _solicitation,
    136: _advertisement, 137: _redirect,
}  # fmt: skip
