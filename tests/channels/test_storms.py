"""Receives that are cancelled, dropped and refused at any moment: every packet still arrives.

What is done next, and when, a seeded generator says; the packets are numbered, and what was
received, in the order in which it was, must be the numbers from 0.
"""

import asyncio
import gc
import os
import random
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import islice
from typing import Any

import anyio
import pytest

from aioprocket import BusyError, Channel, Packet
from channels.rig import cable, frame, number, pair

# A longer run by hand: AIOPROCKET_STORM=50
PACKETS = 1_000 * int(os.environ.get("AIOPROCKET_STORM", "1"))
CYCLES = 4_000
# More than this are not on their way at once: nothing is to be dropped.
ON_THE_WAY = 40

Take = Callable[[Channel], Awaitable[Any]]

FORMS: tuple[Take, ...] = (
    lambda channel: channel.receive(),
    lambda channel: anext(aiter(channel)),
    lambda channel: channel.receive_batch(3),
    lambda channel: anext(channel.batches(3)),
    lambda channel: channel.recv(),
)


def numbers(taken: Any) -> list[int]:
    """Of what any of the forms has returned."""
    return [number(p) for p in ([taken] if isinstance(taken, bytes | Packet) else taken)]


class Storm:
    """One channel, who sends to it, and who receives from it and is disturbed."""

    def __init__(self, channel: Channel, far: socket.socket, seed: int) -> None:
        self.channel = channel
        self.far = far
        self.dice = random.Random(seed)
        self.received: list[int] = []
        self.sent = 0
        self.refused = 0

    def send(self) -> None:
        if self.sent < PACKETS and self.sent - len(self.received) < ON_THE_WAY:
            with suppress(BlockingIOError):
                self.far.send(frame(self.sent), socket.MSG_DONTWAIT)
                self.sent += 1

    async def turns(self, most: int) -> None:
        for _ in range(self.dice.randint(0, most)):
            await asyncio.sleep(0)

    async def take(self) -> None:
        """One receive. What it returns is kept before anything else can happen."""
        form = self.dice.choice(FORMS)
        self.received += numbers(await form(self.channel))

    def disturb(self, task: "asyncio.Task[Any]") -> None:
        """Send and cancel, in either order or only one of both, at the same moment."""
        acts: list[Callable[[], object]] = [self.send, self.send, task.cancel, task.cancel]
        self.dice.shuffle(acts)
        for act in islice(acts, self.dice.randint(0, 4)):
            act()

    async def end(self, task: "asyncio.Task[Any]") -> None:
        task.cancel()
        with suppress(asyncio.CancelledError, BusyError):
            await task

    # The ways of being cancelled

    async def by_the_task(self) -> None:
        task = asyncio.ensure_future(self.take())
        await self.turns(3)
        self.disturb(task)
        await self.turns(2)
        await self.end(task)

    async def by_a_callback(self) -> None:
        task = asyncio.ensure_future(self.take())
        await self.turns(3)
        asyncio.get_running_loop().call_soon(self.disturb, task)
        await self.turns(3)
        await self.end(task)

    async def by_wait_for(self) -> None:
        self.send()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.take(), self.dice.choice((0, 1e-6, 1e-4, 1e-3)))

    async def by_a_timeout(self) -> None:
        self.send()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.dice.choice((0, 1e-6, 1e-4, 1e-3))):
                await self.take()

    async def by_a_scope(self) -> None:
        with anyio.move_on_after(self.dice.choice((0, 1e-6, 1e-3))):
            await self.take()

    async def by_a_sibling(self) -> None:
        async def fail() -> None:
            await asyncio.sleep(0)  # or an eager one would fail before the group waits
            await self.turns(2)
            self.send()
            raise LookupError

        with suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(self.take())
                group.create_task(fail())

    async def by_a_shield(self) -> None:
        task = asyncio.ensure_future(self.take())
        outer = asyncio.shield(task)
        await asyncio.wait({outer}, timeout=0)
        outer.cancel()
        self.send()
        await self.turns(2)
        await self.end(task)

    async def not_at_all_but_refused(self) -> None:
        tasks = [asyncio.ensure_future(self.take()) for _ in range(3)]
        await self.turns(3)
        self.send()
        await self.turns(3)
        for task in tasks:
            await self.end(task)
            if not task.cancelled() and isinstance(task.exception(), BusyError):
                self.refused += 1

    async def and_again(self) -> None:
        async def stubborn() -> None:
            with suppress(asyncio.CancelledError):
                await self.take()
            await self.take()

        task = asyncio.ensure_future(stubborn())
        await self.turns(2)
        self.disturb(task)
        await self.turns(2)
        await self.end(task)

    async def by_being_dropped(self) -> None:
        steps = self.channel.receive().__await__()
        try:
            steps.send(None)
        except StopIteration as stop:
            self.received += numbers(stop.value)
        except BusyError:
            self.refused += 1
        self.send()
        if self.dice.random() < 0.5:
            steps.close()

    async def blow(self) -> None:
        ways = [
            self.by_the_task, self.by_a_callback, self.by_wait_for, self.by_a_timeout,
            self.by_a_scope, self.by_a_sibling, self.by_a_shield, self.not_at_all_but_refused,
            self.and_again, self.by_being_dropped,
        ]  # fmt: skip
        while self.sent < PACKETS:
            self.send()
            await self.dice.choice(ways)()
        with anyio.move_on_after(20):  # what is lost never comes
            while len(self.received) < self.sent:
                await self.take()


