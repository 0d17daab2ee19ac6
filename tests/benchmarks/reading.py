"""What a packet costs its reader, against the two ways that asyncio itself has.

A generator on one core floods a veth pair with small frames, the reader has the other core. What
counts is the reader's own processor time for each packet: the kernel's receive path runs on the
generator's core.
"""

import asyncio
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

import aioprocket

from .figures import CORES, cpu_seconds, heading, row

SECONDS = 1.0
FRAME = 64
BATCH = 64
ROUNDS = 3
BUFFER = 16 << 20

ETH_P_ALL = 3  # linux/if_ether.h
SOL_PACKET = 263  # linux/socket.h
PACKET_STATISTICS = 6  # linux/if_packet.h
SO_RCVBUFFORCE = 33  # asm-generic/socket.h

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop.new_event_loop,
}


@dataclass(frozen=True)
class Run:
    """One flood: packets received, packets that the kernel dropped, processor seconds."""

    received: int
    dropped: int
    cpu: float

    @property
    def ns_per_packet(self) -> float:
        return self.cpu / max(1, self.received) * 1e9


# A reader reads an interface for the given seconds; it returns how many were received and dropped.
Reader = Callable[[str, float], Awaitable[tuple[int, int]]]


def run(peers: dict[str, Path], interfaces: tuple[str, str], *, force_buffer: bool) -> None:
    sender, receiver = interfaces
    generator_core, reader_core = CORES
    os.sched_setaffinity(0, {reader_core})
    command = [str(peers["generator"]), sender, str(SECONDS), str(FRAME), "0"]
    readers = _readers(BUFFER if force_buffer else None)
    runs: dict[tuple[str, str], list[Run]] = {}
    for _ in range(ROUNDS):
        for name, reader in readers.items():
            for loop_name in LOOPS:
                if (name, loop_name) == (ENDPOINT, "uvloop"):
                    continue  # it takes no packet socket
                flooding = subprocess.Popen(
                    ["taskset", "-c", str(generator_core), *command], stdout=subprocess.DEVNULL
                )
                with flooding:
                    result = _one_run(LOOPS[loop_name], reader, receiver)
                runs.setdefault((name, loop_name), []).append(result)
    _show(runs)


def _one_run(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], reader: Reader, ifname: str
) -> Run:
    async def measured() -> Run:
        began = cpu_seconds()
        received, dropped = await reader(ifname, SECONDS + 0.3)
        return Run(received, dropped, cpu_seconds() - began)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(measured())


def _show(runs: dict[tuple[str, str], list[Run]]) -> None:
    heading(f"Reading {FRAME}-byte frames at full flood, one core each")
    row("", "ns per packet", "of plain", "packets/s", "dropped")
    for (name, loop_name), several in runs.items():
        plain = median(run.ns_per_packet for run in runs[PLAIN, loop_name])
        ns = median(run.ns_per_packet for run in several)
        received = sum(run.received for run in several)
        dropped = sum(run.dropped for run in several)
        row(
            f"{name}, {loop_name}",
            f"{ns:.0f}",
            f"{ns / plain:.2f}×",
            f"{received / len(several) / SECONDS:,.0f}",
            f"{dropped / max(1, received + dropped):.1%}",
        )
    if sys.version_info < ENDPOINT_OF_PEER:
        here, peer = (".".join(map(str, v[:2])) for v in (sys.version_info, ENDPOINT_OF_PEER))
        print(f"  {ENDPOINT} is Python {here}'s here; the one to compare with is {peer}'s")


PLAIN = f"add_reader and {BATCH} × recv"
ENDPOINT = "create_datagram_endpoint"
ENDPOINT_OF_PEER = (3, 13)


def _readers(buffer: int | None) -> dict[str, Reader]:
    def tap(kind: int, ifname: str) -> socket.socket:
        sock = socket.socket(socket.AF_PACKET, kind, 0)
        if buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, buffer)
        sock.bind((ifname, ETH_P_ALL))
        sock.setblocking(False)
        return sock

    def dropped(sock: socket.socket) -> int:
        statistics = sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        return int(struct.unpack("=II", statistics)[1])

    async def plain(ifname: str, seconds: float) -> tuple[int, int]:
        received = 0

        def drain() -> None:
            nonlocal received
            try:
                for _ in range(BATCH):
                    sock.recv(2048)
                    received += 1
            except BlockingIOError:
                pass

        loop = asyncio.get_running_loop()
        with tap(socket.SOCK_RAW, ifname) as sock:
            loop.add_reader(sock.fileno(), drain)
            await asyncio.sleep(seconds)
            loop.remove_reader(sock.fileno())
            return received, dropped(sock)

    async def endpoint(ifname: str, seconds: float) -> tuple[int, int]:
        class Count(asyncio.DatagramProtocol):
            received = 0

            def datagram_received(self, data: bytes, addr: Any) -> None:
                self.received += 1

        # asyncio took SOCK_RAW only from 3.11.8, 3.12.2 and 3.13 on.
        sock = tap(socket.SOCK_DGRAM, ifname)
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_datagram_endpoint(Count, sock=sock)
        await asyncio.sleep(seconds)
        lost = dropped(sock)
        transport.close()
        return protocol.received, lost

    def door(ifname: str) -> Any:
        return aioprocket.open_packet(ifname, receive_buffer=buffer)

    async def passive_batches(ifname: str, seconds: float) -> tuple[int, int]:
        async with door(ifname) as channel:
            try:
                async with asyncio.timeout(seconds):
                    while True:
                        await channel.receive_batch(BATCH)
            except TimeoutError:
                return channel.stats().rx_packets, channel.stats().rx_dropped

    async def passive_single(ifname: str, seconds: float) -> tuple[int, int]:
        async with door(ifname) as channel:
            try:
                async with asyncio.timeout(seconds):
                    while True:
                        await channel.receive()
            except TimeoutError:
                return channel.stats().rx_packets, channel.stats().rx_dropped

    async def active(
        factory: Callable[[], asyncio.DatagramProtocol], ifname: str, seconds: float
    ) -> tuple[int, int]:
        transport, _ = await aioprocket.create_endpoint(factory, door(ifname))
        await asyncio.sleep(seconds)
        stats = transport.stats()
        transport.close()
        return stats.rx_packets, stats.rx_dropped

    class Datagrams(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            pass

    class OneByOne(asyncio.DatagramProtocol):
        def packet_received(self, packet: aioprocket.Packet) -> None:
            pass

    class Batches(asyncio.DatagramProtocol):
        def packets_received(self, batch: list[aioprocket.Packet]) -> None:
            pass

    return {
        PLAIN: plain,
        ENDPOINT: endpoint,
        "passive, receive_batch": passive_batches,
        "passive, receive": passive_single,
        "active, datagram_received": lambda ifname, s: active(Datagrams, ifname, s),
        "active, packet_received": lambda ifname, s: active(OneByOne, ifname, s),
        "active, packets_received": lambda ifname, s: active(Batches, ifname, s),
    }
