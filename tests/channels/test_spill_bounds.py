"""What is spilled and what is not, and what becomes of it when a channel or its filter ends."""

import asyncio

import anyio
import pytest

from aioprocket import LinkDownError, PacketChannel
from channels.rig import frame, number
from channels.spill_rig import MANY, drip, everything, opened
from contract import until
from lab.forks import in_child
from sandbox import links

EVEN = [(0x20, 0, 0, 14), (0x45, 1, 0, 1), (0x06, 0, 0, 0xFFFF), (0x06, 0, 0, 0)]

pytestmark = pytest.mark.netns


@pytest.mark.anyio
async def test_what_is_dense_stays_in_the_ring(veth: tuple[str, str]) -> None:
    async with opened(veth, receive_buffer=1 << 20) as wire:
        sent = 0
        for _ in range(40):  # 18 MB
            for _ in range(300):
                wire.far.send(frame(sent, 1500))
                sent += 1
            await anyio.sleep(0.001)
        stats = wire.channel.stats()
        got = await everything(wire.channel)

        assert stats.rx_held < 100
        assert stats.rx_dropped > 0
        assert got == sorted(got)
        stats = wire.channel.stats()
        assert stats.rx_packets + stats.rx_dropped == sent
        assert stats.rx_packets == len(got)


@pytest.mark.anyio
async def test_no_more_is_kept_than_the_ring_would_hold(veth: tuple[str, str]) -> None:
    async with opened(veth, receive_buffer=1 << 16, snaplen=2000) as wire:
        await drip(wire, 400)
        stats = wire.channel.stats()
        got = await everything(wire.channel)

        assert 100 < stats.rx_held < 400
        assert got == sorted(got)
        stats = wire.channel.stats()
        assert stats.rx_packets + stats.rx_dropped == 400


@pytest.mark.anyio
async def test_nothing_from_before_a_filter_is_received_after_it(veth: tuple[str, str]) -> None:
    async with opened(veth) as wire:
        await drip(wire, MANY)
        wire.channel.set_filter(EVEN)
        stats = wire.channel.stats()
        assert (stats.rx_packets, stats.rx_bytes, stats.rx_held, stats.rx_queued) == (0, 0, 0, 0)
        await drip(wire, MANY)

        assert await everything(wire.channel) == list(range(0, MANY, 2))


@pytest.mark.anyio
async def test_nothing_from_before_a_removal_is_lost(veth: tuple[str, str]) -> None:
    async with opened(veth) as wire:
        await drip(wire, MANY)
        links.delete_link(veth[0])
        got = [number(await wire.channel.receive()) for _ in range(MANY)]
        with pytest.raises(LinkDownError):
            await wire.channel.receive()

        assert got == list(range(MANY))


@pytest.mark.anyio
async def test_what_was_spilled_is_said_to_be_lost_by_a_close(veth: tuple[str, str]) -> None:
    async with opened(veth) as wire:
        await drip(wire, MANY)
        held = wire.channel.stats().rx_held
        await wire.channel.aclose()

        assert wire.channel.stats().rx_held == held > 0


@pytest.mark.anyio
async def test_a_forked_child_leaves_what_was_spilled_to_its_parent(
    veth: tuple[str, str],
) -> None:
    async with opened(veth) as wire:
        await drip(wire, MANY)
        in_child(wire.channel.close)
        await drip(wire, MANY, MANY)

        assert await everything(wire.channel) == list(range(2 * MANY))


@pytest.mark.asyncio
async def test_no_timer_runs_where_a_task_waits_or_nothing_comes(veth: tuple[str, str]) -> None:
    async with opened(veth) as wire:
        assert isinstance(wire.channel, PacketChannel)
        spill = wire.channel._spill
        assert spill is not None
        assert spill._timer is None
        await drip(wire, MANY)
        assert spill._timer is not None
        assert await everything(wire.channel) == list(range(MANY))
        await until(lambda: spill._timer is None)

        waiting = asyncio.ensure_future(wire.channel.receive())
        await drip(wire, 1)
        assert number(await waiting) == 0
        waiting = asyncio.ensure_future(wire.channel.receive())
        await until(lambda: spill._timer is None)
        waiting.cancel()
