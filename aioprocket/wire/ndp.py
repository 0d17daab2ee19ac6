"""Neighbour discovery of IPv6 (RFC 4861): who has an address, and at which hardware address."""

import ipaddress
from dataclasses import dataclass
from typing import Final, Self

from ..errors import WireError
from .ethernet import mac_bytes, mac_text
from .fields import BytesT, check_length
from .icmp import IcmpHeader

__all__ = (
    "HOP_LIMIT",
    "NeighbourAdvertisement",
    "NeighbourSolicitation",
    "multicast_mac",
    "solicited_node",
)

HOP_LIMIT: Final = 255  # with any other, a packet is from beyond a router: section 7.1

_SOLICITATION: Final = 135
_ADVERTISEMENT: Final = 136
_SOURCE_ADDRESS: Final = 1  # types of options: section 4.6.1
_TARGET_ADDRESS: Final = 2
_ADDRESS_SIZE: Final = 16
_MOST_OPTIONS: Final = 32  # that are looked at; hosts send one
_UNIT: Final = 8  # bytes that an option's length counts
_ROUTER, _SOLICITED, _OVERRIDE = 1 << 31, 1 << 30, 1 << 29
_SOLICITED_NODE: Final = bytes.fromhex("ff0200000000000000000001ff")


def solicited_node(address: ipaddress.IPv6Address) -> ipaddress.IPv6Address:
    """The group that whoever has ``address`` listens to (RFC 4291, section 2.7.1)."""
    return ipaddress.IPv6Address(_SOLICITED_NODE + address.packed[13:])


def multicast_mac(group: ipaddress.IPv6Address) -> str:
    """The hardware address that packets to a group go to on Ethernet (RFC 2464, section 7)."""
    return mac_text(b"\x33\x33" + group.packed[12:])


def _option(kind: int, mac: str | None) -> bytes:
    return b"" if mac is None else bytes([kind, 1]) + mac_bytes(mac)


def _hardware_address(options: BytesT, kind: int) -> str | None:
    """The first option of a kind; options that cannot be read end the search, and the 33rd."""
    at = 0
    for _ in range(_MOST_OPTIONS):
        if len(options) - at < _UNIT or not options[at + 1]:
            break
        size = options[at + 1] * _UNIT
        if options[at] == kind and len(options) - at >= size:
            return mac_text(bytes(options[at + 2 : at + 8]))
        at += size
    return None


def _target(message: BytesT, kind: int, what: str) -> tuple[int, ipaddress.IPv6Address, BytesT]:
    header, rest = IcmpHeader.parse(message)
    if header.type != kind or header.code:
        raise WireError(f"no {what}: type {header.type}, code {header.code}")
    check_length(rest, _ADDRESS_SIZE, what)
    target = ipaddress.IPv6Address(bytes(rest[:_ADDRESS_SIZE]))
    return header.rest, target, rest[_ADDRESS_SIZE:]


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourSolicitation:
    """The question. ``source_mac`` is the asker's own; left out where it has no address yet."""

    target: ipaddress.IPv6Address
    source_mac: str | None = None

    @classmethod
    def parse(cls, message: BytesT) -> Self:
        """An ICMPv6 message that is a solicitation.

        Raises:
            WireError: Too short, or another message.
        """
        _, target, options = _target(message, _SOLICITATION, "neighbour solicitation")
        return cls(target=target, source_mac=_hardware_address(options, _SOURCE_ADDRESS))

    def emit(
        self,
        *,
        source: ipaddress.IPv6Address | None = None,
        destination: ipaddress.IPv6Address | None = None,
    ) -> bytes:
        """The message; the addresses as in `IcmpHeader.emit`."""
        body = self.target.packed + _option(_SOURCE_ADDRESS, self.source_mac)
        header = IcmpHeader(type=_SOLICITATION)
        return header.emit(body, source=source, destination=destination)


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourAdvertisement:
    """The answer, or news that nobody asked for (``solicited`` is False then)."""

    target: ipaddress.IPv6Address
    target_mac: str | None = None
    router: bool = False
    solicited: bool = False
    override: bool = False

    @classmethod
    def parse(cls, message: BytesT) -> Self:
        """An ICMPv6 message that is an advertisement.

        Raises:
            WireError: Too short, or another message.
        """
        flags, target, options = _target(message, _ADVERTISEMENT, "neighbour advertisement")
        return cls(
            target=target,
            target_mac=_hardware_address(options, _TARGET_ADDRESS),
            router=bool(flags & _ROUTER),
            solicited=bool(flags & _SOLICITED),
            override=bool(flags & _OVERRIDE),
        )

    def emit(
        self,
        *,
        source: ipaddress.IPv6Address | None = None,
        destination: ipaddress.IPv6Address | None = None,
    ) -> bytes:
        """The message; the addresses as in `IcmpHeader.emit`."""
        flags = self.router * _ROUTER | self.solicited * _SOLICITED | self.override * _OVERRIDE
        body = self.target.packed + _option(_TARGET_ADDRESS, self.target_mac)
        header = IcmpHeader(type=_ADVERTISEMENT, rest=flags)
        return header.emit(body, source=source, destination=destination)
