"""What the script ``aioprocket`` calls: it has to be there before the package, which takes longer.

Whoever presses Ctrl-C while that is loaded gets no traceback, but the status of a command that was
interrupted. Nothing else belongs here.
"""

import os
import signal
from typing import NoReturn

__all__ = ("main",)


def _leave(number: int, frame: object) -> NoReturn:
    os._exit(128 + number)  # an exception would find somebody who tells it


def main() -> None:
    """Run the command of ``sys.argv``."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    from aioprocket.cli import main as run

    run()
