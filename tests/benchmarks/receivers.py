"""What receives packets in Python: this library and its peers, each by the same work a packet.

The work: one call or one turn of a loop, a counter, the first byte read. Every function opens an
interface with 64 MiB of buffer and snapshots of 2,048 bytes, and gives a function that tells
packets received, packets dropped by the kernel, and for stamped frames two latencies.
"""

import asyncio
import importlib
import time
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from struct import iter_unpack
from typing import Any, Protocol

import aioprocket

__all__ = ("RECEIVERS", "Receive")

BUFFER = 64 << 20
SNAPLEN = 2048

# Received, dropped; median and 99th percentile of microseconds on the way.
Figures = Callable[[], tuple[float, ...]]


class Receive(Protocol):
    def __call__(self, ifname: str, /) -> AbstractAsyncContextManager[Figures]: ...


class Count(asyncio.DatagramProtocol):
    """A packet's work in a callback."""

    def __init__(self) -> None:
        self.received = 0

    def packet_received(self, packet: Any) -> None:
        self.received += 1
        packet[0]

    def captured(self, header: Any, data: bytes) -> None:
        self.received += 1
        data[0]

    def figures(self) -> tuple[float, ...]:
        return (self.received,)


class CountAndRead(Count):
    """The same and the time and all bytes, as Python objects."""

    def packet_received(self, packet: Any) -> None:
        self.received += 1
        packet.timestamp_ns  # noqa: B018
        packet.data[0]

    def captured(self, header: Any, data: bytes) -> None:
        self.received += 1
        header.ts  # noqa: B018
        data[0]


