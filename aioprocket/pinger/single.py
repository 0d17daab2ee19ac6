"""Probes to one host, at an interval or back to back."""

import random
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from .._system._native import EchoGroup
from ..bounds import positive, seconds, whole
from ..errors import SpecError
from ..readiness import checkpoint
from .echo import Echo
from .lane import Lane
from .targets import Target

__all__ = ("PAUSES", "Plan", "probe_one")

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


async def probe_one(
    lane: Lane, group: EchoGroup, target: Target, plan: Plan
) -> AsyncGenerator[Echo, None]:
    """Send as planned, and yield each probe's end as it comes."""
    now = turn = time.monotonic()
    next_at = now
    end = None if plan.deadline is None else now + plan.deadline
    sent = refused = 0
    while True:
        lane.expire(group)
        for echo in group.take():
            yield echo
        now = time.monotonic()
        more = plan.count is None or sent < plan.count
        if end is not None and now >= end:
            lane.end(group)
            for echo in group.take():
                yield echo
            return
        if not (more or group.in_flight):
            return
        if more and not plan.interval and not group.in_flight:
            limit = _BURST if plan.count is None else min(_BURST, plan.count - sent)
            until = now + _TURN if end is None else min(end, now + _TURN)
            done = lane.exchange(group, target, sent, limit, until) if now >= next_at else 0
            if done:
                sent += done
                lane.receive()  # what else there may be
                await checkpoint()
                turn = time.monotonic()
                continue
        if more and now >= next_at and (plan.interval or not group.in_flight):
            if lane.send(group, [target], 0, sent):
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
        await lane.wait(group, _earliest(lane, group, next_at if more else None, end))
        turn = time.monotonic()


def _earliest(lane: Lane, group: EchoGroup, next_at: float | None, end: float | None) -> float:
    moments = [moment for moment in (next_at, end) if moment is not None]
    lost_ns = lane.table.deadline(group)
    if lost_ns is not None:
        moments.append(lost_ns / 1e9)
        if next_at is not None and next_at <= time.monotonic():
            moments.remove(next_at)  # back to back: the one on its way comes first
    return min(moments)
