"""What the tests of rings stand on, beside the rig of all channels."""

import time

from aioprocket import Channel
from aioprocket.channels.ring import RingPort
from channels.rig import Cable, number

__all__ = ("arrived", "receive", "send")


def arrived(channel: Channel) -> None:
    """Wait until the kernel has handed over all that was sent."""
    port = channel._port
    assert isinstance(port, RingPort)
    while port.filling():
        time.sleep(0.0002)


def send(wire: Cable, *numbers: int) -> None:
    """Frames to the channel; it can receive them when this returns."""
    wire.send(*numbers)
    arrived(wire.channel)


async def receive(wire: Cable, count: int) -> list[int]:
    """The numbers of the next frames."""
    return [number(await wire.channel.receive()) for _ in range(count)]
