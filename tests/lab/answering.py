"""Hosts and routers that a test makes up: a TUN device whose other end is a function."""

import ipaddress
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from aioprocket._system.numbers import TunFlag
from aioprocket._system.tun import CLONE_DEVICE, make_device
from sandbox import links

from .must import unavailable

__all__ = ("answering",)


@contextmanager
def answering(
    answer: Callable[[bytes], list[bytes]], *addresses: str, ifname: str = "made"
) -> Iterator[None]:
    """A device with these addresses, to which ``answer`` gives packets for each that it gets.

    It is called in a thread of its own.
    """
    try:
        fd = os.open(CLONE_DEVICE, os.O_RDWR)
    except OSError as reason:
        unavailable("tun", str(reason))
    name = make_device(fd, ifname, TunFlag.TUN | TunFlag.NO_PI)
    if not any(":" in address for address in addresses):
        links.disable_ipv6(name)
    links.set_up(name)
    for address in addresses:
        links.add_address(name, address)
    _settle(fd, addresses[0])
    ended, end = os.pipe()

    def serve() -> None:
        while True:
            ready, _, _ = select.select([fd, ended], [], [])
            if ended in ready:
                return
            for packet in answer(os.read(fd, 65536)):
                with suppress(OSError):  # one that the kernel does not take
                    os.write(fd, packet)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        os.write(end, b"x")
        thread.join()
        for each in (fd, ended, end):
            os.close(each)


def _settle(fd: int, address: str) -> None:
    """Wait until packets come out at this end, and those to our address are taken for ours."""
    own = ipaddress.ip_interface(address)
    family = socket.AF_INET if own.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        # A device that has just come up drops what it should send until its queue is attached.
        while not select.select([fd], [], [], 0.01)[0]:
            with suppress(OSError):
                sock.sendto(b"", (str(own.network[77]), 9))
    # The kernel makes the route to a new IPv6 address of its own later.
    while not _is_ours(family, str(own.ip)):
        pass


def _is_ours(family: socket.AddressFamily, address: str) -> bool:
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.01)
        try:
            sock.connect((address, 9))
            sock.send(b"")
            sock.recv(1)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
