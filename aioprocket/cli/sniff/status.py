"""The live line at the foot of a terminal: how many, how fast, and what was lost."""

import os
import time
from typing import Final

from rich.console import Console

from .lines import Paint
from .plot import human, human_bytes

__all__ = ("INTERVAL", "Status")

_CLEAR: Final = "\r\x1b[K"
INTERVAL: Final = 0.25  # seconds


class Status:
    """Redrawn in place on standard error, if that is a terminal; else it does nothing.

    Args:
        console: Of standard error.
        shares_terminal: Whether the packets' lines go to the same terminal.
    """

    def __init__(self, console: Console, *, shares_terminal: bool, enabled: bool = True) -> None:
        self._fd = 2
        self._console = console
        self.enabled = enabled and console.is_terminal
        self._shares = shares_terminal
        self._paint = Paint(console)
        self._shown = ""
        self._last = (time.monotonic(), 0, 0)

    def before_output(self) -> str:
        """What has to be written before lines, so that they do not run into this one."""
        if not self.enabled or not self._shares or not self._shown:
            return ""
        self._shown = ""
        return _CLEAR

    def draw(self, packets: int, size: int, dropped: int, extra: str = "") -> None:
        """Show totals, and rates since it was drawn last."""
        if not self.enabled:
            return
        now = time.monotonic()
        then, packets_then, size_then = self._last
        seconds = max(now - then, 1e-3)
        self._last = (now, packets, size)
        lost = f"{human(dropped)} dropped"
        text = (
            f"{human(packets)} packets  {human((packets - packets_then) / seconds)}/s  "
            f"{human_bytes((size - size_then) / seconds)}/s  "
        )
        room = self._console.width - 1
        plain = f"{text}{lost}{extra}"
        if len(plain) > room:
            self._write(plain[:room])
        else:
            self._write(text + (self._paint(lost, "incomplete") if dropped else lost) + extra)

    def _write(self, text: str) -> None:
        self._shown = text
        os.write(self._fd, f"{_CLEAR}{text}".encode())

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            os.write(self._fd, _CLEAR.encode())
            self._shown = ""
