"""What it costs to pass packets from one TUN device to another, against os.read and os.write.

The devices are in two networks, and the forwarder is the only way between them. Bursts of datagrams
that wait in the first device's queue show the cost of a packet; a TCP stream shows what offload is
worth.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Final

import aioprocket
from aioprocket import TunChannel
from sandbox.namespaces import Namespace, new_network

from .figures import cpu_seconds, heading, row
from .reading import LOOPS

SECONDS: Final = 1.0
ROUNDS: Final = 7
BURST: Final = 448  # of the 500 that a device queues
BURSTS: Final = 40
BATCH: Final = 64
SIZES: Final = (64, 1400)
NEAR: Final = "198.18.0.1"
FAR: Final = "198.18.0.2"
NOBODY: Final = "239.1.1.1"  # a group without members: what arrives for it is dropped at once
PORT: Final = 5001

PLAIN: Final = f"add_reader and {BATCH} × os.read, os.write"

SOURCE: Final = """
import socket, sys, time
address, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
sock = socket.create_connection((address, port), 10)
data = bytes(1 << 18)
end = time.monotonic() + seconds
while time.monotonic() < end:
    sock.sendall(data)
"""
SINK: Final = """
import socket, sys, time
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
sock, _ = listener.accept()
began, total, buffer = time.monotonic(), 0, bytearray(1 << 20)
while got := sock.recv_into(buffer):
    total += got
print(total / (time.monotonic() - began), flush=True)
"""


class Forwarder:
    """Passes packets between two channels, in both directions."""

    def __init__(self, near: TunChannel, far: TunChannel) -> None:
        self.packets = 0
        self._goal = 0
        self._reached = asyncio.Event()
        self._ways = ((near, far), (far, near))

    async def passed(self, count: int) -> None:
        """Wait until so many more packets are on the other side."""
        self._goal = self.packets + count
        self._reached.clear()
        await self._reached.wait()

    def _count(self, packets: int) -> None:
        self.packets += packets
        if self.packets >= self._goal:
            self._reached.set()

    @asynccontextmanager
    async def plain(self) -> AsyncIterator[None]:
        """As a program without a library does it."""
        loop = asyncio.get_running_loop()

        def pump(source: int, target: int) -> None:
            done = 0
            try:
                for _ in range(BATCH):
                    os.write(target, os.read(source, 2048))
                    done += 1
            except BlockingIOError:
                pass
            self._count(done)

        for source, target in self._ways:
            loop.add_reader(source.fileno(), pump, source.fileno(), target.fileno())
        try:
            yield
        finally:
            for source, _ in self._ways:
                loop.remove_reader(source.fileno())

    @asynccontextmanager
    async def active(self) -> AsyncIterator[None]:
        """Batches from one protocol to the other's transport."""
        near, far = (_Half(self._count) for _ in range(2))
        near.out, far.out = far, near
        for half, (source, _) in zip((near, far), self._ways, strict=True):
            await aioprocket.create_endpoint(partial(_same, half), source)
        yield

    @asynccontextmanager
    async def passive(self) -> AsyncIterator[None]:
        """Batches from one channel to the other."""

        async def pump(source: TunChannel, target: TunChannel) -> None:
            async for batch in source.batches(BATCH):
                await target.send_batch(batch)
                self._count(len(batch))

        tasks = [asyncio.ensure_future(pump(*way)) for way in self._ways]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


class _Half(asyncio.DatagramProtocol):
    """One end of an active forwarder: what it receives goes out of the other."""

    out: "_Half"
    transport: aioprocket.RawTransport

    def __init__(self, count: Callable[[int], None]) -> None:
        self._count = count

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, aioprocket.RawTransport)
        self.transport = transport

    def packets_received(self, batch: list[aioprocket.Packet]) -> None:
        self._count(self.out.transport.send_batch(batch))


def _same(half: _Half) -> _Half:
    return half


FORWARDERS: Final[
    dict[str, tuple[Callable[[Forwarder], AbstractAsyncContextManager[None]], bool]]
] = {
    PLAIN: (Forwarder.plain, False),
    "active: packets_received, send_batch": (Forwarder.active, False),
    "passive: batches, send_batch": (Forwarder.passive, False),
    "active, offload=True": (Forwarder.active, True),
    "passive, offload=True": (Forwarder.passive, True),
}


