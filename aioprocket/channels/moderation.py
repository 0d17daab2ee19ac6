"""How long a packet may wait for others, where packets are read by system calls."""

import socket
from typing import Final

from .._system import options
from .._system._native import Delivery, Moderation, Moderator, Receiver
from ..errors import SpecError
from ..spec import Latency
from .port import Port

__all__ = ("check_latency", "moderator", "widen_buffer")

_LONGEST_NS: Final = 1_000_000
_BUFFER: Final = 1 << 20  # bytes: with it a flood of a million packets/s may wait for 1 ms


def check_latency(latency: object, sock: socket.socket | None) -> None:
    """Refuse what means nothing to a descriptor, a socket or none, that has no ring.

    Raises:
        SpecError: It does.
    """
    if latency not in ("low", "balanced"):
        raise SpecError(f"latency {latency!r} is neither low nor balanced")
    if latency != "low" and (sock is None or sock.type == socket.SOCK_STREAM):
        raise SpecError(f"latency {latency!r} is for packets that a socket receives")


def moderator(port: Port, delivery: Delivery, latency: Latency) -> Moderator | None:
    """What moderates the wakeups of who reads a port; None where each packet is to wake."""
    receiver = port.counters
    if latency == "low" or not isinstance(receiver, Receiver):
        return None
    return Moderator(Moderation(_LONGEST_NS), receiver, delivery)


def widen_buffer(sock: socket.socket, latency: Latency, asked: int | None) -> None:
    """Make room for what comes while nobody is woken, as far as everybody may, unless asked."""
    if latency != "low" and asked is None:
        options.widen_receive_buffer(sock, _BUFFER)
