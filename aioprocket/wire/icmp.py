"""ICMP (RFC 792) and ICMPv6 (RFC 4443): echoes, and the errors that quote what caused them."""

import ipaddress
import struct
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, Self

from ..errors import WireError
from .checksum import checksum, pseudo_header
from .fields import BytesT, check_bits, check_length

__all__ = ("PROTOCOLS", "Echo", "ErrorKind", "IcmpError", "IcmpHeader")

PROTOCOLS: Final = {4: 1, 6: 58}  # of the IP header, by version

_HEADER: Final = struct.Struct("!BBHI")  # type, code, checksum, what the type makes of the rest
_CHECKSUM: Final = slice(2, 4)
_ECHO_REQUEST: Final = {4: 8, 6: 128}
_ECHO_REPLY: Final = {4: 0, 6: 129}


@dataclass(frozen=True, slots=True, kw_only=True)
class IcmpHeader:
    """The header that all messages have; what ``rest`` holds depends on the type."""

    type: int
    code: int = 0
    rest: int = 0

    def __post_init__(self) -> None:
        check_bits(self, type=8, code=8, rest=32)

    @classmethod
    def parse(cls, data: BytesT) -> tuple[Self, BytesT]:
        """The header and what follows it. The checksum is not judged."""
        check_length(data, _HEADER.size, "ICMP header")
        type_, code, _, rest = _HEADER.unpack_from(data)
        return cls(type=type_, code=code, rest=rest), data[_HEADER.size :]

    def emit(
        self,
        payload: bytes = b"",
        *,
        source: ipaddress.IPv6Address | None = None,
        destination: ipaddress.IPv6Address | None = None,
    ) -> bytes:
        """The message with its checksum.

        Args:
            payload: What follows the header.
            source: With ``destination``: the addresses of the IPv6 header, which the checksum of
                ICMPv6 covers. Left out for ICMP, and for ICMPv6 by a socket: there the kernel
                makes the checksum (ipv6(7), RFC 3542, section 3.1).
            destination: See ``source``.
        """
        message = bytearray(_HEADER.pack(self.type, self.code, 0, self.rest) + payload)
        covered = bytes(message)
        if source is not None and destination is not None:
            covered = pseudo_header(source, destination, PROTOCOLS[6], len(message)) + covered
        message[_CHECKSUM] = checksum(covered).to_bytes(2, "big")
        return bytes(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """An echo request or, with ``reply``, its answer. ``version`` is that of IP."""

    identifier: int
    sequence: int
    reply: bool = False
    version: Literal[4, 6] = 4

    def __post_init__(self) -> None:
        check_bits(self, identifier=16, sequence=16)

    @classmethod
    def parse(cls, data: BytesT, version: Literal[4, 6] = 4) -> tuple[Self, BytesT]:
        """The echo and the bytes it carries.

        Raises:
            WireError: Too short, or a message that is no echo.
        """
        header, payload = IcmpHeader.parse(data)
        if header.type not in (_ECHO_REQUEST[version], _ECHO_REPLY[version]) or header.code:
            raise WireError(f"no echo: type {header.type}, code {header.code}")
        echo = cls(
            identifier=header.rest >> 16,
            sequence=header.rest & 0xFFFF,
            reply=header.type == _ECHO_REPLY[version],
            version=version,
        )
        return echo, payload

    def emit(
        self,
        payload: bytes = b"",
        *,
        source: ipaddress.IPv6Address | None = None,
        destination: ipaddress.IPv6Address | None = None,
    ) -> bytes:
        """The message; the addresses as in `IcmpHeader.emit`."""
        types = _ECHO_REPLY if self.reply else _ECHO_REQUEST
        header = IcmpHeader(type=types[self.version], rest=self.identifier << 16 | self.sequence)
        return header.emit(payload, source=source, destination=destination)


class ErrorKind(Enum):
    """What went wrong on the way, in the words of both versions."""

    UNREACHABLE = "unreachable"
    PACKET_TOO_BIG = "packet too big"
    SOURCE_QUENCH = "source quench"
    REDIRECT = "redirect"
    TIME_EXCEEDED = "time exceeded"
    PARAMETER_PROBLEM = "parameter problem"


_KINDS: Final = {
    4: {
        3: ErrorKind.UNREACHABLE,
        4: ErrorKind.SOURCE_QUENCH,
        5: ErrorKind.REDIRECT,
        11: ErrorKind.TIME_EXCEEDED,
        12: ErrorKind.PARAMETER_PROBLEM,
    },
    6: {
        1: ErrorKind.UNREACHABLE,
        2: ErrorKind.PACKET_TOO_BIG,
        3: ErrorKind.TIME_EXCEEDED,
        4: ErrorKind.PARAMETER_PROBLEM,
    },
}
_FRAGMENTATION_NEEDED: Final = (3, 4)  # with the next hop's MTU since RFC 1191

# The codes' meanings: https://www.iana.org/assignments/icmp-parameters, icmpv6-parameters
_TEXTS: Final = {
    4: {
        (3, 0): "network unreachable",
        (3, 1): "host unreachable",
        (3, 2): "protocol unreachable",
        (3, 3): "port unreachable",
        (3, 4): "fragmentation needed",
        (3, 5): "source route failed",
        (3, 6): "network unknown",
        (3, 7): "host unknown",
        (3, 9): "network prohibited",
        (3, 10): "host prohibited",
        (3, 11): "network unreachable for this type of service",
        (3, 12): "host unreachable for this type of service",
        (3, 13): "communication prohibited",
        (3, 14): "host precedence violation",
        (3, 15): "precedence cutoff",
        (5, 0): "redirect for network",
        (5, 1): "redirect for host",
        (11, 0): "time to live exceeded",
        (11, 1): "reassembly time exceeded",
    },
    6: {
        (1, 0): "no route",
        (1, 1): "communication prohibited",
        (1, 2): "beyond scope of source address",
        (1, 3): "address unreachable",
        (1, 4): "port unreachable",
        (1, 5): "source address failed policy",
        (1, 6): "route rejected",
        (3, 0): "hop limit exceeded",
        (3, 1): "reassembly time exceeded",
        (4, 0): "erroneous header field",
        (4, 1): "unknown next header",
        (4, 2): "unknown option",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class IcmpError:
    """An error about a packet that was sent. ``rest`` is an MTU, a gateway or a pointer, if any."""

    type: int
    code: int
    rest: int = 0
    version: Literal[4, 6] = 4

    def __post_init__(self) -> None:
        check_bits(self, type=8, code=8, rest=32)
        if self.type not in _KINDS[self.version]:
            raise WireError(f"ICMP type {self.type} of IPv{self.version} is no error")

    @classmethod
    def parse(cls, data: BytesT, version: Literal[4, 6] = 4) -> tuple[Self, BytesT]:
        """The error, and the start of the packet that it is about, from the IP header on.

        At least 8 bytes behind that header are quoted (RFC 792); what follows the quotation may be
        extensions (RFC 4884).

        Raises:
            WireError: Too short, or a message that is no error.
        """
        header, quoted = IcmpHeader.parse(data)
        error = cls(type=header.type, code=header.code, rest=header.rest, version=version)
        return error, quoted

    def emit(
        self,
        quoted: bytes = b"",
        *,
        source: ipaddress.IPv6Address | None = None,
        destination: ipaddress.IPv6Address | None = None,
    ) -> bytes:
        """The message; the addresses as in `IcmpHeader.emit`."""
        header = IcmpHeader(type=self.type, code=self.code, rest=self.rest)
        return header.emit(quoted, source=source, destination=destination)

    @property
    def kind(self) -> ErrorKind:
        """The sort of error, whatever the version."""
        if self.version == 4 and (self.type, self.code) == _FRAGMENTATION_NEEDED:
            return ErrorKind.PACKET_TOO_BIG
        return _KINDS[self.version][self.type]

    @property
    def text(self) -> str:
        """A phrase for people: ``"port unreachable"``."""
        return _TEXTS[self.version].get((self.type, self.code), self.kind.value)

    @property
    def mtu(self) -> int | None:
        """The largest packet of the next hop in bytes; None where the error does not say."""
        if self.kind is not ErrorKind.PACKET_TOO_BIG:
            return None
        # Routers from before RFC 1191 leave 0.
        return (self.rest if self.version == 6 else self.rest & 0xFFFF) or None

    @property
    def gateway(self) -> ipaddress.IPv4Address | None:
        """Where a redirect points; None for any other error."""
        return ipaddress.IPv4Address(self.rest) if self.kind is ErrorKind.REDIRECT else None
