"""The same hosts all the time: a probe to each per interval, and what became of the last ones."""

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from typing import Final, Self, TypeAlias

import anyio

from .._system._native import EchoGroup, EchoWatch
from ..bounds import seconds, whole
from ..errors import ClosedError, LinkDownError, SpecError
from ..readiness import checkpoint
from ..spec import IpAddress
from .echo import Echo, EchoError
from .host_window import HostWindow, sum_up
from .lane import Lane, wait_for_any
from .reports import FOR_MANY
from .source import Source
from .successor import LOOK, LaneOf, is_refusal, succeed
from .targets import UNRESOLVED, Host, Target, Unresolved, literal
from .window import FIRST

__all__ = ("MOST", "HostWindow", "Monitor")

# Hosts that one may watch: some 600 bytes of memory each, and 8 for each probe of its window.
MOST: Final = 1 << 20

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

# Hosts that are looked at before others have a turn of the loop.
_AT_ONCE: Final = 1024

_Slice: TypeAlias = list[tuple[int, list[EchoWatch]]]  # by version of IP


def _refuse_more(count: int) -> None:
    if count > MOST:
        raise SpecError(
            f"a monitor of more than {MOST:,} hosts would remember too much",
            hint="sweep asks any number of hosts and remembers none; or watch a part of them",
        )


def _ask(lane: Lane, group: EchoGroup, hosts: list[EchoWatch]) -> None:
    if lane.is_retired:
        return
    at = lane.send(group, hosts, 0, 0)
    while at < len(hosts) and not lane.blocked:
        # A network has addresses of many hosts as well.
        lane.table.refuse(group, hosts[at], 0, FOR_MANY)
        at = lane.send(group, hosts, at + 1, 0)
    # Without room it is the next turn's: the interval is a promise, each probe is not.
    hosts[:] = hosts[at:] + hosts[:at]  # who had none is first then


