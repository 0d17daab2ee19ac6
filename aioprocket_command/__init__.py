"""What the script ``aioprocket`` calls: it has to be there before the package, which takes longer.

Whoever presses Ctrl-C while that is loaded gets no traceback, but the status of a command that was
interrupted. Nothing else belongs here.
"""

import os
import signal
from typing import NoReturn

__all__ = ("leave_at_interrupt", "main")


def leave_at_interrupt() -> None:
    """Let SIGINT end this process with status 130, unless it was started with SIGINT ignored."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, _leave)


def _leave(number: int, frame: object) -> NoReturn:
    os._exit(128 + number)  # an exception would find somebody who tells it


def main() -> None:
    """Run the command of ``sys.argv``."""
    leave_at_interrupt()
    from aioprocket.cli import main as run

    run()
