"""What became of the probes to one host so far, in memory of eight bytes for each."""

import math
from array import array
from collections import Counter, deque
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import aioprocket

from ...spec import IpAddress

__all__ = ("Summary", "Tally")

_LAST: Final = 512  # of the live graph: more columns than a terminal has


class Summary(NamedTuple):
    """Sums over the probes to one host; times in seconds, None where no reply came."""

    host: str
    address: str
    sent: int
    received: int
    duplicates: int
    errors: dict[str, int]
    loss: float
    min: float | None
    avg: float | None
    median: float | None
    max: float | None
    stddev: float | None
    jitter: float | None


class Tally:
    """Counts echoes.

    Args:
        host: As it was typed.
        address: Where the probes go.
    """

    def __init__(self, host: str, address: IpAddress) -> None:
        self.host = host
        self.address = address
        self.sent = 0
        self.duplicates = 0
        self.errors: Counter[str] = Counter()
        self.rtts = array("d")  # seconds, of replies
        self.times = array("d")  # when each of these came, seconds of the realtime clock
        self.lost = array("d")  # when the others had been sent
        self.last: deque[float | None] = deque(maxlen=_LAST)

    @property
    def received(self) -> int:
        """Replies."""
        return len(self.rtts)

    def add(self, echo: aioprocket.Echo) -> None:
        """Count one more."""
        self.sent += 1
        self.duplicates += echo.duplicates
        self.last.append(echo.rtt)
        if echo.rtt is not None:
            self.rtts.append(echo.rtt)
            self.times.append(echo.received_ns / 1e9)
            return
        self.lost.append(echo.sent_ns / 1e9)
        if echo.error is not None:
            self.errors[echo.error.kind] += 1

    def summary(self) -> Summary:
        """All sums."""
        rtts = self.rtts
        steps = [abs(after - before) for before, after in pairwise(rtts)]
        some = bool(rtts)
        avg = math.fsum(rtts) / len(rtts) if some else 0.0
        return Summary(
            host=self.host,
            address=str(self.address),
            sent=self.sent,
            received=len(rtts),
            duplicates=self.duplicates,
            errors=dict(self.errors),
            loss=1 - len(rtts) / self.sent if self.sent else 0.0,
            min=min(rtts, default=None),
            avg=avg if some else None,
            median=_median(rtts) if some else None,
            max=max(rtts, default=None),
            stddev=math.sqrt(math.fsum((rtt - avg) ** 2 for rtt in rtts) / len(rtts))
            if some
            else None,
            jitter=(math.fsum(steps) / len(steps) if steps else 0.0) if some else None,
        )


# The module statistics takes longer to load than all else that this needs.
def _median(times: Sequence[float]) -> float:
    ordered = sorted(times)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
