"""`aclose` waits for a kernel that is slow to close, and lets the loop go on meanwhile."""

import os
import signal
import socket
import struct
import warnings
from collections.abc import Iterator

import anyio
import anyio.lowlevel
import pytest

from aioprocket import Channel, TunChannel
from aioprocket.channels.port import SocketPort
from channels.rig import frame, number, open_packet, tap
from lab.forks import beside

pytestmark = [pytest.mark.netns, pytest.mark.anyio]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def turns_during_aclose(channel: Channel) -> int:
    """How often another task had its turn while a channel was closed."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(others)
        await anyio.sleep(0.001)
        before = turns
        await channel.aclose()
        during = turns - before
        tasks.cancel_scope.cancel()
    return during


async def test_a_packet_socket_is_closed_without_blocking_the_loop() -> None:
    before = descriptors()
    channel = open_packet("lo")

    assert await turns_during_aclose(channel) > 0
    assert descriptors() == before


async def test_a_tap_device_and_its_queues_are_closed_without_blocking_the_loop() -> None:
    with tap() as wire:
        assert isinstance(wire.channel, TunChannel)
        before = descriptors()
        queue = Channel.from_fd(os.dup(wire.channel.fileno()))
        assert isinstance(queue, TunChannel)
        wire.channel.add_queue(queue)

        assert await turns_during_aclose(wire.channel) > 0
        assert queue.fileno() == wire.channel.fileno() == -1
        assert descriptors() == before - 1


@pytest.fixture
def lingering() -> Iterator[tuple[Channel, socket.socket]]:
    """A channel that close(2) waits for until the other end has read everything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 10))
    port = SocketPort(near)
    port.closes_slowly = True
    channel = Channel(port)
    with far:
        try:
            while True:
                channel.send_nowait(bytes(100_000))
        except BlockingIOError:
            yield channel, far
        channel.close()


async def read_to_the_end(far: socket.socket) -> None:
    far.setblocking(False)
    while True:
        try:
            if not far.recv(1_000_000):
                return
        except BlockingIOError:
            await anyio.sleep(0.001)


async def test_the_channel_is_closed_at_once_and_the_descriptor_at_the_return(
    lingering: tuple[Channel, socket.socket],
) -> None:
    channel, far = lingering
    before = descriptors()
    returned = anyio.Event()

    async def closing() -> None:
        await channel.aclose()
        returned.set()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(closing)
            while channel.fileno() >= 0:
                await anyio.lowlevel.checkpoint()
            await anyio.sleep(0.01)

            assert "closed" in repr(channel)
            assert not returned.is_set()
            await read_to_the_end(far)
            await returned.wait()

    assert descriptors() < before


async def test_a_cancelled_aclose_has_closed_all_the_same(
    lingering: tuple[Channel, socket.socket],
) -> None:
    channel, far = lingering
    before = descriptors()
    # A close that blocked the loop would keep the reader from reading, and take the linger time.
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_to_the_end, far)
            with anyio.CancelScope() as scope:
                scope.cancel()
                await channel.aclose()
                closed = descriptors()

    assert channel.fileno() == -1
    assert closed < before


RINGS = pytest.mark.parametrize("latency", ["low", "balanced"])


@RINGS
async def test_a_ring_that_a_child_has_mapped_is_closed(latency: str) -> None:
    before = descriptors()
    channel = open_packet("lo", ring=True, latency=latency)

    with beside(signal.pause):
        await channel.aclose()

        assert descriptors() == before
    assert channel.fileno() == -1


@RINGS
async def test_a_descriptor_whose_ring_a_child_has_mapped_says_that_it_only_sends(
    veth: tuple[str, str], latency: str
) -> None:
    channel = open_packet(veth[0], ring=True, latency=latency)
    async with open_packet(veth[1]) as far:
        with beside(signal.pause), anyio.fail_after(20):
            with pytest.warns(RuntimeWarning, match="has the ring mapped"):
                sock = channel.to_socket()
            with sock:
                sock.send(frame(5))
                assert number(await far.receive()) == 5


@RINGS
async def test_a_warning_that_is_an_error_loses_no_descriptor(latency: str) -> None:
    before = descriptors()
    channel = open_packet("lo", ring=True, latency=latency)
    with beside(signal.pause):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(RuntimeWarning):
                channel.detach()

        assert descriptors() == before
