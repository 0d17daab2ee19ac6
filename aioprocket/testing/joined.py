"""Two channels that are each other's other end, without any privilege."""

import socket
from typing import Final, Literal

from ..channels import Channel
from ..errors import SpecError

__all__ = ("pair",)

_ROOM: Final = 1 << 20  # bytes; the kernel gives what net.core.wmem_max allows


def pair(kind: Literal["unix", "udp"] = "unix") -> tuple[Channel, Channel]:
    """What one sends, the other receives: to drive a protocol or a handler without any privilege.

    They are channels as a door gives them, for `create_endpoint`, ``serve``, ``async for`` and
    batches. Packets keep their boundaries and their order. Some 250 small ones fit in between; who
    sends more waits until they are read. Both are the caller's to close.

    Args:
        kind: ``"unix"``: a socketpair(2). No packet is ever lost, none has an address, and there
            is an end: what reads a channel whose other end was closed gets what is left, and then
            `anyio.EndOfStream`; ``async for`` ends. An empty packet would be taken for it.
            ``"udp"``: sockets on 127.0.0.1 that are connected to each other: packets have
            addresses and may be empty, and nobody is told of the end.

    To feed one from a capture file: ``await pcapng.replay(path, other, speed=None)``.

    Raises:
        SpecError: There is no such kind.
        OSError: This process is out of descriptors.
    """
    if kind not in ("unix", "udp"):
        raise SpecError(f"a pair of kind {kind!r}", hint="'unix' or 'udp'")
    ends = _socketpair() if kind == "unix" else _connected()
    return Channel.from_fd(ends[0]), Channel.from_fd(ends[1])


def _socketpair() -> tuple[socket.socket, socket.socket]:
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ROOM)
    return ends


def _connected() -> tuple[socket.socket, socket.socket]:
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as two:
        for end in (one, two):
            end.bind(("127.0.0.1", 0))
        one.connect(two.getsockname())
        two.connect(one.getsockname())
        return one.dup(), two.dup()
