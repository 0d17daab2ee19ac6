"""What it costs to pass packets from one TUN device to another, against os.read and os.write.

The devices are in two networks, and the forwarder is the only way between them. Bursts of datagrams
that wait in the first device's queue show the cost of a packet; a TCP stream shows what offload is
worth.
"""

import asyncio
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import aioprocket
from aioprocket import TunChannel
from sandbox.namespaces import Namespace, new_network

from .figures import at_least, cpu_seconds, heading, row, within
from .reading import LOOPS

SECONDS: Final = 1.0
ROUNDS: Final = 3
BURST: Final = 448  # of the 500 that a device queues
BURSTS: Final = 100
BATCH: Final = 64
SIZES: Final = (64, 1400)
FAR: Final = "198.18.0.2"
NOBODY: Final = "239.1.1.1"  # a group without members: what arrives for it is dropped at once
PORT: Final = 5001

PLAIN: Final = f"add_reader and {BATCH} × os.read, os.write"
# Of the plain loop: the processor time of a packet, and with offload a stream's bytes.
OF_PLAIN: Final = 0.9
OFFLOADED: Final = 3
IN_C: Final = f"floor: C, poll and {BATCH} × read, write"

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
print(total, time.monotonic() - began, flush=True)
"""


class Forwarder:
    """Passes packets between two channels, in both directions."""

    def __init__(self, near: TunChannel, far: TunChannel) -> None:
        self.packets = 0
        self._goal = 0
        self._reached = asyncio.Event()
        self._ways = ((near, far), (far, near))

    async def cost(self, count: int) -> float:
        """The processor seconds that it takes to pass so many packets, which are there."""
        began = time.process_time()
        self._goal = self.packets + count
        self._reached.clear()
        await self._reached.wait()
        return time.process_time() - began

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


class _ForwarderInC:
    """A process that passes packets between two devices, for the processor time of that."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    async def cost(self, count: int) -> float:
        """As `Forwarder.cost`; it passes `BURST` packets at a time."""
        assert count == BURST
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"!")
        (ns,) = struct.unpack("=Q", self._process.stdout.read(8))
        return int(ns) / 1e9


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
class Stream:
    """One stream: bytes/s, and the forwarder's processor seconds for each byte."""

    rate: float
    cost: float


def run(peers: dict[str, Path]) -> None:
    others, ours = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {ours})
    with new_network() as near, new_network() as far:
        for size in SIZES:
            _show_bursts(size, near, far, peers["tun_forwarder"])
        _show_streams(near, far, others)


@asynccontextmanager
async def _forwarder(
    name: str, near: Namespace, far: Namespace, subnet: int = 0
) -> AsyncIterator[Forwarder]:
    start, offload = FORWARDERS[name]
    async with _devices(near, far, subnet, offload=offload) as devices:
        forwarder = Forwarder(*devices)
        async with start(forwarder):
            yield forwarder


@asynccontextmanager
async def _devices(
    near: Namespace, far: Namespace, subnet: int, *, offload: bool
) -> AsyncIterator[tuple[TunChannel, TunChannel]]:
    ends = [f"198.18.{subnet}.{host}/24" for host in (1, 2)]
    async with (
        aioprocket.open_tun(addresses=ends[:1], namespace=near.path, offload=offload) as one,
        aioprocket.open_tun(addresses=ends[1:], namespace=far.path, offload=offload) as two,
    ):
        yield one, two


@asynccontextmanager
async def _forwarder_in_c(
    program: Path, near: Namespace, far: Namespace, subnet: int
) -> AsyncIterator[_ForwarderInC]:
    async with _devices(near, far, subnet, offload=False) as devices:
        ends = [device.fileno() for device in devices]
        with _start_in_c(program, ends) as process:
            yield _ForwarderInC(process)


