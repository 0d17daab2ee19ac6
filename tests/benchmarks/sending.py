"""What a frame costs its sender, against plain C, the socket module and libpcap.

One core does all of it, the way through the veth pair and the receive path of its other end
included, which is most of the cost and the same for all. How much of that runs in the sender's own
system calls, and how much in the core's ksoftirqd, differs: both are counted. So the ratio of the
processor time of one frame is that of the frames per second on one core.

Nobody here receives (protocol 0), but for the row that says so: while one socket asks for times,
the kernel reads a clock for each packet of the host, as it does for the floor.
"""

import asyncio
import importlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

import aioprocket
from aioprocket._system.options import enable_timestamps

from .figures import cpu_seconds, heading, row

SECONDS = 0.5
ROUNDS = 7
FRAMES = 512
SIZES = (64, 1500)
HEADER = bytes.fromhex("0200 0000 fefe 0200 0000 fefe 88b5")  # to a station that nobody is
ETH_P_LOCAL = 0x88B5

IN_C = "C, sendmmsg"
WITH_TIMES = "floor: the same, while times are asked for"
STDLIB = "socket.send"
CYPCAP = "cypcap, sendpacket"
BATCH = "send_batch"


@dataclass(frozen=True)
class Run:
    """Frames that the interface took, and processor seconds."""

    sent: int
    cpu: float

    @property
    def ns_per_frame(self) -> float:
        return self.cpu / max(1, self.sent) * 1e9


# A sender sends these frames over and over for `SECONDS`.
Sender = Callable[[str, list[bytes]], Run]


def run(peers: dict[str, Path], interfaces: tuple[str, str]) -> None:
    sender, receiver = interfaces
    with _one_core() as core:
        softirq = _softirq_thread(core)
        if softirq is None:
            print("  ksoftirqd is not to be seen here: its share of the cost is missing")
        for size in SIZES:
            frames = [(HEADER + i.to_bytes(4, "little")).ljust(size, b"\0") for i in range(FRAMES)]
            runs: dict[str, list[Run]] = {}
            senders = _senders(peers)
            for _ in range(ROUNDS):
                for name, send in senders.items():
                    before = _received(receiver)
                    began = _softirq_seconds(softirq)
                    result = send(sender, frames)
                    more = _softirq_seconds(softirq) - began
                    arrived = _received(receiver) - before
                    if arrived != result.sent:
                        print(f"  {name} counted {result.sent}, and {arrived} frames arrived")
                    runs.setdefault(name, []).append(Run(result.sent, result.cpu + more))
            _show(size, runs)


@contextmanager
def _one_core() -> Iterator[int]:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield max(cores)
    finally:
        os.sched_setaffinity(0, cores)


def _softirq_thread(core: int) -> Path | None:
    """Where the kernel says how long a core's ksoftirqd has run, if we may see that."""
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            if comm.read_text().strip() == f"ksoftirqd/{core}":
                return comm.with_name("schedstat")
        except OSError:  # it has just ended
            continue
    return None


def _softirq_seconds(thread: Path | None) -> float:
    return int(thread.read_text().split()[0]) / 1e9 if thread else 0.0


def _received(ifname: str) -> int:
    """By the interface itself, whoever counted what he sent."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == ifname:
            return int(counters.split()[1])
    raise AssertionError(f"there is no {ifname}")


def _show(size: int, runs: dict[str, list[Run]]) -> None:
    heading(f"Sending {size}-byte frames, one core for both ends")
    row("", "ns per frame", "frames per core", "of C", "of socket.send", "of cypcap")
    for name, several in runs.items():
        ratios = (
            f"{_speed(several, runs[peer]):.3f}×" if peer in runs else "not installed"
            for peer in (IN_C, STDLIB, CYPCAP)
        )
        ns = median(each.ns_per_frame for each in several)
        row(name, f"{ns:.0f}", f"{1e9 / ns:,.0f}/s", *ratios)


def _speed(several: list[Run], peer: list[Run]) -> float:
    """How many frames for one of the peer's in the same time: the median over the rounds."""
    return median(
        theirs.ns_per_frame / ours.ns_per_frame for ours, theirs in zip(several, peer, strict=True)
    )


