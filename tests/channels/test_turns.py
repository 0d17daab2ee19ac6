"""What one turn of the loop delivers to a protocol: so many packets, and so much time."""

import asyncio
import time

import pytest

from aioprocket import (
    Packet,
    create_endpoint,
)
from channels.protocols import Batches, ended
from channels.rig import cable, number
from contract import Recorder, until

pytestmark = [pytest.mark.netns]


@pytest.mark.asyncio
async def test_no_wakeup_reads_more_than_read_packets(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        wire.send(*range(250))
        turns = 0
        seen: list[int] = []
        transport, protocol = await create_endpoint(Recorder, wire.channel, active=False)
        protocol.on_packet = lambda packet: seen.append(turns)

        transport.set_active(True)
        while len(seen) < 250:
            turns += 1
            await asyncio.sleep(0)
        await ended(transport)

        assert max(seen.count(turn) for turn in set(seen)) <= 64


@pytest.mark.asyncio
async def test_what_time_cut_short_and_new_packets_share_a_turn(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        wire.send(*range(250))
        turns = 0
        seen: list[int] = []
        transport, protocol = await create_endpoint(Recorder, wire.channel, active=False)

        def slow_once(packet: Packet) -> None:
            seen.append(turns)
            if len(seen) == 26:
                time.sleep(0.005)  # longer than a turn has

        protocol.on_packet = slow_once
        transport.set_active(True)
        while len(seen) < 250:
            turns += 1
            await asyncio.sleep(0)
        await ended(transport)

        assert max(seen.count(turn) for turn in set(seen)) <= 64


@pytest.mark.asyncio
async def test_a_backlog_and_new_packets_share_the_packets_of_a_turn(
    veth: tuple[str, str],
) -> None:
    with cable(veth) as wire:
        wire.send(*range(250))
        turns = 0
        seen: list[int] = []
        transport, protocol = await create_endpoint(Recorder, wire.channel, active=False)

        def broken_off(packet: Packet) -> None:
            seen.append(turns)
            if len(seen) % 50 == 0:
                transport.pause_reading()
                transport.resume_reading()

        protocol.on_packet = broken_off
        transport.set_active(True)
        while len(seen) < 250:
            turns += 1
            await asyncio.sleep(0)
        await ended(transport)

        assert [number(packet) for packet in protocol.packets] == list(range(250))
        assert max(seen.count(turn) for turn in set(seen)) <= 64


@pytest.mark.asyncio
async def test_a_receive_within_a_delivery_gets_the_next_packet(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        wire.send(*range(6))
        transport, protocol = await create_endpoint(Recorder, wire.channel, active=False)
        received: list[int] = []

        def take_the_next(packet: Packet) -> None:
            if number(packet) == 1:
                transport.set_active(False)
                received.append(number(transport.receive_nowait()))
                transport.set_active(True)

        protocol.on_packet = take_the_next
        transport.set_active(True)
        await until(lambda: len(protocol.packets) == 5)
        await ended(transport)

        assert received == [2]
        assert [number(packet) for packet in protocol.packets] == [0, 1, 3, 4, 5]


@pytest.mark.asyncio
async def test_a_slow_callback_hands_the_turn_over_and_loses_nothing(
    veth: tuple[str, str],
) -> None:
    with cable(veth) as wire:
        wire.send(*range(20))
        turns = 0
        seen: list[int] = []
        transport, protocol = await create_endpoint(Recorder, wire.channel, active=False)

        def slow(packet: Packet) -> None:
            seen.append(turns)
            time.sleep(0.0015)

        protocol.on_packet = slow
        transport.set_active(True)
        while len(seen) < 20:
            turns += 1
            await asyncio.sleep(0)
        await ended(transport)

        assert [number(packet) for packet in protocol.packets] == list(range(20))
        assert max(seen.count(turn) for turn in set(seen)) <= 3


@pytest.mark.asyncio
async def test_a_slow_batch_callback_gets_smaller_batches(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        wire.send(*range(200))
        transport, protocol = await create_endpoint(Batches, wire.channel, active=False)
        protocol.seconds = 0.003

        transport.set_active(True)
        await until(lambda: sum(map(len, protocol.batches)) >= 126)
        await ended(transport)

        assert [len(batch) for batch in protocol.batches[:4]] == [64, 32, 16, 8]
