"""Sending what a capture file has."""

from typing import Final, NamedTuple

import anyio

from ..channels import Channel
from ..packet import Packet
from .input import CaptureSource
from .reader import Reader

__all__ = ("Replayed", "replay")

_BATCH: Final = 64


class Replayed(NamedTuple):
    """What was sent.

    Attributes:
        packets: How many.
        bytes: Of them all.
        cut: Packets that had been cut when they were captured, and were sent as they are.
        seconds: How long that took.
    """

    packets: int
    bytes: int
    cut: int
    seconds: float


async def replay(
    file: CaptureSource | Reader,
    channel: Channel,
    *,
    speed: float | None = 1.0,
    interface: int | None = None,
) -> Replayed:
    """Send the packets of a file, at the intervals at which they were captured.

    Frame check sequences that the file has are left out: the device makes its own.

    Args:
        file: As for `Reader`; or one that is open and not yet read, which stays open.
        channel: Where to. What packets start with has to fit: see its ``linktype``.
        speed: How many times as fast; None: as fast as they can be sent.
        interface: Only packets with this ``ifindex``; None: all.

    Raises:
        ChannelError: A packet could not be sent.
        And what `Reader` raises.
    """
    if isinstance(file, Reader):
        return await _send(file, channel, interface)
    realtime = speed is not None
    async with Reader(file, realtime=realtime, speed=speed or 1.0) as reader:
        return await _send(reader, channel, interface)


async def _send(reader: Reader, channel: Channel, interface: int | None) -> Replayed:
    began = anyio.current_time()
    sent = size = cut = 0
    while True:
        try:
            packets = await reader.receive_batch(_BATCH)
        except anyio.EndOfStream:
            return Replayed(sent, size, cut, anyio.current_time() - began)
        chosen = [packet for packet in packets if interface in (None, packet.ifindex)]
        frames = [_frame(packet, reader) for packet in chosen]
        left = frames
        while left:  # what the kernel did not take is tried once more, and raises then
            left = left[await channel.send_batch(left) :]
        sent += len(frames)
        size += sum(map(len, frames))
        cut += sum(packet.truncated for packet in chosen)


def _frame(packet: Packet, reader: Reader) -> bytes:
    fcslen = reader.interface_of(packet).fcslen
    if not fcslen or packet.truncated:
        return packet.data
    return packet.data[:-fcslen]
