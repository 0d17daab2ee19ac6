"""Routes by rtnetlink(7), in the namespace that the calling thread is in."""

import ipaddress
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from aioprocket.testing.machine.rtnetlink import CREATE, attribute, change

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

_ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg
_NEXT_HOP = struct.Struct("=HBBi")  # struct rtnexthop


def add_route(network: str, *gateways: str) -> None:
    """Send what is for a network to a gateway; several share its load, flow by flow."""
    to = ipaddress.ip_network(network)
    family = socket.AF_INET if to.version == 4 else socket.AF_INET6
    hops = [attribute(RTA_GATEWAY, ipaddress.ip_address(gateway).packed) for gateway in gateways]
    body = _ROUTE.pack(
        family, to.prefixlen, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0
    )
    body += attribute(RTA_DST, to.network_address.packed)
    if len(hops) == 1:
        body += hops[0]
    else:
        weighed = [_NEXT_HOP.pack(_NEXT_HOP.size + len(hop), 0, 0, 0) + hop for hop in hops]
        body += attribute(RTA_MULTIPATH, b"".join(weighed))
    change(RTM_NEWROUTE, body, f"route to {network} by {gateways}", CREATE)


def forward(switches: Sequence[str] = ("ipv4/ip_forward", "ipv6/conf/all/forwarding")) -> None:
    """Let the kernel pass on packets for others."""
    for switch in switches:
        path = Path("/proc/sys/net", switch)
        if path.exists():
            path.write_text("1")
