"""A ring that nobody reads for a while loses nothing as long as little comes, and the loop lives.

A block is out of the kernel's hands after a millisecond, so without any spilling each test that
drips frames, one after the other, would lose most of them.
"""

import random
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest

from aioprocket import Channel, Packet
from channels.rig import number
from channels.spill_rig import MANY, drip, everything, opened

pytestmark = pytest.mark.netns


@pytest.mark.anyio
async def test_a_channel_that_nobody_reads_yet_loses_nothing(veth: tuple[str, str]) -> None:
    async with opened(veth) as wire:
        await drip(wire, MANY)
        held = wire.channel.stats().rx_held

        assert await everything(wire.channel) == list(range(MANY))
        stats = wire.channel.stats()
        assert held > 0
        assert (stats.rx_packets, stats.rx_dropped, stats.rx_freezes) == (MANY, 0, 0)
        assert (stats.rx_held, stats.rx_queued) == (0, 0)


@pytest.mark.anyio
async def test_a_task_that_works_between_its_receives_loses_nothing(
    veth: tuple[str, str],
) -> None:
    got: list[int] = []
    async with opened(veth) as wire, anyio.create_task_group() as tasks:
        tasks.start_soon(drip, wire, 2 * MANY)
        while len(got) < 2 * MANY:
            got.append(number(await wire.channel.receive()))
            if len(got) in (1, 100):
                await anyio.sleep(0.3)

        assert got == list(range(2 * MANY))
        assert wire.channel.stats().rx_dropped == 0


@pytest.mark.anyio
async def test_a_handler_that_waits_loses_nothing(veth: tuple[str, str]) -> None:
    got: list[int] = []

    async def handle(packet: Packet) -> None:
        got.append(number(packet))
        if len(got) in (1, 100):
            await anyio.sleep(0.3)

    async with opened(veth) as wire, anyio.create_task_group() as tasks:
        tasks.start_soon(drip, wire, MANY)
        await wire.channel.serve(handle, active=MANY)

        assert got == list(range(MANY))
        assert wire.channel.stats().rx_dropped == 0


@pytest.mark.anyio
async def test_batches_begin_with_what_was_spilled(veth: tuple[str, str]) -> None:
    got: list[int] = []
    async with opened(veth) as wire:
        await drip(wire, MANY)
        wire.send(*range(MANY, MANY + 50))
        async for batch in wire.channel.batches():
            got += [number(packet) for packet in batch]
            if len(got) == MANY + 50:
                break

        assert got == list(range(MANY + 50))


@pytest.mark.anyio
async def test_readers_of_all_kinds_that_pause_at_random_get_all_in_order(
    veth: tuple[str, str],
) -> None:
    got: list[int] = []
    chance = random.Random(7)

    async def one(channel: Channel) -> None:
        got.append(number(await channel.receive()))

    async def some(channel: Channel) -> None:
        got.extend(number(each) for each in await channel.receive_batch(chance.randint(1, 40)))

    async def batch(channel: Channel) -> None:
        async for packets in channel.batches(chance.choice([None, 3, 100])):
            got.extend(number(each) for each in packets)
            break

    async def handled(channel: Channel) -> None:
        left = min(chance.randint(1, 30), 300 - len(got))
        await channel.serve(lambda packet: got.append(number(packet)), active=left)

    async def polled(channel: Channel) -> None:
        for _ in range(20):
            try:
                got.append(number(channel.receive_nowait()))
            except BlockingIOError:
                await anyio.lowlevel.checkpoint()

    ways: list[Callable[[Channel], Awaitable[None]]] = [one, some, batch, handled, polled]
    async with opened(veth) as wire, anyio.create_task_group() as tasks:
        tasks.start_soon(drip, wire, 300)
        while len(got) < 300:
            await chance.choice(ways)(wire.channel)
            if chance.random() < 0.05:
                await anyio.sleep(chance.random() * 0.2)

        assert got == list(range(300))
        stats = wire.channel.stats()
        assert (stats.rx_packets, stats.rx_dropped) == (300, 0)
