"""Names of families, types and protocols, and the kernel's numbers for them."""

import socket
from typing import Final

from .bounds import MAX_INT, whole
from .errors import SpecError

__all__ = (
    "ETH_P_ALL",
    "FAMILIES",
    "IP_PROTOCOLS",
    "MAX_IP_PROTOCOL",
    "TYPES",
    "family_name",
    "family_number",
    "protocol_name",
    "protocol_number",
    "type_name",
    "type_number",
)

ETH_P_ALL: Final = 0x0003  # linux/if_ether.h
MAX_IP_PROTOCOL: Final = 262  # IPPROTO_MPTCP, linux/in.h

FAMILIES: Final[dict[str, int]] = {
    "inet": socket.AF_INET,
    "inet6": socket.AF_INET6,
    "packet": socket.AF_PACKET,
    "netlink": socket.AF_NETLINK,
    "unix": socket.AF_UNIX,
}
TYPES: Final[dict[str, int]] = {
    "stream": socket.SOCK_STREAM,
    "dgram": socket.SOCK_DGRAM,
    "raw": socket.SOCK_RAW,
    "seqpacket": socket.SOCK_SEQPACKET,
}
# IANA protocol numbers under the names of /etc/protocols, which a small container lacks.
IP_PROTOCOLS: Final[dict[str, int]] = {
    "ip": 0, "icmp": 1, "igmp": 2, "ipip": 4, "tcp": 6, "udp": 17, "dccp": 33, "ipv6": 41,
    "rsvp": 46, "gre": 47, "esp": 50, "ah": 51, "ipv6-icmp": 58, "icmp6": 58, "icmpv6": 58,
    "ospf": 89, "pim": 103, "vrrp": 112, "l2tp": 115, "sctp": 132, "udplite": 136, "mptcp": 262,
    "raw": 255,
}  # fmt: skip
# linux/if_ether.h, in host order.
_ETHERNET_PROTOCOLS: Final[dict[str, int]] = {
    "all": ETH_P_ALL, "ip": 0x0800, "ipv4": 0x0800, "arp": 0x0806, "rarp": 0x8035,
    "vlan": 0x8100, "ipv6": 0x86DD, "pppoe-discovery": 0x8863, "pppoe": 0x8864,
    "mpls": 0x8847, "eapol": 0x888E, "qinq": 0x88A8, "lldp": 0x88CC, "macsec": 0x88E5,
    "ptp": 0x88F7, "loopback": 0x9000,
}  # fmt: skip
# linux/netlink.h
_NETLINK_PROTOCOLS: Final[dict[str, int]] = {
    "route": 0, "usersock": 2, "sock-diag": 4, "nflog": 5, "xfrm": 6, "selinux": 7, "audit": 9,
    "connector": 11, "netfilter": 12, "kobject-uevent": 15, "generic": 16, "crypto": 21,
}  # fmt: skip


def _named(what: str, value: int | str, names: dict[str, int], high: int) -> int:
    if isinstance(value, str):
        try:
            return names[value.lower()]
        except KeyError:
            raise SpecError(
                f"unknown {what} {value!r}", hint=f"known names: {', '.join(names)}; or a number"
            ) from None
    return whole(what, value, 0, high)


def family_number(family: int | str) -> int:
    """``"inet6"`` → ``AF_INET6``; a number must be one of the families this package opens."""
    number = _named("family", family, FAMILIES, 0xFFFF)
    if number not in FAMILIES.values():
        raise SpecError(f"family {number} is not one of {', '.join(FAMILIES)}")
    return number


def type_number(type: int | str) -> int:
    """``"raw"`` → ``SOCK_RAW``. Flags like ``SOCK_NONBLOCK`` are refused: both are always set."""
    number = _named("type", type, TYPES, MAX_INT)
    if number not in TYPES.values():
        raise SpecError(f"type {number} is not one of {', '.join(TYPES)}")
    return number


def protocol_number(protocol: int | str, family: int) -> int:
    """The number of a protocol's name in its family; Ethernet protocols in host order."""
    if family == socket.AF_PACKET:
        return _named("Ethernet protocol", protocol, _ETHERNET_PROTOCOLS, 0xFFFF)
    if family == socket.AF_NETLINK:
        return _named("netlink protocol", protocol, _NETLINK_PROTOCOLS, 0xFF)
    if family == socket.AF_UNIX:
        return 0
    return _named("protocol", protocol, IP_PROTOCOLS, MAX_IP_PROTOCOL)


def _name(number: int, names: dict[str, int]) -> str:
    return next((name for name, value in names.items() if value == number), str(number))


def family_name(number: int) -> str:
    """The name of a family, or its number as text."""
    return _name(number, FAMILIES)


def type_name(number: int) -> str:
    """The name of a type, or its number as text."""
    return _name(number, TYPES)


def protocol_name(number: int, family: int = socket.AF_INET) -> str:
    """The name of a protocol in its family, or its number as text."""
    if family == socket.AF_PACKET:
        name = _name(number, _ETHERNET_PROTOCOLS)
        return f"{number:#06x}" if name.isdigit() else name
    return _name(number, _NETLINK_PROTOCOLS if family == socket.AF_NETLINK else IP_PROTOCOLS)
