"""Several UDP datagrams in one, as a plain socket sends and receives them: udp(7)."""

import socket
import struct
from collections.abc import Sequence
from typing import Any

__all__ = ("UDP_GRO", "UDP_SEGMENT", "numbered", "receive_in_one", "send_in_one", "settled")

UDP_SEGMENT, UDP_GRO = 103, 104  # linux/udp.h
_LARGEST = 65535


def numbered(first: int, count: int, size: int = 8) -> list[bytes]:
    """Datagrams that say which they are."""
    return [number.to_bytes(4, "big").ljust(size, b".") for number in range(first, first + count)]


def send_in_one(sock: socket.socket, datagrams: Sequence[bytes], address: Any = None) -> None:
    """Datagrams of one size, but for the last, by one call. On loopback they stay together."""
    size = (socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", len(datagrams[0])))
    data = b"".join(datagrams)
    sent = sock.sendmsg([data], [size], 0, *([] if address is None else [address]))
    assert sent == len(data)


def receive_in_one(sock: socket.socket) -> tuple[bytes, int]:
    """The next message of a socket that has UDP_GRO on, and of what size its datagrams are."""
    data, ancdata, _, _ = sock.recvmsg(_LARGEST, 256)
    sizes = [
        struct.unpack("=i", value)[0]
        for level, kind, value in ancdata
        if (level, kind) == (socket.IPPROTO_UDP, UDP_GRO)
    ]
    return data, sizes[0] if sizes else 0


def settled(sock: socket.socket, seconds: float = 20) -> socket.socket:
    """The same socket: a receive of it fails rather than to wait for ever."""
    sock.settimeout(seconds)
    return sock