class Monitor:
    """Watches hosts: ``async for echo in monitor`` gives each probe's end as it comes.

    Made by `Pinger.monitor`. Iterate once; `window` and `windows` can be asked at any time, also
    after the end. It sends and receives while an echo is asked for, and ends with `aclose`, at the
    end of an ``async with``, or with its pinger.
    """

    def __init__(
        self,
        source: Source,
        lane_of: LaneOf,
        new_group: Callable[[], EchoGroup],
        *,
        interval: float,
        window: int,
    ) -> None:
        _refuse_more(source.count())
        self._source = source
        self._lane_of = lane_of
        self._new_group = new_group
        self._interval = seconds("interval", interval)
        self._window = whole("window", window, 1)
        self._watched: dict[str, dict[bytes, EchoWatch]] = {}  # by name, by address
        self._unresolved: dict[EchoWatch, None] = {}  # of these
        self._errors: dict[tuple[str, bytes], EchoError] = {}  # by name and address
        self._refused = False  # a probe, by this machine: the interface may be another one now
        self._look_at = 0.0
        self._lanes: dict[int, tuple[Lane, EchoGroup]] = {}
        self._running: AsyncGenerator[Echo, None] | None = None
        self._waiting: anyio.CancelScope | None = None
        self._closed = False

    def window(self, host: Host, address: IpAddress | None = None) -> HostWindow:
        """What is known of one host; an empty window before the first echo was asked for.

        Args:
            host: As it was named, or an address as text.
            address: Which of its addresses; None: the first.

        Raises:
            KeyError: It is none of those watched. Those of an asynchronous iterable are so from the
                first echo on.
        """
        watched = self._watched.get(str(host))
        if watched is None and self._source.names(host):
            return sum_up(EchoWatch(literal(host) or Target(str(host), bytes(4)), 1))
        if watched is None:
            raise KeyError(str(host))
        one = next(iter(watched.values())) if address is None else watched[address.packed]
        return self._sum_up(one)

    def windows(self) -> list[HostWindow]:
        """What is known of each host, in the order in which they were named.

        There are none before the first echo was asked for.
        """
        return [self._sum_up(watch) for watch in self._each()]

    def _sum_up(self, watch: EchoWatch) -> HostWindow:
        target: Target = watch.target
        name = target.host or str(target.address)
        return sum_up(watch, self._errors.get((name, target.packed)))

    def _each(self) -> list[EchoWatch]:
        return [one for watched in self._watched.values() for one in watched.values()]

    def __aiter__(self) -> AsyncGenerator[Echo, None]:
        """Watch until the iteration is left.

        Raises:
            ResolutionError: The only host has no address, or one is of the other version of IP;
                nothing was sent.
            SpecError: An asynchronous iterable has more than 2^20 hosts; nothing was sent.
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
            watched = hosts or self._unresolved
            slices = [self._slice(hosts[at : at + _SLICE]) for at in range(0, len(hosts), _SLICE)]
            turns = [slices[at : at + _SLICES] for at in range(0, len(slices), _SLICES)]
            gap = self._interval / max(1, len(turns))
            due, at = time.monotonic(), 0
            while watched:
                found = await self._follow()
                if time.monotonic() >= due:
                    if at == 0:
                        self._refuse_unresolved()
                    found += await self._renew() if self._refused else []
                    found += await self._send(turns[at] if turns else ())
                    at = (at + 1) % max(1, len(turns))
                    # A loop that was held up for long does not make up for it.
                    due = max(due + gap, time.monotonic() - self._interval)
                else:
                    found += self._collect()
                self._note_errors(found)
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
        count = 0
        async with aclosing(self._source.each()) as items:
            async for item in items:
                count += 1
                _refuse_more(count)
                if count % _AT_ONCE == 0:  # a network may be large, and who cancels is to be heard
                    await checkpoint()
                self._remember(item)
        for host in self._each():
            version = host.target.version
            if version not in self._lanes:
                self._lanes[version] = await self._lane_of(version), self._new_group()
        return [host for host in self._each() if host not in self._unresolved]

    def _remember(self, item: Target | Unresolved) -> None:
        target = item.target if isinstance(item, Unresolved) else item
        watched = self._watched.setdefault(target.host or str(target.address), {})
        watch = watched.setdefault(target.packed, EchoWatch(target, self._window))
        if isinstance(item, Unresolved):
            self._unresolved[watch] = None

    def _slice(self, hosts: Sequence[EchoWatch]) -> _Slice:
        alike = [
            (version, [host for host in hosts if host.target.version == version])
            for version in self._lanes
        ]
        return [each for each in alike if each[1]]

    async def _send(self, slices: Sequence[_Slice]) -> list[Echo]:
        """A probe to each; what has had its end meanwhile."""
        if not slices:
            return self._collect()
        found: list[Echo] = []
        for number, alike in enumerate(slices, 1):
            before = self._in_flight()
            for version, hosts in alike:
                _ask(*self._lanes[version], hosts)
            found += self._collect()
            if number < len(slices) and self._in_flight() > before + _SPARE:
                await anyio.sleep(_REST)
                found += self._collect()
        return found

    def _refuse_unresolved(self) -> None:
        for watch in self._unresolved:
            lane, group = self._lanes[watch.target.version]
            lane.table.refuse(group, watch, 0, UNRESOLVED)

    def _note_errors(self, found: list[Echo]) -> None:
        for echo in found:
            error = echo.error
            if error is not None:
                self._errors[echo.host, echo.packed] = error
                self._refused |= is_refusal(echo)

    async def _follow(self) -> list[Echo]:
        """Go by the interface by which another call goes already; what ends by that."""
        if not any(lane.is_retired for lane, _ in self._lanes.values()):
            return []
        self._look_at = 0.0
        return await self._renew()

    async def _renew(self) -> list[Echo]:
        """Go by the interface that has the name of one that is gone; what ends by that."""
        found: list[Echo] = []
        self._refused = False
        if time.monotonic() < self._look_at:
            return found
        self._look_at = time.monotonic() + LOOK
        for version, (lane, group) in self._lanes.items():
            succeeded = await succeed(lane, group, self._lane_of)
            if succeeded is not None:
                fresh, ended = succeeded
                found += ended
                self._lanes[version] = fresh, self._new_group()
        return found

    def _in_flight(self) -> int:
        return sum(group.in_flight for _, group in self._lanes.values())

    def _collect(self) -> list[Echo]:
        found: list[Echo] = []
        for lane, group in self._lanes.values():
            if lane.is_retired:
                continue
            lane.check_open()
            lane.drain()
            lane.expire(group)
            found += group.take()
        return found

    async def _wait(self, due: float, *, gather: bool) -> None:
        with anyio.CancelScope() as self._waiting:
            try:
                await wait_for_any(list(self._lanes.values()), due)
            except LinkDownError:  # another call has begun to go by the new one
                await anyio.sleep(_REST)
            if gather and (left := min(due - time.monotonic(), _GATHER)) > 0:
                await anyio.sleep(left)
        self._waiting = None
