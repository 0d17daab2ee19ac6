"""ARP for IPv4 over Ethernet (RFC 826)."""

import ipaddress
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from ..errors import WireError
from .ethernet import mac_bytes, mac_text
from .fields import BytesT, check_bits, check_length

__all__ = ("ArpPacket", "Operation")

_ARP: Final = struct.Struct("!HHBBH6s4s6s4s")
_ETHERNET_AND_IPV4: Final = (1, 0x0800, 6, 4)


class Operation(IntEnum):
    """The two operations in use."""

    REQUEST = 1
    REPLY = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ArpPacket:
    """A question or an answer. ``operation`` is an `Operation`, or a number for any other."""

    operation: int
    sender_mac: str
    sender_ip: ipaddress.IPv4Address
    target_mac: str = "00:00:00:00:00:00"
    target_ip: ipaddress.IPv4Address

    def __post_init__(self) -> None:
        check_bits(self, operation=16)
        mac_bytes(self.sender_mac)
        mac_bytes(self.target_mac)

    @classmethod
    def parse(cls, data: BytesT) -> tuple[Self, BytesT]:
        """The packet, and what follows it: the frame's padding."""
        check_length(data, _ARP.size, "ARP packet")
        *kind, operation, sender_mac, sender_ip, target_mac, target_ip = _ARP.unpack_from(data)
        if tuple(kind) != _ETHERNET_AND_IPV4:
            raise WireError(f"ARP for other than IPv4 over Ethernet: {kind}")
        packet = cls(
            operation=operation,
            sender_mac=mac_text(sender_mac),
            sender_ip=ipaddress.IPv4Address(sender_ip),
            target_mac=mac_text(target_mac),
            target_ip=ipaddress.IPv4Address(target_ip),
        )
        return packet, data[_ARP.size :]

    def emit(self) -> bytes:
        """The 28 bytes that follow an Ethernet header of protocol 0x0806."""
        return _ARP.pack(
            *_ETHERNET_AND_IPV4,
            self.operation,
            mac_bytes(self.sender_mac),
            self.sender_ip.packed,
            mac_bytes(self.target_mac),
            self.target_ip.packed,
        )
