"""The rtnetlink messages that have no ioctl: addresses with a prefix, whose a device is, counters.

Source: rtnetlink(7), linux/rtnetlink.h, linux/if_addr.h, linux/if_link.h, linux/netlink.h.
"""

import errno
import ipaddress
import os
import socket
import struct
from typing import Final

__all__ = ("add_address", "is_owners_alone", "link_message", "transmit_drops")

_HEADER: Final = struct.Struct("@IHHII")  # struct nlmsghdr
_ADDRESS: Final = struct.Struct("@BBBBI")  # struct ifaddrmsg
_ATTRIBUTE: Final = struct.Struct("@HH")  # struct rtattr
_ERROR: Final = struct.Struct("@i")  # the first field of struct nlmsgerr
_LINK: Final = struct.Struct("@BxHiII")  # struct ifinfomsg
_U32: Final = struct.Struct("@I")
_STATS: Final = struct.Struct("@BxxxII")  # struct if_stats_msg
_LINK_STATS: Final = struct.Struct("@8Q")  # struct rtnl_link_stats64, as far as tx_dropped

_NLMSG_ERROR: Final = 2
_RTM_NEWLINK: Final = 16
_RTM_GETLINK: Final = 18
_RTM_NEWADDR: Final = 20
_RTM_NEWSTATS: Final = 92
_RTM_GETSTATS: Final = 94
_NLM_F_REQUEST: Final = 0x1
_NLM_F_ACK: Final = 0x4
_NLM_F_REPLACE: Final = 0x100
_NLM_F_CREATE: Final = 0x400
_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2
_IFA_F_NODAD: Final = 0x02
_TYPE_MASK: Final = 0x3FFF  # NLA_TYPE_MASK
_IFLA_LINKINFO: Final = 18
_IFLA_INFO_KIND: Final = 1
_IFLA_INFO_DATA: Final = 2
_IFLA_STATS_LINK_64: Final = 1
_IFLA_TUN_OWNER: Final = 1
_IFLA_TUN_GROUP: Final = 2
_IFLA_TUN_PERSIST: Final = 6
_IFLA_TUN_MULTI_QUEUE: Final = 7
_IFLA_TUN_NUM_QUEUES: Final = 8
_IFLA_TUN_NUM_DISABLED_QUEUES: Final = 9
_SEQUENCE: Final = 1
_KERNEL: Final = 0  # as the sender of a message
_ANSWER_ROOM: Final = 8192


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


def link_message(ifindex: int) -> bytes:
    """What the kernel says of an interface of the calling thread's namespace: RTM_NEWLINK.

    Raises:
        OSError: ``ENODEV``.
    """
    return _ask(_RTM_GETLINK, 0, _LINK.pack(socket.AF_UNSPEC, 0, ifindex, 0, 0))


def transmit_drops(ifindex: int) -> int:
    """Packets that an interface of the calling thread's namespace could not send: tx_dropped.

    Raises:
        OSError: ``ENODEV``.
    """
    wanted = 1 << (_IFLA_STATS_LINK_64 - 1)
    answer = _ask(_RTM_GETSTATS, 0, _STATS.pack(socket.AF_UNSPEC, ifindex, wanted))
    length, kind, *_ = _HEADER.unpack_from(answer)
    if kind != _RTM_NEWSTATS:
        raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))
    found = _attributes(answer[_HEADER.size + _STATS.size : length]).get(_IFLA_STATS_LINK_64, b"")
    if len(found) < _LINK_STATS.size:
        raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))
    dropped: int = _LINK_STATS.unpack_from(found)[7]
    return dropped


def is_owners_alone(message: bytes, ifindex: int, owner: int) -> bool:
    """Whether a `link_message` is of a tun or tap device that nobody but its owner has touched.

    Of several queues, which belongs to this account and to no group, has one queue, and goes with
    it. Whatever the message leaves unsaid (Linux before 4.17 says nothing) is not so.
    """
    start = _HEADER.size + _LINK.size
    if len(message) < start:
        return False
    length, kind, *_ = _HEADER.unpack_from(message)
    if kind != _RTM_NEWLINK or not start <= length <= len(message):
        return False
    if _LINK.unpack_from(message, _HEADER.size)[2] != ifindex:
        return False
    info = _attributes(_attributes(message[start:length]).get(_IFLA_LINKINFO, b""))
    said = _attributes(info.get(_IFLA_INFO_DATA, b""))
    expected = {
        _IFLA_TUN_OWNER: _U32.pack(owner),
        _IFLA_TUN_PERSIST: b"\0",
        _IFLA_TUN_MULTI_QUEUE: b"\1",
        _IFLA_TUN_NUM_QUEUES: _U32.pack(1),
        _IFLA_TUN_NUM_DISABLED_QUEUES: _U32.pack(0),
    }
    return (
        info.get(_IFLA_INFO_KIND) == b"tun\0"
        and _IFLA_TUN_GROUP not in said
        and expected.items() <= said.items()
    )


def _attributes(data: bytes) -> dict[int, bytes]:
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


def _transact(kind: int, flags: int, body: bytes) -> None:
    """Have one thing done, and wait for the acknowledgement."""
    answer = _ask(kind, flags | _NLM_F_ACK, body)
    if _HEADER.unpack_from(answer)[1] != _NLMSG_ERROR:
        raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))


def _ask(kind: int, flags: int, body: bytes) -> bytes:
    """Send one request and read its answer; an error in it is raised.

    The kernel answers within the send.
    """
    header = _HEADER.pack(_HEADER.size + len(body), kind, flags | _NLM_F_REQUEST, _SEQUENCE, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as route:
        route.sendto(header + body, (0, 0))
        answer, (sender, _) = route.recvfrom(_ANSWER_ROOM, socket.MSG_DONTWAIT)
    # Others with CAP_NET_ADMIN can send to the socket, too.
    if sender != _KERNEL or len(answer) < _HEADER.size + _ERROR.size:
        raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))
    _, answered, _, sequence, _ = _HEADER.unpack_from(answer)
    if sequence != _SEQUENCE:
        raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))
    if answered == _NLMSG_ERROR:
        (error,) = _ERROR.unpack_from(answer, _HEADER.size)
        if error:
            raise OSError(-error, os.strerror(-error))
    return answer