def _start_in_c(program: Path, ends: list[int]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [program, *map(str, ends), str(BURST)],
        bufsize=0,
        pass_fds=ends,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def _show_bursts(size: int, near: Namespace, far: Namespace, program: Path) -> None:
    heading(f"Forwarding {size}-byte packets from one TUN device to another")
    row("", "CPU ns per packet", "of plain", "of C")
    for loop_name, factory in LOOPS.items():
        with asyncio.Runner(loop_factory=factory) as runner:
            found = runner.run(_bursts(size, near, far, program))
        for name in found:
            ns, plain, floor = (median(found[each]) for each in (name, PLAIN, IN_C))
            judged = name in FORWARDERS and name != PLAIN and not FORWARDERS[name][1]
            of_plain = within(ns / plain, OF_PLAIN) if judged else f"{ns / plain:.2f}×"
            row(f"{name}, {loop_name}", f"{ns:.0f}", of_plain, f"{ns / floor:.2f}×")


async def _bursts(
    size: int, near: Namespace, far: Namespace, program: Path
) -> dict[str, list[float]]:
    """Processor nanoseconds for each packet, of many bursts; the forwarders take turns."""
    found: dict[str, list[float]] = {name: [] for name in (IN_C, *FORWARDERS)}
    async with AsyncExitStack() as stack:
        ways = []
        for subnet, name in enumerate(found):
            forwarder: Forwarder | _ForwarderInC
            if name == IN_C:
                in_c = _forwarder_in_c(program, near, far, subnet)
                forwarder = await stack.enter_async_context(in_c)
            else:
                forwarder = await stack.enter_async_context(_forwarder(name, near, far, subnet))
            sender = stack.enter_context(_sender(near, f"198.18.{subnet}.1"))
            ways.append((name, forwarder, sender))
        data = bytes(size - 28)  # less the headers of IPv4 and UDP
        for _ in range(BURSTS):
            for name, forwarder, sender in ways:
                for _ in range(BURST):
                    sender.send(data)
                found[name].append(await forwarder.cost(BURST) / BURST * 1e9)
    return found


def _sender(network: Namespace, address: str) -> socket.socket:
    with network.entered():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    sock.connect((NOBODY, PORT))
    return sock


async def _stream(forwarder: Forwarder, near: Namespace, far: Namespace, core: int) -> Stream:
    sink = _start(far, core, SINK, FAR, str(PORT))
    try:
        assert sink.stdout is not None
        sink.stdout.readline()
        began = cpu_seconds()
        source = _start(near, core, SOURCE, FAR, str(PORT), str(SECONDS))
        try:
            total, seconds = map(float, (await asyncio.to_thread(sink.stdout.read)).split())
        finally:
            source.kill()
            source.communicate()
        return Stream(total / seconds, (cpu_seconds() - began) / total)
    finally:
        sink.kill()
        sink.communicate()


def _start(network: Namespace, core: int, program: str, *arguments: str) -> subprocess.Popen[bytes]:
    command = ["taskset", "-c", str(core), sys.executable, "-c", program, *arguments]
    with network.entered():
        return subprocess.Popen(command, stdout=subprocess.PIPE)


async def _one_stream(name: str, near: Namespace, far: Namespace, core: int) -> Stream:
    async with _forwarder(name, near, far) as forwarder:
        return await _stream(forwarder, near, far, core)


def _show_streams(near: Namespace, far: Namespace, core: int) -> None:
    heading("One TCP stream through the forwarder, medians")
    row("", "MB/s", "of plain", "CPU µs per MB")
    for loop_name, factory in LOOPS.items():
        found: dict[str, list[Stream]] = {name: [] for name in FORWARDERS}
        for _ in range(ROUNDS):
            for name, several in found.items():
                with asyncio.Runner(loop_factory=factory) as runner:
                    several.append(runner.run(_one_stream(name, near, far, core)))
        plain = median(stream.rate for stream in found[PLAIN])
        for name, several in found.items():
            rate = median(stream.rate for stream in several)
            cost = median(stream.cost for stream in several)
            of_plain = f"{rate / plain:.2f}×"
            if FORWARDERS[name][1]:
                of_plain = at_least(rate / plain, OFFLOADED)
            row(
                f"{name}, {loop_name}",
                f"{rate / 1e6:.0f}",
                of_plain,
                f"{cost * 1e12:.0f}",
            )
