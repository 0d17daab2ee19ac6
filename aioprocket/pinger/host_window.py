"""What became of the last probes to a host that is watched."""

import math
from typing import NamedTuple

from .._system._native import EchoWatch
from ..spec import IpAddress
from .echo import EchoError
from .sums import deviation, jitter, mean
from .targets import Target

__all__ = ("HostWindow", "sum_up")


class HostWindow(NamedTuple):
    """What became of the last probes to one host, and how many there were. Times in seconds.

    ``sent``, ``received`` and ``last_error`` are of all probes since it is watched, ``last`` of the
    last one, all others of the window.

    Attributes:
        host: As it was asked for.
        address: Where its probes go; all zeros: it has none, or is not known yet.
        sent: Probes that have had their end, also those that this machine refused to send.
        received: Replies to them.
        loss: The part without a reply: 0 to 1.
        last: The round trip of the last probe; None: no reply.
        min: The shortest; None where the window has no reply, and so the rest.
        avg: The mean.
        max: The longest.
        stddev: Of the population.
        jitter: The mean difference from one reply to the next.
        last_error: What ended a probe last that had no chance of a reply; None: nothing so far.
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
    last_error: EchoError | None = None


def sum_up(watch: EchoWatch, error: EchoError | None = None) -> HostWindow:
    """What is known of a host, and the error that was its last."""
    target: Target = watch.target
    ordered = watch.rtts()
    rtts = [rtt for rtt in ordered if not math.isnan(rtt)]
    last = ordered[-1] if ordered else math.nan
    return HostWindow(
        host=target.host or str(target.address),
        address=target.address,
        sent=watch.sent,
        received=watch.received,
        loss=1 - len(rtts) / len(ordered) if ordered else 0.0,
        last=None if math.isnan(last) else last,
        min=min(rtts, default=None),
        avg=mean(rtts),
        max=max(rtts, default=None),
        stddev=deviation(rtts),
        jitter=jitter(rtts),
        last_error=error,
    )
