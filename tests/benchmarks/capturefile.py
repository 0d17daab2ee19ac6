"""Capture files: written and read in memory against dpkt and scapy, and live to disk.

One core. Writers get the same 64-byte packets: ours as batches or one by one, from a loop; theirs
as bytes, one by one, for they take no more. Readers are asked for every packet's bytes and time.
"""

import asyncio
import importlib.util
import os
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Final

import aioprocket
from aioprocket import Batch, Packet
from aioprocket.pcapng import Reader, Writer

from .figures import at_least, heading, row, within
from .rig import Rig
from .traffic import Traffic, kernel_traffic

SIZE: Final = 64
BATCH: Final = 1000
ROUNDS: Final = 3
START: Final = 1_700_000_000_123_456_789
MEMORY: Final = "/dev/shm"

LIVE_RATE: Final = 500_000
LIVE_SECONDS: Final = 2.0

WRITE_BOUND: Final = 1e6  # packets/s
DPKT_WRITE_BOUND: Final = 3
SCAPY_WRITE_BOUND: Final = 20
DPKT_READ_BOUND: Final = 5

# A run is given the number of packets, and returns the seconds that it took.
Run = Callable[[Path, int], float]


def run(rig: Rig) -> None:
    os.sched_setaffinity(0, {rig.cores[1]})
    scale = 50 if rig.brief else 1
    with tempfile.TemporaryDirectory(prefix="aioprocket-bench-", dir=MEMORY) as folder:
        files = _write(Path(folder), scale, 1 if rig.brief else ROUNDS)
        _read(files, 1 if rig.brief else ROUNDS)
    _live(rig)


def packets() -> list[Packet]:
    """One batch of them."""
    return [
        Packet(bytes(SIZE - 4) + number.to_bytes(4, "big"), timestamp_ns=START + number)
        for number in range(BATCH)
    ]


# Writing


