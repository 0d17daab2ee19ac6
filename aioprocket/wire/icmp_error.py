"""What an ICMP error tells of the packet that it is about: which one, and what was added."""

import ipaddress
from dataclasses import dataclass
from typing import Final, Literal, Self

from .fields import BytesT
from .icmp import IcmpError
from .icmp_extensions import IcmpExtensions, MplsLabel, find_extensions
from .ip import IPv4Header, IPv6Header, skip_extensions

__all__ = ("IcmpReport", "quoted_length")

# The types that RFC 4884, section 4, gives a length, and how it is stored.
_WITH_LENGTH: Final = {4: (3, 11, 12), 6: (1, 3)}


@dataclass(frozen=True, slots=True, kw_only=True)
class IcmpReport:
    """An error with the start of the packet that it quotes.

    Attributes:
        error: Type, code, and what belongs to them.
        source: Of the quoted packet: who sent it.
        destination: Where it was sent to.
        protocol: What its payload is, behind the extension headers of IPv6.
        payload: As much of the payload as is quoted: 8 bytes at least.
        ttl: What was left of it where the error was made.
        extensions: What else the router tells.
    """

    error: IcmpError
    source: ipaddress.IPv4Address | ipaddress.IPv6Address
    destination: ipaddress.IPv4Address | ipaddress.IPv6Address
    protocol: int
    payload: bytes
    ttl: int
    extensions: IcmpExtensions | None = None

    @classmethod
    def parse(cls, data: BytesT, version: Literal[4, 6] = 4) -> Self:
        """The report in an ICMP message, from its ICMP header on.

        Raises:
            WireError: No error, or no packet is quoted in it.
        """
        error, rest = IcmpError.parse(data, version)
        quoted, extensions = find_extensions(rest, quoted_length(error))
        if version == 4:
            header, payload = IPv4Header.parse(quoted)
            return cls(
                error=error, source=header.source, destination=header.destination,
                protocol=header.protocol, payload=bytes(payload), ttl=header.ttl,
                extensions=extensions,
            )  # fmt: skip
        header6, payload = IPv6Header.parse(quoted)
        protocol, payload = skip_extensions(header6.next_header, payload)
        return cls(
            error=error, source=header6.source, destination=header6.destination,
            protocol=protocol, payload=bytes(payload), ttl=header6.hop_limit,
            extensions=extensions,
        )  # fmt: skip

    @property
    def labels(self) -> tuple[MplsLabel, ...]:
        """The MPLS labels that the packet had, outermost first."""
        return () if self.extensions is None else self.extensions.labels


def quoted_length(error: IcmpError) -> int:
    """How many bytes of the packet are quoted before extensions begin; 0: the error does not say.

    Source: RFC 4884, sections 4.1 to 4.5: counted in 32-bit words for ICMP, in 64-bit words for
    ICMPv6.
    """
    if error.type not in _WITH_LENGTH[error.version]:
        return 0
    return (error.rest >> 16 & 0xFF) * 4 if error.version == 4 else (error.rest >> 24) * 8
