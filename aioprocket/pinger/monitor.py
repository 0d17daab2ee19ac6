"""The same hosts all the time: a probe to each per interval, and what became of the last ones."""

import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Final, Literal, NamedTuple, Self, TypeAlias

import anyio

from .._system._native import EchoGroup, EchoWatch
from ..bounds import seconds, whole
from ..errors import ClosedError, SpecError
from ..readiness import checkpoint
from ..spec import IpAddress
from .echo import Echo
from .lane import Lane, wait_for_any
from .reports import FOR_MANY
from .source import Source
from .targets import Target
from .window import FIRST

__all__ = ("HostWindow", "Monitor")

# Probes sent at once, for a host has room for so many replies.
_SLICE: Final = FIRST
# Slices that leave in one turn: to be woken, with cold caches, takes as long as some fifty probes.
_SLICES: Final = 4
# Probes of a slice without a reply yet that leave room for the next slice's replies,
_SPARE: Final = 16
# and seconds to wait where there are more.
_REST: Final = 0.002
# Seconds for which replies gather before they are read, where there are many hosts: a wakeup for
# each would cost more than all else. Their times are the kernel's.
_GATHER: Final = 0.01

_Slice: TypeAlias = list[tuple[Lane, EchoGroup, list[EchoWatch]]]


class HostWindow(NamedTuple):
    """What became of the last probes to one host, and how many there were. Times in seconds.

    Attributes:
        host: As it was asked for.
        address: Where its probes go.
        sent: All probes that have had their end.
        received: Replies to them.
        loss: The part without a reply, of the window: 0 to 1.
        last: Of the last probe; None: no reply.
        min: Of the window, and so the rest; None where it has no reply.
        avg: The mean.
        max: The longest.
        stddev: Of the population.
        jitter: The mean difference from one reply to the next.
    """

    host: str
    address: IpAddress
    sent: int
    received: int
    loss: float
    last: float | None
    min: float | None
    avg: float | None
    max: float | None
    stddev: float | None
    jitter: float | None


def _ask(lane: Lane, group: EchoGroup, hosts: list[EchoWatch]) -> None:
    at = lane.send(group, hosts, 0, 0)
    while at < len(hosts) and not lane.blocked:
        # A network has addresses of many hosts as well.
        lane.table.refuse(group, hosts[at], 0, FOR_MANY)
        at = lane.send(group, hosts, at + 1, 0)
    # Without room it is the next turn's: the interval is a promise, each probe is not.
    hosts[:] = hosts[at:] + hosts[:at]  # who had none is first then


def _sum_up(watch: EchoWatch) -> HostWindow:
    target: Target = watch.target
    ordered = watch.rtts()
    rtts = [rtt for rtt in ordered if not math.isnan(rtt)]
    avg = math.fsum(rtts) / len(rtts) if rtts else None
    steps = [abs(after - before) for before, after in pairwise(rtts)]
    last = ordered[-1] if ordered else math.nan
    return HostWindow(
        host=target.host or str(target.address),
        address=target.address,
        sent=watch.sent,
        received=watch.received,
        loss=1 - len(rtts) / len(ordered) if ordered else 0.0,
        last=None if math.isnan(last) else last,
        min=min(rtts, default=None),
        avg=avg,
        max=max(rtts, default=None),
        stddev=None
        if avg is None
        else math.sqrt(math.fsum((rtt - avg) ** 2 for rtt in rtts) / len(rtts)),
        jitter=None if not rtts else math.fsum(steps) / len(steps) if steps else 0.0,
    )


