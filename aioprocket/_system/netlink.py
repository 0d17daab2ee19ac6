"""One request to rtnetlink, and what the kernel answers. In the calling thread's namespace.

Source: netlink(7), rtnetlink(7), linux/netlink.h, linux/rtnetlink.h.
"""

import errno
import os
import socket
import struct
from typing import Final

__all__ = ("ACKNOWLEDGE", "DUMP", "ERROR", "HEADER", "ask", "ask_by", "attribute", "attributes")

HEADER: Final = struct.Struct("@IHHII")  # struct nlmsghdr
_ATTRIBUTE: Final = struct.Struct("@HH")  # struct rtattr
_ERRNO: Final = struct.Struct("@i")  # the first field of struct nlmsgerr

ERROR: Final = 2  # NLMSG_ERROR; an acknowledgement, too
_DONE: Final = 3  # NLMSG_DONE
_REQUEST: Final = 0x1  # NLM_F_REQUEST
ACKNOWLEDGE: Final = 0x4  # NLM_F_ACK
DUMP: Final = 0x300  # NLM_F_DUMP
_TYPE_MASK: Final = 0x3FFF  # NLA_TYPE_MASK
_SEQUENCE: Final = 1
_KERNEL: Final = 0  # as the sender of a message
_ROOM: Final = 65_536


def ask(kind: int, flags: int, body: bytes) -> list[bytes]:
    """Send one request; the messages of its answer, each with its header.

    With `DUMP` there may be any number, without one. The kernel answers within the send.

    Raises:
        OSError: What the kernel answers; ``EPROTO``: what it answers is not understood.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as route:
        return ask_by(route, kind, flags, body)


def ask_by(route: socket.socket, kind: int, flags: int, body: bytes) -> list[bytes]:
    """As `ask`, by a socket of rtnetlink that is open, in the namespace that it was opened in.

    After an error of a dump the socket is of no use any more.
    """
    header = HEADER.pack(HEADER.size + len(body), kind, flags | _REQUEST, _SEQUENCE, 0)
    answers: list[bytes] = []
    route.sendto(header + body, (0, 0))
    while True:
        # A dump comes piece by piece, each when the one before was read.
        data, (sender, _) = route.recvfrom(_ROOM, socket.MSG_DONTWAIT)
        if sender != _KERNEL:
            continue  # others with CAP_NET_ADMIN can send to the socket, too
        ended = _split(data, answers)
        if ended or flags & DUMP != DUMP:  # NLM_F_REPLACE is one half of it
            return answers


def _split(data: bytes, answers: list[bytes]) -> bool:
    """Add the messages of one read; whether they were the last."""
    at = 0
    while at < len(data):
        if len(data) - at < HEADER.size + _ERRNO.size:
            raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))
        length, kind, _, sequence, _ = HEADER.unpack_from(data, at)
        if sequence != _SEQUENCE or not HEADER.size + _ERRNO.size <= length <= len(data) - at:
            raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))
        if kind in (ERROR, _DONE):
            (error,) = _ERRNO.unpack_from(data, at + HEADER.size)
            if error:
                raise OSError(-error, os.strerror(-error))
        if kind == _DONE:
            return True
        answers.append(data[at : at + length])
        at += (length + 3) & ~3  # NLMSG_ALIGN
    return False


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, with what it is filled up by."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes that lie one behind the other, by type; the first one counts."""
    found: dict[int, bytes] = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if not _ATTRIBUTE.size <= length <= len(data) - at:
            break
        found.setdefault(kind & _TYPE_MASK, data[at + _ATTRIBUTE.size : at + length])
        at += (length + 3) & ~3  # RTA_ALIGN
    return found
