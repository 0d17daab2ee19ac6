"""A descriptor that is given away: what was taken out of it is handed over as well."""

import asyncio
import os
import socket
import threading
from contextlib import suppress
from typing import Any

import anyio
import pytest

from aioprocket import Packet, create_endpoint
from channels.rig import Cable, cable, number, tap
from channels.spill_rig import MANY, drip, opened
from channels.test_udp_offload import offloaded
from contract import until
from lab.udp import numbered, send_in_one, settled

pytestmark = [pytest.mark.netns]

RINGS: list[dict[str, Any]] = [
    {"latency": "balanced"},
    {"latency": "throughput", "receive_buffer": 1 << 20},
    {"latency": "low"},
]
QUEUES: list[dict[str, Any]] = [{"latency": "low"}, {"latency": "balanced"}]


def what_was_kept(wire: Cable) -> list[int]:
    packets = wire.channel.undelivered
    assert wire.channel.stats().rx_held == len(packets)
    return [number(packet) for packet in packets]


def what_waits(sock: socket.socket) -> list[int]:
    found: list[int] = []
    with suppress(BlockingIOError):
        while True:
            found.append(number(sock.recv(2000, socket.MSG_DONTWAIT)))
    return found


async def ten(wire: Cable) -> list[int]:
    """So many that the last of them was read ahead, with all the others."""
    return [number(await wire.channel.receive()) for _ in range(10)]


@pytest.mark.anyio
@pytest.mark.parametrize("options", QUEUES)
async def test_what_was_read_ahead_is_kept_and_the_rest_waits(
    veth: tuple[str, str], options: dict[str, Any]
) -> None:
    with cable(veth, ring=False, **options) as wire:
        wire.send(*range(100))
        got = await ten(wire)
        assert wire.channel.undelivered == []

        with wire.channel.to_socket() as sock:
            kept = what_was_kept(wire)

            assert len(kept) > 0
            assert got + kept + what_waits(sock) == list(range(100))


@pytest.mark.anyio
async def test_what_was_read_ahead_of_a_device_is_kept() -> None:
    with tap() as wire:
        wire.send(*range(100))
        got = await ten(wire)

        fd = wire.channel.detach()
        waiting: list[int] = []
        with suppress(BlockingIOError):
            while True:
                waiting.append(number(os.read(fd, 2000)))
        os.close(fd)

        assert got + what_was_kept(wire) + waiting == list(range(100))
        assert waiting


@pytest.mark.anyio
@pytest.mark.parametrize("options", RINGS)
@pytest.mark.parametrize("read", [0, 10])
async def test_what_is_in_a_ring_is_kept(
    veth: tuple[str, str], options: dict[str, Any], read: int
) -> None:
    with cable(veth, ring=True, **options) as wire:
        wire.send(*range(500))
        got = await ten(wire) if read else []

        with settled(wire.channel.to_socket()) as sock:
            assert got + what_was_kept(wire) == list(range(500))
            assert wire.channel.stats().rx_packets == 500
            wire.send(500)
            assert number(sock.recv(2000)) == 500


@pytest.mark.anyio
async def test_what_was_spilled_is_kept(veth: tuple[str, str]) -> None:
    async with opened(veth) as wire:
        await drip(wire, MANY)
        assert wire.channel.stats().rx_held > 0

        os.close(wire.channel.detach())

        assert what_was_kept(wire) == list(range(MANY))


@pytest.mark.anyio
async def test_a_handler_that_gives_the_descriptor_away_gets_no_more(
    veth: tuple[str, str],
) -> None:
    got: list[int] = []
    with cable(veth) as wire:
        wire.send(*range(100))
        socks: list[socket.socket] = []

        def handle(packet: Packet) -> None:
            got.append(number(packet))
            if len(got) == 5:
                socks.append(wire.channel.to_socket())

        with pytest.raises(OSError, match="closed"):
            await wire.channel.serve(handle)

        with socks[0] as sock:
            kept = what_was_kept(wire)
            assert kept
            assert got + kept + what_waits(sock) == list(range(100))
        assert got == list(range(5))


@pytest.mark.anyio
async def test_what_a_handler_that_closes_leaves_is_counted(veth: tuple[str, str]) -> None:
    got: list[Packet] = []

    def handle(packet: Packet) -> None:
        got.append(packet)
        if len(got) == 5:
            wire.channel.close()

    with cable(veth) as wire:
        wire.send(*range(100))
        with pytest.raises(OSError, match="closed"):
            await wire.channel.serve(handle)

        stats = wire.channel.stats()
        assert stats.rx_packets - stats.rx_held == len(got) == 5


@pytest.mark.asyncio
@pytest.mark.parametrize("ring", [False, True])
async def test_a_protocol_that_gives_the_descriptor_away_gets_no_more(
    veth: tuple[str, str], ring: bool
) -> None:
    got: list[int] = []
    socks: list[socket.socket] = []

    class Fickle(asyncio.DatagramProtocol):
        def packet_received(self, packet: Packet) -> None:
            got.append(number(packet))
            if len(got) == 5:
                socks.append(wire.channel.to_socket())

    with cable(veth, ring=ring) as wire:
        wire.send(*range(100))
        await create_endpoint(Fickle, wire.channel)
        await until(lambda: bool(socks))

        with socks[0] as sock:
            assert got == list(range(5))
            assert got + what_was_kept(wire) + what_waits(sock) == list(range(100))


@pytest.mark.anyio
async def test_a_closed_channel_keeps_nothing_but_the_count(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        wire.send(*range(40))
        await ten(wire)
        held = wire.channel.stats().rx_held

        wire.channel.close()

        assert wire.channel.undelivered == []
        assert wire.channel.stats().rx_held == held > 0


@pytest.mark.anyio
@pytest.mark.parametrize("read", [0, 1, 12])
async def test_datagrams_that_came_in_one_are_kept_each_for_itself(read: int) -> None:
    with offloaded() as (channel, far):
        for first in range(0, 300, 30):
            send_in_one(far, numbered(first, 30))
        got = [(await channel.receive()).data for _ in range(read)]

        with settled(channel.to_socket()) as sock:
            got += [packet.data for packet in channel.undelivered]
            send_in_one(far, numbered(300, 3))
            got += [sock.recv(100) for _ in range(3)]

        assert got == numbered(0, 303)
        stats = channel.stats()
        assert (stats.rx_packets, stats.rx_held, stats.rx_dropped) == (300, 300 - read, 0)


@pytest.mark.anyio
async def test_in_a_flood_each_datagram_comes_alone_and_none_is_lost_silently() -> None:
    size = len(numbered(0, 1)[0])
    ended = threading.Event()
    sent = 0

    def flood() -> None:
        nonlocal sent
        while not ended.is_set():
            send_in_one(far, numbered(sent, 30))
            sent += 30

    with offloaded() as (channel, far):
        thread = threading.Thread(target=flood)
        thread.start()
        try:
            with anyio.fail_after(20):
                await channel.receive()
            sock = channel.to_socket()
        finally:
            ended.set()
            thread.join()
        with sock:
            after: list[bytes] = []
            with suppress(BlockingIOError):
                while True:
                    after.append(sock.recv(65535))

    kept = [packet.data for packet in channel.undelivered]
    assert {len(data) for data in kept + after} == {size}
    order = [int.from_bytes(data[:4], "big") for data in kept + after]
    assert order == sorted(set(order))
    # From there on the drops are whose the socket is.
    ours = order[: len(kept) + 1]
    assert len(ours) == ours[-1] + 1 - ours[0] or channel.stats().rx_dropped