class Monitor:
    """Watches hosts: ``async for echo in monitor`` gives each probe's end as it comes.

    Made by `Pinger.monitor`. Iterate once; `window` and `windows` can be asked at any time, also
    after the end. It sends and receives while an echo is asked for, and ends with `aclose`, at the
    end of an ``async with``, or with its pinger.
    """

    def __init__(
        self,
        source: Source,
        lane_of: Callable[[Literal[4, 6]], Awaitable[Lane]],
        new_group: Callable[[], EchoGroup],
        *,
        interval: float,
        window: int,
    ) -> None:
        self._source = source
        self._lane_of = lane_of
        self._new_group = new_group
        self._interval = seconds("interval", interval)
        self._window = whole("window", window, 1)
        self._watched: dict[str, dict[bytes, EchoWatch]] = {}  # by name, by address
        self._lanes: dict[int, tuple[Lane, EchoGroup]] = {}
        self._running: AsyncGenerator[Echo, None] | None = None
        self._waiting: anyio.CancelScope | None = None
        self._closed = False

    def window(self, host: str, address: IpAddress | None = None) -> HostWindow:
        """What is known of one host.

        Args:
            host: As it was named.
            address: Which of its addresses; None: the first.

        Raises:
            KeyError: It is none of those watched.
        """
        watched = self._watched[host]
        one = next(iter(watched.values())) if address is None else watched[address.packed]
        return _sum_up(one)

    def windows(self) -> list[HostWindow]:
        """What is known of each host, in the order in which they were named."""
        return [_sum_up(watch) for watch in self._each()]

    def _each(self) -> list[EchoWatch]:
        return [one for watched in self._watched.values() for one in watched.values()]

    def __aiter__(self) -> AsyncGenerator[Echo, None]:
        """Watch until the iteration is left.

        Raises:
            ResolutionError: A name has no address; nothing was sent.
            ClosedError: The pinger, or the monitor, is closed.
        """
        if self._running is not None:
            raise SpecError("this monitor is iterated over already")
        self._check_open()
        self._running = self._run()
        return self._running

    async def aclose(self) -> None:
        """End it: nobody waits for its probes any more. The pinger stays open. Idempotent.

        Whoever waits for an echo meanwhile gets `ClosedError`.
        """
        self._closed = True
        if self._waiting is not None:
            self._waiting.cancel()
        elif self._running is not None:
            with suppress(RuntimeError):  # it runs, in another task, which finds out by itself
                await self._running.aclose()
        self._abandon()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.aclose()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the monitor is closed")

    def _abandon(self) -> None:
        for lane, group in self._lanes.values():
            lane.table.abandon(group)

    async def _run(self) -> AsyncGenerator[Echo, None]:
        try:
            hosts = await self._prepare()
            self._check_open()
            slices = [self._slice(hosts[at : at + _SLICE]) for at in range(0, len(hosts), _SLICE)]
            turns = [slices[at : at + _SLICES] for at in range(0, len(slices), _SLICES)]
            gap = self._interval / max(1, len(turns))
            due, at = time.monotonic(), 0
            while turns:
                if time.monotonic() >= due:
                    found = await self._send(turns[at])
                    at = (at + 1) % len(turns)
                    # A loop that was held up for long does not make up for it.
                    due = max(due + gap, time.monotonic() - self._interval)
                else:
                    found = self._collect()
                for echo in found:
                    yield echo
                if time.monotonic() < due:
                    await self._wait(due, gather=len(hosts) > _SLICE)
                else:
                    await checkpoint()  # or who asks for more than there is time for stops the loop
                self._check_open()
        finally:
            self._abandon()
            self._running = None

    async def _prepare(self) -> list[EchoWatch]:
        async for target in self._source.each():
            watched = self._watched.setdefault(target.host or str(target.address), {})
            watched.setdefault(target.packed, EchoWatch(target, self._window))
        hosts = self._each()
        for host in hosts:
            version = host.target.version
            if version not in self._lanes:
                self._lanes[version] = await self._lane_of(version), self._new_group()
        return hosts

    def _slice(self, hosts: Sequence[EchoWatch]) -> _Slice:
        alike = [
            (*self._lanes[version], [host for host in hosts if host.target.version == version])
            for version in self._lanes
        ]
        return [each for each in alike if each[2]]

    async def _send(self, slices: Sequence[_Slice]) -> list[Echo]:
        """A probe to each; what has had its end meanwhile."""
        found: list[Echo] = []
        for number, alike in enumerate(slices, 1):
            before = self._in_flight()
            for lane, group, hosts in alike:
                _ask(lane, group, hosts)
            found += self._collect()
            if number < len(slices) and self._in_flight() > before + _SPARE:
                await anyio.sleep(_REST)
                found += self._collect()
        return found

    def _in_flight(self) -> int:
        return sum(group.in_flight for _, group in self._lanes.values())

    def _collect(self) -> list[Echo]:
        found: list[Echo] = []
        for lane, group in self._lanes.values():
            lane.check_open()
            lane.drain()
            lane.expire(group)
            found += group.take()
        return found

    async def _wait(self, due: float, *, gather: bool) -> None:
        with anyio.CancelScope() as self._waiting:
            await wait_for_any(list(self._lanes.values()), due)
            if gather and (left := min(due - time.monotonic(), _GATHER)) > 0:
                await anyio.sleep(left)
        self._waiting = None
