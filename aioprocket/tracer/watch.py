"""The state of a path that is watched: rounds of probes, and what they add up to. No clock.

Every ``now`` is a moment in seconds of one clock, which never goes back.
"""

import math
from dataclasses import dataclass, field

from ..spec import IpAddress
from ..wire.icmp_extensions import MplsLabel
from .hop import Answer, Hop
from .path import Launch, Path

__all__ = ("HopStatistics", "Snapshot", "Watch")

_BLOCK = 512  # numbers for the probes of a round, of which some may have to be sent again
_BLOCKS = 128  # rounds whose probes are out at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class HopStatistics:
    """What is known of one hop since the watch began. Times are seconds; None: no answer yet.

    Attributes:
        ttl: How far; 1 is the first router.
        address: Who answered last; None: nobody ever did.
        addresses: All who answered, each once.
        sent: Probes that were answered, or given up. What may still be answered is not counted.
        received: Probes that were answered.
        last: The latest time.
        best: The shortest time.
        average: Of all times.
        worst: The longest time.
        stddev: The times' standard deviation.
        jitter: The mean difference between a time and the one before it.
        labels: MPLS labels of the last answer.
        reached: The destination is here.
        error: Why the way ends here, short of the destination, in words; empty: it does not.
    """

    ttl: int
    address: IpAddress | None = None
    addresses: tuple[IpAddress, ...] = ()
    sent: int = 0
    received: int = 0
    last: float | None = None
    best: float | None = None
    average: float | None = None
    worst: float | None = None
    stddev: float | None = None
    jitter: float | None = None
    labels: tuple[MplsLabel, ...] = ()
    reached: bool = False
    error: str = ""

    @property
    def loss(self) -> float:
        """The share of probes without an answer, from 0 to 1; 0 before the first is known."""
        return 1 - self.received / self.sent if self.sent else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All hops as they are known at one moment.

    Attributes:
        round: How many rounds of probes were sent.
        hops: From the first to the destination, or to the last one that answered.
    """

    round: int
    hops: tuple[HopStatistics, ...]

    @property
    def reached(self) -> bool:
        """The destination has answered."""
        return any(hop.reached for hop in self.hops)


@dataclass(slots=True)
class _Tally:
    """Times of one hop, added up as they come: mean and variance by Welford's method."""

    ttl: int
    addresses: dict[IpAddress, None] = field(default_factory=dict)
    sent: int = 0
    received: int = 0
    mean: float = 0.0
    squares: float = 0.0  # of the differences from the mean
    best: float = math.inf
    worst: float = 0.0
    last: float = 0.0
    steps: float = 0.0  # from each time to the next
    answer: Answer | None = None

    def add(self, answer: Answer | None) -> None:
        self.sent += 1
        if answer is None:
            return
        self.received += 1
        rtt = answer.rtt
        if self.received > 1:
            self.steps += abs(rtt - self.last)
        before = rtt - self.mean
        self.mean += before / self.received
        self.squares += before * (rtt - self.mean)
        self.best, self.worst, self.last = min(self.best, rtt), max(self.worst, rtt), rtt
        self.addresses[answer.address] = None
        self.answer = answer

    def statistics(self) -> HopStatistics:
        answer = self.answer
        if answer is None:
            return HopStatistics(ttl=self.ttl, sent=self.sent)
        ends = answer.final and not answer.reached
        return HopStatistics(
            ttl=self.ttl,
            address=answer.address,
            addresses=tuple(self.addresses),
            sent=self.sent,
            received=self.received,
            last=self.last,
            best=self.best,
            average=self.mean,
            worst=self.worst,
            stddev=math.sqrt(self.squares / self.received),
            jitter=self.steps / (self.received - 1) if self.received > 1 else 0.0,
            labels=answer.labels,
            reached=answer.reached,
            error=answer.text if ends else "",
        )


