"""The way to a host, hop by hop; once, again and again, and how large a packet may be on it."""

from .continuous import PathWatch, mtr
from .hop import Answer, Hop
from .path_mtu import MtuLimit, PathMtu, path_mtu
from .trace import Trace, traceroute
from .watch import HopStatistics, Snapshot

__all__ = (
    "Answer",
    "Hop",
    "HopStatistics",
    "MtuLimit",
    "PathMtu",
    "PathWatch",
    "Snapshot",
    "Trace",
    "mtr",
    "path_mtu",
    "traceroute",
)
