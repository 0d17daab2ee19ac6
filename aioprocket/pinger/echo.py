"""What became of probes: one echo each, and the sum of those to one host."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

from .._system._native import Echo
from ..spec import IpAddress
from ..wire.echo_error import EchoError
from .sums import deviation, jitter, mean, median

__all__ = ("Clock", "Echo", "EchoError", "PingResult")

# Which clocks an RTT was measured by. "kernel": when the request was given to its interface and
# when the reply came, by the kernel's timestamps of both; "receive": its end by that, its beginning
# by the clock as read right before the system call that sent the request; "program": the program's
# monotonic clock for both, because the system's clock was set meanwhile.
Clock = Literal["kernel", "receive", "program"]


@dataclass(frozen=True, slots=True)
class PingResult:
    """All probes to one host. Times are in seconds, None where no reply came.

    Attributes:
        host: As it was asked for.
        address: Which of its addresses was asked.
        sent: Probes, each of which has its echo: as ping(8) counts, also those that this machine
            refused to send.
        received: Replies, each probe's first alone.
        duplicates: Further ones.
        loss: The part of the probes without a reply, 0 to 1; 0 where none was sent.
        min: The shortest round trip.
        avg: Their mean.
        median: Of them.
        max: The longest.
        stddev: Of all of them (of the population, as ping's mdev).
        jitter: The mean difference from one reply to the next; 0 for a single one.
        echoes: Each probe, in the order of sending.
    """

    host: str
    address: IpAddress
    sent: int
    received: int
    duplicates: int
    loss: float
    min: float | None
    avg: float | None
    median: float | None
    max: float | None
    stddev: float | None
    jitter: float | None
    echoes: tuple[Echo, ...] = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether any reply came."""
        return self.received > 0

    @classmethod
    def of(cls, host: str, address: IpAddress, echoes: Sequence[Echo]) -> Self:
        """Sum up what became of the probes to one host.

        A probe that this machine refused to send is among ``echoes``, and counts as lost: as
        ping's does.
        """
        rtts = [echo.rtt for echo in echoes if echo.rtt is not None]
        sent, received = len(echoes), len(rtts)
        return cls(
            host=host,
            address=address,
            sent=sent,
            received=received,
            duplicates=sum(echo.duplicates for echo in echoes),
            loss=1 - received / sent if sent else 0.0,
            min=min(rtts, default=None),
            avg=mean(rtts),
            median=median(rtts),
            max=max(rtts, default=None),
            stddev=deviation(rtts),
            jitter=jitter(rtts),
            echoes=tuple(echoes),
        )
