"""What a datagram costs its reader: UDP and raw ICMP, one at a time and many, beside plain loops.

A generator on one core floods the loopback interface, whose receive path runs on the generator's
core; the reader has the other. The floor is a C program that does nothing but recvmmsg.
"""

import asyncio
import os
import socket
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any, Literal

import aioprocket

from .figures import CORES, cpu_seconds, heading, row
from .readers import (
    BATCH,
    PLAIN,
    Batches,
    Datagrams,
    OneByOne,
    iterate,
    plain_loop,
    receive,
    receive_batch,
)
from .reading import BUFFER, LOOPS, SO_RCVBUFFORCE, Run

PORT = 9
SECONDS = 0.6
SIZE = 64
ROUNDS = 5
HOST = "127.0.0.1"

FLOOR = f"C, {BATCH} per recvmmsg"

Latency = Literal["low", "balanced"]
# A reader reads datagrams of a kind for the given seconds: how many came.
Reader = Callable[[str, float], Awaitable[int]]
Runs = dict[tuple[str, str], list[Run]]


def run(peers: dict[str, Path]) -> None:
    for kind in ("udp", "icmp"):
        runs: Runs = {}
        for _ in range(ROUNDS):
            runs.setdefault((FLOOR, ""), []).append(_floor(peers, kind))
            for name, reader in READERS.items():
                for loop_name in LOOPS:
                    if _applies(name, kind):
                        result = _one_run(peers, kind, loop_name, reader)
                        runs.setdefault((name, loop_name), []).append(result)
        _show(kind, runs)


def _applies(name: str, kind: str) -> bool:
    return kind == "udp" or name != ENDPOINT  # uvloop's takes no raw socket


def _generator(peers: dict[str, Path], kind: str) -> subprocess.Popen[bytes]:
    arguments = (str(PORT), str(SECONDS), str(SIZE), "0")
    command = ["taskset", "-c", str(CORES[0]), str(peers["datagram_generator"]), kind, *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def _floor(peers: dict[str, Path], kind: str) -> Run:
    arguments = (kind, str(PORT), str(SECONDS + 0.2), str(BUFFER))
    command = ["taskset", "-c", str(CORES[1]), str(peers["datagram_counter"]), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as counter:
        assert counter.stdout is not None
        counter.stdout.readline()
        with _generator(peers, kind):
            received, ns = counter.stdout.readline().split()
    return Run(int(received), 0, float(ns) / 1e9)


def _one_run(peers: dict[str, Path], kind: str, loop_name: str, reader: Reader) -> Run:
    async def measured() -> Run:
        began = cpu_seconds()
        with _generator(peers, kind):
            spawned = cpu_seconds() - began
            received = await reader(kind, SECONDS + 0.2)
            return Run(received, 0, cpu_seconds() - began - spawned)

    os.sched_setaffinity(0, {CORES[1]})
    with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
        return runner.run(measured())


def _show(kind: str, runs: Runs) -> None:
    name = "UDP" if kind == "udp" else "raw ICMP"
    heading(f"Reading {SIZE}-byte packets of {name} at full flood, one core each")
    row("", "ns per packet", "plain's/its", "packets/s", "busy")
    for (name, loop_name), several in runs.items():
        plain = median(run.ns_per_packet for run in runs[PLAIN, loop_name or "asyncio"])
        ns = median(run.ns_per_packet for run in several)
        received = median(run.received for run in several)
        row(
            f"{name}, {loop_name}".rstrip(", "),
            f"{ns:.0f}",
            f"{plain / ns:.2f}×",
            f"{received / SECONDS:,.0f}",
            f"{median(run.cpu for run in several) / SECONDS:.0%}",
        )


def _socket(kind: str) -> socket.socket:
    if kind == "udp":
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    else:
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    sock.bind((HOST, PORT if kind == "udp" else 0))
    sock.setblocking(False)
    return sock


async def _plain(kind: str, seconds: float) -> int:
    with _socket(kind) as sock, plain_loop(sock) as counted:
        await asyncio.sleep(seconds)
        return counted()[0]


async def _endpoint(kind: str, seconds: float) -> int:
    class Count(asyncio.DatagramProtocol):
        received = 0

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.received += 1

    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(Count, sock=_socket(kind))
    await asyncio.sleep(seconds)
    transport.close()
    return protocol.received


def _door(kind: str, latency: Latency) -> Any:
    how: dict[str, Any] = {"ip": HOST, "receive_buffer": BUFFER, "latency": latency}
    if kind == "udp":
        return aioprocket.open(PORT, protocol="udp", **how)
    return aioprocket.open_icmp(type="raw", **how)


def _passive(
    take: Callable[[aioprocket.Channel], Awaitable[object]], latency: Latency = "low"
) -> Reader:
    async def reader(kind: str, seconds: float) -> int:
        async with _door(kind, latency) as channel:
            try:
                async with asyncio.timeout(seconds):
                    await take(channel)
            except TimeoutError:
                pass
            stats = channel.stats()
            return int(stats.rx_packets) - int(stats.rx_held)

    return reader


def _active(factory: Callable[[], asyncio.DatagramProtocol], latency: Latency = "low") -> Reader:
    async def reader(kind: str, seconds: float) -> int:
        transport, _ = await aioprocket.create_endpoint(factory, _door(kind, latency))
        await asyncio.sleep(seconds)
        received = transport.stats().rx_packets
        await transport.channel.aclose()
        return received

    return reader


ENDPOINT = "create_datagram_endpoint"
READERS: dict[str, Reader] = {
    PLAIN: _plain,
    ENDPOINT: _endpoint,
    "passive, receive": _passive(receive),
    "passive, async for": _passive(iterate),
    "passive, receive_batch": _passive(receive_batch),
    "active, datagram_received": _active(Datagrams),
    "active, packet_received": _active(OneByOne),
    "active, packets_received": _active(Batches),
    "passive, receive, balanced": _passive(receive, "balanced"),
    "active, packet_received, balanced": _active(OneByOne, "balanced"),
}
