"""Ping: one host, any number of hosts, or the same hosts all the time, by one socket.

`ping` and `Pinger` (`pinger`) send probes and say what became of them (`echo`). Which reply belongs
to which probe is judged without a socket (`engine`); `lane` is the one place that sends and reads.
"""

from .echo import Clock, Echo, EchoError, PingResult
from .monitor import HostWindow, Monitor
from .once import ping
from .pinger import Pinger
from .stats import PingerStats

__all__ = (
    "Clock",
    "Echo",
    "EchoError",
    "HostWindow",
    "Monitor",
    "PingResult",
    "Pinger",
    "PingerStats",
    "ping",
)