class Watch:
    """Sends a round of probes, one for each hop, every ``interval`` seconds; the plan of a walk.

    A round begins when its time has come, whatever is still out of the ones before. Where nobody
    asked for snapshots for a while, the rounds of that while are left out.
    """

    def __init__(
        self,
        *,
        first_hop: int = 1,
        max_hops: int = 30,
        parallel: int = 48,
        timeout: float = 1.0,
        interval: float = 1.0,
        rounds: int | None = None,
    ) -> None:
        self._first_hop = first_hop
        self._max_hops = max_hops
        self._parallel = parallel
        self._timeout = timeout
        self._interval = interval
        self._rounds = rounds
        self._last = max_hops  # where rounds end
        self._next_round: float | None = None
        self._paths: dict[int, Path] = {}  # by the block that their probes are numbered in
        self._tallies: dict[int, _Tally] = {}
        self.round = 0
        self.done = False

    def tick(self, now: float) -> Snapshot | None:
        """Begin the next round if it is time; what is known at the end of the one before."""
        if self._rounds is not None and self.round >= self._rounds:
            self.done = not self._paths
            return self.snapshot() if self.done else None
        if self._next_round is not None and now < self._next_round:
            return None
        if len(self._paths) == _BLOCKS:
            return None
        first = self._next_round is None
        known = self.snapshot()
        self._begin_round(now)
        return None if first else known

    def snapshot(self) -> Snapshot:
        """What is known now."""
        answered = [ttl for ttl, tally in self._tallies.items() if tally.received]
        end = min(self._last, max(answered, default=self._first_hop - 1))
        hops = (
            self._tallies.get(ttl, _Tally(ttl)).statistics()
            for ttl in range(self._first_hop, end + 1)
        )
        return Snapshot(round=self.round, hops=tuple(hops))

    def _begin_round(self, now: float) -> None:
        block = self.round % _BLOCKS
        while block in self._paths:
            block = (block + 1) % _BLOCKS
        self._paths[block] = Path(
            first_hop=self._first_hop,
            max_hops=self._last,
            probes=1,
            parallel=self._parallel,
            timeout=self._timeout,
            first_number=block * _BLOCK,
        )
        self.round += 1
        planned = now if self._next_round is None else self._next_round
        # On time it keeps the beat; late by more than a beat it begins a new one.
        self._next_round = (planned if now < planned + self._interval else now) + self._interval

    # The plan of a walk

    def launch(self, now: float) -> Launch | None:
        """The next probe; None: not now."""
        found = (path.launch(now) for path in list(self._paths.values()))
        return next((launch for launch in found if launch is not None), None)

    def sent_at(self, number: int) -> float | None:
        """When a probe was launched; None: there is none of this name."""
        path = self._paths.get(number // _BLOCK)
        return None if path is None else path.sent_at(number)

    def answered(self, number: int, answer: Answer) -> bool:
        """An answer came; whether it was asked for."""
        path = self._paths.get(number // _BLOCK)
        return path is not None and path.answered(number, answer)

    def answered_one_of(self, now: float) -> int | None:
        """An answer came that does not say to which probe; the one it is to, if that is clear."""
        if len(self._paths) != 1:
            return None
        (path,) = self._paths.values()
        number = path.answered_one_of(now)
        if number is None:
            self._parallel = 1
        return number

    def expire(self, now: float) -> list[int]:
        """Give up what was not answered in time, and add up what is known."""
        expired = []
        for block, path in list(self._paths.items()):
            expired += path.expire(now)
            while (hop := path.pop()) is not None:
                self._add(hop)
            if path.done:
                del self._paths[block]
        return expired

    def wakes_at(self) -> float | None:
        """When there is something to do though nothing comes."""
        moments = [path.wakes_at() for path in self._paths.values()]
        if self._rounds is None or self.round < self._rounds:
            moments.append(self._next_round)
        return min((moment for moment in moments if moment is not None), default=None)

    def _add(self, hop: Hop) -> None:
        answer = hop.probes[0]
        self._tallies.setdefault(hop.ttl, _Tally(hop.ttl)).add(answer)
        if answer is None:
            return
        if answer.final:
            self._last = hop.ttl
        elif hop.ttl == self._last:
            self._last = self._max_hops  # the way has become longer
