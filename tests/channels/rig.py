"""What the tests of channels stand on: channels and their other ends, on real descriptors."""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import anyio

from aioprocket import Channel, Packet, PacketChannel, channels
from aioprocket._system.descriptor import Descriptor, Opened
from aioprocket._system.numbers import TunFlag
from aioprocket._system.tun import CLONE_DEVICE, make_device
from aioprocket.spec import PacketSpec, TunSpec
from lab.must import unavailable
from lab.traffic import ETH_P_LOCAL, frame
from sandbox import links

__all__ = (
    "ETH_P_LOCAL_NUMBER",
    "Cable",
    "CableLine",
    "bound",
    "cable",
    "drained",
    "frame",
    "in_child",
    "number",
    "open_packet",
    "pair",
    "parked",
    "tap",
)

ETH_P_LOCAL_NUMBER = int.from_bytes(ETH_P_LOCAL, "big")


def number(packet: Packet | bytes) -> int:
    """Which of `frame` this is."""
    data = packet if isinstance(packet, bytes) else packet.data
    return int.from_bytes(data[14:18], "big")


def open_packet(ifname: str | None, **options: Any) -> PacketChannel:
    """A packet channel for the frames that `frame` makes."""
    options = {"protocol": ETH_P_LOCAL_NUMBER, "interface": ifname} | options
    if options.get("ring") and "receive_buffer" in options:
        options["ring_size"] = options.pop("receive_buffer")
    sock = socket.socket(socket.AF_PACKET, options.get("type", socket.SOCK_RAW), 0)
    descriptor = Descriptor(sock.detach())
    try:
        channel = channels.build(Opened(descriptor, PacketSpec(**options)))
    except BaseException:
        descriptor.close()
        raise
    assert isinstance(channel, PacketChannel)
    return channel


class Cable:
    """A channel at one end of a cable, and a plain socket at the other."""

    def __init__(self, channel: Channel, far: socket.socket, near_ifname: str) -> None:
        self.channel = channel
        self.far = far
        self.ifname = near_ifname

    def send(self, *numbers: int) -> None:
        """Frames to the channel; they have arrived when this returns."""
        for each in numbers:
            self.far.send(frame(each))


class CableLine:
    """Numbered frames on a veth pair or a tap device: a line of `contract`."""

    def __init__(self, wire: Cable) -> None:
        self.channel = wire.channel
        self.wire = wire

    def feed(self, number: int) -> None:
        self.wire.send(number)

    def number(self, packet: Packet) -> int:
        return number(packet)

    def outgoing(self) -> bytes:
        return frame(99)

    def arrived(self) -> int:
        return drained(self.wire.far)


def _settle(veth: tuple[str, str]) -> None:
    """Wait until frames pass both ways: a new link drops them until its queue is attached."""
    with bound(veth[0]) as left, bound(veth[1]) as right:
        for near, far in ((left, right), (right, left)):
            while True:
                near.send(frame(0))
                try:
                    far.recv(2000, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    time.sleep(0.001)
                else:
                    break


def bound(ifname: str) -> socket.socket:
    """A socket that sends frames by an interface, and receives those of `frame`."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.bind((ifname, ETH_P_LOCAL_NUMBER))
    return sock


@contextmanager
def cable(veth: tuple[str, str], **options: Any) -> Iterator[Cable]:
    """A channel on ``veth[1]``, and a sender on ``veth[0]``."""
    _settle(veth)
    with bound(veth[0]) as far:
        channel = open_packet(veth[1], **options)
        try:
            yield Cable(channel, far, veth[1])
        finally:
            channel.close()


@contextmanager
def tap() -> Iterator[Cable]:
    """A tap channel, and a packet socket on its interface: what one sends, the other gets."""
    try:
        fd = os.open(CLONE_DEVICE, os.O_RDWR | os.O_NONBLOCK)
    except OSError as reason:
        unavailable("tun", str(reason))
    descriptor = Descriptor(fd)
    name = make_device(fd, "tap0", TunFlag.TAP | TunFlag.NO_PI)
    links.disable_ipv6(name)
    links.set_up(name)
    index = socket.if_nametoindex(name)
    with bound(name) as far:
        while True:  # as in _settle
            far.send(frame(0))
            try:
                os.read(fd, 2000)
            except BlockingIOError:
                time.sleep(0.001)
            else:
                break
        spec = TunSpec(name=name, mode="tap")
        channel = channels.build(Opened(descriptor, spec, name, index))
        try:
            yield Cable(channel, far, name)
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


def drained(sock: socket.socket) -> int:
    """How many packets lay there; there are none now."""
    count = 0
    try:
        while sock.recv(70_000, socket.MSG_DONTWAIT):
            count += 1
    except BlockingIOError:
        pass
    return count


def in_child(call: Callable[[], None]) -> None:
    """Call a function in a fork of this process; it has ended, and well, when this returns."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            call()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


async def parked(call: Callable[[], Coroutine[Any, Any, Any]]) -> "asyncio.Task[Any]":
    """A task that has come as far as it can without something new. asyncio only."""
    task = asyncio.ensure_future(call())
    await anyio.wait_all_tasks_blocked()
    return task
