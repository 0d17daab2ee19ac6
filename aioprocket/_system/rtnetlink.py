"""The one rtnetlink message that has no ioctl: an address with a prefix, of either version.

Source: rtnetlink(7), linux/rtnetlink.h, linux/if_addr.h, linux/netlink.h.
"""

import ipaddress
import os
import socket
import struct
from typing import Final

__all__ = ("add_address",)

_HEADER: Final = struct.Struct("@IHHII")  # struct nlmsghdr
_ADDRESS: Final = struct.Struct("@BBBBI")  # struct ifaddrmsg
_ATTRIBUTE: Final = struct.Struct("@HH")  # struct rtattr
_ERROR: Final = struct.Struct("@i")  # the first field of struct nlmsgerr

_RTM_NEWADDR: Final = 20
_NLM_F_REQUEST: Final = 0x1
_NLM_F_ACK: Final = 0x4
_NLM_F_REPLACE: Final = 0x100
_NLM_F_CREATE: Final = 0x400
_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2
_IFA_F_NODAD: Final = 0x02
_ANSWER_ROOM: Final = 4096


def add_address(ifindex: int, address: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> None:
    """Give an interface of the calling thread's namespace an address; it may have it already.

    IPv6 addresses can be used at once: duplicate address detection is skipped, for it would keep
    them tentative for a second, on a link that nobody else is on yet.

    Raises:
        OSError: ``EPERM``: CAP_NET_ADMIN is missing; ``ENODEV``.
    """
    packed = address.ip.packed
    family, flags = (socket.AF_INET, 0) if address.version == 4 else (socket.AF_INET6, _IFA_F_NODAD)
    body = _ADDRESS.pack(family, address.network.prefixlen, flags, 0, ifindex)
    # Both: LOCAL is the address; ADDRESS would be the peer's, where it is another one.
    for kind in (_IFA_LOCAL, _IFA_ADDRESS):
        body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(packed), kind) + packed
    _transact(_RTM_NEWADDR, _NLM_F_CREATE | _NLM_F_REPLACE, body)


def _transact(kind: int, flags: int, body: bytes) -> None:
    """Send one request and read its acknowledgement. The kernel answers within the send."""
    flags |= _NLM_F_REQUEST | _NLM_F_ACK
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as route:
        route.sendto(_HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body, (0, 0))
        answer = route.recv(_ANSWER_ROOM)
    (error,) = _ERROR.unpack_from(answer, _HEADER.size)
    if error:
        raise OSError(-error, os.strerror(-error))
