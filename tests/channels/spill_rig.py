"""What the tests of spilling stand on, beside the rig of all channels."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio

from aioprocket import Channel, open_packet
from channels.rig import ETH_P_LOCAL_NUMBER, Cable, bound, number
from channels.ring_rig import arrived

__all__ = ("MANY", "drip", "everything", "opened")

MANY = 150  # blocks: a ring has 64


@asynccontextmanager
async def opened(veth: tuple[str, str], **options: Any) -> AsyncIterator[Cable]:
    """A channel as a program gets it, by its door."""
    with bound(veth[0]) as far:
        async with open_packet(veth[1], protocol=ETH_P_LOCAL_NUMBER, **options) as channel:
            yield Cable(channel, far, veth[1])


async def drip(wire: Cable, count: int, start: int = 0) -> None:
    """Frames one after the other, so that hardly two of them are in one block."""
    for each in range(start, start + count):
        wire.send(each)
        await anyio.sleep(0.0012)


async def everything(channel: Channel) -> list[int]:
    """The numbers of all that is there, until nothing comes."""
    arrived(channel)
    found: list[int] = []
    while True:
        try:
            found.append(number(channel.receive_nowait()))
        except BlockingIOError:
            return found
