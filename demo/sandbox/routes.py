"""Routes by rtnetlink(7), in the namespace that the calling thread is in."""

import ipaddress
import os
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ("add_route", "forward")

# linux/rtnetlink.h
RTM_NEWROUTE: Final = 24
RTA_DST: Final = 1
RTA_GATEWAY: Final = 5
RTA_MULTIPATH: Final = 9
RT_TABLE_MAIN: Final = 254
RTPROT_BOOT: Final = 3
RT_SCOPE_UNIVERSE: Final = 0
RTN_UNICAST: Final = 1
# linux/netlink.h
NLM_F_REQUEST: Final = 0x001
NLM_F_ACK: Final = 0x004
NLM_F_CREATE: Final = 0x400

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg
_NEXT_HOP = struct.Struct("=HBBi")  # struct rtnexthop


def add_route(network: str, *gateways: str) -> None:
    """Send what is for a network to a gateway; several share its load, flow by flow."""
    to = ipaddress.ip_network(network)
    family = socket.AF_INET if to.version == 4 else socket.AF_INET6
    hops = [_attribute(RTA_GATEWAY, ipaddress.ip_address(gateway).packed) for gateway in gateways]
    body = _ROUTE.pack(
        family, to.prefixlen, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0
    )
    body += _attribute(RTA_DST, to.network_address.packed)
    if len(hops) == 1:
        body += hops[0]
    else:
        weighed = [_NEXT_HOP.pack(_NEXT_HOP.size + len(hop), 0, 0, 0) + hop for hop in hops]
        body += _attribute(RTA_MULTIPATH, b"".join(weighed))
    _ask(body, f"route to {network} by {gateways}")


def forward(switches: Sequence[str] = ("ipv4/ip_forward", "ipv6/conf/all/forwarding")) -> None:
    """Let the kernel pass on packets for others."""
    for switch in switches:
        path = Path("/proc/sys/net", switch)
        if path.exists():
            path.write_text("1")


def _attribute(kind: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def _ask(body: bytes, what: str) -> None:
    flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE
    message = _HEADER.pack(_HEADER.size + len(body), RTM_NEWROUTE, flags, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.sendto(message + body, (0, 0))
        reply = netlink.recv(8192)
    number = -struct.unpack_from("=i", reply, _HEADER.size)[0]
    if number:
        raise OSError(number, os.strerror(number), what)
