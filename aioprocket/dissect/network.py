"""IPv4 and IPv6: from the header to the protocol behind it, fragments and extensions included.

Source: RFC 791, RFC 8200; https://www.iana.org/assignments/protocol-numbers
"""

import struct
from typing import Final

from ..errors import WireError
from .addresses import endpoint, ipv4, ipv6
from .icmp import parse_icmp
from .icmpv6 import parse_icmpv6
from .result import Dissection
from .transport import parse_gre, parse_igmp, parse_ports, parse_tcp, parse_udp

__all__ = ("parse_ip", "parse_ipv4", "parse_ipv6")

_IPV4: Final = struct.Struct("!BBHHHBBH4s4s")
_IPV6: Final = struct.Struct("!IHBB16s16s")
_MORE: Final = 0x2000
_DONT: Final = 0x4000

_NAMES: Final = {
    1: "ICMP", 2: "IGMP", 4: "IPv4", 6: "TCP", 17: "UDP", 33: "DCCP", 41: "IPv6", 46: "RSVP",
    47: "GRE", 50: "ESP", 51: "AH", 58: "ICMPv6", 59: "nothing", 88: "EIGRP", 89: "OSPF",
    103: "PIM", 112: "VRRP", 115: "L2TP", 132: "SCTP", 136: "UDP-Lite",
}  # fmt: skip
_EXTENSIONS: Final = {
    0: "hop-by-hop", 43: "routing", 44: "fragment", 51: "AH", 60: "destination", 135: "mobility",
    139: "HIP", 140: "shim6",
}  # fmt: skip
_FRAGMENT: Final = 44
_AH: Final = 51
_MAX_EXTENSIONS: Final = 16
_IPV4_OPTIONS: Final = {
    7: "record route", 68: "timestamp", 130: "security", 131: "loose source route",
    136: "stream id", 137: "strict source route", 148: "router alert",
}  # fmt: skip


def parse_ip(into: Dissection, data: bytes, at: int) -> None:
    """Read a packet of the version that its first byte says."""
    version = data[at] >> 4
    if version == 4:
        parse_ipv4(into, data, at)
    elif version == 6:
        parse_ipv6(into, data, at)
    else:
        raise WireError(f"IP version {version}")


def parse_ipv4(into: Dissection, data: bytes, at: int) -> None:
    """Read a packet, and no padding behind it."""
    into.protocol = "IPv4"
    first, tos, total, identification, fragment, ttl, protocol, _, source, destination = (
        _IPV4.unpack_from(data, at)
    )
    into.between(ipv4(source), ipv4(destination))
    size = (first & 0x0F) * 4
    offset = (fragment & 0x1FFF) * 8
    # Zero: what the kernel has not cut into segments yet (TSO) may be longer than 16 bits can say.
    total = total or len(data) - at
    if first >> 4 != 4 or size < 20 or total < size:
        raise WireError("not an IPv4 header")
    fields: dict[str, int | bool | str | tuple[str, ...]] = {
        "source": into.source, "destination": into.destination, "protocol": protocol,
        "ttl": ttl, "tos": tos, "id": identification, "length": total,
        "dont_fragment": bool(fragment & _DONT),
    }  # fmt: skip
    if fragment & _MORE or offset:
        fields |= {"more_fragments": bool(fragment & _MORE), "fragment_offset": offset}
    if size > 20:
        fields["options"] = _options(data[at + 20 : at + size])
    into.add("ipv4", **fields)
    data = data[: at + total]
    if offset:
        _later_fragment(into, protocol, identification, offset, total - size)
        return
    _transport(into, data, at + size, protocol, total - size)
    if fragment & _MORE:
        into.info = f"{into.info}, first fragment of {identification}"


def _options(raw: bytes) -> tuple[str, ...]:
    names = []
    at = 0
    while at < len(raw) and raw[at] != 0:
        if raw[at] != 1:  # no operation: padding
            names.append(_IPV4_OPTIONS.get(raw[at], f"option {raw[at]}"))
            at += max(2, raw[at + 1] if at + 1 < len(raw) else 2)
        else:
            at += 1
    return tuple(names)


def _later_fragment(
    into: Dissection, protocol: int, identification: int, offset: int, length: int
) -> None:
    into.protocol = _protocol_name(protocol)
    into.info = f"fragment of {identification} at {offset}, {length} bytes"