def storm(channel: Channel, far: socket.socket) -> Storm:
    return Storm(channel, far, seed=int(os.environ.get("AIOPROCKET_SEED", "1")))


def eager(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> "asyncio.Task[Any]":
    """A task that takes its first step at once; asyncio's own factory does not suit every loop."""
    return asyncio.Task(coro, loop=loop, **{**options, "eager_start": True})


# What makes the tasks of a loop; None: the loop itself.
FACTORIES: dict[str, Any] = {"tasks": None}
if sys.version_info >= (3, 12):
    FACTORIES["eager tasks"] = eager


@pytest.mark.asyncio
@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
async def test_no_cancelled_receive_loses_a_packet(factory: Any) -> None:
    asyncio.get_running_loop().set_task_factory(factory)
    with pair() as (channel, far):
        weather = storm(channel, far)
        await weather.blow()

        assert weather.received == list(range(PACKETS))
        assert weather.refused
        assert channel.stats().rx_held == 0


@pytest.mark.netns
@pytest.mark.asyncio
@pytest.mark.parametrize(
    "options",
    [{"ring": False}, {"ring": True}, {"ring": True, "latency": "low"}],
    ids=["socket", "blocks", "frames"],
)
async def test_no_cancelled_receive_loses_a_frame(
    veth: tuple[str, str], options: dict[str, Any]
) -> None:
    with cable(veth, **options) as wire:
        weather = storm(wire.channel, wire.far)
        await weather.blow()

        assert weather.received == list(range(PACKETS))
        assert wire.channel.stats().rx_dropped == 0


@pytest.mark.asyncio
async def test_cancelled_and_ended_waits_leave_nothing_in_memory() -> None:
    """Counted are the blocks of Python's allocator: pages of memory come and go for others, too."""

    async def cycles(count: int) -> None:
        for _ in range(count):
            waits = asyncio.ensure_future(FORMS[0](channel))
            await asyncio.sleep(0)
            waits.cancel()
            with suppress(asyncio.CancelledError):
                await waits
            waits = asyncio.ensure_future(FORMS[2](channel))
            await asyncio.sleep(0)
            far.send(packet)
            await waits

    def in_use() -> int:
        gc.collect()
        return sys.getallocatedblocks()

    packet = frame(1)
    with pair() as (channel, far):
        await cycles(500)
        before = in_use()
        await cycles(CYCLES)
        after = in_use()

    # One for each cycle would be seen.
    assert after - before < CYCLES / 4
