"""How long a descriptor takes to get, against the least that can pass one; and what many cost."""

import array
import asyncio
import os
import resource
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median

import aioprocket
from aioprocket.helper import helper_path, obtain
from aioprocket.spec import SocketSpec

from .figures import heading, resident_bytes, row, within

SESSION_BOUND = 1.5
ONE_SHOT_BOUND = 1.3
IDLE_CHANNEL_BOUND = 20  # KiB

# Short ones, of which every single time counts: what disturbs the machine disturbs all alike, and
# no median.
ROUNDS = 100
ICMP = SocketSpec(family=socket.AF_INET, type=socket.SOCK_RAW, protocol=socket.IPPROTO_ICMP)


def run(peers: dict[str, Path]) -> None:
    asyncio.run(_acquire(peers["opener"]))
    asyncio.run(_churn())
    asyncio.run(_idle())


class _Bare:
    """A conversation with the minimal program, without any check."""

    def __init__(self, program: Path) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0)]
            self._pid = os.posix_spawn(program, [str(program)], {}, file_actions=actions)

    def get(self) -> int:
        """Block until the descriptor is there."""
        self._ours.send(bytes(200))
        return self._receive()

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the loop wait for replies, once for all of them."""
        loop.add_reader(self._ours, lambda: self._arrived.set_result(self._receive()))

    async def wait_for(self) -> int:
        """Let the loop run until the descriptor is there; after `watch`."""
        self._arrived: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._ours.send(bytes(200))
        return await self._arrived

    def _receive(self) -> int:
        _, control, _, _ = self._ours.recvmsg(96, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
        return array.array("i", control[0][2])[0]

    def fileno(self) -> int:
        return self._ours.fileno()

    def end(self) -> None:
        self._ours.close()
        os.waitpid(self._pid, 0)


async def _timed(count: int, get: Callable[[], Awaitable[int]]) -> Iterator[float]:
    """Microseconds for each descriptor, got and closed."""
    moments = [time.perf_counter()]
    for _ in range(count):
        os.close(await get())
        moments.append(time.perf_counter())
    return ((end - begin) * 1e6 for begin, end in pairwise(moments))


async def _acquire(opener: Path) -> None:
    heading("A raw ICMP socket: microseconds to get it and close it; bounds hold for medians")
    bare, watched = _Bare(opener), _Bare(opener)
    command = [str(helper_path())]  # found once: an installed helper is not searched for, either
    watched.watch(asyncio.get_running_loop())

    async def from_bare() -> int:
        return bare.get()

    async def from_spawned_bare() -> int:
        spawned = _Bare(opener)
        try:
            return spawned.get()
        finally:
            spawned.end()

    async def from_one_shot() -> int:
        opened = await obtain(ICMP, helper=command)
        return opened.descriptor.detach()

    us: dict[str, list[float]] = {}

    async def measure(name: str, count: int, get: Callable[[], Awaitable[int]]) -> None:
        us.setdefault(name, []).extend(await _timed(count, get))

    async with aioprocket.Helper(command) as helper:

        async def from_session() -> int:
            return await helper.open_fd(ICMP)

        for _ in range(ROUNDS):
            await measure("blocking", 50, from_bare)
            await measure("awaited", 50, watched.wait_for)
            await measure("session", 50, from_session)
            await measure("spawned", 4, from_spawned_bare)
            await measure("one-shot", 4, from_one_shot)
    asyncio.get_running_loop().remove_reader(watched.fileno())
    bare.end()
    watched.end()
    _show_acquired(us)


def _show_acquired(us: dict[str, list[float]]) -> None:
    def show(text: str, name: str, *ratio: str) -> None:
        row(text, f"{min(us[name]):.0f}", f"{median(us[name]):.0f}", *ratio)

    def times(name: str, peer: str) -> float:
        return median(us[name]) / median(us[peer])

    row("", "least", "median", "median to peer's")
    show("peer: minimal C program, awaited on the loop", "awaited")
    show("no peer: the same, blocking, without a loop", "blocking")
    session = within(times("session", "awaited"), SESSION_BOUND)
    show("live session, awaited on the loop", "session", session)
    row("  against the blocking one", "", "", f"{times('session', 'blocking'):.2f}×")
    show("peer: posix_spawn of the minimal C program", "spawned")
    one_shot = within(times("one-shot", "spawned"), ONE_SHOT_BOUND)
    show("one-shot helper", "one-shot", one_shot)


async def _churn() -> None:
    count = 10_000
    heading(f"{count:,} channels opened and closed through one session")
    async with aioprocket.Helper([str(helper_path())]) as helper:
        for _ in range(100):  # the first ones fill caches
            async with aioprocket.open_icmp(type="raw", helper=helper):
                pass
        pid = helper.pid
        assert pid is not None
        fds, memory = len(os.listdir("/proc/self/fd")), resident_bytes(pid)
        began = time.perf_counter()
        for _ in range(count):
            async with aioprocket.open_icmp(type="raw", helper=helper):
                pass
        passed = time.perf_counter() - began
        row("each", f"{passed / count * 1e6:.0f} µs")
        row("descriptors more than before", str(len(os.listdir("/proc/self/fd")) - fds))
        row("helper's memory more than before", f"{(resident_bytes(pid) - memory) / 1024:.0f} KiB")


async def _idle() -> None:
    count = 1000
    heading(f"{count:,} channels open at once")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    async with aioprocket.Helper([str(helper_path())]) as helper:
        before = resident_bytes()
        channels = [await aioprocket.open_icmp(type="raw", helper=helper) for _ in range(count)]
        each = (resident_bytes() - before) / count / 1024
        row("memory for each, idle", f"{each:.1f} KiB", within(each, IDLE_CHANNEL_BOUND, " KiB"))
        for channel in channels:
            await channel.aclose()
