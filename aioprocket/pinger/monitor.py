"""The same hosts all the time: a probe to each per interval, and what became of the last ones."""

import math
import time
from array import array
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from itertools import groupby, pairwise
from typing import Final, Literal, NamedTuple

import anyio

from .._system._native import EchoGroup
from ..bounds import seconds, whole
from ..errors import SpecError
from ..spec import IpAddress
from .echo import Echo
from .lane import Lane, wait_for_any
from .source import Source
from .targets import Target
from .window import FIRST

__all__ = ("HostWindow", "Monitor")

# Probes sent at once. Fewer would wake the processor more often: 64 took half as much again.
_SLICE: Final = FIRST
# Seconds for which replies gather before they are read, where there are many hosts: a wakeup for
# each would cost more than all else. Their times are the kernel's.
_GATHER: Final = 0.01
_LOST: Final = math.nan


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


class _Watched:
    """One host: its last round trips, NaN where there was no reply."""

    __slots__ = ("next", "received", "rtts", "sent", "target")

    def __init__(self, target: Target) -> None:
        self.target = target
        self.next = 0
        self.sent = 0
        self.received = 0
        self.rtts = array("d")

    def add(self, rtt: float | None, window: int) -> None:
        if len(self.rtts) < window:
            self.rtts.append(_LOST)
        self.rtts[self.sent % window] = _LOST if rtt is None else rtt
        self.sent += 1
        self.received += rtt is not None

    def sum_up(self, window: int) -> HostWindow:
        at = self.sent % window if len(self.rtts) == window else 0
        ordered = self.rtts[at:] + self.rtts[:at]
        rtts = [rtt for rtt in ordered if not math.isnan(rtt)]
        avg = math.fsum(rtts) / len(rtts) if rtts else None
        steps = [abs(after - before) for before, after in pairwise(rtts)]
        last = ordered[-1] if ordered else _LOST
        return HostWindow(
            host=self.target.host or str(self.target.address),
            address=self.target.address,
            sent=self.sent,
            received=self.received,
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


def _next_probe(watched: _Watched) -> tuple[int, int]:
    """What probes that leave together have in common: version of IP, sequence."""
    return watched.target.version, watched.next


class Monitor:
    """Watches hosts: ``async for echo in monitor`` gives each probe's end as it comes.

    Made by `Pinger.monitor`. Iterate once; `window` and `windows` can be asked at any time.
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
        self._watched: dict[str, dict[bytes, _Watched]] = {}  # by name, by address
        self._lanes: dict[int, tuple[Lane, EchoGroup]] = {}
        self._running = False

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
        return one.sum_up(self._window)

    def windows(self) -> list[HostWindow]:
        """What is known of each host, in the order in which they were named."""
        return [watched.sum_up(self._window) for watched in self._each()]

    def _each(self) -> list[_Watched]:
        return [one for watched in self._watched.values() for one in watched.values()]

    def __aiter__(self) -> AsyncGenerator[Echo, None]:
        """Watch until the iteration is left.

        Raises:
            ResolutionError: A name has no address; nothing was sent.
            ClosedError: The pinger is closed.
        """
        if self._running:
            raise SpecError("this monitor is iterated over already")
        self._running = True
        return self._run()

    async def _run(self) -> AsyncGenerator[Echo, None]:
        try:
            await self._prepare()
            hosts = self._each()
            slices = [hosts[at : at + _SLICE] for at in range(0, len(hosts), _SLICE)]
            gap = self._interval / max(1, len(slices))
            due, at = time.monotonic(), 0
            while slices:
                if time.monotonic() >= due:
                    self._send(slices[at])
                    at = (at + 1) % len(slices)
                    # A loop that was held up for long does not make up for it.
                    due = max(due + gap, time.monotonic() - self._interval)
                for echo in self._collect():
                    yield echo
                if time.monotonic() < due:
                    await self._wait(due, gather=len(hosts) > _SLICE)
        finally:
            for lane, group in self._lanes.values():
                lane.table.abandon(group)
            self._running = False

    async def _prepare(self) -> None:
        async for target in self._source.each():
            watched = self._watched.setdefault(target.host or str(target.address), {})
            watched.setdefault(target.packed, _Watched(target))
            if target.version not in self._lanes:
                lane = await self._lane_of(target.version)
                self._lanes[target.version] = lane, self._new_group()

    def _send(self, watched: Sequence[_Watched]) -> None:
        for (version, sequence), alike in groupby(watched, _next_probe):
            lane, group = self._lanes[version]
            hosts = list(alike)
            sent = lane.send(group, [one.target for one in hosts], 0, sequence)
            # Without room it is the next turn's: the interval is a promise, each probe is not.
            for one in hosts[:sent]:
                one.next += 1

    def _collect(self) -> list[Echo]:
        found: list[Echo] = []
        for lane, group in self._lanes.values():
            lane.check_open()
            lane.drain()
            lane.expire(group)
            found += group.take()
        for echo in found:
            self._watched[echo.host][echo.packed].add(echo.rtt, self._window)
        return found

    async def _wait(self, due: float, *, gather: bool) -> None:
        await wait_for_any(list(self._lanes.values()), due)
        if gather and (left := min(due - time.monotonic(), _GATHER)) > 0:
            await anyio.sleep(left)
