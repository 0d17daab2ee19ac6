"""What a receive that has to wait does, and leaves, by whichever of its forms it waits."""

import asyncio
import contextlib
import gc
import os
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from anyio import EndOfStream

from aioprocket import BusyError, Channel, ClosedError, Packet
from channels.rig import cable, number, pair
from contract import until

pytestmark = pytest.mark.asyncio

FORMS: dict[str, Callable[[Channel], Awaitable[Any]]] = {
    "receive": lambda channel: channel.receive(),
    "async for": lambda channel: anext(aiter(channel)),
    "receive_batch": lambda channel: channel.receive_batch(),
    "batches": lambda channel: anext(channel.batches()),
}
form = pytest.mark.parametrize("take", FORMS.values(), ids=FORMS)


def content(taken: Any) -> bytes:
    return b"".join(map(bytes, taken)) if isinstance(taken, list) else bytes(memoryview(taken))


def taking(take: Callable[[Channel], Awaitable[Any]], channel: Channel) -> Any:
    """A task that takes in this form."""

    async def receive() -> Any:
        return await take(channel)

    return asyncio.ensure_future(receive())


async def waiting(take: Callable[[Channel], Awaitable[Any]], channel: Channel) -> Any:
    """The same, of which nothing has come."""
    task = taking(take, channel)
    await until(lambda: task._fut_waiter is not None)
    return task


async def once(channel: Channel, far: socket.socket) -> None:
    """From here on the loop calls, and a wait takes no detour."""
    task = await waiting(FORMS["receive"], channel)
    far.send(b"first")
    assert bytes(await task) == b"first"


@form
async def test_a_wait_ends_with_what_comes(take: Callable[[Channel], Awaitable[Any]]) -> None:
    with pair() as (channel, far):
        await once(channel, far)
        for each in (b"one", b"two", b"three"):
            task = await waiting(take, channel)
            far.send(each)
            assert content(await task) == each


@form
async def test_a_cancelled_wait_takes_nothing_and_leaves_no_obstacle(
    take: Callable[[Channel], Awaitable[Any]],
) -> None:
    with pair() as (channel, far):
        await once(channel, far)
        for each in (b"one", b"two"):
            task = await waiting(take, channel)
            far.send(each)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            # At once: a deadline that has passed must not keep a packet away for ever.
            with pytest.raises(StopIteration) as found:
                take(channel).__await__().send(None)
            assert content(found.value.value) == each


@form
async def test_a_wait_that_is_dropped_leaves_room_for_the_next(
    take: Callable[[Channel], Awaitable[Any]],
) -> None:
    with pair() as (channel, far):
        await once(channel, far)
        dropped = take(channel).__await__()
        assert dropped.send(None) is channel._readiness.reader
        with pytest.raises(BusyError):
            await channel.receive()
        del dropped
        gc.collect()
        far.send(b"next")
        assert content(await take(channel)) == b"next"


@form
async def test_a_wait_ends_when_the_channel_is_closed(
    take: Callable[[Channel], Awaitable[Any]],
) -> None:
    with pair() as (channel, far):
        await once(channel, far)
        task = await waiting(take, channel)
        channel.close()
        with pytest.raises(ClosedError):
            await task


@form
async def test_a_wait_sees_the_other_end_close(take: Callable[[Channel], Awaitable[Any]]) -> None:
    with pair(socket.SOCK_SEQPACKET) as (channel, far):
        await once(channel, far)
        task = await waiting(take, channel)
        far.close()
        with pytest.raises((EndOfStream, StopAsyncIteration)):
            await task


async def test_wakeups_are_counted_where_waits_take_no_detour() -> None:
    with pair() as (channel, far):
        await once(channel, far)
        before = channel.stats().wakeups
        for _ in range(5):
            task = await waiting(FORMS["receive"], channel)
            far.send(b"x")
            await task
        assert channel.stats().wakeups >= before + 5


