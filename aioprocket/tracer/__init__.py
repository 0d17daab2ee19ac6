"""The way to a host, hop by hop; once, again and again, and how large a packet may be on it."""

from .continuous import PathWatch, mtr
from .hop import Answer, Hop
from .trace import Trace, traceroute
from .watch import HopStatistics, Snapshot

__all__ = (
    "Answer",
    "Hop",
    "HopStatistics",
    "PathWatch",
    "Snapshot",
    "Trace",
    "mtr",
    "traceroute",
)
