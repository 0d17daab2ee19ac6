"""What the tests of channels stand on: channels and their other ends, on real descriptors."""

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
from lab.traffic import ETH_P_LOCAL, frame
from sandbox import links

from aioprocket import Channel, Packet, PacketChannel, channels
from aioprocket._system.descriptor import Descriptor, Opened
from aioprocket._system.interfaces import interface_flags
from aioprocket._system.numbers import InterfaceFlag
from aioprocket.spec import PacketSpec

__all__ = (
    "ETH_P_LOCAL_NUMBER",
    "Cable",
    "cable",
    "frame",
    "number",
    "open_packet",
    "pair",
    "parked",
)

ETH_P_LOCAL_NUMBER = int.from_bytes(ETH_P_LOCAL, "big")


def number(packet: Packet | bytes) -> int:
    """Which of `frame` this is."""
    data = packet if isinstance(packet, bytes) else packet.data
    return int.from_bytes(data[14:18], "big")


def open_packet(ifname: str | None, **options: Any) -> PacketChannel:
    """A packet channel for the frames that `frame` makes."""
    options = {"protocol": ETH_P_LOCAL_NUMBER, "interface": ifname} | options
    sock = socket.socket(socket.AF_PACKET, options.get("type", socket.SOCK_RAW), 0)
    channel = channels.build(Opened(Descriptor(sock.detach()), PacketSpec(**options)))
    assert isinstance(channel, PacketChannel)
    return channel


class Cable:
    """A channel at one end of a cable, and a plain socket at the other."""

    def __init__(self, channel: PacketChannel, far: socket.socket, near_ifname: str) -> None:
        self.channel = channel
        self.far = far
        self.ifname = near_ifname

    def send(self, *numbers: int) -> None:
        """Frames to the channel; they have arrived when this returns."""
        for each in numbers:
            self.far.send(frame(each))


def _settle(ifname: str) -> None:
    """Wait until frames go out: a new link drops them silently until its queue is attached."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        while InterfaceFlag.RUNNING not in interface_flags(asker.fileno(), ifname):
            time.sleep(0.001)
    # The kernel says "running" first and attaches the queue next, under the lock of rtnetlink.
    links.set_up(ifname)


@contextmanager
def cable(veth: tuple[str, str], **options: Any) -> Iterator[Cable]:
    """A channel on ``veth[1]``, and a sender on ``veth[0]``."""
    for ifname in veth:
        _settle(ifname)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as far:
        far.bind((veth[0], 0))
        channel = open_packet(veth[1], **options)
        try:
            yield Cable(channel, far, veth[1])
        finally:
            channel.close()


@contextmanager
def pair(kind: int = socket.SOCK_DGRAM) -> Iterator[tuple[Channel, socket.socket]]:
    """A channel on one UNIX socket of a pair, and the other."""
    near, far = socket.socketpair(socket.AF_UNIX, kind)
    channel = Channel.from_fd(near)
    with far:
        try:
            yield channel, far
        finally:
            channel.close()


async def parked(call: Callable[[], Coroutine[Any, Any, Any]]) -> "asyncio.Task[Any]":
    """A task that has come as far as it can without something new. asyncio only."""
    task = asyncio.ensure_future(call())
    await anyio.wait_all_tasks_blocked()
    return task
