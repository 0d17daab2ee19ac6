"""Where the kernel would send a packet: by which interface, from which address, by which router.

Of the namespace of the socket of rtnetlink that is asked. Source: rtnetlink(7), RTM_GETROUTE.
"""

import ipaddress
import socket
import struct
from typing import Final, NamedTuple

from .netlink import DUMP, HEADER, ask_by, attribute, attributes

__all__ = ("Route", "interface_networks", "route_to")

_ROUTE: Final = struct.Struct("@BBBBBBBBI")  # struct rtmsg
_ADDRESS: Final = struct.Struct("@BBBBI")  # struct ifaddrmsg
_INT: Final = struct.Struct("@i")

_RTM_GETADDR: Final = 22
_RTM_GETROUTE: Final = 26
_RTA_DST: Final = 1
_RTA_OIF: Final = 4
_RTA_GATEWAY: Final = 5
_RTA_PREFSRC: Final = 7
_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2

_IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_IpInterface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


class Route(NamedTuple):
    """The first step of the way to an address.

    Attributes:
        ifindex: The interface that leads there.
        source: What a packet's source address would be; None: the kernel does not say.
        gateway: The router that it goes to; None: the address is on the link itself.
    """

    ifindex: int
    source: _IpAddress | None
    gateway: _IpAddress | None


def route_to(asked: socket.socket, address: _IpAddress, ifindex: int = 0) -> Route:
    """Ask the kernel; with ``ifindex``, for a way by this interface.

    Raises:
        OSError: ``ENETUNREACH``, ``EHOSTUNREACH``: there is none.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    packed = address.packed
    body = _ROUTE.pack(family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0) + attribute(_RTA_DST, packed)
    if ifindex:
        body += attribute(_RTA_OIF, _INT.pack(ifindex))
    (answer,) = ask_by(asked, _RTM_GETROUTE, 0, body)
    found = attributes(answer[HEADER.size + _ROUTE.size :])
    return Route(
        ifindex=_INT.unpack(found[_RTA_OIF])[0] if _RTA_OIF in found else 0,
        source=_address(found.get(_RTA_PREFSRC)),
        gateway=_address(found.get(_RTA_GATEWAY)),
    )


def interface_networks(asked: socket.socket, ifindex: int) -> list[_IpInterface]:
    """The addresses of an interface, each with its network, in the kernel's order."""
    networks: list[_IpInterface] = []
    request = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    for answer in ask_by(asked, _RTM_GETADDR, DUMP, request):
        _, prefix, _, _, index = _ADDRESS.unpack_from(answer, HEADER.size)
        found = attributes(answer[HEADER.size + _ADDRESS.size :])
        # On a point-to-point link ADDRESS is the peer's; IPv6 has no LOCAL elsewhere.
        address = _address(found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS))
        if index == ifindex and address is not None:
            networks.append(ipaddress.ip_interface((address, prefix)))
    return networks


def _address(packed: bytes | None) -> _IpAddress | None:
    return None if packed is None else ipaddress.ip_address(packed)
