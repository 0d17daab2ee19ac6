"""What a packet costs its reader at a rate that it keeps up with: UDP, raw ICMP, packet sockets.

Between a flood, in which no loop of Python ever sleeps, and a full queue, which nobody has for
long, is what programs have: packets come evenly, one by each system call of their sender, and a
wakeup finds one of them, or a few. Here the offered rate is the same for all, so that processor
time for each packet is what a wakeup costs; how many packets it found, how busy the reader was and
what was lost stand beside it. Who is busy for all of the time is not judged: it did not keep up.
With ``latency="balanced"`` packets wait for one another, which `latency` prices.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from statistics import median
from typing import Literal

import aioprocket

from .drained import ONE_BY_ONE, TITLES, Source
from .figures import CORES, at_least, heading, row, within
from .readers import (
    PLAIN,
    Batches,
    Counted,
    Datagrams,
    OneByOne,
    iterate,
    plain_loop,
    receive,
    receive_batch,
)
from .reading import LOOPS
from .rig import Rig

RATES = (20_000, 50_000, 100_000)
ROUNDS = 3
SECONDS = 0.3
SETTLING = 0.1  # for the generator to start, and for the last packets
SIZE = 64
BALANCED = ", balanced"
BALANCED_BOUND = 0.6  # of the plain loop, where packets are handed over one at a time
BUSY = 0.95  # from here on a reader's time is the generator's


@dataclass(frozen=True)
class Trial:
    """One reader, once: packets sent and received, wakeups, processor seconds."""

    sent: int
    received: int
    wakeups: int
    cpu: float

    @property
    def ns_per_packet(self) -> float:
        return self.cpu / max(1, self.received) * 1e9


Latency = Literal["low", "balanced"]
Reader = Callable[[Source], AbstractAsyncContextManager[Counted]]


@asynccontextmanager
async def _plain(source: Source) -> AsyncIterator[Counted]:
    with source.socket() as sock, plain_loop(sock) as counted:
        yield counted


def _passive(
    take: Callable[[aioprocket.Channel], Awaitable[object]], latency: Latency = "low"
) -> Reader:
    @asynccontextmanager
    async def reader(source: Source) -> AsyncIterator[Counted]:
        async with source.door(latency) as channel:
            task = asyncio.ensure_future(take(channel))

            def counted() -> tuple[int, int]:
                stats = channel.stats()
                return stats.rx_packets - stats.rx_held, stats.wakeups

            yield counted
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return reader


def _active(factory: Callable[[], asyncio.DatagramProtocol], latency: Latency = "low") -> Reader:
    @asynccontextmanager
    async def reader(source: Source) -> AsyncIterator[Counted]:
        transport, _ = await aioprocket.create_endpoint(factory, source.door(latency))

        def counted() -> tuple[int, int]:
            stats = transport.stats()
            return stats.rx_packets, stats.wakeups

        yield counted
        await transport.channel.aclose()

    return reader


READERS: dict[str, Reader] = {
    PLAIN: _plain,
    "receive": _passive(receive),
    "async for": _passive(iterate),
    "receive_batch": _passive(receive_batch),
    "datagram_received": _active(Datagrams),
    "packet_received": _active(OneByOne),
    "packets_received": _active(Batches),
    f"receive{BALANCED}": _passive(receive, "balanced"),
    f"datagram_received{BALANCED}": _active(Datagrams, "balanced"),
    f"packet_received{BALANCED}": _active(OneByOne, "balanced"),
    f"packets_received{BALANCED}": _active(Batches, "balanced"),
}


def run(rig: Rig) -> None:
    os.sched_setaffinity(0, {CORES[1]})
    for kind in TITLES:
        source = Source(rig, kind)
        for rate in RATES:
            trials: dict[tuple[str, str], list[Trial]] = {}
            for _ in range(1 if rig.brief else ROUNDS):
                for name, reader in READERS.items():
                    for loop_name in LOOPS:
                        trial = one_trial(loop_name, reader, source, rate)
                        trials.setdefault((name, loop_name), []).append(trial)
            _show(kind, rate, trials)


def one_trial(loop_name: str, reader: Reader, source: Source, rate: int) -> Trial:
    async def measured() -> Trial:
        async with reader(source) as counted:
            await asyncio.sleep(0)  # a task waits for packets now
            with source.send(SECONDS, SIZE, rate) as generator:
                received, wakeups = counted()
                began = time.process_time()
                await asyncio.sleep(SECONDS + SETTLING)
                cpu = time.process_time() - began
                all_received, all_wakeups = counted()
                sent, _ = generator.communicate()
        return Trial(int(sent), all_received - received, all_wakeups - wakeups, cpu)

    with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
        return runner.run(measured())


def _show(kind: str, rate: int, trials: dict[tuple[str, str], list[Trial]]) -> None:
    heading(f"Reading {SIZE}-byte packets at {rate:,} packets/s: {TITLES[kind]}")
    row(
        "", "ns per packet", "plain's/its", "its/plain's", "packets/wakeup", "busy", "packets/s",
        "lost",
    )  # fmt: skip
    for (name, loop_name), several in trials.items():
        plain = median(trial.ns_per_packet for trial in trials[PLAIN, loop_name])
        ns = median(trial.ns_per_packet for trial in several)
        busy = median(trial.cpu for trial in several) / SECONDS
        sent = sum(trial.sent for trial in several)
        received = sum(trial.received for trial in several)
        judged = name != PLAIN and busy < BUSY
        one_by_one = kind != "packet" and name.removesuffix(BALANCED) in ONE_BY_ONE
        row(
            f"{name}, {loop_name}",
            f"{ns:.0f}",
            at_least(plain / ns, 1.0) if judged else f"{plain / ns:.2f}×",
            within(ns / plain, BALANCED_BOUND)
            if judged and one_by_one and name.endswith(BALANCED)
            else f"{ns / plain:.2f}×",
            f"{received / max(1, sum(trial.wakeups for trial in several)):.1f}",
            f"{busy:.0%}",
            f"{received / len(several) / SECONDS:,.0f}",
            f"{1 - received / max(1, sent):.1%}",
        )
