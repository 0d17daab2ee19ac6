"""The error queue of a socket: what the network said about packets that were sent.

It fills with IP_RECVERR, IPV6_RECVERR or SO_TIMESTAMPING set. A descriptor whose queue is not
empty is in EPOLLERR until somebody reads the queue, which would turn every wait into a spin.

Source: ip(7), struct sock_extended_err in linux/errqueue.h.
"""

import errno
import os
import socket
import struct
from typing import Final

from .._system.numbers import IP_RECVERR, IPV6_RECVERR

__all__ = ("read_error_queue",)

_EXTENDED_ERROR = struct.Struct("=IBBBBII")
# SO_EE_ORIGIN_…: the others are notifications (transmit timestamps, zero copy).
_ORIGINS: Final = {1: "the local stack", 2: "ICMP", 3: "ICMPv6"}
_LEVELS: Final = {(socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR)}
# Other families ignore MSG_ERRQUEUE: asked for the queue, they would give away a packet.
_FAMILIES: Final = {socket.AF_INET, socket.AF_INET6, socket.AF_PACKET}
_ANCILLARY: Final = 512  # the error and its offender's address take 44 bytes at most


def read_error_queue(sock: socket.socket) -> list[OSError]:
    """Empty the queue.

    Returns:
        The errors in it, oldest first. Each has a note that says who reported it.
    """
    errors: list[OSError] = []
    while sock.family in _FAMILIES:
        try:
            _, ancdata, _, address = sock.recvmsg(
                0, _ANCILLARY, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT
            )
        except OSError:
            # EAGAIN: it is empty. Anything else, an ordinary receive will say, too.
            break
        for level, kind, data in ancdata:
            if (level, kind) in _LEVELS and len(data) >= _EXTENDED_ERROR.size:
                number, origin, *_ = _EXTENDED_ERROR.unpack_from(data)
                if origin in _ORIGINS and number not in (0, errno.ENOMSG):
                    errors.append(_error(number, _ORIGINS[origin], address))
    return errors


def _error(number: int, origin: str, address: object) -> OSError:
    error = OSError(number, os.strerror(number))
    error.add_note(f"reported by {origin} about a packet to {address}")
    return error