@dataclass(frozen=True)
class Run:
    """One run: processor seconds of the forwarder, packets it passed, bytes/s of the stream."""

    cpu: float
    packets: int
    rate: float = 0.0

    @property
    def ns_per_packet(self) -> float:
        return self.cpu / max(1, self.packets) * 1e9


def run() -> None:
    others, ours = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {ours})
    with new_network() as near, new_network() as far:
        _show_bursts(_interleaved(near, far, others))
        _show_stream(_interleaved(near, far, others, stream=True))


def _interleaved(
    near: Namespace, far: Namespace, core: int, *, stream: bool = False
) -> dict[tuple[str, str, int], list[Run]]:
    runs: dict[tuple[str, str, int], list[Run]] = {}
    for _ in range(ROUNDS):
        for size in (0,) if stream else SIZES:
            for loop_name, factory in LOOPS.items():
                for name in FORWARDERS:
                    with asyncio.Runner(loop_factory=factory) as runner:
                        found = runner.run(_run(name, near, far, core, size))
                    runs.setdefault((name, loop_name, size), []).append(found)
    return runs


async def _run(name: str, near: Namespace, far: Namespace, core: int, size: int) -> Run:
    forward, offload = FORWARDERS[name]
    async with (
        aioprocket.open_tun(addresses=[f"{NEAR}/24"], namespace=near.path, offload=offload) as one,
        aioprocket.open_tun(addresses=[f"{FAR}/24"], namespace=far.path, offload=offload) as two,
    ):
        forwarder = Forwarder(one, two)
        async with forward(forwarder):
            if size:
                return await _bursts(forwarder, near, size)
            return await _stream(forwarder, near, far, core)


async def _bursts(forwarder: Forwarder, near: Namespace, size: int) -> Run:
    with near.entered():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(NEAR))
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    data = bytes(size - 28)  # less the headers of IPv4 and UDP
    cpu = 0.0
    with sender:
        sender.connect((NOBODY, PORT))
        for _ in range(BURSTS):
            for _ in range(BURST):
                sender.send(data)
            began = time.process_time()
            await forwarder.passed(BURST)
            cpu += time.process_time() - began
    return Run(cpu, BURSTS * BURST)


async def _stream(forwarder: Forwarder, near: Namespace, far: Namespace, core: int) -> Run:
    sink = _start(far, core, SINK, FAR, str(PORT))
    try:
        assert sink.stdout is not None
        sink.stdout.readline()
        began = cpu_seconds()
        source = _start(near, core, SOURCE, FAR, str(PORT), str(SECONDS))
        try:
            rate = float(await asyncio.to_thread(sink.stdout.read))
        finally:
            source.kill()
            source.communicate()
        return Run(cpu_seconds() - began, forwarder.packets, rate)
    finally:
        sink.kill()
        sink.communicate()


def _start(network: Namespace, core: int, program: str, *arguments: str) -> subprocess.Popen[bytes]:
    command = ["taskset", "-c", str(core), sys.executable, "-c", program, *arguments]
    with network.entered():
        return subprocess.Popen(command, stdout=subprocess.PIPE)


def _show_bursts(runs: dict[tuple[str, str, int], list[Run]]) -> None:
    for size in SIZES:
        heading(f"Forwarding {size}-byte packets from one TUN device to another")
        row("", "CPU ns per packet", "of plain")
        for (name, loop_name, its_size), several in runs.items():
            if its_size == size:
                plain = median(run.ns_per_packet for run in runs[PLAIN, loop_name, size])
                ns = median(run.ns_per_packet for run in several)
                row(f"{name}, {loop_name}", f"{ns:.0f}", f"{ns / plain:.2f}×")


def _show_stream(runs: dict[tuple[str, str, int], list[Run]]) -> None:
    heading("One TCP stream through the forwarder")
    row("", "MB/s", "of plain", "CPU per MB")
    for (name, loop_name, _), several in runs.items():
        plain = median(run.rate for run in runs[PLAIN, loop_name, 0])
        rate = median(run.rate for run in several)
        cost = median(run.cpu / run.rate for run in several)
        row(
            f"{name}, {loop_name}",
            f"{rate / 1e6:.0f}",
            f"{rate / plain:.2f}×",
            f"{cost * 1e12:.0f} µs",
        )
