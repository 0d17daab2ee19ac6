"""Probes to any number of hosts: a window of them is on its way, the rest waits in its iterator."""

import ipaddress
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final, Literal

import anyio

from .._system._native import EchoGroup
from ..bounds import positive, seconds, whole
from ..readiness import checkpoint
from .echo import Echo
from .lane import WINDOW, Lane, wait_for_any
from .pace import Bucket, Gathering
from .reports import FOR_MANY
from .settings import Settings
from .single import PAUSES
from .source import Source
from .targets import Target, Unresolved, check_version
from .window import Window

__all__ = ("Course", "Pace")

_BATCH: Final = 64  # probes sent between two reads
_TURN: Final = 0.002  # seconds until the other tasks get their turn
_PAUSE: Final = 0.00005  # seconds in which answers gather; the kernel adds some 60 microseconds


class Pace:
    """How fast, and how many at once."""

    def __init__(self, rate: float | None, window: int | None, count: int, timeout: float) -> None:
        # As asked for, whatever becomes of the probes; else what they tell.
        self._fixed = None if window is None else whole("window", window, 1, 32768)
        self._window = Window(WINDOW, round(seconds("timeout", timeout) * 1e9))
        self.count = whole("count", count, 1)
        self._bucket = None
        if rate is not None:
            # What a loop that is late may catch up on: a hundredth of a second's probes.
            depth = max(1, min(_BATCH, int(positive("rate", rate, "probes per second") / 100)))
            self._bucket = Bucket(rate, depth, time.monotonic_ns())
        self._blocked_until = 0.0
        self._refusals = 0

    def allows(self, in_flight: int, not_overtaken: int, most: int) -> int:
        """Probes that may leave now, where the receive buffer has room for the replies to some."""
        if self._fixed is not None:
            room = self._fixed - in_flight
        else:
            room = min(most - in_flight, self._window.room(in_flight, not_overtaken))
        room = min(room, _BATCH)
        if self._blocked_until and time.monotonic() < self._blocked_until:
            return 0
        if self._bucket is not None:
            room = min(room, self._bucket.available(time.monotonic_ns()))
        return max(0, room)

    def note_ended(self, ended: list[Echo], lost: int, in_flight: int) -> None:
        """What has become of probes, ``lost`` of them: how many may fly depends on it."""
        if self._fixed is None:
            self._window.note(ended, lost, in_flight, time.monotonic_ns())

    def note_sent(self, count: int) -> None:
        """So many left."""
        self._refusals = 0
        self._blocked_until = 0.0
        if self._bucket is not None:
            self._bucket.take(count)

    def note_blocked(self) -> None:
        """There was no room for one: wait a moment, and twice as long the next time."""
        self._blocked_until = time.monotonic() + PAUSES[min(self._refusals, len(PAUSES) - 1)]
        self._refusals += 1

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
        settings: Settings,
        lane_of: Callable[[Literal[4, 6]], Awaitable[Lane]],
        new_group: Callable[[], EchoGroup],
    ) -> None:
        self._source = source
        self._pace = pace
        self._settings = settings
        self._lane_of = lane_of
        self._new_group = new_group
        self._version: Literal[4, 6] = settings.version or 4  # of what was sent last
        self._lanes: dict[int, tuple[Lane, EchoGroup]] = {}
        self._items: list[Any] = []  # what is to be sent next, from _at on
        self._at = 0
        self._again: list[Any] = []  # echoes of hosts that get another probe
        self._unresolved: list[Echo] = []  # of names, among others, that get none
        self._exhausted = False
        self._starved = False  # there is room, and the next host is not there yet
        self._gathering = Gathering()

    async def run(self) -> AsyncGenerator[Echo, None]:
        """Each probe's end as it comes."""
        turn = time.monotonic()
        try:
            while True:
                found = self._collect()
                for echo in found:
                    yield echo
                sent = 0
                if self._gathering.pays(len(found), self._in_flight(), time.monotonic_ns()):
                    # Not a wait of the loop's, which is over with the first answer.
                    time.sleep(_PAUSE)  # noqa: ASYNC251
                else:
                    sent = await self._send()
                if not sent and not found and not self._unresolved:
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
            await self._source.aclose()

    # Receiving

    def _collect(self) -> list[Echo]:
        found: list[Any] = []
        lost = 0
        for lane, group in self._lanes.values():
            lane.check_open()
            lane.drain()
            lost -= len(group)
            lane.expire(group)
            lost += len(group)
            if len(group):
                found += group.take()
        self._pace.note_ended(found, lost, self._in_flight())
        if self._pace.count > 1:
            last = self._pace.count - 1
            self._again += [echo for echo in found if echo.sequence < last]
        if self._unresolved:
            found += self._unresolved
            self._unresolved = []
        return found

    def _in_flight(self) -> int:
        return sum(group.in_flight for _, group in self._lanes.values())

    def _not_overtaken(self) -> int:
        return sum(group.not_overtaken for _, group in self._lanes.values())

    # Sending

    async def _send(self) -> int:
        self._starved = False
        room = self._pace.allows(self._in_flight(), self._not_overtaken(), self._most())
        if room and self._at == len(self._items) and not await self._refill(room):
            return 0
        sent = 0
        while self._at < len(self._items) and sent < room:
            lane, group = self._lanes.get(self._version) or await self._enter(self._version)
            # What the pace does not allow now stays for the next time.
            items = self._items if len(self._items) <= self._at + room - sent else (
                self._items[: self._at + room - sent]
            )  # fmt: skip
            before, self._at = self._at, lane.send(group, items, self._at, 0)
            sent += self._at - before
            if self._at == len(items):
                break
            if lane.blocked:
                self._pace.note_blocked()
                break
            await self._understand()
        if sent:
            self._pace.note_sent(sent)
        return sent

    async def _refill(self, room: int) -> bool:
        """Something to send, if there is more; hosts that have begun come first."""
        self._items, self._again, self._at = self._again, [], 0
        if not self._items and not self._exhausted:
            items = await self._source.batch(room)
            self._starved = items is None
            self._exhausted = items == []
            self._items = items or []
        return bool(self._items)

    async def _understand(self) -> None:
        """The next item is none that the lane's table takes."""
        item = self._items[self._at]
        match item:
            case Echo(packed=packed) | Target(packed=packed):
                version = _version_of(packed)
            case bytes() as packed:
                version = _version_of(packed)
                if version == self._version:
                    lane, group = self._lanes[version]
                    lane.table.refuse(group, item, 0, FOR_MANY)
                    self._at += 1
            case Unresolved():
                self._unresolved.append(item.echo())
                self._at += 1
                return
            case _:
                items = await self._source.targets(self._items[self._at :])
                self._items, self._at = items or [], 0
                return
        check_version(ipaddress.ip_address(packed), version, self._settings)
        self._version = version

    async def _enter(self, version: Literal[4, 6]) -> tuple[Lane, EchoGroup]:
        self._lanes[version] = await self._lane_of(version), self._new_group()
        return self._lanes[version]

    def _most(self) -> int:
        return min((lane.window for lane, _ in self._lanes.values()), default=_BATCH)

    # Waiting

    def _done(self) -> bool:
        waiting = self._again or self._at < len(self._items) or not self._exhausted
        return not waiting and not self._in_flight()

    async def _wait(self) -> None:
        if self._starved:
            await checkpoint()
            if self._source.has_more:  # a wait that is interrupted costs more
                return
            with self._source.interrupting():
                await self._wait_for_lanes()
        else:
            await self._wait_for_lanes()

    async def _wait_for_lanes(self) -> None:
        next_at = self._pace.next_at()
        if self._in_flight() or (self._lanes and (self._starved or next_at is not None)):
            until = math.inf if next_at is None else next_at
            await wait_for_any(list(self._lanes.values()), until)
        elif self._starved:
            await anyio.sleep_forever()
        else:
            await checkpoint()


def _version_of(packed: bytes) -> Literal[4, 6]:
    return 4 if len(packed) == 4 else 6
