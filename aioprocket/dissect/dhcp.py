"""DHCP: which device asks for an address, by what name, and what it is given.

Source: RFC 2131, RFC 2132, RFC 4702 (names with a domain)
"""

import struct
from collections.abc import Iterator
from typing import Final

from .addresses import ipv4
from .dns import name_at
from .result import Dissection, Value, printable

__all__ = ("parse_dhcp",)

_HEADER: Final = struct.Struct("!BBBBIHH4s4s4s4s16s")
_COOKIE: Final = b"\x63\x82\x53\x63"
_OPTIONS_AT: Final = 240
_MAX_OPTIONS: Final = 256  # padding included; there are codes for 254
_KINDS: Final = (
    "", "Discover", "Offer", "Request", "Decline", "ACK", "NAK", "Release", "Inform",
    "Force renew", "Lease query",
)  # fmt: skip
_NONE: Final = bytes(4)
_ADDRESSES: Final = {50: "requested", 54: "server", 1: "netmask"}
_LISTS: Final = {3: "routers", 6: "dns_servers"}
_TEXTS: Final = {12: "host_name", 15: "domain", 56: "message", 60: "vendor"}


def parse_dhcp(into: Dissection, data: bytes, at: int) -> None:
    """Read a message of DHCP, or of BOOTP, its ancestor."""
    into.protocol = "DHCP"
    op, _, size, _, xid, secs, _, current, given, _, relay, hardware = _HEADER.unpack_from(data, at)
    client = hardware[: min(size, 16)].hex(":")
    fields: dict[str, Value] = {"op": op, "xid": xid, "secs": secs, "client": client}
    for name, raw in (("current", current), ("given", given), ("relay", relay)):
        if raw != _NONE:
            fields[name] = ipv4(raw)
    kind = "BOOTP reply" if op == 2 else "BOOTP request"
    try:
        if data[at + 236 : at + _OPTIONS_AT] == _COOKIE:
            seen: set[int] = set()
            for code, value in _options(data, at + _OPTIONS_AT):
                if code not in seen:  # the rest of a long one (RFC 3396) is left out
                    seen.add(code)
                    _take(fields, code, value)
            number = fields.get("type")
            if isinstance(number, int):
                kind = _KINDS[number] if 0 < number < len(_KINDS) else f"message {number}"
    finally:
        into.add("dhcp", **fields)
        into.info = _words(kind, op, fields)


def _options(data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    for _ in range(_MAX_OPTIONS):
        if at >= len(data) or data[at] == 255:
            return
        if data[at] == 0:
            at += 1
            continue
        size = data[at + 1]
        yield data[at], data[at + 2 : at + 2 + size]
        at += 2 + size


def _take(fields: dict[str, Value], code: int, value: bytes) -> None:
    if code == 53 and value:
        fields["type"] = value[0]
    elif code in _ADDRESSES and len(value) == 4:
        fields[_ADDRESSES[code]] = ipv4(value)
    elif code in _LISTS and len(value) % 4 == 0:
        fields[_LISTS[code]] = tuple(ipv4(value[n : n + 4]) for n in range(0, len(value), 4))
    elif code in _TEXTS:
        fields[_TEXTS[code]] = printable(value.rstrip(b"\0"))
    elif code == 51 and len(value) == 4:
        fields["lease"] = int.from_bytes(value)
    elif code == 55:
        fields["asks_for"] = tuple(value)
    elif code == 61:
        fields["client_id"] = value.hex(":")
    elif code == 81 and len(value) > 3:
        # Bit 2 of the flags: as DNS writes it, else as text (RFC 4702, section 2.1).
        encoded = value[0] & 0x04
        name = name_at(value[3:] + b"\0", 0)[0] if encoded else printable(value[3:])
        fields["host_name"] = name


def _words(kind: str, op: int, fields: dict[str, Value]) -> str:
    words = kind
    if op == 2:
        if "given" in fields:
            words += f" {fields['given']}"
        words += f" to {fields['client']}"
        if "server" in fields:
            words += f" by {fields['server']}"
        if "lease" in fields:
            words += f" for {fields['lease']} s"
        return words
    words += f" from {fields['client']}"
    if "host_name" in fields:
        words += f' "{fields["host_name"]}"'
    if "requested" in fields:
        words += f" wants {fields['requested']}"
    elif "current" in fields:
        words += f" has {fields['current']}"
    return words
