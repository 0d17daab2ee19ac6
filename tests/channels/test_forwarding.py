"""What a device gave in one piece, sent on as it came."""

import asyncio
import errno
import socket
from collections.abc import Iterator

import anyio
import pytest

import aioprocket
from aioprocket import LinkDownError, Packet
from aioprocket.packet import Batch
from channels.rig import Cable, frame, tap
from sandbox import links

pytestmark = [pytest.mark.netns, pytest.mark.anyio]

SECONDS = 30


@pytest.fixture
def wire(veth: tuple[str, str]) -> Iterator[Cable]:
    with tap() as cable:
        cable.far.settimeout(SECONDS)
        cable.far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        yield cable


async def received(wire: Cable, frames: list[bytes], max: int = 64) -> list[Batch]:
    """These frames, as the channel gives them."""
    for each in frames:
        wire.far.send(each)
    batches: list[Batch] = []
    with anyio.fail_after(SECONDS):
        async for batch in wire.channel.batches(max):
            batches.append(batch)
            if sum(map(len, batches)) >= len(frames):
                break
    return batches


@pytest.mark.parametrize("size", [64, 1400])
async def test_batches_go_on_whole_and_in_order(wire: Cable, size: int) -> None:
    frames = [frame(number).ljust(size, b"\0") for number in range(200)]
    batches = await received(wire, frames)

    for batch in batches:
        assert await wire.channel.send_batch(batch) == len(batch)

    assert [wire.far.recv(2000) for _ in frames] == frames
    stats = wire.channel.stats()
    assert (stats.tx_packets, stats.tx_bytes) == (200, 200 * size)


async def test_what_is_kept_of_a_batch_outlives_those_that_follow(wire: Cable) -> None:
    frames = [frame(number).ljust(1400, b"\1") for number in range(400)]
    kept: list[Packet] = []

    for start in range(0, 400, 50):
        for batch in await received(wire, frames[start : start + 50]):
            kept += batch
            await wire.channel.send_batch(batch)

    assert [packet.data for packet in kept] == frames


async def test_a_batch_to_a_device_that_is_down_says_so_and_counts_nothing(wire: Cable) -> None:
    [batch, *_] = await received(wire, [frame(0), frame(1)])
    links.set_down(wire.ifname)

    for _ in range(2):
        with pytest.raises(LinkDownError) as refused:
            await wire.channel.send_batch(batch)
        assert refused.value.errno == errno.EIO
    assert wire.channel.stats().tx_packets == 0

    links.set_up(wire.ifname)
    assert await wire.channel.send_batch(batch) == len(batch)


async def test_a_batch_to_a_closed_channel_is_refused(wire: Cable) -> None:
    [batch, *_] = await received(wire, [frame(0)])
    wire.channel.close()

    with pytest.raises(aioprocket.ClosedError):
        await wire.channel.send_batch(batch)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_protocol_sends_on_what_it_receives(wire: Cable) -> None:
    frames = [frame(number) for number in range(200)]
    done = asyncio.Event()
    counts: list[int] = []

    class Echo(asyncio.DatagramProtocol):
        transport: aioprocket.RawTransport

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, aioprocket.RawTransport)
            self.transport = transport

        def packets_received(self, batch: Batch) -> None:
            counts.append(self.transport.send_batch(batch))
            if sum(counts) >= len(frames):
                done.set()

    transport, _ = await aioprocket.create_endpoint(Echo, wire.channel)
    for each in frames:
        wire.far.send(each)
    async with asyncio.timeout(SECONDS):
        await done.wait()

    assert [wire.far.recv(2000) for _ in frames] == frames
    assert transport.stats().tx_packets == 200
    transport.close()
