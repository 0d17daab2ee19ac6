"""A transport that is not active, or paused, loses nothing of a sparse ring, and stays exact."""

import asyncio
import random

import pytest

from aioprocket import Packet, create_endpoint
from aioprocket.channels.modes import Mode
from channels.rig import number
from channels.spill_rig import MANY, drip, opened
from contract import Recorder, until

pytestmark = pytest.mark.netns


@pytest.mark.asyncio
async def test_credit_that_is_used_up_is_exact_and_loses_nothing(veth: tuple[str, str]) -> None:
    async with opened(veth) as wire:
        transport, protocol = await create_endpoint(Recorder, wire.channel, active=10)
        await drip(wire, MANY)
        assert len(protocol.packets) == 10

        transport.set_active(100)
        await until(lambda: len(protocol.packets) >= 110)
        await drip(wire, MANY, MANY)
        assert len(protocol.packets) == 110
        transport.set_active(True)
        await until(lambda: len(protocol.packets) == 2 * MANY)

        assert [number(packet) for packet in protocol.packets] == list(range(2 * MANY))
        assert transport.stats().rx_dropped == 0
        transport.abort()


@pytest.mark.asyncio
async def test_a_pause_loses_nothing(veth: tuple[str, str]) -> None:
    async with opened(veth) as wire:
        transport, protocol = await create_endpoint(Recorder, wire.channel)
        await drip(wire, 20)
        transport.pause_reading()
        seen = len(protocol.packets)
        await drip(wire, MANY, 20)
        assert len(protocol.packets) == seen

        transport.resume_reading()
        await until(lambda: len(protocol.packets) == MANY + 20)
        assert [number(packet) for packet in protocol.packets] == list(range(MANY + 20))
        assert transport.stats().rx_dropped == 0
        transport.abort()


@pytest.mark.asyncio
async def test_a_callback_that_raises_among_spilled_packets_loses_nothing(
    veth: tuple[str, str],
) -> None:
    def fail(packet: Packet) -> None:
        if number(packet) % 3 == 0:
            raise ValueError

    async with opened(veth) as wire:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        transport, protocol = await create_endpoint(Recorder, wire.channel, active=False)
        protocol.on_packet = fail
        await drip(wire, MANY)
        transport.set_active(True)
        await until(lambda: len(protocol.packets) == MANY)
        assert [number(packet) for packet in protocol.packets] == list(range(MANY))
        transport.abort()


@pytest.mark.asyncio
async def test_modes_that_change_at_random_get_all_in_order(veth: tuple[str, str]) -> None:
    chance = random.Random(7)
    async with opened(veth) as wire:
        transport, protocol = await create_endpoint(Recorder, wire.channel, active=False)
        dripping = asyncio.ensure_future(drip(wire, 300))
        while len(protocol.packets) < 300:
            before = len(protocol.packets)
            modes: list[Mode] = [True, "once", chance.randint(1, 60)]
            mode = chance.choice(modes)
            transport.set_active(mode)
            await asyncio.sleep(chance.choice([0, 0.001, 0.02]))
            transport.set_active(False)
            if chance.random() < 0.1:
                await asyncio.sleep(chance.random() * 0.2)
            if mode is not True:
                most = 1 if mode == "once" else mode
                assert len(protocol.packets) - before <= most
        await dripping

        assert [number(packet) for packet in protocol.packets] == list(range(300))
        assert transport.stats().rx_dropped == 0
        transport.abort()
