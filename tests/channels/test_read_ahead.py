"""Receives of one packet: what they read beyond it, what becomes of that, and what is awaited."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest

from aioprocket import Channel, Packet, create_endpoint
from channels.rig import cable, frame, number, open_packet, pair
from contract import Recorder, until

pytestmark = [pytest.mark.netns]

AHEAD = 64
STREAK = 8  # receives that found their packet at once, before any is read ahead


async def numbers(channel: Channel, count: int) -> list[int]:
    return [number(await channel.receive()) for _ in range(count)]


@pytest.mark.anyio
async def test_the_first_receives_read_what_they_return_and_no_more(
    veth: tuple[str, str],
) -> None:
    with cable(veth) as wire:
        wire.send(*range(100))

        await numbers(wire.channel, STREAK)

        assert wire.channel.stats().rx_packets == STREAK
        assert wire.channel.stats().rx_held == 0


@pytest.mark.anyio
async def test_a_receive_that_waited_has_read_one_packet(veth: tuple[str, str]) -> None:
    with cable(veth) as wire, anyio.fail_after(10):
        wire.send(*range(20))
        await numbers(wire.channel, 20)
        async with anyio.create_task_group() as tasks:
            got: list[int] = []

            async def receiving() -> None:
                got.append(number(await wire.channel.receive()))

            tasks.start_soon(receiving)
            await anyio.wait_all_tasks_blocked()
            wire.send(*range(20, 40))

        assert got == [20]
        assert wire.channel.stats().rx_packets == 21


@pytest.mark.anyio
async def test_who_does_not_wait_gets_packets_that_were_read_ahead(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        wire.send(*range(100))

        first = await numbers(wire.channel, STREAK + 1)

        stats = wire.channel.stats()
        assert (stats.rx_packets, stats.rx_held) == (STREAK + AHEAD, AHEAD - 1)
        assert first + await numbers(wire.channel, 91) == list(range(100))
        assert wire.channel.stats().rx_held == 0


@pytest.mark.anyio
async def test_every_other_receive_takes_first_what_was_read_ahead(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        wire.send(*range(30))
        channel = wire.channel
        await numbers(channel, STREAK + 1)
        buffer = bytearray(64)

        assert number(await channel.recv()) == 9
        assert await channel.recv_into(buffer) == 64
        assert number(bytes(buffer)) == 10
        assert number((await channel.recvmsg(2000))[0]) == 11
        assert number(channel.receive_nowait()) == 12
        assert [number(packet) for packet in await channel.receive_batch(3)] == [13, 14, 15]
        assert number(await anext(channel)) == 16
        assert [number(packet) for packet in await channel.receive_batch(64)] == list(range(17, 30))


@pytest.mark.anyio
async def test_read_packets_bounds_what_is_read_ahead(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        wire.channel.close()
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        raw.bind((veth[1], 0x88B5))
        channel = Channel.from_fd(raw, read_packets=1)
        wire.send(*range(40))

        assert await numbers(channel, 40) == list(range(40))
        assert channel.stats().rx_held == 0
        channel.close()


@pytest.mark.anyio
async def test_a_new_filter_throws_away_what_was_read_ahead_as_if_it_never_came(
    veth: tuple[str, str],
) -> None:
    with cable(veth) as wire:
        wire.send(*range(40))
        await numbers(wire.channel, STREAK + 1)

        wire.channel.set_filter([(0x06, 0, 0, 0xFFFF)])
        wire.send(77)

        stats = wire.channel.stats()
        assert (stats.rx_packets, stats.rx_bytes) == (STREAK + 1, 64 * (STREAK + 1))
        assert (stats.rx_held, stats.rx_truncated) == (0, 0)
        assert number(await wire.channel.receive()) == 77


@pytest.mark.anyio
async def test_what_a_detach_loses_is_still_counted(veth: tuple[str, str]) -> None:
    channel = open_packet(veth[1])
    with cable(veth) as wire:
        wire.send(*range(40))
        await numbers(channel, STREAK + 1)

        channel.to_socket().close()

        stats = channel.stats()
        assert stats.rx_packets - stats.rx_held == STREAK + 1


@pytest.mark.anyio
async def test_who_takes_what_is_held_loses_nothing_by_a_detach() -> None:
    with pair() as (channel, far):
        for each in range(12):
            far.send(frame(each))
        got = await numbers(channel, STREAK + 1)
        while channel.stats().rx_held:
            got.append(number(channel.receive_nowait()))
        far.send(frame(12))

        with channel.to_socket() as sock:
            got.append(number(sock.recv(100)))

        assert got == list(range(13))


@pytest.mark.asyncio
async def test_a_protocol_gets_first_what_was_read_ahead(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        wire.send(*range(100))
        got = await numbers(wire.channel, STREAK + 1)

        transport, protocol = await create_endpoint(Recorder, wire.channel)
        await until(lambda: len(protocol.packets) == 91)
        transport.abort()
        await until(lambda: protocol.lost)

        assert got + [number(packet) for packet in protocol.packets] == list(range(100))


# What is awaited


@pytest.fixture
def fed() -> Iterator[Channel]:
    with pair() as (channel, far):
        far.send(b"one")
        far.send(b"two")
        yield channel


@pytest.mark.anyio
async def test_what_is_never_awaited_takes_nothing_and_is_warned_of(fed: Channel) -> None:
    with pytest.warns(RuntimeWarning, match=r"coroutine 'Channel.receive' was never awaited"):
        fed.receive()  # type: ignore[unused-coroutine]

    assert (await fed.receive()).data == b"one"


@pytest.mark.anyio
async def test_a_coroutine_that_is_closed_before_it_starts_takes_nothing(fed: Channel) -> None:
    waiting = fed.receive()
    waiting.close()

    with pytest.raises(RuntimeError, match="cannot reuse"):
        await waiting
    assert (await fed.receive()).data == b"one"


@pytest.mark.anyio
async def test_it_is_awaited_once(fed: Channel) -> None:
    waiting = fed.receive()
    assert (await waiting).data == b"one"

    with pytest.raises(RuntimeError, match="cannot reuse"):
        await waiting


@pytest.mark.anyio
async def test_an_exception_thrown_before_the_start_comes_out_again(fed: Channel) -> None:
    waiting = fed.receive()

    with pytest.raises(KeyError, match="thrown"):
        waiting.throw(KeyError("thrown"))
    assert (await fed.receive()).data == b"one"


def test_without_a_loop_its_packet_is_the_value_of_a_stop_iteration() -> None:
    with pair() as (channel, far):
        far.send(b"one")

        with pytest.raises(StopIteration) as stopped:
            channel.receive().send(None)

        assert stopped.value.value.data == b"one"


@pytest.mark.anyio
async def test_a_task_group_can_start_it_and_cancel_it() -> None:
    with pair() as (channel, far), anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(channel.receive)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        far.send(b"one")

        assert (await channel.receive()).data == b"one"


@pytest.mark.asyncio
async def test_a_task_of_asyncio_can_be_made_of_it(fed: Channel) -> None:
    task = asyncio.create_task(fed.receive())
    assert (await task).data == b"one"
    assert (await asyncio.wait_for(fed.receive(), 10)).data == b"two"

    waiting = asyncio.create_task(fed.receive())
    await asyncio.sleep(0)
    assert "Channel.receive" in repr(waiting)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(waiting, 0.001)


@pytest.mark.asyncio
async def test_a_task_cancelled_before_it_starts_has_taken_nothing(fed: Channel) -> None:
    task = asyncio.create_task(fed.receive())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (await fed.receive()).data == b"one"


@pytest.mark.anyio
async def test_iterators_share_the_packets_of_their_channel() -> None:
    with pair(socket.SOCK_SEQPACKET) as (channel, far):
        for each in (b"1", b"2", b"3"):
            far.send(each)
        iterator: AsyncIterator[Packet] = aiter(channel)

        assert aiter(iterator) is iterator
        assert (await anext(iterator)).data == b"1"
        assert (await anext(channel)).data == b"2"
        far.close()
        assert [packet.data async for packet in iterator] == [b"3"]
        with pytest.raises(StopAsyncIteration):
            await anext(channel)


@pytest.mark.anyio
async def test_a_waiting_receive_is_no_garbage_and_neither_is_a_finished_one() -> None:
    with pair() as (channel, far):
        coroutine: Any = channel.receive()
        kind = type(coroutine)
        with anyio.move_on_after(0.001):
            await coroutine
        far.send(b"one")
        assert (await channel.receive()).data == b"one"

        del coroutine
        gc.collect()

        assert not [each for each in gc.get_objects() if type(each) is kind]
