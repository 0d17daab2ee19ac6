import asyncio
import contextlib
import errno
import itertools
import os
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from aioprocket import BusyError, Channel, ClosedError, Packet, Stats
from aioprocket.names import ETH_P_ALL
from channels.rig import cable, frame, number, open_packet, pair

pytestmark = [pytest.mark.netns]

RECEIVES: dict[str, Callable[[Channel], Awaitable[Any]]] = {
    "receive": lambda channel: channel.receive(),
    "receive_batch": lambda channel: channel.receive_batch(8),
    "recv": lambda channel: channel.recv(),
    "recvfrom": lambda channel: channel.recvfrom(),
    "recv_into": lambda channel: channel.recv_into(bytearray(2000)),
    "recvmsg": lambda channel: channel.recvmsg(2000),
    "iteration": lambda channel: anext(channel),
    "batches": lambda channel: anext(channel.batches()),
}


def be_slow() -> None:
    """What a packet costs its reader: 64 of them are more than a turn, and 8 for a batch."""
    time.sleep(0.0001)


@pytest.fixture(params=RECEIVES)
def receive(request: pytest.FixtureRequest) -> Callable[[Channel], Awaitable[Any]]:
    return RECEIVES[request.param]


@pytest.mark.anyio
async def test_packets_arrive_in_order_and_once(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        wire.send(*range(200))

        got = [number(await wire.channel.receive()) for _ in range(200)]

        assert got == list(range(200))
        with pytest.raises(BlockingIOError):
            wire.channel.receive_nowait()


@pytest.mark.anyio
async def test_every_receive_takes_exactly_what_it_returns(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        channel = wire.channel
        wire.send(*range(12))
        buffer = bytearray(64)

        assert number(await channel.receive()) == 0
        assert number(await channel.recv()) == 1
        assert number((await channel.recvfrom())[0]) == 2
        assert await channel.recv_into(buffer) == 64
        assert number(bytes(buffer)) == 3
        assert number((await channel.recvmsg(2000))[0]) == 4
        assert [number(packet) for packet in await channel.receive_batch(3)] == [5, 6, 7]
        assert number(channel.receive_nowait()) == 8
        async for packet in channel:
            assert number(packet) == 9
            break
        async for batch in channel.batches(1):
            assert [number(packet) for packet in batch] == [10]
            break
        assert number(await channel.receive()) == 11


@pytest.mark.anyio
async def test_a_receive_waits_for_the_packet(
    veth: tuple[str, str], receive: Callable[[Channel], Awaitable[Any]]
) -> None:
    with cable(veth) as wire, anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            got: list[Any] = []

            async def receiving() -> None:
                got.append(await receive(wire.channel))

            tasks.start_soon(receiving)
            await anyio.wait_all_tasks_blocked()
            assert not got
            wire.send(1)

        assert len(got) == 1


@pytest.mark.anyio
async def test_close_wakes_a_waiting_receive(
    veth: tuple[str, str], receive: Callable[[Channel], Awaitable[Any]]
) -> None:
    with cable(veth) as wire, anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:

            async def receiving() -> None:
                with pytest.raises(ClosedError) as raised:
                    await receive(wire.channel)
                assert raised.value.errno == errno.EBADF
                assert isinstance(raised.value, anyio.ClosedResourceError)

            tasks.start_soon(receiving)
            await anyio.wait_all_tasks_blocked()
            wire.channel.close()


@pytest.mark.anyio
async def test_a_receive_after_close_is_refused(
    veth: tuple[str, str], receive: Callable[[Channel], Awaitable[Any]]
) -> None:
    with cable(veth) as wire:
        wire.send(1)
        wire.channel.close()

        with pytest.raises(ClosedError):
            await receive(wire.channel)
        with pytest.raises(ClosedError):
            wire.channel.receive_nowait()


@pytest.mark.anyio
async def test_the_second_reader_is_refused_and_the_first_served(
    veth: tuple[str, str], receive: Callable[[Channel], Awaitable[Any]]
) -> None:
    with cable(veth) as wire, anyio.fail_after(5):
        got: list[int] = []
        async with anyio.create_task_group() as tasks:

            async def receiving() -> None:
                got.append(number(await wire.channel.receive()))

            tasks.start_soon(receiving)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(BusyError) as raised:
                await receive(wire.channel)
            with pytest.raises(BusyError):
                wire.channel.receive_nowait()
            wire.send(7)

        assert got == [7]
        assert raised.value.errno == errno.EALREADY
        assert isinstance(raised.value, anyio.BusyResourceError)


@pytest.mark.asyncio
async def test_no_packet_is_lost_by_300_cancels_just_after_it_came(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        loop = asyncio.get_running_loop()
        got: list[int] = []
        for each in range(300):
            task = loop.create_task(wire.channel.receive())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            wire.send(each)
            loop.call_later(0, task.cancel)
            with contextlib.suppress(asyncio.CancelledError):
                got.append(number(await task))

        while len(got) < 300:
            got.append(number(wire.channel.receive_nowait()))

        assert got == list(range(300))


@pytest.mark.anyio
async def test_no_packet_is_lost_by_timeouts_of_any_length(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        got: list[int] = []
        for each in range(300):
            with anyio.move_on_after(each % 3 / 10_000):
                wire.send(each)
                while True:
                    got.append(number(await wire.channel.receive()))

        got += [number(wire.channel.receive_nowait()) for _ in range(300 - len(got))]

        assert got == list(range(300))


@pytest.mark.anyio
async def test_a_cancelled_receive_lets_the_next_one_wait(veth: tuple[str, str]) -> None:
    with cable(veth) as wire, anyio.fail_after(5):
        with anyio.move_on_after(0.001) as scope:
            await wire.channel.receive()
        assert scope.cancelled_caught
        wire.send(5)

        assert number(await wire.channel.receive()) == 5


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["receive", "receive_batch", "recv_into", "recvmsg", "iteration"])
async def test_a_slow_reader_with_packets_waiting_gives_others_their_turn(
    veth: tuple[str, str], name: str
) -> None:
    with cable(veth) as wire, anyio.fail_after(5):
        wire.send(*range(256))
        turns: list[int] = []
        received = 0
        async with anyio.create_task_group() as tasks:

            async def watching() -> None:
                while True:
                    turns.append(received)
                    await anyio.lowlevel.checkpoint()

            tasks.start_soon(watching)
            while received < 256:
                got = await RECEIVES[name](wire.channel)
                received += len(got) if name == "receive_batch" else 1
                be_slow()
            tasks.cancel_scope.cancel()

        stretches = [after - before for before, after in itertools.pairwise(turns)]
        # trio runs the tasks of one turn in any order, so two of the reader's may meet.
        assert max([*stretches, 256 - turns[-1]]) <= 2 * 64


@pytest.mark.anyio
@pytest.mark.parametrize("read_ahead", [False, True])
@pytest.mark.parametrize(
    "options", [{"ring": False}, *({"ring": True, "latency": each} for each in ("low", "balanced"))]
)
async def test_what_is_longer_than_its_room_is_cut_off_and_counted(
    veth: tuple[str, str], options: dict[str, Any], read_ahead: bool
) -> None:
    with cable(veth, **options) as wire, anyio.fail_after(60):
        channel = wire.channel
        before = 10 if read_ahead else 0
        wire.send(*range(before + 4))
        for _ in range(before):
            await channel.receive()
        assert options["ring"] or bool(channel.stats().rx_held) == read_ahead

        assert await channel.recv(20) == frame(before)[:20]
        assert (await channel.recvfrom(20))[0] == frame(before + 1)[:20]
        assert await channel.recv_into(memoryview(bytearray(20))) == 20
        data, _, flags, _ = await channel.recvmsg(20)

        assert data == frame(before + 3)[:20]
        assert flags & socket.MSG_TRUNC
        stats = channel.stats()
        assert (stats.rx_packets, stats.rx_truncated) == (before + 4, 4)


@pytest.mark.anyio
async def test_what_was_cut_before_is_not_counted_twice(veth: tuple[str, str]) -> None:
    with cable(veth, snaplen=30) as wire, anyio.fail_after(60):
        wire.send(*range(13))
        for _ in range(10):
            await wire.channel.receive()

        await wire.channel.recv(20)
        await wire.channel.recv_into(bytearray(20))
        await wire.channel.recvmsg(20)

        assert wire.channel.stats().rx_truncated == 13


@pytest.mark.anyio
async def test_a_snaplen_shortens_packets_and_says_so(veth: tuple[str, str]) -> None:
    with cable(veth, snaplen=30) as wire:
        wire.send(1)

        packet = await wire.channel.receive()

        assert packet.data == frame(1)[:30]
        assert packet.truncated
        assert packet.wire_len == 64


@pytest.mark.anyio
async def test_recvfrom_gives_the_address_of_the_socket_module(veth: tuple[str, str]) -> None:
    with cable(veth) as wire, open_packet_socket(veth[1]) as plain:
        wire.send(1)

        data, address = await wire.channel.recvfrom()

        assert (data, address) == plain.recvfrom(2000)


def open_packet_socket(ifname: str) -> socket.socket:
    plain = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    plain.bind((ifname, 0x88B5))
    return plain


@pytest.mark.anyio
async def test_a_packet_says_when_where_and_how_it_came(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        wire.send(1)

        packet = await wire.channel.receive()

        assert packet.timestamp_ns > 1_600_000_000 * 10**9
        assert packet.ifindex == socket.if_nametoindex(veth[1])
        assert packet.direction == "otherhost"
        assert packet.vlan_tci is None


@pytest.mark.anyio
async def test_stats_count_what_was_read_and_what_was_dropped(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        wire.channel.extra(anyio.abc.SocketAttribute.raw_socket).setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, 1
        )
        wire.send(*range(100))

        read = len(await wire.channel.receive_batch(100))
        first, second = wire.channel.stats(), wire.channel.stats()

        assert read < 100
        assert (first.rx_packets, first.rx_bytes) == (read, 64 * read)
        assert first.rx_dropped == second.rx_dropped == 100 - read
        assert first.rx_queued == 0


@pytest.mark.anyio
async def test_stats_stay_readable_after_close(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        wire.send(1, 2)
        await wire.channel.receive()
        wire.channel.close()

        stats = wire.channel.stats()

        assert isinstance(stats, Stats)
        assert stats.rx_packets == 1


@pytest.mark.anyio
async def test_descriptors_that_come_with_recvmsg_are_close_on_exec() -> None:
    with pair() as (channel, far):
        reading, writing = os.pipe()
        socket.send_fds(far, [b"x"], [reading])
        os.close(reading)
        os.close(writing)

        data, ancdata, _, _ = await channel.recvmsg(10, socket.CMSG_SPACE(4))

        received = int.from_bytes(ancdata[0][2], "little")
        inheritable = os.get_inheritable(received)
        os.close(received)
        assert data == b"x"
        assert not inheritable


@pytest.mark.anyio
async def test_the_end_of_a_connection_ends_the_iteration() -> None:
    with pair(socket.SOCK_SEQPACKET) as (channel, far), anyio.fail_after(5):
        far.send(b"one")
        far.send(b"two")
        far.close()

        assert [packet.data async for packet in channel] == [b"one", b"two"]
        assert await channel.recv() == b""
        assert await channel.recvfrom() == (b"", None)
        assert await channel.recv_into(bytearray(4)) == 0
        with pytest.raises(anyio.EndOfStream):
            await channel.receive()
        with pytest.raises(anyio.EndOfStream):
            await channel.receive_batch()


@pytest.mark.anyio
async def test_a_stream_is_read_no_further_than_asked() -> None:
    with pair(socket.SOCK_STREAM) as (channel, far), anyio.fail_after(5):
        far.send(b"abcdef")

        assert await channel.recv(2) == b"ab"
        assert await channel.recvfrom(2) == (b"cd", None)
        assert (await channel.receive()).data == b"ef"
        far.close()
        assert await channel.recv(2) == b""


@pytest.mark.anyio
async def test_an_empty_datagram_is_a_packet() -> None:
    with pair() as (channel, far):
        far.send(b"")
        far.send(b"x")

        assert (await channel.receive()).data == b""
        assert await channel.recv() == b"x"


@pytest.mark.anyio
async def test_all_interfaces_are_heard_without_one_by_name(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        everywhere = open_packet(None, protocol=ETH_P_ALL)
        try:
            wire.send(3)

            seen = [await everywhere.receive() for _ in range(2)]

            assert {(packet.direction, packet.addr[0]) for packet in seen} == {
                ("out", veth[0]),
                ("otherhost", veth[1]),
            }
            assert everywhere.interface is None
            assert everywhere.ifindex == 0
        finally:
            everywhere.close()


@pytest.mark.anyio
async def test_anyio_sees_an_unreliable_object_stream(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        stream: anyio.abc.UnreliableObjectStream[Packet] = wire.channel
        wire.send(1)

        packet = await stream.receive()
        await stream.send(packet)
        await stream.aclose()

        assert number(packet) == 1
        assert number(wire.far.recv(2000)) == 1


NO_ROOM: dict[str, Any] = {
    "read-only": b"never written to",
    "in pieces": memoryview(bytearray(200))[::2],
    "no memory": 5,
}


@pytest.mark.anyio
@pytest.mark.parametrize("what", NO_ROOM)
@pytest.mark.parametrize("ahead", [0, 9], ids=["queued", "read ahead"])
async def test_what_cannot_be_written_to_costs_no_packet(
    veth: tuple[str, str], what: str, ahead: int
) -> None:
    with cable(veth) as wire, anyio.fail_after(20):
        wire.send(*range(30))
        for each in range(ahead):
            assert number(await wire.channel.receive()) == each

        with pytest.raises(TypeError):
            await wire.channel.recv_into(NO_ROOM[what])

        assert bool(wire.channel.stats().rx_held) == bool(ahead)
        assert number(await wire.channel.receive()) == ahead


@pytest.mark.anyio
async def test_the_end_of_a_stream_is_no_packet() -> None:
    with pair(socket.SOCK_STREAM) as (channel, far), anyio.fail_after(20):
        far.send(b"one")
        far.close()

        assert [await channel.recv(), await channel.recv()] == [b"one", b""]
        assert await channel.recvfrom() == (b"", None)
        assert channel.stats()[:2] == (1, 3)
