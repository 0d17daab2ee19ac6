"""ARP: who has an address, and who says so (RFC 826, RFC 5227)."""

import struct
from typing import Final

from .addresses import ipv4
from .result import Dissection

__all__ = ("parse_arp",)

_OPERATIONS: Final = {
    1: "request", 2: "reply", 3: "reverse request", 4: "reverse reply", 8: "inverse request",
    9: "inverse reply",
}  # fmt: skip
_NOBODY: Final = bytes(4)


def parse_arp(into: Dissection, data: bytes, at: int) -> None:
    """Read a packet of ARP for IPv4 over 6-byte addresses; of others, what kind it is."""
    into.protocol = "ARP"
    hardware, protocol, hardware_len, protocol_len, operation = struct.unpack_from(
        "!HHBBH", data, at
    )
    name = _OPERATIONS.get(operation, f"operation {operation}")
    if (protocol, hardware_len, protocol_len) != (0x0800, 6, 4):
        into.add("arp", operation=operation, hardware_type=hardware, protocol_type=protocol)
        into.info = f"{name} for hardware {hardware}, protocol 0x{protocol:04x}"
        return
    sender_mac, sender, target_mac, target = struct.unpack_from("!6s4s6s4s", data, at + 8)
    into.add(
        "arp",
        operation=operation,
        sender_mac=sender_mac.hex(":"),
        sender=ipv4(sender),
        target_mac=target_mac.hex(":"),
        target=ipv4(target),
    )
    into.info = _words(operation, name, sender_mac, sender, target)


def _words(operation: int, name: str, sender_mac: bytes, sender: bytes, target: bytes) -> str:
    if operation == 1:
        if sender == _NOBODY:
            return f"who-has {ipv4(target)}, probe"
        if sender == target:
            return f"{ipv4(sender)} is-at {sender_mac.hex(':')}, announcement"
        return f"who-has {ipv4(target)} tell {ipv4(sender)}"
    if operation == 2:
        return f"{ipv4(sender)} is-at {sender_mac.hex(':')}"
    return f"{name} by {sender_mac.hex(':')}"
