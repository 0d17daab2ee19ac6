"""A ring that is carried from one event loop into another, and that nobody reads there yet."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Literal

import anyio
import pytest

from aioprocket import PacketChannel, create_endpoint, open_packet
from channels.rig import ETH_P_LOCAL_NUMBER, Cable, bound, number
from channels.spill_rig import MANY, drip, everything
from contract import Recorder, until

pytestmark = pytest.mark.netns


async def entered(channel: PacketChannel) -> None:
    await channel.__aenter__()


async def iterated_over(channel: PacketChannel) -> None:
    aiter(channel)


async def iterated_over_by_batches(channel: PacketChannel) -> None:
    channel.batches()


async def polled(channel: PacketChannel) -> None:
    with pytest.raises(BlockingIOError):
        channel.receive_nowait()


async def waited_for(channel: PacketChannel) -> None:
    with anyio.move_on_after(0.05):
        await channel.receive()


@pytest.mark.parametrize(
    "use", [entered, iterated_over, iterated_over_by_batches, polled, waited_for]
)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_channel_that_is_used_in_a_second_loop_loses_nothing_there(
    veth: tuple[str, str],
    backend: Literal["asyncio", "trio"],
    use: Callable[[PacketChannel], Awaitable[None]],
) -> None:
    async def first() -> PacketChannel:
        channel = await open_packet(veth[1], protocol=ETH_P_LOCAL_NUMBER)
        await drip(Cable(channel, far, veth[1]), MANY)
        assert await everything(channel) == list(range(MANY))
        return channel

    async def second() -> list[int]:
        await use(channel)
        await drip(Cable(channel, far, veth[1]), MANY)
        return await everything(channel)

    with bound(veth[0]) as far, closing(anyio.run(first, backend=backend)) as channel:
        for _ in range(2):
            assert anyio.run(second, backend=backend) == list(range(MANY))
        assert channel.stats().rx_dropped == 0


@pytest.mark.parametrize("active", [False, True])
def test_a_transport_in_a_second_loop_loses_nothing(veth: tuple[str, str], active: bool) -> None:
    async def first() -> PacketChannel:
        return await open_packet(veth[1], protocol=ETH_P_LOCAL_NUMBER)

    async def second() -> list[int]:
        transport, protocol = await create_endpoint(Recorder, channel, active=active)
        if active:
            transport.pause_reading()
        await drip(Cable(channel, far, veth[1]), MANY)
        transport.set_active(True)
        transport.resume_reading()
        await until(lambda: len(protocol.packets) == MANY)
        assert channel.stats().rx_dropped == 0
        transport.abort()
        await until(lambda: protocol.lost)
        return [number(packet) for packet in protocol.packets]

    with bound(veth[0]) as far, closing(asyncio.run(first())) as channel:
        assert asyncio.run(second()) == list(range(MANY))
