"""Probes to any number of hosts: a window of them is on its way, the rest waits in its iterator."""

import math
import time
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
)
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final

from ..errors import SpecError
from ..readiness import checkpoint
from .echo import Echo
from .group import EchoGroup
from .lane import Lane, wait_for_any
from .pace import Bucket
from .settings import Settings, positive, whole
from .single import PAUSES
from .targets import Host, Hosts, Network, Target, check, first_target, literal

__all__ = ("Course", "Pace", "Source")

_BATCH: Final = 64  # probes sent between two reads
_TURN: Final = 0.002  # seconds until the other tasks get their turn


class Source:
    """The targets, one by one, with the names looked up.

    Args:
        hosts: As `Pinger.sweep` takes them.
        settings: What the targets have to fit.
    """

    def __init__(self, hosts: Hosts, settings: Settings) -> None:
        if isinstance(hosts, str | bytes):
            raise SpecError(
                f"hosts {hosts!r} is no iterable of hosts", hint="one host is [host], or ping()"
            )
        self._settings = settings
        self._slow: AsyncIterator[Host | Network] | None = None
        self._fast: Iterator[Host | Network] = iter(())
        self._network: Iterator[Any] | None = None
        if isinstance(hosts, AsyncIterable):
            self._slow = aiter(hosts)
        elif isinstance(hosts, IPv4Network | IPv6Network):
            self._fast = iter((hosts,))
        else:
            self._fast = iter(hosts)

    async def next(self) -> Target | None:
        """The next target; None: there is no more.

        Raises:
            What `first_target` raises.
        """
        while True:
            if self._network is not None:
                packed = next(self._network, None)
                if packed is not None:
                    return Target("", packed)
                self._network = None
            host = await self._host()
            if host is None:
                return None
            if isinstance(host, IPv4Network | IPv6Network):
                self._network = _addresses(host)
                continue
            target = literal(host)
            if target is None:
                return await first_target(host, self._settings)
            check(target, self._settings)
            return target

    async def _host(self) -> Host | Network | None:
        if self._slow is not None:
            return await anext(self._slow, None)
        return next(self._fast, None)


def _addresses(network: Network) -> Iterator[bytes]:
    length = network.max_prefixlen // 8
    first = int(network.network_address)
    return (number.to_bytes(length, "big") for number in _count(first, network.num_addresses))


def _count(first: int, count: int) -> Iterator[int]:
    number, end = first, first + count
    while number < end:  # range() of all of IPv6 is fine, its len() is not
        yield number
        number += 1


class Pace:
    """How fast, and how many at once."""

    def __init__(self, rate: float | None, window: int | None, count: int) -> None:
        self.window = None if window is None else whole("window", window, 1, 32768)
        self.count = whole("count", count, 1)
        self._bucket = None
        if rate is not None:
            # What a loop that is late may catch up on: a hundredth of a second's probes.
            depth = max(1, min(_BATCH, int(positive("rate", rate) / 100)))
            self._bucket = Bucket(rate, depth, time.monotonic_ns())
        self._blocked_until = 0.0
        self._refusals = 0

    def allows(self, in_flight: int, window: int) -> int:
        """Probes that may leave now."""
        room = min((self.window or window) - in_flight, _BATCH)
        if time.monotonic() < self._blocked_until:
            return 0
        if self._bucket is not None:
            room = min(room, self._bucket.available(time.monotonic_ns()))
        return max(0, room)

    def note_sent(self) -> None:
        """One left."""
        self._refusals = 0
        if self._bucket is not None:
            self._bucket.take(1)

    def note_refused(self) -> None:
        """There was no room for it: wait a moment, and twice as long the next time."""
        pause = PAUSES[min(self._refusals, len(PAUSES) - 1)]
        self._refusals += 1
        self._blocked_until = time.monotonic() + pause

    def next_at(self) -> float | None:
        """When more may leave, as far as time alone says; None: it does not."""
        moment = self._blocked_until
        if self._bucket is not None:
            moment = max(moment, self._bucket.ready_ns() / 1e9)
        return moment if moment > time.monotonic() else None


class Course:
    """One run through the hosts."""

    def __init__(
        self,
        source: Source,
        pace: Pace,
        lane_of: Callable[[int], Awaitable[Lane]],
        new_group: Callable[[], EchoGroup],
    ) -> None:
        self._source = source
        self._pace = pace
        self._lane_of = lane_of
        self._new_group = new_group
        self._lanes: dict[int, tuple[Lane, EchoGroup]] = {}
        self._again: deque[tuple[Target, int]] = deque()
        self._exhausted = False

    async def run(self) -> AsyncGenerator[Echo, None]:
        """Each probe's end as it comes."""
        turn = time.monotonic()
        try:
            while True:
                found = self._collect()
                for echo in found:
                    yield echo
                sent = await self._send()
                if not sent and not found:
                    if self._done():
                        return
                    await self._wait()
                    turn = time.monotonic()
                elif time.monotonic() - turn > _TURN:
                    await checkpoint()
                    turn = time.monotonic()
        finally:
            for lane, group in self._lanes.values():
                lane.table.abandon(group)

    def _collect(self) -> list[Echo]:
        found: list[Echo] = []
        for lane, group in self._lanes.values():
            lane.check_open()
            lane.receive()
            lane.table.expire(group, time.monotonic_ns())
            found += group.take()
        if self._pace.count > 1:
            for echo in found:
                if echo.sequence + 1 < self._pace.count:
                    self._again.append((_target_of(echo), echo.sequence + 1))
        return found

    async def _send(self) -> int:
        sent = 0
        for _ in range(self._pace.allows(self._in_flight(), self._window())):
            probe = await self._next()
            if probe is None:
                break
            target, sequence = probe
            lane, group = self._lanes.get(target.version) or await self._enter(target.version)
            if not lane.send(group, target, sequence):
                self._again.appendleft(probe)
                self._pace.note_refused()
                break
            self._pace.note_sent()
            sent += 1
        return sent

    async def _next(self) -> tuple[Target, int] | None:
        if self._again:
            return self._again.popleft()
        if self._exhausted:
            return None
        target = await self._source.next()
        if target is None:
            self._exhausted = True
            return None
        return target, 0

    async def _enter(self, version: int) -> tuple[Lane, EchoGroup]:
        self._lanes[version] = await self._lane_of(version), self._new_group()
        return self._lanes[version]

    def _in_flight(self) -> int:
        return sum(group.in_flight for _, group in self._lanes.values())

    def _window(self) -> int:
        return min((lane.window for lane, _ in self._lanes.values()), default=_BATCH)

    def _done(self) -> bool:
        return self._exhausted and not self._again and not self._in_flight()

    async def _wait(self) -> None:
        more = not self._exhausted or self._again
        next_at = self._pace.next_at() if more else None
        if next_at is None and not self._in_flight():
            await checkpoint()
            return
        until = math.inf if next_at is None else next_at
        await wait_for_any(list(self._lanes.values()), until)


def _target_of(echo: Echo) -> Target:
    scope = getattr(echo.address, "scope_id", None)
    return Target(echo.host, echo.address.packed, int(scope) if scope else 0)