def _senders(peers: dict[str, Path]) -> dict[str, Sender]:
    def in_c(ifname: str, frames: list[bytes]) -> Run:
        command = [str(peers["sender"]), ifname, str(SECONDS), str(len(frames[0]))]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        sent, cpu = output.split()
        return Run(int(sent), float(cpu))

    def with_times(ifname: str, frames: list[bytes]) -> Run:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            enable_timestamps(sock)
            return in_c(ifname, frames)

    def over_and_over(send: Callable[[bytes], object], frames: list[bytes]) -> Run:
        sent, began, end = 0, cpu_seconds(), time.monotonic() + SECONDS
        while time.monotonic() < end:
            for frame in frames:
                send(frame)
            sent += len(frames)
        return Run(sent, cpu_seconds() - began)

    def stdlib(ifname: str, frames: list[bytes]) -> Run:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            sock.bind((ifname, 0))
            return over_and_over(sock.send, frames)

    async def batches(
        ifname: str, frames: list[bytes], *, bypass: bool = False, protocol: int = 0
    ) -> Run:
        async with aioprocket.open_packet(
            ifname, protocol=protocol, qdisc_bypass=bypass
        ) as channel:
            began, end = cpu_seconds(), time.monotonic() + SECONDS
            while time.monotonic() < end:
                await channel.send_batch(frames)
            return Run(channel.stats().tx_packets, cpu_seconds() - began)

    async def transport_batches(ifname: str, frames: list[bytes]) -> Run:
        door = aioprocket.open_packet(ifname, protocol=0)
        transport, _ = await aioprocket.create_endpoint(asyncio.DatagramProtocol, door)
        began, end = cpu_seconds(), time.monotonic() + SECONDS
        while time.monotonic() < end:
            transport.send_batch(frames)
            await asyncio.sleep(0)
        result = Run(transport.stats().tx_packets, cpu_seconds() - began)
        transport.close()
        return result

    async def one_by_one(ifname: str, frames: list[bytes]) -> Run:
        async with aioprocket.open_packet(ifname, protocol=0) as channel:
            began, end = cpu_seconds(), time.monotonic() + SECONDS
            while time.monotonic() < end:
                for frame in frames:
                    await channel.send(frame)
            return Run(channel.stats().tx_packets, cpu_seconds() - began)

    senders: dict[str, Sender] = {IN_C: in_c, WITH_TIMES: with_times, STDLIB: stdlib}
    try:
        cypcap: Any = importlib.import_module("cypcap")
    except ImportError:
        pass
    else:

        def by_cypcap(ifname: str, frames: list[bytes]) -> Run:
            with cypcap.create(ifname) as pcap:
                pcap.set_protocol_linux(ETH_P_LOCAL)  # else it would receive what it sends
                pcap.activate()
                return over_and_over(pcap.sendpacket, frames)

        senders[CYPCAP] = by_cypcap
    senders[f"{BATCH}, asyncio"] = lambda ifname, frames: asyncio.run(batches(ifname, frames))
    senders[f"{BATCH}, uvloop"] = lambda ifname, frames: uvloop.run(batches(ifname, frames))
    senders[f"{BATCH}, which receives, too, asyncio"] = lambda ifname, frames: asyncio.run(
        batches(ifname, frames, protocol=ETH_P_LOCAL)
    )
    senders[f"{BATCH}, qdisc_bypass, asyncio"] = lambda ifname, frames: asyncio.run(
        batches(ifname, frames, bypass=True)
    )
    senders["transport.send_batch, asyncio"] = lambda ifname, frames: asyncio.run(
        transport_batches(ifname, frames)
    )
    senders["send, asyncio"] = lambda ifname, frames: asyncio.run(one_by_one(ifname, frames))
    return senders
