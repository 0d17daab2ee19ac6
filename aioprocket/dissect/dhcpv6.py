"""DHCPv6: the same for IPv6 (RFC 8415, RFC 4704)."""

import struct
from collections.abc import Iterator
from itertools import islice
from typing import Final

from .addresses import ipv6
from .dns import name_at
from .result import Dissection, Value, printable

__all__ = ("parse_dhcpv6",)

_KINDS: Final = {
    1: "Solicit", 2: "Advertise", 3: "Request", 4: "Confirm", 5: "Renew", 6: "Rebind", 7: "Reply",
    8: "Release", 9: "Decline", 10: "Reconfigure", 11: "Information-request",
    12: "Relay-forward", 13: "Relay-reply",
}  # fmt: skip
_MAX_OPTIONS: Final = 64  # of a message, and of one of these
_MAX_ADDRESSES: Final = 16
_MAX_DUID: Final = 130  # RFC 8415, section 11.1
_RELAYED: Final = frozenset({12, 13})
_CLIENT, _SERVER, _IA_NA, _ADDRESS, _STATUS, _IA_PD, _PREFIX, _NAME = 1, 2, 3, 5, 13, 25, 26, 39


def parse_dhcpv6(into: Dissection, data: bytes, at: int) -> None:
    """Read a message; of a relay's, whose link it is about."""
    into.protocol = "DHCPv6"
    kind = data[at]
    name = _KINDS.get(kind, f"message {kind}")
    if kind in _RELAYED:
        hops, link, peer = struct.unpack_from("!xB16s16s", data, at)
        into.add("dhcpv6", type=kind, hops=hops, link=ipv6(link), peer=ipv6(peer))
        into.info = f"{name} for {ipv6(peer)}"
        return
    (xid,) = struct.unpack_from("!I", data, at)
    fields: dict[str, Value] = {"type": kind, "xid": xid & 0xFFFFFF}
    addresses: list[str] = []
    try:
        for code, value in islice(_options(data, at + 4), _MAX_OPTIONS):
            _take(fields, addresses, code, value)
    finally:
        if addresses:
            fields["addresses"] = tuple(addresses)
        into.add("dhcpv6", **fields)
        into.info = _words(name, fields, addresses)


def _words(name: str, fields: dict[str, Value], addresses: list[str]) -> str:
    words = f"{name} xid {fields['xid']:06x}"
    if "host_name" in fields:
        words += f' "{fields["host_name"]}"'
    return " ".join((words, *addresses))


def _options(data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    while at + 4 <= len(data):
        code, size = struct.unpack_from("!HH", data, at)
        yield code, data[at + 4 : at + 4 + size]
        at += 4 + size


def _take(fields: dict[str, Value], addresses: list[str], code: int, value: bytes) -> None:
    if code == _CLIENT:
        fields["client_id"] = value[:_MAX_DUID].hex(":")
    elif code == _SERVER:
        fields["server_id"] = value[:_MAX_DUID].hex(":")
    elif code == _STATUS and len(value) >= 2:
        fields["status"] = int.from_bytes(value[:2])
        fields["message"] = printable(value[2:])
    elif code == _NAME and len(value) > 1 and "host_name" not in fields:
        fields["host_name"] = name_at(value[1:] + b"\0", 0)[0]
    elif code in (_IA_NA, _IA_PD):
        for inner, leased in islice(_options(value, 12), _MAX_OPTIONS):
            if len(addresses) == _MAX_ADDRESSES:
                break
            if inner == _ADDRESS:
                addresses.append(ipv6(struct.unpack_from("16s", leased)[0]))
            elif inner == _PREFIX:
                length, raw = struct.unpack_from("!8xB16s", leased)
                addresses.append(f"{ipv6(raw)}/{length}")
