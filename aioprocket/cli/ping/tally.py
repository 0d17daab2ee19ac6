"""What became of the probes to one host so far, in memory of eight bytes for each."""

from array import array
from collections import Counter, deque
from typing import Final, NamedTuple

import aioprocket

from ...pinger.sums import deviation, jitter, mean, median
from ...spec import IpAddress

__all__ = ("Summary", "Tally")

_LAST: Final = 512  # of the live graph: more columns than a terminal has


class Summary(NamedTuple):
    """Sums over the probes to one host; times in seconds, None where no reply came.

    Those that had no end when the command ended, ``unawaited``, are sent, and not lost.
    """

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
    unawaited: int


class Tally:
    """Counts echoes.

    Args:
        host: As it was typed.
        address: Where the probes go.
    """

    def __init__(self, host: str, address: IpAddress) -> None:
        self.host = host
        self.address = address
        self.ended = 0
        self.unawaited = 0  # that no longer get an end
        self.duplicates = 0
        self.errors: Counter[str] = Counter()
        self.rtts = array("d")  # seconds, of replies
        self.times = array("d")  # when each of these came, seconds of the realtime clock
        self.lost = array("d")  # when the others had been sent
        self.last: deque[float | None] = deque(maxlen=_LAST)

    @property
    def sent(self) -> int:
        """Probes."""
        return self.ended + self.unawaited

    @property
    def received(self) -> int:
        """Replies."""
        return len(self.rtts)

    def add(self, echo: aioprocket.Echo) -> None:
        """Count one more."""
        self.ended += 1
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
        return Summary(
            host=self.host,
            address=str(self.address),
            sent=self.sent,
            received=len(rtts),
            duplicates=self.duplicates,
            errors=dict(self.errors),
            loss=1 - len(rtts) / self.ended if self.ended else 0.0,
            min=min(rtts, default=None),
            avg=mean(rtts),
            median=median(rtts),
            max=max(rtts, default=None),
            stddev=deviation(rtts),
            jitter=jitter(rtts),
            unawaited=self.unawaited,
        )
