"""Network interfaces by rtnetlink(7): veth pairs, addresses, up and down.

Names are resolved in the namespace that the calling thread is in, too.
"""

import ipaddress
import socket
import struct
from pathlib import Path
from typing import Final

from .rtnetlink import CREATE, EXCL, attribute, change

__all__ = (
    "add_address",
    "add_veth",
    "delete_address",
    "delete_link",
    "disable_ipv6",
    "rename",
    "set_address",
    "set_down",
    "set_mtu",
    "set_up",
)

# linux/rtnetlink.h
_RTM_NEWLINK: Final = 16
_RTM_DELLINK: Final = 17
_RTM_NEWADDR: Final = 20
_RTM_DELADDR: Final = 21
# linux/if_link.h
_IFLA_ADDRESS: Final = 1
_IFLA_IFNAME: Final = 3
_IFLA_MTU: Final = 4
_IFLA_LINKINFO: Final = 18
_IFLA_NET_NS_FD: Final = 28
_IFLA_INFO_KIND: Final = 1
_IFLA_INFO_DATA: Final = 2
# linux/veth.h
_VETH_INFO_PEER: Final = 1
# linux/if_addr.h
_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2
_IFA_F_NODAD: Final = 0x02
# linux/if.h
_IFF_UP: Final = 1

_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg
_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg


def _name(ifname: str) -> bytes:
    return attribute(_IFLA_IFNAME, ifname.encode() + b"\x00")


def add_veth(ifname: str, peer: str, *, peer_namespace: int | None = None) -> None:
    """Make a pair of interfaces joined by a cable, both down.

    ``peer_namespace`` is a descriptor of the network namespace in which the second is born.
    """
    far = _LINK.pack(0, 0, 0, 0, 0) + _name(peer)
    if peer_namespace is not None:
        far += attribute(_IFLA_NET_NS_FD, struct.pack("=I", peer_namespace))
    pair = attribute(_IFLA_INFO_KIND, b"veth") + attribute(
        _IFLA_INFO_DATA, attribute(_VETH_INFO_PEER, far)
    )
    body = _LINK.pack(0, 0, 0, 0, 0) + _name(ifname) + attribute(_IFLA_LINKINFO, pair)
    change(_RTM_NEWLINK, body, f"veth {ifname} and {peer}", CREATE | EXCL)


def _change(ifname: str, what: str, *, flags: int = 0, attributes: bytes = b"") -> None:
    ifindex = socket.if_nametoindex(ifname)
    mask = _IFF_UP if what in ("up", "down") else 0
    body = _LINK.pack(0, 0, ifindex, flags, mask) + attributes
    change(_RTM_NEWLINK, body, f"{what} of {ifname}")


def set_up(ifname: str) -> None:
    """Bring an interface up; a veth carries frames once both ends are."""
    _change(ifname, "up", flags=_IFF_UP)


def set_down(ifname: str) -> None:
    """Take an interface down."""
    _change(ifname, "down")


def set_mtu(ifname: str, mtu: int) -> None:
    """Set the largest packet, in bytes without the link's header."""
    _change(ifname, "mtu", attributes=attribute(_IFLA_MTU, struct.pack("=I", mtu)))


def rename(ifname: str, name: str) -> None:
    """Call an interface by another name; before Linux 6.2 it has to be down."""
    _change(ifname, "name", attributes=_name(name))


def set_address(ifname: str, hwaddr: str) -> None:
    """Set the hardware address, written ``02:00:00:00:00:01``."""
    _change(
        ifname,
        "address",
        attributes=attribute(_IFLA_ADDRESS, bytes.fromhex(hwaddr.replace(":", ""))),
    )


def delete_link(ifname: str) -> None:
    """Remove an interface; a veth takes its other end with it."""
    body = _LINK.pack(0, 0, socket.if_nametoindex(ifname), 0, 0)
    change(_RTM_DELLINK, body, f"delete {ifname}")


def add_address(ifname: str, address: str) -> None:
    """Give an interface an address, ``10.0.0.1/24`` or ``fd00::1/64``, usable at once."""
    body = _address(ifname, address)
    change(_RTM_NEWADDR, body, f"address {address} on {ifname}", CREATE | EXCL)


def delete_address(ifname: str, address: str) -> None:
    """Take an address away, as it was given."""
    change(_RTM_DELADDR, _address(ifname, address), f"delete address {address} on {ifname}")


def _address(ifname: str, address: str) -> bytes:
    interface = ipaddress.ip_interface(address)
    family = socket.AF_INET if interface.version == 4 else socket.AF_INET6
    # Without IFA_F_NODAD an IPv6 address is tentative for a second, and bind() refuses it.
    flags = 0 if interface.version == 4 else _IFA_F_NODAD
    ifindex = socket.if_nametoindex(ifname)
    body = _ADDRESS.pack(family, interface.network.prefixlen, flags, 0, ifindex)
    for kind in (_IFA_LOCAL, _IFA_ADDRESS):
        body += attribute(kind, interface.ip.packed)
    return body


def disable_ipv6(ifname: str) -> None:
    """Keep the kernel from sending on its own: router solicitations, neighbour discovery, MLD."""
    switch = Path(f"/proc/sys/net/ipv6/conf/{ifname}/disable_ipv6")
    if switch.exists():  # a kernel without IPv6 has none
        switch.write_text("1")