def write_batches(path: Path, count: int) -> float:
    batch = Batch(packets())

    async def write() -> None:
        async with Writer(path, overwrite=True) as writer:
            for _ in range(count // BATCH):
                await writer.send(batch)

    return _seconds(lambda: asyncio.run(write()))


def write_singly(path: Path, count: int) -> float:
    several = packets()

    async def write() -> None:
        async with Writer(path, overwrite=True, queue_bytes=1 << 28) as writer:
            for _ in range(count // BATCH):
                for packet in several:
                    writer.write(packet)
        assert writer.stats().packets == count

    return _seconds(lambda: asyncio.run(write()))


def write_by_dpkt(path: Path, count: int) -> float:
    module = import_module(f"dpkt{path.suffix}")
    data = [packet.data for packet in packets()]

    def write() -> None:
        with path.open("wb") as file:
            writer = module.Writer(file)
            for _ in range(count // BATCH):
                for each in data:
                    writer.writepkt(each, ts=START / 1e9)

    return _seconds(write)


def write_by_scapy(path: Path, count: int) -> float:
    ethernet = import_module("scapy.layers.l2").Ether
    utils = import_module("scapy.utils")
    layers = [ethernet(packet.data) for packet in packets()]
    for each in layers:
        each.time = START / 1e9
    kind = utils.PcapNgWriter if path.suffix == ".pcapng" else utils.PcapWriter

    def write() -> None:
        with kind(str(path)) as writer:
            for _ in range(count // BATCH):
                for each in layers:
                    writer.write(each)

    return _seconds(write)


def write_raw_by_scapy(path: Path, count: int) -> float:
    utils = import_module("scapy.utils")
    data = [packet.data for packet in packets()]
    kind = utils.RawPcapNgWriter if path.suffix == ".pcapng" else utils.RawPcapWriter
    seconds, rest = divmod(START, 10**9)

    def write() -> None:
        with kind(str(path)) as writer:
            writer.linktype = 1
            writer.write_header(data[0])
            for _ in range(count // BATCH):
                for each in data:
                    writer.write_packet(each, sec=seconds, usec=rest // 1000)

    return _seconds(write)


# Reading


def read_iterating(path: Path, count: int) -> float:
    def read() -> None:
        found = sum(1 for packet in Reader(path) if packet.data and packet.timestamp_ns)
        assert found == count

    return _seconds(read)


def read_awaiting(path: Path, count: int) -> float:
    async def read() -> None:
        found = 0
        async with Reader(path) as source:
            async for packet in source:
                found += bool(packet.data and packet.timestamp_ns)
        assert found == count

    return _seconds(lambda: asyncio.run(read()))


def read_by_dpkt(path: Path, count: int) -> float:
    module = import_module(f"dpkt{path.suffix}")

    def read() -> None:
        with path.open("rb") as file:
            assert sum(1 for moment, data in module.Reader(file) if data and moment) == count

    return _seconds(read)


# By name: the run, how many packets it is given, and what it needs.
WRITERS: Final[dict[str, tuple[Run, int, str]]] = {
    "Writer.send(batch)": (write_batches, 500_000, ""),
    "Writer.write(packet)": (write_singly, 200_000, ""),
    "dpkt Writer.writepkt": (write_by_dpkt, 50_000, "dpkt"),
    "scapy Pcap…Writer.write": (write_by_scapy, 10_000, "scapy"),
    "raw bytes by scapy's RawPcap…Writer": (write_raw_by_scapy, 20_000, "scapy"),
}
READERS: Final[dict[str, tuple[Run, int, str]]] = {
    "for packet in Reader": (read_iterating, 0, ""),
    "async for packet in Reader": (read_awaiting, 0, ""),
    "dpkt Reader": (read_by_dpkt, 0, "dpkt"),
}


def _seconds(action: Callable[[], None]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _present(needs: str) -> bool:
    there = not needs or importlib.util.find_spec(needs) is not None
    if not there:
        print(f"  {needs} is not installed: left out")
    return there


def _write(folder: Path, scale: int, rounds: int) -> dict[str, tuple[Path, int]]:
    """Measure all writers; the files of the first, and how many packets they have."""
    files = {}
    for suffix in (".pcapng", ".pcap"):
        heading(f"Writing {SIZE}-byte packets to a {suffix[1:]} file in memory")
        row("", "packets/s", "ns each", "beside ours")
        rates: dict[str, list[float]] = {}
        chosen = {name: each for name, each in WRITERS.items() if _present(each[2])}
        for _ in range(rounds):
            for name, (write, most, _) in chosen.items():
                count = max(BATCH, most // scale)
                path = folder / f"{write.__name__}{suffix}"
                rates.setdefault(name, []).append(count / write(path, count))
                if write is write_batches:
                    files[suffix] = (path, count)
        _show(rates, {"dpkt": DPKT_WRITE_BOUND, "scapy": SCAPY_WRITE_BOUND})
        ours = median(rates[next(iter(WRITERS))])
        row("  ours, in millions a second", "", "", at_least(ours / 1e6, WRITE_BOUND / 1e6, " M"))
    return files


def _read(files: dict[str, tuple[Path, int]], rounds: int) -> None:
    for suffix, (path, count) in files.items():
        heading(f"Reading {SIZE}-byte packets of a {suffix[1:]} file in memory")
        row("", "packets/s", "ns each", "beside ours")
        rates: dict[str, list[float]] = {}
        chosen = {name: each for name, each in READERS.items() if _present(each[2])}
        for _ in range(rounds):
            for name, (read, _, _) in chosen.items():
                rates.setdefault(name, []).append(count / read(path, count))
        _show(rates, {"dpkt": DPKT_READ_BOUND})


def _show(rates: dict[str, list[float]], bounds: dict[str, float]) -> None:
    ours = median(next(iter(rates.values())))
    for name, several in rates.items():
        rate = median(several)
        ratio = [
            at_least(ours / rate, bound) for peer, bound in bounds.items() if name.startswith(peer)
        ]
        row(name, f"{rate:,.0f}", f"{1e9 / rate:,.0f}", *ratio)


# Live


def _live(rig: Rig) -> None:
    rate = LIVE_RATE // (50 if rig.brief else 1)
    seconds = LIVE_SECONDS / (20 if rig.brief else 1)
    traffic = kernel_traffic(rig.peers, rig.pair, rig.cores[0])
    build = Path("build")
    build.mkdir(exist_ok=True)
    heading(f"Recording {SIZE}-byte packets of the {traffic.text} to disk")
    row("", "offered", "offered/s", "in the file", "lost")
    for suffix in (".pcapng", ".pcap"):
        with tempfile.TemporaryDirectory(prefix="bench-", dir=build) as folder:
            path = Path(folder) / f"live{suffix}"
            offered, took = asyncio.run(_record(path, traffic, rig.pair[1], seconds, rate))
            kept = sum(1 for _ in Reader(path))
        lost = max(0, offered - kept)
        cells = f"{offered:,}", f"{offered / took:,.0f}", f"{kept:,}"
        row(suffix[1:], *cells, within(lost, 0, ""))


async def _record(
    path: Path, traffic: Traffic, ifname: str, seconds: float, rate: int
) -> tuple[int, float]:
    """Record all that comes; how much was offered, in how many seconds."""
    door = aioprocket.open_packet(ifname, latency="throughput", receive_buffer=1 << 26)
    async with door as channel, Writer(path, channel) as writer:

        async def record() -> None:
            async for batch in channel.batches():
                writer.write(batch)

        recording = asyncio.create_task(record())
        await asyncio.sleep(0.1)
        began = time.perf_counter()
        offered = await asyncio.to_thread(traffic.offer, seconds, SIZE, rate)
        took = time.perf_counter() - began
        await asyncio.sleep(0.3)  # the last block of the ring
        recording.cancel()
        return offered, took
