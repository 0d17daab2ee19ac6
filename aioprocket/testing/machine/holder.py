"""The process that holds a network: two hosts, each a namespace, joined by a cable.

It says what came of it in a line of JSON, and holds the namespaces until its standard input ends.
"""

import ipaddress
import itertools
import json
import os
import socket
import sys
from typing import Final

from . import links
from .namespaces import Forbidden, Namespace, enter_private, new_network

__all__ = ("INTERFACE", "hold")

INTERFACE: Final = "eth0"
# IEEE 802 local experimental: nothing of the kernel's answers.
_PROTOCOL: Final = 0x88B5
_PATIENCE: Final = 0.01  # seconds for a frame to cross the cable


def hold(near: list[str], far: list[str]) -> None:
    """Make the network, tell of it, and wait until nobody wants it any more."""
    try:
        enter_private()
        with new_network() as other:
            _join(near, far, other)
            _tell(far=other.path)
            sys.stdin.buffer.read()
    except Forbidden as reason:
        _tell(errno=reason.errno, reason=reason.reason, advice=reason.advice)
    except BrokenPipeError:
        pass  # who wanted it was killed meanwhile
    except OSError as error:
        _tell(errno=error.errno, reason=f"{error.filename}: {error.strerror}")


def _tell(**facts: object) -> None:
    os.write(sys.stdout.fileno(), f"{json.dumps(facts)}\n".encode())


def _join(near: list[str], far: list[str], other: Namespace) -> None:
    links.add_veth(INTERFACE, INTERFACE, peer_namespace=other.fd)
    _set_up("02:00:00:00:00:01", near)
    with other.entered():
        _set_up("02:00:00:00:00:02", far)
        theirs = _listener()
    ours = _listener()
    with ours, theirs:
        for sender, receiver in ((ours, theirs), (theirs, ours)):
            _settle(sender, receiver)


def _set_up(hwaddr: str, addresses: list[str]) -> None:
    if not any(ipaddress.ip_interface(address).version == 6 for address in addresses):
        links.disable_ipv6(INTERFACE)
    links.set_address(INTERFACE, hwaddr)
    for address in addresses:
        links.add_address(INTERFACE, address)
    links.set_up(INTERFACE)


def _listener() -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.settimeout(_PATIENCE)
    sock.bind((INTERFACE, _PROTOCOL))
    return sock


def _settle(sender: socket.socket, receiver: socket.socket) -> None:
    """Wait until frames pass: an interface that has just come up drops what it should send."""
    for number in itertools.count():
        frame = b"\xff" * 6 + bytes(6) + _PROTOCOL.to_bytes(2, "big") + number.to_bytes(46, "big")
        sender.send(frame)
        try:
            while receiver.recv(2048) != frame:  # an earlier one, that took long
                pass
        except TimeoutError:
            continue
        return