async def test_a_channel_may_be_activated_after_a_wait_was_cancelled() -> None:
    with pair() as (channel, far):
        await once(channel, far)
        task = await waiting(FORMS["receive"], channel)
        with pytest.raises(BusyError):
            await channel.serve(lambda packet: None, active=1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        far.send(b"x")
        got: list[bytes] = []
        await channel.serve(lambda packet: got.append(bytes(packet)), active=1)
        assert got == [b"x"]


@form
async def test_a_wait_that_another_task_awaits_too_stays_the_firsts(
    take: Callable[[Channel], Awaitable[Any]],
) -> None:
    def already(taken: Awaitable[Any], channel: Channel) -> Awaitable[Any]:
        return taken

    async def wait_for(taken: Awaitable[Any]) -> Any:
        return await taken

    with pair() as (channel, far):
        for each in (b"the detour", b"and without"):
            taken = take(channel)
            task = await waiting(partial(already, taken), channel)
            with pytest.raises(RuntimeError, match="awaited already"):
                await wait_for(taken)
            far.send(each)
            assert content(await task) == each


class _Between:
    """An awaitable around another, that does something before that goes on."""

    def __init__(self, inner: Any, act: Callable[[], None]) -> None:
        self._inner = inner
        self._act = act

    def __await__(self) -> Any:
        steps = self._inner.__await__()
        given = steps.send(None)
        while True:
            yield given
            self._act()
            try:
                given = steps.send(None)
            except StopIteration as stop:
                return stop.value


@form
async def test_a_wait_whose_channel_is_closed_as_it_goes_on_reads_no_other_descriptor(
    take: Callable[[Channel], Awaitable[Any]],
) -> None:
    with pair() as (channel, far):
        await once(channel, far)
        mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with mine, other:
            other.send(b"somebody else's")
            number = channel.fileno()

            def close() -> None:
                channel.close()
                os.dup2(mine.fileno(), number)

            async def receive() -> Any:
                return await _Between(take(channel), close)

            task = asyncio.ensure_future(receive())
            await until(lambda: task._fut_waiter is not None)  # type: ignore[attr-defined]
            far.send(b"one")
            try:
                with pytest.raises(ClosedError):
                    await task
            finally:
                os.close(number)
            assert mine.recv(64) == b"somebody else's"


@pytest.mark.netns
@form
async def test_a_wait_on_a_ring_loses_nothing_when_it_is_cancelled_as_packets_come(
    veth: tuple[str, str], take: Callable[[Channel], Awaitable[Any]]
) -> None:
    got: list[int] = []
    with cable(veth, ring=True) as wire:
        async with asyncio.timeout(20):
            for each in range(60):
                task = taking(take, wire.channel)
                await asyncio.sleep(0)  # it waits now, unless what a cancelled one left is there
                wire.send(each)
                # A block is handed over within two milliseconds: before, after, and as it happens.
                asyncio.get_running_loop().call_later(each % 12 * 0.0002, task.cancel)
                with contextlib.suppress(asyncio.CancelledError):
                    got += numbers(await task)
            while len(got) < 60:
                got += numbers(await take(wire.channel))

    assert got == list(range(60))


@pytest.mark.netns
@form
async def test_a_wait_on_a_ring_is_the_only_one_and_ends_with_its_channel(
    veth: tuple[str, str], take: Callable[[Channel], Awaitable[Any]]
) -> None:
    with cable(veth, ring=True) as wire:
        task = await waiting(take, wire.channel)
        for other in FORMS.values():
            with pytest.raises(BusyError):
                await other(wire.channel)
        wire.send(7)
        assert numbers(await task) == [7]
        task = await waiting(take, wire.channel)
        wire.channel.close()

        with pytest.raises(ClosedError):
            await task


def numbers(taken: Any) -> list[int]:
    return [number(packet) for packet in ([taken] if isinstance(taken, Packet) else taken)]
