"""Interfaces as one descriptor sees them, by ioctl on it.

A socket belongs to a network namespace for ever, and so do the answers here; if_nametoindex(3)
would answer for the namespace of the calling thread. Any socket will do, and for the hardware
address a tap descriptor, too.

Source: netdevice(7), struct ifreq in linux/if.h.
"""

import errno
import fcntl
import ipaddress
import os
import socket
import struct

from .numbers import InterfaceFlag, InterfaceRequest

__all__ = (
    "hardware_address",
    "hardware_type",
    "interface_flags",
    "interface_index",
    "interface_name",
    "interface_names_here",
    "ipv4_address",
    "mtu",
    "set_mtu",
    "set_up",
)

# struct ifreq: the name, then a union whose largest member is struct ifmap (24 bytes on 64 bit).
_NAME_SIZE = 16
_INTEGER = struct.Struct("@16si20x")
_FLAGS = struct.Struct("@16sH22x")
_ADDRESS = struct.Struct("@16sH14s8x")
_INET_ADDRESS = struct.Struct("@16sHH4s16x")
_HARDWARE_ADDRESS_LENGTH = 6  # ETH_ALEN: the kernel does not say how long the address is


def _ifreq(ifname: str) -> bytes:
    return os.fsencode(ifname).ljust(_NAME_SIZE, b"\0") + bytes(24)


def _ask(fd: int, request: InterfaceRequest, ifname: str) -> bytes:
    return fcntl.ioctl(fd, request, _ifreq(ifname))


def interface_index(fd: int, ifname: str) -> int:
    """The index of an interface.

    Raises:
        OSError: ``ENODEV``: there is no such interface in the socket's namespace.
    """
    index: int = _INTEGER.unpack(_ask(fd, InterfaceRequest.SIOCGIFINDEX, ifname))[1]
    return index


def interface_name(fd: int, ifindex: int) -> str:
    """The present name of an interface.

    Raises:
        OSError: ``ENODEV``: it is gone, or was never there.
    """
    answer = fcntl.ioctl(fd, InterfaceRequest.SIOCGIFNAME, _INTEGER.pack(b"", ifindex))
    return os.fsdecode(answer[:_NAME_SIZE].split(b"\0", 1)[0])


def interface_names_here() -> list[str]:
    """Every interface of the calling thread's namespace: for messages, not for a given socket."""
    return [name for _, name in socket.if_nameindex()]


def hardware_address(fd: int, ifname: str) -> bytes:
    """The link-layer address, six bytes; zeros where the kind of link has none (lo, tun)."""
    address: bytes = _ADDRESS.unpack(_ask(fd, InterfaceRequest.SIOCGIFHWADDR, ifname))[2]
    return address[:_HARDWARE_ADDRESS_LENGTH]


def hardware_type(fd: int, ifname: str) -> int:
    """The ARPHRD_… number of linux/if_arp.h: 1 Ethernet, 772 loopback, 65534 tun."""
    number: int = _ADDRESS.unpack(_ask(fd, InterfaceRequest.SIOCGIFHWADDR, ifname))[1]
    return number


def interface_flags(fd: int, ifname: str) -> InterfaceFlag:
    """What holds now: up, running, loopback…; flags without a name here are kept."""
    return InterfaceFlag(_FLAGS.unpack(_ask(fd, InterfaceRequest.SIOCGIFFLAGS, ifname))[1])


def mtu(fd: int, ifname: str) -> int:
    """The largest packet in bytes, link header not counted."""
    size: int = _INTEGER.unpack(_ask(fd, InterfaceRequest.SIOCGIFMTU, ifname))[1]
    return size


def ipv4_address(fd: int, ifname: str) -> ipaddress.IPv4Address | None:
    """The first IPv4 address; None where there is none, or where the socket cannot tell.

    Only inet and packet sockets can: the others have no such ioctl (``EINVAL``, ``ENOTTY``).
    """
    # SIOCGIFADDR looks for the address family in the request, on some families of sockets.
    request = _INET_ADDRESS.pack(os.fsencode(ifname), socket.AF_INET, 0, bytes(4))
    try:
        answer = fcntl.ioctl(fd, InterfaceRequest.SIOCGIFADDR, request)
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EINVAL, errno.ENOTTY):
            return None
        raise
    return ipaddress.IPv4Address(_INET_ADDRESS.unpack(answer)[3])


def set_mtu(fd: int, ifname: str, size: int) -> None:
    """Needs CAP_NET_ADMIN over the namespace.

    Raises:
        OSError: ``EPERM``; ``EINVAL``: the driver does not take this size.
    """
    request = _INTEGER.pack(os.fsencode(ifname), size)
    fcntl.ioctl(fd, InterfaceRequest.SIOCSIFMTU, request)


def set_up(fd: int, ifname: str) -> None:
    """Bring an interface up; nothing, and no privilege, is needed where it is up already.

    Raises:
        OSError: ``EPERM``: CAP_NET_ADMIN is missing.
    """
    flags = interface_flags(fd, ifname)
    if InterfaceFlag.UP not in flags:
        request = _FLAGS.pack(os.fsencode(ifname), flags | InterfaceFlag.UP)
        fcntl.ioctl(fd, InterfaceRequest.SIOCSIFFLAGS, request)
