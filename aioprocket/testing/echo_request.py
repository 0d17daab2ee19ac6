"""An echo request as a host gets it, and all that can come of it."""

import ipaddress
import time
from collections.abc import Callable
from typing import Final

from ..spec import IpAddress
from ..wire.checksum import checksum, pseudo_header

__all__ = ("EchoRequest",)

_HOP_LIMIT: Final = 61  # of what is answered: three routers on, if they began with 64
_ECHO: Final = 8  # bytes of its header


class EchoRequest:
    """An echo request that arrived, on IPv4 or IPv6.

    Attributes:
        packet: All of it, from the IP header on.
        version: 4 or 6.
        source: Who asks.
        target: Who is asked.
        header: Bytes of the IP header.
        message: From the ICMP header on.
        read_at: When it was read, in seconds by `time.monotonic`.
    """

    def __init__(self, packet: bytes, header: int) -> None:
        self.packet = packet
        self.version = packet[0] >> 4
        source, target = (packet[12:16], packet[16:20]) if self.version == 4 else (
            packet[8:24], packet[24:40]
        )  # fmt: skip
        self.source: IpAddress = ipaddress.ip_address(source)
        self.target: IpAddress = ipaddress.ip_address(target)
        self.header = header
        self.message = packet[header:]
        self.read_at = time.monotonic()

    @classmethod
    def of(cls, packet: bytes) -> "EchoRequest | None":
        """The request that a packet is; None if it is none, or a piece of one."""
        version = packet[0] >> 4 if packet else 0
        header = (packet[0] & 15) * 4 if version == 4 else 40
        if version not in (4, 6) or len(packet) < header + _ECHO or header < 20:
            return None
        if version == 4 and int.from_bytes(packet[6:8], "big") & 0x3FFF:
            return None
        protocol = packet[9] if version == 4 else packet[6]
        if (protocol, packet[header]) != ((1, 8) if version == 4 else (58, 128)):
            return None
        return cls(packet, header)

    def __repr__(self) -> str:
        return f"<EchoRequest from {self.source} to {self.target}, {len(self.message)} bytes>"

    @property
    def number(self) -> int:
        """The last two bytes of the address that it went to."""
        return int(self.target) & 0xFFFF

    def reply(
        self,
        *,
        change: Callable[[bytearray], None] = lambda message: None,
        sender: IpAddress | None = None,
        right: bool = True,
    ) -> bytes:
        """The packet of a reply.

        Args:
            change: Changes the message, from the ICMP header on, before its checksum is made.
            sender: Who it comes from; None: the host that was asked.
            right: Whether the checksum is.
        """
        message = bytearray(self.message)
        message[0] = 0 if self.version == 4 else 129
        change(message)
        return self._packet(message, sender or self.target, right=right)

    def error(self, type: int, code: int, rest: int, router: IpAddress, quoted: int = 576) -> bytes:
        """The packet of an ICMP error that quotes it.

        Args:
            type: Of the message, as its version of ICMP numbers it.
            code: Of the message.
            rest: The second four bytes of its header: a pointer, an MTU.
            router: Who it comes from.
            quoted: Bytes of the request's packet in it, at most.
        """
        message = bytearray([type, code, 0, 0]) + rest.to_bytes(4, "big") + self.packet[:quoted]
        return self._packet(message, router, right=True)

    def _packet(self, message: bytearray, sender: IpAddress, *, right: bool) -> bytes:
        message[2:4] = bytes(2)
        covered = bytes(message)
        if self.version == 6:
            covered = pseudo_header(sender, self.source, 58, len(message)) + covered
        message[2:4] = (checksum(covered) ^ (0 if right else 0x5555)).to_bytes(2, "big")
        if self.version == 6:
            start = b"\x60\0\0\0" + len(message).to_bytes(2, "big") + bytes([58, _HOP_LIMIT])
            return start + sender.packed + self.source.packed + bytes(message)
        head = bytearray(b"\x45\0" + (20 + len(message)).to_bytes(2, "big") + bytes(4))
        head += bytes([_HOP_LIMIT, 1, 0, 0]) + sender.packed + self.source.packed
        head[10:12] = checksum(bytes(head)).to_bytes(2, "big")
        return bytes(head + message)
