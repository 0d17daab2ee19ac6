"""What reads in the parts about system calls: the plain loop, and ours that do nothing else.

Each counts, and looks at nothing that it gets.
"""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import aioprocket

__all__ = (
    "BATCH",
    "PLAIN",
    "Batches",
    "Counted",
    "Datagrams",
    "OneByOne",
    "iterate",
    "plain_loop",
    "receive",
    "receive_batch",
    "take_batches",
)

BATCH = 64  # packets of a wakeup
PLAIN = f"add_reader and {BATCH} × recv"

# Packets received so far, and wakeups.
Counted = Callable[[], tuple[int, int]]


@contextmanager
def plain_loop(sock: socket.socket) -> Iterator[Counted]:
    """The loop calls for the socket, and each time up to 64 packets are received by `recv`."""
    received = wakeups = 0

    def drain() -> None:
        nonlocal received, wakeups
        wakeups += 1
        try:
            for _ in range(BATCH):
                sock.recv(2048)
                received += 1
        except BlockingIOError:
            pass

    loop = asyncio.get_running_loop()
    loop.add_reader(sock.fileno(), drain)
    try:
        yield lambda: (received, wakeups)
    finally:
        loop.remove_reader(sock.fileno())


async def receive(channel: aioprocket.Channel) -> None:
    while True:
        await channel.receive()


async def iterate(channel: aioprocket.Channel) -> None:
    async for _ in channel:
        pass


async def receive_batch(channel: aioprocket.Channel) -> None:
    while True:
        await channel.receive_batch(BATCH)


async def take_batches(channel: aioprocket.Channel) -> None:
    async for _ in channel.batches():
        pass


class Datagrams(asyncio.DatagramProtocol):
    def datagram_received(self, data: bytes, addr: Any) -> None:
        pass


class OneByOne(asyncio.DatagramProtocol):
    def packet_received(self, packet: aioprocket.Packet) -> None:
        pass


class Batches(asyncio.DatagramProtocol):
    def packets_received(self, batch: aioprocket.Batch) -> None:
        pass
