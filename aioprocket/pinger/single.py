"""Probes to one host, at an interval or back to back."""

import math
import random
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import anyio

from .._system._native import EchoGroup
from ..bounds import positive, seconds, whole
from ..errors import LinkDownError, SpecError
from ..readiness import checkpoint
from .echo import Echo
from .lane import Lane
from .successor import LOOK, LaneOf, is_refusal, succeed
from .targets import Target

__all__ = ("PAUSES", "Plan", "Single")

# Seconds between attempts to send where there is no room: doubled each time.
PAUSES: Final = tuple(0.001 * 2**step for step in range(7))
_TURN: Final = 0.002  # seconds until the other tasks get their turn
_BURST: Final = 256  # round trips between two turns of the loop


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """When probes to one host are sent.

    Attributes:
        count: How many; None: without end.
        interval: Seconds from one to the next; 0: as soon as the one before is done.
        jitter: The part of the interval, 0 to 1, by which it is longer or shorter at random.
        deadline: Seconds after which it ends; what is still on its way then is lost.
    """

    count: int | None = 4
    interval: float = 1.0
    jitter: float = 0.0
    deadline: float | None = None

    def __post_init__(self) -> None:
        if self.count is not None:
            whole("count", self.count, 1)
        seconds("interval", self.interval, zero=True)
        if positive("jitter", self.jitter, zero=True) > 1:
            raise SpecError(f"jitter {self.jitter!r} is more than the whole interval")
        if self.deadline is not None:
            seconds("deadline", self.deadline)

    def gap(self) -> float:
        """Seconds until the next probe."""
        return self.interval * (1 + self.jitter * random.uniform(-1, 1))


class Single:
    """The probes of one call to one host.

    Args:
        target: The host.
        lane: By which its probes go, as long as its interface is that of the name.
        plan: When they are sent.
        lane_of: Gives the lane of a version of IP; None: the lane is of no interface.
        new_group: Makes what knows of the probes on their way.
    """

    def __init__(
        self,
        target: Target,
        lane: Lane,
        plan: Plan,
        lane_of: LaneOf | None,
        new_group: Callable[[], EchoGroup],
    ) -> None:
        self._target = target
        self._lane = lane
        self._plan = plan
        self._lane_of = lane_of
        self._new_group = new_group
        self._group = new_group()
        self._refused = False  # a probe, by this machine: the interface may be another one now
        self._look_at = 0.0
        self._repeats: dict[int, int] = {}  # of groups that are over

    @property
    def repeats(self) -> dict[int, int]:
        """Further replies, by the sequence number of their probe."""
        return self._repeats | self._group.repeats

    @property
    def in_flight(self) -> int:
        """Probes without an end yet."""
        return self._group.in_flight

    def abandon(self) -> None:
        """Forget the probes that still fly."""
        self._lane.table.abandon(self._group)

    async def run(self) -> AsyncGenerator[Echo, None]:
        """Send as planned, and yield each probe's end as it comes."""
        plan = self._plan
        now = turn = time.monotonic()
        next_at = now
        end = None if plan.deadline is None else now + plan.deadline
        sent = refused = 0
        while True:
            for echo in await self._collect():
                yield echo
            lane, group = self._lane, self._group
            now = time.monotonic()
            more = plan.count is None or sent < plan.count
            if end is not None and now >= end:
                for echo in self._end():
                    yield echo
                return
            if not (more or group.in_flight):
                return
            if lane.is_retired:
                await anyio.sleep(max(0.0, min(self._look_at, end or math.inf) - now))
                continue
            if more and not plan.interval and not group.in_flight:
                limit = _BURST if plan.count is None else min(_BURST, plan.count - sent)
                until = now + _TURN if end is None else min(end, now + _TURN)
                due = now >= next_at
                done = lane.exchange(group, self._target, sent, limit, until) if due else 0
                if done:
                    sent += done
                    lane.receive()  # what else there may be
                    await checkpoint()
                    turn = time.monotonic()
                    continue
            if more and now >= next_at and (plan.interval or not group.in_flight):
                if lane.send(group, [self._target], 0, sent):
                    sent += 1
                    refused = 0
                    next_at = max(next_at + plan.gap(), now - plan.interval)
                else:
                    next_at = now + PAUSES[min(refused, len(PAUSES) - 1)]
                    refused += 1
                lane.receive()
                if now - turn < _TURN:
                    continue
                await checkpoint()
                turn = now
                continue
            with suppress(LinkDownError):  # another call has begun to go by the new interface
                await lane.wait(group, _earliest(lane, group, next_at if more else None, end))
            turn = time.monotonic()

    async def _collect(self) -> list[Echo]:
        if not self._lane.is_retired:
            self._lane.expire(self._group)
        found = self._group.take()
        if self._lane_of is None:
            return found
        self._refused |= any(map(is_refusal, found))
        if (self._refused or self._lane.is_retired) and time.monotonic() >= self._look_at:
            self._refused = False
            self._look_at = time.monotonic() + LOOK
            found += await self._follow(self._lane_of)
        return found

    async def _follow(self, lane_of: LaneOf) -> list[Echo]:
        over = self._group
        succeeded = await succeed(self._lane, over, lane_of)
        if succeeded is None:
            return []
        self._lane, found = succeeded
        self._repeats |= over.repeats
        self._group = self._new_group()
        return found

    def _end(self) -> list[Echo]:
        lane, group = self._lane, self._group
        if lane.is_retired:
            return lane.give_up(group)
        lane.end(group)
        return group.take()


def _earliest(lane: Lane, group: EchoGroup, next_at: float | None, end: float | None) -> float:
    moments = [moment for moment in (next_at, end) if moment is not None]
    lost_ns = lane.table.deadline(group)
    if lost_ns is not None:
        moments.append(lost_ns / 1e9)
        if next_at is not None and next_at <= time.monotonic():
            moments.remove(next_at)  # back to back: the one on its way comes first
    return min(moments)
