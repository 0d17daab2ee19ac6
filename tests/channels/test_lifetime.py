import asyncio
import gc
import os
import socket
import subprocess
import sys
import tracemalloc

import anyio
import pytest

import aioprocket
from aioprocket import Channel, ClosedError, create_endpoint
from channels.rig import cable, number, open_packet, pair
from contract import Recorder, until
from lab.forks import in_child

pytestmark = [pytest.mark.netns]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.anyio
async def test_close_is_idempotent_and_leaves_no_descriptor(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        channel = open_packet(veth[1])
        before = descriptors() - 1
        with anyio.move_on_after(0.001):
            await channel.receive()

        channel.close()
        channel.close()
        await channel.aclose()

        assert descriptors() == before
        assert channel.fileno() == -1
        assert "closed" in repr(channel)
        assert wire.channel.fileno() >= 0


async def _ring(ifname: str) -> Channel:
    return await aioprocket.open_packet(ifname)


@pytest.mark.asyncio
async def test_a_ring_whose_making_is_cancelled_leaves_no_descriptor(veth: tuple[str, str]) -> None:
    # asyncio's cancel knows no shield: it comes before the thread begins, in its midst, and after.
    await (await _ring(veth[1])).aclose()
    before = descriptors()

    for turn in range(25):
        task = asyncio.ensure_future(_ring(veth[1]))
        asyncio.get_running_loop().call_later(turn * 0.001, task.cancel)
        await asyncio.wait([task])
        if not task.cancelled():
            task.result().close()
        await until(lambda: descriptors() == before)


@pytest.mark.anyio
async def test_a_ring_whose_scope_ends_meanwhile_leaves_no_descriptor(
    veth: tuple[str, str],
) -> None:
    await (await _ring(veth[1])).aclose()
    before = descriptors()

    for turn in range(10):
        channel = None
        with anyio.move_on_after(turn * 0.002):
            channel = await _ring(veth[1])
        if channel is not None:
            channel.close()
        await until(lambda: descriptors() == before)


@pytest.mark.anyio
async def test_the_next_owner_of_the_number_is_heard(veth: tuple[str, str]) -> None:
    with cable(veth) as wire, anyio.fail_after(5):
        numbers = set()
        for each in range(20):
            channel = open_packet(veth[1])
            numbers.add(channel.fileno())
            with anyio.move_on_after(0.001):
                await channel.receive()
            wire.send(each)
            assert number(await channel.receive()) == each
            with anyio.move_on_after(0.001):
                await channel.receive()
            channel.close()

        assert len(numbers) <= 3


@pytest.mark.asyncio
async def test_a_closing_child_does_not_deafen_the_parents_transport(
    veth: tuple[str, str],
) -> None:
    with cable(veth) as wire:
        transport, protocol = await create_endpoint(Recorder, wire.channel)

        def close_everything() -> None:
            transport.close()
            transport.abort()
            wire.channel.close()

        in_child(close_everything)
        wire.send(1)

        await until(lambda: protocol.packets)

        assert not protocol.lost
        transport.abort()
        await until(lambda: protocol.lost)


@pytest.mark.anyio
async def test_a_closing_child_does_not_deafen_a_receive(veth: tuple[str, str]) -> None:
    with cable(veth) as wire, anyio.fail_after(5):
        got: list[int] = []
        async with anyio.create_task_group() as tasks:

            async def receiving() -> None:
                got.append(number(await wire.channel.receive()))

            tasks.start_soon(receiving)
            await anyio.wait_all_tasks_blocked()
            in_child(wire.channel.close)
            wire.send(4)

        assert got == [4]


@pytest.mark.anyio
async def test_a_closing_child_leaves_the_drops_to_its_parent(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        wire.channel.extra(anyio.abc.SocketAttribute.raw_socket).setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, 1
        )
        wire.send(*range(100))

        in_child(wire.channel.close)

        assert wire.channel.stats().rx_dropped > 50


@pytest.mark.anyio
async def test_detach_gives_the_descriptor_away_with_what_waits_in_it(
    veth: tuple[str, str],
) -> None:
    with cable(veth) as wire:
        wire.send(1)

        fd = wire.channel.detach()

        with socket.socket(fileno=fd) as sock:
            assert number(sock.recv(2000)) == 1
        assert wire.channel.fileno() == -1
        assert wire.channel.stats().rx_queued == 0
        with pytest.raises(ClosedError):
            wire.channel.detach()
        with pytest.raises(ClosedError):
            await wire.channel.receive()


@pytest.mark.anyio
async def test_detach_wakes_a_receive(veth: tuple[str, str]) -> None:
    with cable(veth) as wire, anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:

            async def receiving() -> None:
                with pytest.raises(ClosedError):
                    await wire.channel.receive()

            tasks.start_soon(receiving)
            await anyio.wait_all_tasks_blocked()
            os.close(wire.channel.detach())


@pytest.mark.asyncio
async def test_a_detached_channels_transport_is_lost(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        _, protocol = await create_endpoint(Recorder, wire.channel)

        with socket.socket(fileno=wire.channel.detach()):
            await until(lambda: protocol.lost)

        assert protocol.lost == [None]


@pytest.mark.asyncio
async def test_a_socket_goes_on_to_asyncios_own_server() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.bind(("127.0.0.1", 0))
    channel = Channel.from_fd(sock)
    channel.listen()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    server = await asyncio.start_server(greet, sock=channel.to_socket())
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    greeting = await reader.read()
    writer.close()
    server.close()

    assert greeting == b"hello"


def test_a_forgotten_channel_warns_and_closes_its_descriptor() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with far:
        channel = Channel.from_fd(near)
        fd = channel.fileno()

        with pytest.warns(ResourceWarning, match="unclosed <Channel"):
            del channel

        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


@pytest.mark.asyncio
async def test_a_forgotten_channel_leaves_the_loop() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with far:
        before = descriptors() - 1
        channel = Channel.from_fd(near)
        with anyio.move_on_after(0.001):
            await channel.receive()
        for _ in range(3):  # the loop keeps the cancelled wait, and its traceback, for a while
            await asyncio.sleep(0)

        gc.collect()
        with pytest.warns(ResourceWarning, match="unclosed <Channel"):
            del channel

        assert descriptors() == before


def test_one_channel_serves_one_loop_after_the_other() -> None:
    with pair() as (channel, far):
        far.send(b"x")
        for run in (asyncio.run, asyncio.run):
            far.send(b"x")

            async def receive_all() -> int:
                count = 0
                with anyio.move_on_after(0.01):
                    while True:
                        await channel.receive()
                        count += 1
                return count

            assert run(receive_all()) >= 1


def test_an_idle_channel_is_small() -> None:
    sockets = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(100)]

    async def measure() -> tuple[float, list[Channel]]:
        gc.collect()
        tracemalloc.start()
        channels = [Channel.from_fd(near) for near, _ in sockets]
        for channel in channels:
            with anyio.move_on_after(0):
                await channel.receive()
        gc.collect()
        used = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return used / len(channels), channels

    each, channels = asyncio.run(measure())
    for channel, (_, far) in zip(channels, sockets, strict=True):
        channel.close()
        far.close()

    assert each <= 20 * 1024


def test_a_channel_survives_no_exec(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        seen = subprocess.run(
            [sys.executable, "-I", "-c", f"import os; os.fstat({wire.channel.fileno()})"],
            close_fds=False, stderr=subprocess.DEVNULL, check=False,
        )  # fmt: skip

        assert seen.returncode != 0
