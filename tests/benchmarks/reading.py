"""What a packet costs its reader, against the two ways that asyncio itself has.

A generator on one core floods a veth pair with small frames, the reader has the other core. What
counts is the reader's own processor time for each packet: the kernel's receive path runs on the
generator's core. All but the rows named *ring* read by system calls, as the two do. Those never
sleep here, so beside each other they show how fast the generator was: what a packet costs them is
in `drained`.
"""

import asyncio
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

import uvloop

import aioprocket

from .figures import CORES, at_least, cpu_seconds, heading, row
from .readers import (
    PLAIN,
    Batches,
    Datagrams,
    OneByOne,
    plain_loop,
    receive,
    receive_batch,
    take_batches,
)

SECONDS = 1.0
FRAME = 64
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


Latency = Literal["low", "balanced"]
# A reader reads an interface for the given seconds; it returns how many were received and dropped.
Reader = Callable[[str, float], Awaitable[tuple[int, int]]]


def run(peers: dict[str, Path], interfaces: tuple[str, str], *, force_buffer: bool) -> None:
    sender, receiver = interfaces
    generator_core, reader_core = CORES
    os.sched_setaffinity(0, {reader_core})
    command = [str(peers["generator"]), sender, str(SECONDS), str(FRAME), "0"]
    readers = _readers(BUFFER if force_buffer else None)
    runs: dict[tuple[str, str], list[Run]] = {}
    python, version = _peers_python()
    for _ in range(ROUNDS):
        for name, reader in readers.items():
            for loop_name in LOOPS:
                with _flood(generator_core, command):
                    result = _one_run(LOOPS[loop_name], reader, receiver)
                runs.setdefault((name, loop_name), []).append(result)
        # uvloop's takes no packet socket.
        result = _endpoint(python, command, receiver, BUFFER if force_buffer else 0)
        runs.setdefault((ENDPOINT, f"Python {version}"), []).append(result)
    _show(runs)


def _flood(core: int, command: list[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["taskset", "-c", str(core), *command], stdout=subprocess.DEVNULL)


def _peers_python() -> tuple[str, str]:
    """The Python whose transport is to be compared with, or the nearest one, and its version."""
    for version in ENDPOINT_OF_PEER:
        pattern = f".pyenv/versions/{version}.*/bin/python"
        found = [shutil.which(f"python{version}"), *map(str, Path.home().glob(pattern))]
        for python in filter(None, found):
            probe = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
            told = subprocess.run(probe, capture_output=True, text=True, check=False)
            if told.stdout.strip() == version:
                return python, version
    return sys.executable, ".".join(map(str, sys.version_info[:2]))


def _endpoint(python: str, command: list[str], ifname: str, buffer: int) -> Run:
    program = Path(__file__).with_name("endpoint.py")
    arguments = [python, str(program), ifname, str(SECONDS + 0.3), str(buffer)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as counter:
        assert counter.stdout is not None
        counter.stdout.readline()
        with _flood(CORES[0], command):
            received, dropped, ns = map(int, counter.stdout.readline().split())
    return Run(received, dropped, ns / 1e9)


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
    row("", "ns per packet", "plain's/its", "endpoint's/its", "packets/s", "busy", "dropped")
    endpoint = median(run.ns_per_packet for key in runs for run in runs[key] if key[0] == ENDPOINT)
    for (name, loop_name), several in runs.items():
        loops = loop_name if loop_name in LOOPS else "asyncio"
        plain = median(run.ns_per_packet for run in runs[PLAIN, loops])
        ns = median(run.ns_per_packet for run in several)
        judged = name not in (PLAIN, ENDPOINT)
        received = sum(run.received for run in several)
        dropped = sum(run.dropped for run in several)
        row(
            f"{name}, {loop_name}",
            f"{ns:.0f}",
            at_least(plain / ns, 1.0) if name.startswith("ring") else f"{plain / ns:.2f}×",
            at_least(endpoint / ns, 8.0) if judged else f"{endpoint / ns:.2f}×",
            f"{received / len(several) / SECONDS:,.0f}",
            f"{median(run.cpu for run in several) / SECONDS:.0%}",
            f"{dropped / max(1, received + dropped):.1%}",
        )


ENDPOINT = "create_datagram_endpoint"
ENDPOINT_OF_PEER = ("3.13", "3.12")  # the first that there is


def _readers(buffer: int | None) -> dict[str, Reader]:
    def tap(ifname: str) -> socket.socket:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        if buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, buffer)
        sock.bind((ifname, ETH_P_ALL))
        sock.setblocking(False)
        return sock

    def dropped(sock: socket.socket) -> int:
        statistics = sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        return int(struct.unpack("=II", statistics)[1])

    async def plain(ifname: str, seconds: float) -> tuple[int, int]:
        with tap(ifname) as sock, plain_loop(sock) as counted:
            await asyncio.sleep(seconds)
            return counted()[0], dropped(sock)

    def door(ifname: str, *, ring: bool = False, latency: Latency | None = None) -> Any:
        latency = latency or ("balanced" if ring else "low")
        return aioprocket.open_packet(ifname, receive_buffer=buffer, ring=ring, latency=latency)

    async def passive(
        take: Callable[[aioprocket.Channel], Awaitable[object]],
        ifname: str,
        seconds: float,
        *,
        ring: bool = False,
        latency: Latency | None = None,
    ) -> tuple[int, int]:
        async with door(ifname, ring=ring, latency=latency) as channel:
            try:
                async with asyncio.timeout(seconds):
                    await take(channel)
            except TimeoutError:
                pass
            return channel.stats().rx_packets, channel.stats().rx_dropped

    async def active(
        factory: Callable[[], asyncio.DatagramProtocol],
        ifname: str,
        seconds: float,
        *,
        ring: bool = False,
        latency: Latency | None = None,
    ) -> tuple[int, int]:
        transport, _ = await aioprocket.create_endpoint(
            factory, door(ifname, ring=ring, latency=latency)
        )
        await asyncio.sleep(seconds)
        stats = transport.stats()
        transport.close()
        return stats.rx_packets, stats.rx_dropped

    return {
        PLAIN: plain,
        "passive, receive_batch": lambda ifname, s: passive(receive_batch, ifname, s),
        "passive, receive": lambda ifname, s: passive(receive, ifname, s),
        "active, datagram_received": lambda ifname, s: active(Datagrams, ifname, s),
        "active, packet_received": lambda ifname, s: active(OneByOne, ifname, s),
        "active, packets_received": lambda ifname, s: active(Batches, ifname, s),
        "passive, receive, balanced": lambda ifname, s: passive(
            receive, ifname, s, latency="balanced"
        ),
        "active, packet_received, balanced": lambda ifname, s: active(
            OneByOne, ifname, s, latency="balanced"
        ),
        "ring, batches": lambda ifname, s: passive(take_batches, ifname, s, ring=True),
        "ring, packet_received": lambda ifname, s: active(OneByOne, ifname, s, ring=True),
    }
