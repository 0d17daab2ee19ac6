"""Protocols that note what a transport gives them, and the end of one."""

import time

from aioprocket import Batch, Packet, RawProtocol, RawTransport
from channels.rig import number
from contract import until

__all__ = ("Batches", "Typed", "ended")


class Typed(RawProtocol):
    """Overrides with the types that are passed: a type checker accepts each of them."""

    def connection_made(self, transport: RawTransport) -> None:
        self.errors: list[OSError] = []
        self.lost: list[Exception | None] = []

    def packet_received(self, packet: Packet) -> None: ...

    def error_received(self, exc: OSError) -> None:
        self.errors.append(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


class Batches(RawProtocol):
    """The numbers in each batch; ``seconds`` is how long it takes over one."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.seconds = 0.0

    def packets_received(self, batch: Batch) -> None:
        self.batches.append([number(packet) for packet in batch])
        time.sleep(self.seconds)

    def packet_received(self, packet: Packet) -> None:
        raise AssertionError("the batch method is overridden, too")


async def ended(transport: RawTransport) -> None:
    """Abort a transport, and wait until its descriptor is closed."""
    transport.abort()
    await until(lambda: transport.channel.fileno() < 0)
