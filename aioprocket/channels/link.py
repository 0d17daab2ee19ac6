"""The interface that a channel is bound to: what is known of it, and whether it is still there.

Asked by ioctl on the channel's own socket, which answers for the network namespace it was opened
in. What was known last stays known after the interface, or the channel, is gone.
"""

import errno
import socket
from contextlib import suppress
from typing import Final

from .._system import interfaces, tun
from .._system.namespace import network_here
from .._system.numbers import InterfaceFlag
from .._system.rtnetlink import is_tun, link_message

__all__ = ("Link", "TunLink")

_ETHERNET_TYPES: Final = frozenset({1, 772})  # ARPHRD_ETHER, ARPHRD_LOOPBACK: linux/if_arp.h


class Link:
    """An interface by its index, seen through the descriptor ``fd`` of its channel.

    The index is what it is: it never comes again, while a name may be another interface's by now.
    Most ioctls want a name all the same.
    """

    __slots__ = ("_fd", "_hwaddr", "_mtu", "_name", "ethernet", "index")

    def __init__(self, fd: int, name: str, index: int) -> None:
        self._fd = fd
        self._name = name
        self.index = index
        self.ethernet = False
        self._hwaddr: bytes | None = None
        self._mtu: int | None = None
        self.refresh()

    @property
    def name(self) -> str:
        """What it is called now, or was when it was there."""
        if self._fd >= 0:
            with suppress(OSError):
                self._name = self._find_name(self._fd)
        return self._name

    def _find_name(self, fd: int) -> str:
        return interfaces.interface_name(fd, self.index)

    def refresh(self) -> None:
        """Ask again; what cannot be known now stays as it was."""
        if self._fd >= 0:
            with suppress(OSError):  # ENODEV: removed. Not every kind of socket knows every ioctl.
                self._ask(self._fd)

    def _ask(self, fd: int) -> None:
        name = self._find_name(fd)
        mtu = interfaces.mtu(fd, name)
        hwaddr = interfaces.hardware_address(fd, name)
        ethernet = interfaces.hardware_type(fd, name) in _ETHERNET_TYPES
        if self._find_name(fd) == name:  # else another one may have answered
            self._name, self._mtu, self._hwaddr, self.ethernet = name, mtu, hwaddr, ethernet

    @property
    def mtu(self) -> int | None:
        """In bytes, link header not counted."""
        self.refresh()
        return self._mtu

    @property
    def hwaddr(self) -> bytes | None:
        """Six bytes; zeros where the kind of link has no address."""
        self.refresh()
        return self._hwaddr

    def up(self) -> bool:
        """Whether it is there, and administratively up."""
        if self._fd < 0:
            return False
        try:
            name = self._find_name(self._fd)
            return InterfaceFlag.UP in interfaces.interface_flags(self._fd, name)
        except OSError:  # ENODEV
            return False

    def gone(self) -> bool:
        """Whether the interface was removed. It will not come back under this index."""
        if self._fd < 0:
            return False
        try:
            self._find_name(self._fd)
        except OSError as error:
            return error.errno == errno.ENODEV
        return False

    def unplug(self) -> None:
        """The descriptor is no longer the channel's: never ask again."""
        self._fd = -1


class TunLink(Link):
    """The interface that a tun descriptor is the other end of.

    A tun descriptor answers no question about its interface but the name, so a socket is asked: it
    knows only the namespace of this process, and a device in another one keeps what the opener
    said of it.

    Attributes:
        here: It is in the namespace of this process. Where the kernel does not tell (it tells the
            device's root), the interface of this index is believed to be it if it is a tun device
            of this name.
    """

    __slots__ = ("here",)

    def __init__(self, fd: int, name: str, index: int, *, mtu: int | None) -> None:
        self.here = _is_here(fd, name, index)
        super().__init__(fd, name, index)
        if self._mtu is None:
            self._mtu = mtu

    @property
    def name(self) -> str:
        """What it is called now, wherever it is."""
        if self._fd >= 0:
            with suppress(OSError):  # EBADFD: removed
                self._name = tun.device_name(self._fd)
        return self._name

    def _ask(self, fd: int) -> None:
        if self.here:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
                super()._ask(asker.fileno())

    def gone(self) -> bool:
        """Never known before a read says it (EBADFD)."""
        return False


def _is_here(fd: int, name: str, index: int) -> bool:
    network = tun.device_network(fd)
    if network is not None and network != network_here():
        return False
    try:
        return index > 0 and is_tun(link_message(index), index, name)
    except OSError:  # ENODEV, and some sandboxes have no netlink
        return False
