"""What can be asked of the helper: the kinds of descriptor, and which options each takes.

From the tables "Kinds" and "Flags" of ``helper/PROTOCOL.md``.
"""

from enum import IntEnum, IntFlag
from typing import Final

from ..names import FAMILIES, IP_PROTOCOLS, TYPES

__all__ = ("IPV4_KINDS", "PACKET_KINDS", "RAW_KINDS", "TAKES", "Flag", "Kind", "maybe_kind")


class Kind(IntEnum):
    """What to open."""

    PACKET = 1
    PACKET_DGRAM = 2
    RAW4 = 3
    RAW6 = 4
    PING4 = 5
    PING6 = 6
    TCP4 = 7
    TCP6 = 8
    UDP4 = 9
    UDP6 = 10
    TUN = 11
    TAP = 12
    DEVICE = 13
    ROUTE = 14


class Flag(IntFlag):
    """Which fields of an OPEN are set, and what is asked for without a field."""

    ADDRESS = 1 << 0
    PORT = 1 << 1
    INTERFACE = 1 << 2
    DEVICE = 1 << 3
    MARK = 1 << 4
    PRIORITY = 1 << 5
    RECEIVE_BUFFER = 1 << 6
    SEND_BUFFER = 1 << 7
    BACKLOG = 1 << 8
    MTU = 1 << 9
    FILTER = 1 << 10
    LOCK = 1 << 11
    REUSE_PORT = 1 << 12
    NAMESPACE = 1 << 13
    ADDRESSES = 1 << 14
    UP = 1 << 15
    PERSIST = 1 << 16
    QUEUES = 1 << 17
    OFFLOAD = 1 << 18


_OPTIONS: Final = (
    Flag.INTERFACE | Flag.MARK | Flag.PRIORITY | Flag.RECEIVE_BUFFER | Flag.SEND_BUFFER
    | Flag.NAMESPACE
)  # fmt: skip
_PACKET: Final = _OPTIONS | Flag.FILTER | Flag.LOCK
_RAW: Final = _PACKET | Flag.ADDRESS
_UDP: Final = _RAW | Flag.PORT | Flag.REUSE_PORT
_TCP: Final = _OPTIONS | Flag.ADDRESS | Flag.PORT | Flag.BACKLOG | Flag.REUSE_PORT
_TUN: Final = (
    Flag.INTERFACE | Flag.MTU | Flag.ADDRESSES | Flag.UP | Flag.PERSIST | Flag.QUEUES
    | Flag.OFFLOAD | Flag.NAMESPACE
)  # fmt: skip
TAKES: Final = {
    Kind.PACKET: _PACKET,
    Kind.PACKET_DGRAM: _PACKET,
    Kind.RAW4: _RAW,
    Kind.RAW6: _RAW,
    Kind.PING4: _RAW,
    Kind.PING6: _RAW,
    Kind.TCP4: _TCP,
    Kind.TCP6: _TCP,
    Kind.UDP4: _UDP,
    Kind.UDP6: _UDP,
    Kind.TUN: _TUN,
    Kind.TAP: _TUN,
    Kind.DEVICE: Flag.DEVICE,
    Kind.ROUTE: Flag.NAMESPACE,
}

PACKET_KINDS: Final = frozenset({Kind.PACKET, Kind.PACKET_DGRAM})
RAW_KINDS: Final = frozenset({Kind.RAW4, Kind.RAW6})
IPV4_KINDS: Final = frozenset({Kind.RAW4, Kind.PING4, Kind.TCP4, Kind.UDP4})

_NETLINK_ROUTE: Final = 0  # linux/netlink.h
_SOCKETS: Final = {
    (FAMILIES[family], TYPES[type], IP_PROTOCOLS[protocol]): kind
    for family, type, protocol, kind in (
        ("inet", "dgram", "icmp", Kind.PING4),
        ("inet6", "dgram", "ipv6-icmp", Kind.PING6),
        ("inet", "stream", "tcp", Kind.TCP4),
        ("inet6", "stream", "tcp", Kind.TCP6),
        ("inet", "dgram", "udp", Kind.UDP4),
        ("inet6", "dgram", "udp", Kind.UDP6),
    )
} | {(FAMILIES["netlink"], TYPES["raw"], _NETLINK_ROUTE): Kind.ROUTE}
_RAW_SOCKETS: Final = {FAMILIES["inet"]: Kind.RAW4, FAMILIES["inet6"]: Kind.RAW6}


def maybe_kind(family: int, type: int, protocol: int) -> Kind | None:
    """The kind of a socket of these numbers, or None if the helper does not open it."""
    if type == TYPES["raw"] and family in _RAW_SOCKETS and 0 <= protocol <= 255:
        return _RAW_SOCKETS[family]
    return _SOCKETS.get((family, type, protocol))
