"""The rtnetlink messages that have no ioctl: addresses with a prefix, whose a device is, counters.

Source: rtnetlink(7), linux/rtnetlink.h, linux/if_addr.h, linux/if_link.h, linux/netlink.h.
"""

import errno
import ipaddress
import os
import socket
import struct
from typing import Final

from .netlink import ACKNOWLEDGE, ERROR, HEADER, ask, attribute, attributes

__all__ = ("add_address", "is_owners_alone", "is_tun", "link_message", "transmit_drops")

_ADDRESS: Final = struct.Struct("@BBBBI")  # struct ifaddrmsg
_LINK: Final = struct.Struct("@BxHiII")  # struct ifinfomsg
_U32: Final = struct.Struct("@I")
_STATS: Final = struct.Struct("@BxxxII")  # struct if_stats_msg
_LINK_STATS: Final = struct.Struct("@8Q")  # struct rtnl_link_stats64, as far as tx_dropped

_RTM_NEWLINK: Final = 16
_RTM_GETLINK: Final = 18
_RTM_NEWADDR: Final = 20
_RTM_NEWSTATS: Final = 92
_RTM_GETSTATS: Final = 94
_NLM_F_REPLACE: Final = 0x100
_NLM_F_CREATE: Final = 0x400
_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2
_IFA_F_NODAD: Final = 0x02
_IFLA_IFNAME: Final = 3
_IFLA_LINKINFO: Final = 18
_IFLA_INFO_KIND: Final = 1
_IFLA_INFO_DATA: Final = 2
_TUN: Final = b"tun\0"  # the kind of tap devices, too
_IFLA_STATS_LINK_64: Final = 1
_IFLA_TUN_OWNER: Final = 1
_IFLA_TUN_GROUP: Final = 2
_IFLA_TUN_PERSIST: Final = 6
_IFLA_TUN_MULTI_QUEUE: Final = 7
_IFLA_TUN_NUM_QUEUES: Final = 8
_IFLA_TUN_NUM_DISABLED_QUEUES: Final = 9


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
        body += attribute(kind, packed)
    (answer,) = ask(_RTM_NEWADDR, ACKNOWLEDGE | _NLM_F_CREATE | _NLM_F_REPLACE, body)
    if HEADER.unpack_from(answer)[1] != ERROR:
        raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))


def link_message(ifindex: int) -> bytes:
    """What the kernel says of an interface of the calling thread's namespace: RTM_NEWLINK.

    Raises:
        OSError: ``ENODEV``.
    """
    (answer,) = ask(_RTM_GETLINK, 0, _LINK.pack(socket.AF_UNSPEC, 0, ifindex, 0, 0))
    return answer


def transmit_drops(ifindex: int) -> int:
    """Packets that an interface of the calling thread's namespace could not send: tx_dropped.

    Raises:
        OSError: ``ENODEV``.
    """
    wanted = 1 << (_IFLA_STATS_LINK_64 - 1)
    (answer,) = ask(_RTM_GETSTATS, 0, _STATS.pack(socket.AF_UNSPEC, ifindex, wanted))
    length, kind, *_ = HEADER.unpack_from(answer)
    if kind != _RTM_NEWSTATS:
        raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))
    found = attributes(answer[HEADER.size + _STATS.size : length]).get(_IFLA_STATS_LINK_64, b"")
    if len(found) < _LINK_STATS.size:
        raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))
    dropped: int = _LINK_STATS.unpack_from(found)[7]
    return dropped


def _link_attributes(message: bytes, ifindex: int) -> dict[int, bytes]:
    """Of a `link_message`; none where it is no answer to that question."""
    start = HEADER.size + _LINK.size
    if len(message) < start:
        return {}
    length, kind, *_ = HEADER.unpack_from(message)
    if kind != _RTM_NEWLINK or not start <= length <= len(message):
        return {}
    if _LINK.unpack_from(message, HEADER.size)[2] != ifindex:
        return {}
    return attributes(message[start:length])


def is_tun(message: bytes, ifindex: int, ifname: str) -> bool:
    """Whether a `link_message` is of a tun or tap device of this name."""
    said = _link_attributes(message, ifindex)
    info = attributes(said.get(_IFLA_LINKINFO, b""))
    return (
        said.get(_IFLA_IFNAME) == os.fsencode(ifname) + b"\0" and info.get(_IFLA_INFO_KIND) == _TUN
    )


def is_owners_alone(message: bytes, ifindex: int, owner: int) -> bool:
    """Whether a `link_message` is of a tun or tap device that nobody but its owner has touched.

    Of several queues, which belongs to this account and to no group, has one queue, and goes with
    it. Whatever the message leaves unsaid (Linux before 4.17 says nothing) is not so.
    """
    info = attributes(_link_attributes(message, ifindex).get(_IFLA_LINKINFO, b""))
    said = attributes(info.get(_IFLA_INFO_DATA, b""))
    expected = {
        _IFLA_TUN_OWNER: _U32.pack(owner),
        _IFLA_TUN_PERSIST: b"\0",
        _IFLA_TUN_MULTI_QUEUE: b"\1",
        _IFLA_TUN_NUM_QUEUES: _U32.pack(1),
        _IFLA_TUN_NUM_DISABLED_QUEUES: _U32.pack(0),
    }
    return (
        info.get(_IFLA_INFO_KIND) == _TUN
        and _IFLA_TUN_GROUP not in said
        and expected.items() <= said.items()
    )
