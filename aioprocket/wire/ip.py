"""IPv4 (RFC 791) and IPv6 (RFC 8200) headers."""

import ipaddress
import struct
from dataclasses import dataclass
from typing import Final, Self

from ..errors import WireError
from .checksum import checksum
from .fields import BytesT, check_bits, check_length

__all__ = ("IPv4Header", "IPv6Header", "skip_extensions")

_IPV4: Final = struct.Struct("!BBHHHBBH4s4s")
_IPV4_TOTAL_LENGTH: Final = slice(2, 4)
_IPV4_CHECKSUM: Final = slice(10, 12)
_IPV6: Final = struct.Struct("!IHBB16s16s")
_DONT_FRAGMENT: Final = 0x4000
_MORE_FRAGMENTS: Final = 0x2000

# Extension headers: https://www.iana.org/assignments/ipv6-parameters
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION = 0, 43, 44, 51, 60
_MOST_EXTENSIONS: Final = 16  # RFC 8200, section 4.1: each but one kind once
_MOBILITY, _HIP, _SHIM6 = 135, 139, 140
_COUNTED_IN_8: Final = frozenset({_HOP_BY_HOP, _ROUTING, _DESTINATION, _MOBILITY, _HIP, _SHIM6})


@dataclass(frozen=True, slots=True, kw_only=True)
class IPv4Header:
    """The header; lengths and the checksum are made from what is sent.

    ``fragment_offset`` is in units of 8 bytes. ``options`` are whole: padded to a multiple of 4,
    at most 40 bytes.
    """

    source: ipaddress.IPv4Address
    destination: ipaddress.IPv4Address
    protocol: int
    ttl: int = 64
    tos: int = 0
    identification: int = 0
    dont_fragment: bool = False
    more_fragments: bool = False
    fragment_offset: int = 0
    options: bytes = b""

    def __post_init__(self) -> None:
        check_bits(
            self,
            protocol=8, ttl=8, tos=8, identification=16, dont_fragment=1, more_fragments=1,
            fragment_offset=13,
        )  # fmt: skip
        if len(self.options) % 4 or len(self.options) > 40:
            raise WireError(f"{len(self.options)} bytes of options: 0, 4, 8… or 40")

    @classmethod
    def parse(cls, data: BytesT) -> tuple[Self, BytesT]:
        """The header and the payload: as much of it as is there, at most as much as it says.

        Less than it says is there where an ICMP error quotes a packet or a capture cuts it; more,
        where a frame was padded. The checksum is not judged.
        """
        check_length(data, _IPV4.size, "IPv4 header")
        first, tos, total_len, identification, fragment, ttl, protocol, _, source, destination = (
            _IPV4.unpack_from(data)
        )
        header_len = (first & 0x0F) * 4
        if first >> 4 != 4:
            raise WireError(f"IP version {first >> 4}, not 4")
        if header_len < _IPV4.size:
            raise WireError(f"an IPv4 header of {header_len} bytes, less than {_IPV4.size}")
        check_length(data, header_len, "IPv4 options")
        if total_len < header_len:
            raise WireError(
                f"IPv4 total length {total_len}, of a header of {header_len}",
                offset=_IPV4_TOTAL_LENGTH.start,
            )
        header = cls(
            source=ipaddress.IPv4Address(source),
            destination=ipaddress.IPv4Address(destination),
            protocol=protocol,
            ttl=ttl,
            tos=tos,
            identification=identification,
            dont_fragment=bool(fragment & _DONT_FRAGMENT),
            more_fragments=bool(fragment & _MORE_FRAGMENTS),
            fragment_offset=fragment & 0x1FFF,
            options=bytes(data[_IPV4.size : header_len]),
        )
        return header, data[header_len:total_len]

    def emit(self, payload: bytes = b"") -> bytes:
        """The packet. Header, options and ``payload`` are at most 65,535 bytes together."""
        header_len = _IPV4.size + len(self.options)
        if header_len + len(payload) > 0xFFFF:
            raise WireError(f"an IPv4 payload of {len(payload)} bytes: too long for one packet")
        header = _IPV4.pack(
            4 << 4 | header_len // 4,
            self.tos,
            header_len + len(payload),
            self.identification,
            self.dont_fragment * _DONT_FRAGMENT
            | self.more_fragments * _MORE_FRAGMENTS
            | self.fragment_offset,
            self.ttl,
            self.protocol,
            0,
            self.source.packed,
            self.destination.packed,
        )
        covered = bytearray(header + self.options)
        covered[_IPV4_CHECKSUM] = checksum(bytes(covered)).to_bytes(2, "big")
        return bytes(covered) + payload


@dataclass(frozen=True, slots=True, kw_only=True)
class IPv6Header:
    """The fixed header. ``next_header`` is a protocol, or an extension header's number."""

    source: ipaddress.IPv6Address
    destination: ipaddress.IPv6Address
    next_header: int
    hop_limit: int = 64
    traffic_class: int = 0
    flow_label: int = 0

    def __post_init__(self) -> None:
        check_bits(self, next_header=8, hop_limit=8, traffic_class=8, flow_label=20)

    @classmethod
    def parse(cls, data: BytesT) -> tuple[Self, BytesT]:
        """The header and the payload, extension headers first: see `skip_extensions`.

        The payload is as much as is there, at most as much as the header says.
        """
        check_length(data, _IPV6.size, "IPv6 header")
        first, payload_len, next_header, hop_limit, source, destination = _IPV6.unpack_from(data)
        if first >> 28 != 6:
            raise WireError(f"IP version {first >> 28}, not 6")
        header = cls(
            source=ipaddress.IPv6Address(source),
            destination=ipaddress.IPv6Address(destination),
            next_header=next_header,
            hop_limit=hop_limit,
            traffic_class=first >> 20 & 0xFF,
            flow_label=first & 0xFFFFF,
        )
        return header, data[_IPV6.size : _IPV6.size + payload_len]

    def emit(self, payload: bytes = b"") -> bytes:
        """The packet. ``payload`` is at most 65,535 bytes."""
        if len(payload) > 0xFFFF:
            raise WireError(f"an IPv6 payload of {len(payload)} bytes: at most 65535 fit")
        header = _IPV6.pack(
            6 << 28 | self.traffic_class << 20 | self.flow_label,
            len(payload),
            self.next_header,
            self.hop_limit,
            self.source.packed,
            self.destination.packed,
        )
        return header + payload


def skip_extensions(next_header: int, payload: BytesT) -> tuple[int, BytesT]:
    """The protocol behind the extension headers, and its bytes.

    It stops with 44 and the fragment header at a fragment that is not the first, at what it cannot
    read: 50 (encrypted) and 59 (nothing follows), and at the seventeenth header.

    Source: RFC 8200, section 4; RFC 4302, section 2 (the length of the authentication header)
    """
    for _ in range(_MOST_EXTENSIONS):
        if next_header in _COUNTED_IN_8:
            check_length(payload, 8, "IPv6 extension header")
            size = 8 + payload[1] * 8
        elif next_header == _FRAGMENT:
            check_length(payload, 8, "IPv6 fragment header")
            if payload[2] or payload[3] >> 3:
                return next_header, payload
            size = 8
        elif next_header == _AUTHENTICATION:
            check_length(payload, 8, "IPv6 authentication header")
            size = 8 + payload[1] * 4
        else:
            return next_header, payload
        check_length(payload, size, "IPv6 extension header")
        next_header, payload = payload[0], payload[size:]
    return next_header, payload
