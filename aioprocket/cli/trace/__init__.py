"""``aioprocket trace`` and ``aioprocket mtr``: the way to a host."""

from .command import EPILOG, trace
from .watch import WATCH_EPILOG, mtr

__all__ = ("EPILOG", "WATCH_EPILOG", "mtr", "trace")
