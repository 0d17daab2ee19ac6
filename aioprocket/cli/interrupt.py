"""Ctrl-C where nothing is there to be ended: the command ends at once, without a traceback.

Python's own handler raises KeyboardInterrupt, and wherever that is while modules are loaded or the
interpreter ends, somebody tells it.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from aioprocket_command import leave_at_interrupt

__all__ = ("leave_at_interrupt", "raise_at_interrupt")


@contextmanager
def raise_at_interrupt() -> Iterator[None]:
    """Let it raise KeyboardInterrupt meanwhile, for what has to clean up behind itself."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        leave_at_interrupt()