class Clock(Count):
    """The time that stamper.c wrote behind the Ethernet header, against the time here."""

    def __init__(self) -> None:
        super().__init__()
        self._late = array("q")

    def packet_received(self, packet: Any) -> None:
        self.captured(None, bytes(packet))

    def captured(self, header: Any, data: bytes) -> None:
        self.received += 1
        self._late.append(time.time_ns() - int.from_bytes(data[14:22], "little"))

    def figures(self) -> tuple[float, ...]:
        late = sorted(self._late) or [0]
        return self.received, late[len(late) // 2] / 1e3, late[len(late) * 99 // 100] / 1e3


def door(ifname: str, latency: str | None, buffer: int = BUFFER) -> Any:
    """None and "moderated": without a ring, one system call for up to 64 packets."""
    how: dict[str, Any] = {"latency": latency}
    if latency in (None, "moderated"):
        how = {"ring": False, "latency": "low" if latency is None else "balanced"}
    return aioprocket.open_packet(ifname, receive_buffer=buffer, snaplen=SNAPLEN, **how)


@asynccontextmanager
async def endpoint(
    ifname: str,
    /,
    factory: type[Count],
    latency: str | None = "throughput",
    buffer: int = BUFFER,
) -> AsyncIterator[Figures]:
    opening = door(ifname, latency, buffer)
    transport, protocol = await aioprocket.create_endpoint(factory, opening)

    def figures() -> tuple[float, ...]:
        received, *late = protocol.figures()
        return received, transport.stats().rx_dropped, *late

    try:
        yield figures
    finally:
        await transport.channel.aclose()


async def _touch_columns(channel: Any, count: Count) -> None:
    async for batch in channel.batches():
        batch.timestamps_ns, batch.lens  # noqa: B018
        count.received += len(batch)


async def _gather_field(channel: Any, count: Count) -> None:
    async for batch in channel.batches():
        batch.timestamps_ns, batch.lens, batch.field(26, 4)
        count.received += len(batch)


async def _sum_by_numpy(channel: Any, count: Count) -> None:
    numpy, total = importlib.import_module("numpy"), 0
    async for batch in channel.batches():
        total += int(numpy.asarray(batch.wire_lens).sum())
        count.received += len(batch)


async def _iterate(channel: Any, count: Count) -> None:
    async for batch in channel.batches():
        for packet in batch:
            packet[0]
        count.received += len(batch)


@asynccontextmanager
async def batches(
    ifname: str, /, work: Callable[[Any, Count], Any], latency: str = "throughput"
) -> AsyncIterator[Figures]:
    count = Count()
    async with door(ifname, latency) as channel:
        working = asyncio.create_task(work(channel, count))
        await asyncio.sleep(0)  # it waits for packets now
        yield lambda: (count.received, channel.stats().rx_dropped)
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working


@asynccontextmanager
async def columns_called(ifname: str, /) -> AsyncIterator[Figures]:
    """What a task that iterates over batches cannot go below: no task, and no check."""
    received = 0
    async with door(ifname, "throughput") as channel:
        take = channel._port.take

        def read() -> None:
            nonlocal received
            while (batch := take(None)) is not None:
                batch.timestamps_ns, batch.lens  # noqa: B018
                received += len(batch)

        channel._readiness.subscribe(read)
        yield lambda: (received, channel.stats().rx_dropped)
        channel._readiness.unsubscribe()


@asynccontextmanager
async def cypcap(
    ifname: str,
    /,
    factory: type[Count] = Count,
    timeout: float | None = 0.01,
    buffer: int = BUFFER,
) -> AsyncIterator[Figures]:
    """``timeout`` None: immediate mode."""
    count = factory()
    with importlib.import_module("cypcap").create(ifname) as capture:
        capture.set_snaplen(SNAPLEN)
        capture.set_buffer_size(buffer)
        if timeout is None:
            capture.set_immediate_mode(True)
        else:
            capture.set_timeout(timeout)
        capture.activate()
        capture.setnonblock(True)
        fd = capture.get_selectable_fd()
        loop = asyncio.get_running_loop()
        loop.add_reader(fd, capture.dispatch, -1, count.captured)

        def figures() -> tuple[float, ...]:
            received, *late = count.figures()
            return received, capture.stats().drop, *late

        yield figures
        loop.remove_reader(fd)


@asynccontextmanager
async def pypcap(ifname: str, /) -> AsyncIterator[Figures]:
    count = Count()
    capture = importlib.import_module("pcap").pcap(
        ifname, snaplen=SNAPLEN, promisc=False, timeout_ms=10, buffer_size=BUFFER
    )
    capture.setnonblock(True)
    loop = asyncio.get_running_loop()
    loop.add_reader(capture.fd, capture.dispatch, -1, count.captured)
    yield lambda: (count.received, capture.stats()[1])
    loop.remove_reader(capture.fd)
    capture.close()


def _touch_slices(data: bytes, index: bytes) -> None:
    for _, _, offset, length in iter_unpack("=4I", index):
        data[offset : offset + length][0]


def _touch_offsets(data: bytes, index: bytes) -> None:
    for _, _, offset, _ in iter_unpack("=4I", index):
        data[offset]


@asynccontextmanager
async def pcapy(ifname: str, /, touch: Callable[[bytes, bytes], None]) -> AsyncIterator[Figures]:
    """A batch is the bytes of its packets, joined, and an index of seconds, µs, offset, length."""
    received = 0
    capture = importlib.import_module("pcapy").create(ifname)
    capture.set_snaplen(SNAPLEN)
    capture.set_buffer_size(BUFFER)
    capture.set_timeout(10)
    capture.activate()
    capture.setnonblock(1)

    def read() -> None:
        nonlocal received
        while (batch := capture.next_batch(256))[1]:
            touch(*batch)
            received += len(batch[1]) // 16

    loop = asyncio.get_running_loop()
    loop.add_reader(capture.getfd(), read)
    yield lambda: (received, capture.stats()[1])
    loop.remove_reader(capture.getfd())
    capture.close()


@asynccontextmanager
async def many(ifnames: str, /, receive: Callable[..., Any]) -> AsyncIterator[Figures]:
    """One for each of the comma-separated interfaces, with its part of the buffer."""
    each = ifnames.split(",")
    async with AsyncExitStack() as stack:
        several = [
            await stack.enter_async_context(receive(ifname, buffer=BUFFER // len(each)))
            for ifname in each
        ]
        yield lambda: tuple(map(sum, zip(*(figures() for figures in several), strict=True)))


@asynccontextmanager
async def scapy(ifname: str, /) -> AsyncIterator[Figures]:
    """Dropped is not known: it does not ask the kernel."""
    received = 0

    def count(packet: Any) -> None:
        nonlocal received
        received += 1

    everything = importlib.import_module("scapy.all")
    everything.conf.bufsize = BUFFER
    sniffer = everything.AsyncSniffer(iface=ifname, store=False, prn=count)
    sniffer.start()
    await asyncio.sleep(0.3)  # it says nowhere that it has begun
    yield lambda: (received, 0)
    sniffer.stop()


def _late(latency: str) -> dict[str, Receive]:
    return {
        f"endpoint-{latency}": partial(endpoint, factory=Count, latency=latency),
        f"endpoint-{latency}-stamped": partial(endpoint, factory=Clock, latency=latency),
    }


def _waiting(name: str, timeout: float | None) -> dict[str, Receive]:
    return {
        f"cypcap-{name}": partial(cypcap, timeout=timeout),
        f"cypcap-{name}-stamped": partial(cypcap, factory=Clock, timeout=timeout),
    }


RECEIVERS: dict[str, Receive] = {
    **_late("low"),
    **_late("balanced"),
    **_late("throughput"),
    **_late("moderated"),
    "endpoint-ringless": partial(endpoint, factory=Count, latency=None),
    "endpoint-read": partial(endpoint, factory=CountAndRead),
    "columns": partial(batches, work=_touch_columns),
    "columns-called": columns_called,
    "field": partial(batches, work=_gather_field),
    "numpy": partial(batches, work=_sum_by_numpy),
    "iterate": partial(batches, work=_iterate),
    **_waiting("immediate", None),
    **_waiting("1ms", 0.001),
    **_waiting("10ms", 0.01),
    "cypcap-read": partial(cypcap, factory=CountAndRead),
    "endpoint-many": partial(many, receive=partial(endpoint, factory=Count)),
    "cypcap-many": partial(many, receive=cypcap),
    "pypcap": pypcap,
    "pcapy": partial(pcapy, touch=_touch_slices),
    "pcapy-offsets": partial(pcapy, touch=_touch_offsets),
    "scapy": scapy,
}