def parse_ipv6(into: Dissection, data: bytes, at: int) -> None:
    """Read a packet, its extension headers, and no padding behind it."""
    into.protocol = "IPv6"
    first, length, following, hop_limit, source, destination = _IPV6.unpack_from(data, at)
    into.between(ipv6(source), ipv6(destination))
    if first >> 28 != 6:
        raise WireError("not an IPv6 header")
    fields: dict[str, int | str | tuple[str, ...]] = {
        "source": into.source, "destination": into.destination, "hop_limit": hop_limit,
        "traffic_class": first >> 20 & 0xFF, "flow_label": first & 0xFFFFF, "length": length,
    }  # fmt: skip
    at += _IPV6.size
    end = at + length if length else len(data)  # as above: zero is a jumbogram, or not yet cut
    data = data[:end]
    walk = _Extensions(following, at)
    try:
        walk.to_the_end(data)
    finally:
        if walk.names:
            fields["extensions"] = tuple(walk.names)
        into.add("ipv6", **fields, protocol=walk.following)
    if walk.offset:
        _later_fragment(into, walk.following, walk.identification, walk.offset, end - walk.at)
        return
    _transport(into, data, walk.at, walk.following, end - walk.at)
    if walk.more:
        into.info = f"{into.info}, first fragment of {walk.identification}"


class _Extensions:
    """The way along the extension headers of one packet."""

    __slots__ = ("at", "following", "identification", "more", "names", "offset")

    def __init__(self, following: int, at: int) -> None:
        self.following = following
        self.at = at
        self.names: list[str] = []
        self.offset = self.identification = 0
        self.more = False

    def to_the_end(self, data: bytes) -> None:
        """Walk on to what is no extension, or to a fragment that is not the first."""
        while self.following in _EXTENSIONS and not self.offset:
            if len(self.names) >= _MAX_EXTENSIONS:
                raise WireError(f"more than {_MAX_EXTENSIONS} extension headers")
            self.names.append(_EXTENSIONS[self.following])
            following, size = struct.unpack_from("!BB", data, self.at)
            if self.following == _FRAGMENT:
                place, self.identification = struct.unpack_from("!HI", data, self.at + 2)
                self.offset, self.more = place & 0xFFF8, bool(place & 1)
                length = 8
            else:
                length = 8 + size * (4 if self.following == _AH else 8)
            self.at += length
            self.following = following


def _protocol_name(number: int) -> str:
    """As it is shown."""
    return _NAMES.get(number, f"protocol {number}")


def _transport(into: Dissection, data: bytes, at: int, protocol: int, length: int) -> None:
    into.protocol = _protocol_name(protocol)
    parser = _PARSERS.get(protocol)
    if parser is not None:
        parser(into, data, at, length)
    else:
        into.info = f"{length} bytes"


def _icmp(into: Dissection, data: bytes, at: int, length: int) -> None:
    parse_icmp(into, data, at, _quoted)


def _icmpv6(into: Dissection, data: bytes, at: int, length: int) -> None:
    parse_icmpv6(into, data, at, _quoted)


def _quoted(data: bytes, at: int) -> str:
    """What an ICMP error quotes, in a few words; empty where that is too little to say.

    Only the ports are read, for a quote may be cut behind them: no quote is followed to another.
    """
    try:
        return _quoted_ipv4(data, at) if data[at] >> 4 == 4 else _quoted_ipv6(data, at)
    except (struct.error, IndexError, WireError):
        return ""


def _quoted_ipv4(data: bytes, at: int) -> str:
    *_, protocol, _, source, destination = _IPV4.unpack_from(data, at)
    after = at + (data[at] & 0x0F) * 4
    return _in_words(data, after, protocol, ipv4(source), ipv4(destination))


def _quoted_ipv6(data: bytes, at: int) -> str:
    _, _, following, _, source, destination = _IPV6.unpack_from(data, at)
    walk = _Extensions(following, at + _IPV6.size)
    walk.to_the_end(data)
    return _in_words(data, walk.at, walk.following, ipv6(source), ipv6(destination))


def _in_words(data: bytes, at: int, protocol: int, source: str, destination: str) -> str:
    ports: tuple[int | None, ...] = (None, None)
    if protocol in _WITH_PORTS and at + 4 <= len(data):
        ports = struct.unpack_from("!HH", data, at)
    ends = f"{endpoint(source, ports[0])} > {endpoint(destination, ports[1])}"
    return f"{_protocol_name(protocol)} {ends}"


def _tunnel(into: Dissection, data: bytes, at: int, length: int) -> None:
    parse_ip(into, data, at)


def _gre(into: Dissection, data: bytes, at: int, length: int) -> None:
    following, at = parse_gre(into, data, at, length)
    if following == 0x0800:
        parse_ipv4(into, data, at)
    elif following == 0x86DD:
        parse_ipv6(into, data, at)


_WITH_PORTS: Final = frozenset({6, 17, 33, 132, 136})
_PARSERS: Final = {
    1: _icmp, 2: parse_igmp, 4: _tunnel, 6: parse_tcp, 17: parse_udp, 33: parse_ports,
    41: _tunnel, 47: _gre, 58: _icmpv6, 132: parse_ports, 136: parse_ports,
}  # fmt: skip
