"""Changes of a network by rtnetlink(7), in the namespace that the calling thread is in.

Every call opens a netlink socket of its own, asks one question and waits for the kernel's
acknowledgement, so it may be made while an event loop runs.
"""

import os
import socket
import struct
from typing import Final

__all__ = ("CREATE", "EXCL", "attribute", "change")

# linux/netlink.h
_REQUEST: Final = 0x001
_ACK: Final = 0x004
EXCL: Final = 0x200
CREATE: Final = 0x400

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute of a message, filled up as the kernel wants it."""
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def change(kind: int, body: bytes, what: str, flags: int = 0) -> None:
    """Send a message of a kind (RTM_…), and wait until it is done.

    Raises:
        OSError: The kernel refused it; its file name is ``what``.
    """
    message = _HEADER.pack(_HEADER.size + len(body), kind, flags | _REQUEST | _ACK, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.sendto(message + body, (0, 0))
        reply = netlink.recv(8192)
    # An acknowledgement is an NLMSG_ERROR: the negative errno follows the header; 0 is good.
    number = -struct.unpack_from("=i", reply, _HEADER.size)[0]
    if number:
        raise OSError(number, os.strerror(number), what)
