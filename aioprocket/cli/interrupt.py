"""Ctrl-C where nothing is there to be ended: the command ends at once, without a traceback.

Python's own handler raises KeyboardInterrupt, and wherever that is while modules are loaded or the
interpreter ends, somebody tells it.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

__all__ = ("leave_at_interrupt", "raise_at_interrupt")


def leave_at_interrupt() -> None:
    """Let SIGINT end this process with status 130, unless it was started with SIGINT ignored."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, _leave)


@contextmanager
def raise_at_interrupt() -> Iterator[None]:
    """Let it raise KeyboardInterrupt meanwhile, for what has to clean up behind itself."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        leave_at_interrupt()


def _leave(number: int, frame: object) -> NoReturn:
    os._exit(128 + number)
