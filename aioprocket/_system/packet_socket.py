"""bind(2) of a packet socket by interface index.

The socket module takes a name, which can move to another interface between two calls, and has no
word for "all interfaces".
"""

import ctypes
import os
import socket
import struct

__all__ = ("bind_packet",)

_ADDRESS = struct.Struct("@HHiHBB8x")  # struct sockaddr_ll, linux/if_packet.h
_libc = ctypes.CDLL(None, use_errno=True)


def bind_packet(sock: socket.socket, ifindex: int, protocol: int) -> None:
    """Receive from here on: one interface's frames, or all interfaces' for index 0.

    Args:
        sock: An AF_PACKET socket.
        ifindex: As the socket's own namespace numbers it.
        protocol: Ethernet protocol in host order; 0 leaves the socket's own.

    Raises:
        OSError: ``ENODEV``: there is no such interface. One that is down is bound, and the first
            receive says ``ENETDOWN``.

    Source: packet(7).
    """
    address = _ADDRESS.pack(socket.AF_PACKET, socket.htons(protocol), ifindex, 0, 0, 0)
    if _libc.bind(sock.fileno(), address, len(address)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
