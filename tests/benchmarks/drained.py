"""What a packet costs its reader when the queue is full: UDP, raw ICMP and packet sockets.

A flood does not tell. A loop in Python needs longer for a turn than a packet for its way here, so
it never sleeps, whatever it does with the packets, and what it costs for each is what the generator
takes to send one. So here the queue is filled while nobody reads; then each wakeup finds its 64.
"""

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any, Literal

import aioprocket

from .datagrams import HOST, PORT
from .figures import CORES, at_least, heading, row, within
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
    take_batches,
)
from .reading import BUFFER, ETH_P_ALL, LOOPS, SO_RCVBUFFORCE
from .rig import Rig

ROUNDS = 3
FILLS = 5  # in each round
FILLING = 0.03  # seconds: 8,000 to 20,000 packets, and there is room for twice as many
DRAINING = 0.05
SIZE = 64

FLOOR = f"C, {BATCH} per recvmmsg, with times"
ONE_BY_ONE = ("receive", "async for", "datagram_received", "packet_received")
TITLES = {"udp": "UDP", "icmp": "raw ICMP", "packet": "a packet socket"}

Runs = dict[tuple[str, str], list[float]]


class Source:
    """Fills the queue of whoever is there, and says how."""

    def __init__(self, rig: Rig, kind: str) -> None:
        self.kind = kind
        self._sender, self.ifname = rig.pair
        self._peers = rig.peers
        self._counter = rig.peers["datagram_counter"]

    def send(self, seconds: float, size: int, rate: int) -> subprocess.Popen[str]:
        """The generator: evenly one by one, or, at a rate of 0, as fast as it goes."""
        if self.kind != "packet":
            command = [self._peers["datagram_generator"], self.kind, PORT, seconds, size, rate]
        else:
            program = self._peers["stamper" if rate else "generator"]
            command = [program, self._sender, seconds, size, rate]
        pinned = ["taskset", "-c", str(CORES[0]), *map(str, command)]
        return subprocess.Popen(pinned, stdout=subprocess.PIPE, text=True)

    def fill(self) -> None:
        with self.send(FILLING, SIZE, 0) as generator:
            generator.communicate()

    def socket(self) -> socket.socket:
        if self.kind == "packet":
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        elif self.kind == "udp":
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        else:
            sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        if self.kind == "packet":
            sock.bind((self.ifname, ETH_P_ALL))
        else:
            sock.bind((HOST, PORT if self.kind == "udp" else 0))
        sock.setblocking(False)
        return sock

    def door(self, latency: Literal["low", "balanced"] = "low", buffer: int | None = BUFFER) -> Any:
        how: dict[str, Any] = {"receive_buffer": buffer, "latency": latency}
        if self.kind == "packet":
            return aioprocket.open_packet(self.ifname, ring=False, **how)
        if self.kind == "udp":
            return aioprocket.open(PORT, protocol="udp", ip=HOST, **how)
        return aioprocket.open_icmp(type="raw", ip=HOST, **how)

    def floor(self) -> float:
        arguments = (self.kind, str(PORT), str(DRAINING), str(BUFFER), "wait")
        command = ["taskset", "-c", str(CORES[1]), str(self._counter), *arguments]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as counter:
            assert counter.stdout is not None
            counter.stdout.readline()
            self.fill()
            told, _ = counter.communicate("go\n")
        received, ns = map(float, told.split())
        return ns / received


# Has the queue filled and reads it, several times: nanoseconds for each packet.
Reader = Callable[[Source], Awaitable[list[float]]]


async def _drain(source: Source, received: Callable[[], int]) -> list[float]:
    figures = []
    for _ in range(FILLS):
        source.fill()  # the loop stands still meanwhile
        before, began = received(), time.process_time_ns()
        await asyncio.sleep(DRAINING)
        figures.append((time.process_time_ns() - began) / (received() - before))
    return figures


async def _plain(source: Source) -> list[float]:
    with source.socket() as sock, plain_loop(sock) as counted:
        return await _drain(source, lambda: counted()[0])


def _passive(take: Callable[[aioprocket.Channel], Awaitable[object]]) -> Reader:
    async def reader(source: Source) -> list[float]:
        async with source.door() as channel:

            def received() -> int:
                stats = channel.stats()
                return int(stats.rx_packets) - int(stats.rx_held)

            task = asyncio.ensure_future(take(channel))
            figures = await _drain(source, received)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return figures

    return reader


def _active(factory: Callable[[], asyncio.DatagramProtocol]) -> Reader:
    async def reader(source: Source) -> list[float]:
        transport, _ = await aioprocket.create_endpoint(factory, source.door())
        figures = await _drain(source, lambda: transport.stats().rx_packets)
        await transport.channel.aclose()
        return figures

    return reader


READERS: dict[str, Reader] = {
    PLAIN: _plain,
    "receive": _passive(receive),
    "async for": _passive(iterate),
    "receive_batch": _passive(receive_batch),
    "batches": _passive(take_batches),
    "datagram_received": _active(Datagrams),
    "packet_received": _active(OneByOne),
    "packets_received": _active(Batches),
}


def run(rig: Rig) -> None:
    os.sched_setaffinity(0, {CORES[1]})
    for kind in TITLES:
        source = Source(rig, kind)
        runs: Runs = {}
        for _ in range(1 if rig.brief else ROUNDS):
            if kind != "packet":
                floors = [source.floor() for _ in range(FILLS)]
                runs.setdefault((FLOOR, ""), []).extend(floors)
            for name, reader in READERS.items():
                for loop_name, loop_factory in LOOPS.items():
                    figures = _one_run(loop_factory, reader, source)
                    runs.setdefault((name, loop_name), []).extend(figures)
        _show(kind, runs)


def _one_run(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], reader: Reader, source: Source
) -> list[float]:
    async def measured() -> list[float]:
        return await reader(source)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(measured())


def _show(kind: str, runs: Runs) -> None:
    heading(f"Draining a full queue of {SIZE}-byte packets: {TITLES[kind]}")
    row("", "ns per packet", "plain's/its", "its/plain's", "its/C's")
    floor = median(runs[FLOOR, ""]) if (FLOOR, "") in runs else None
    for (name, loop_name), several in runs.items():
        plain, ns = median(runs[PLAIN, loop_name or "asyncio"]), median(several)
        one_by_one = name in ONE_BY_ONE and kind != "packet"
        row(
            f"{name}, {loop_name}".rstrip(", "),
            f"{ns:.0f}",
            f"{plain / ns:.2f}×" if name in (PLAIN, FLOOR) else at_least(plain / ns, 1.0),
            within(ns / plain, 0.6) if one_by_one else f"{ns / plain:.2f}×",
            f"{ns / floor:.2f}×" if floor else "",
        )
