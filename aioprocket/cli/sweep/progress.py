"""How far a sweep has got: a bar on a terminal, and the sums at the end."""

import math
import time
from collections import Counter
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

import aioprocket

from ..ping.text import milliseconds, reason

__all__ = ("INTERVAL", "Sums")

INTERVAL: Final = 0.1  # seconds between two drawings


class Sums:
    """Counts all echoes, and shows how many there are.

    Args:
        err: Where the bar goes, if that is a terminal.
        total: Probes that there will be; None: not known.
    """

    def __init__(self, err: Console, total: int | None, *, shown: bool) -> None:
        self._err = err
        self._began = time.monotonic()
        self._drawn = self._began
        self.probes = self.replies = self.duplicates = self.unawaited = 0
        self._reasons: Counter[str] = Counter()
        self._least, self._most, self._total_rtt = math.inf, 0.0, 0.0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}/s"),
            TimeRemainingColumn(),
            console=err,
            transient=True,
            disable=not (shown and err.is_terminal),
            auto_refresh=False,
        )
        self._task = self._progress.add_task("probes", total=total, rate="0")
        self._progress.start()

    def add(self, echo: aioprocket.Echo) -> None:
        """Count one."""
        self.probes += 1
        self.duplicates += echo.duplicates
        if echo.rtt is not None:
            self.replies += 1
            self._total_rtt += echo.rtt
            self._least = min(self._least, echo.rtt)
            self._most = max(self._most, echo.rtt)
        elif echo.error is not None:
            self._reasons[reason(echo.error._replace(mtu=None))] += 1

    @property
    def errors(self) -> int:
        """Probes that an error ended."""
        return self._reasons.total()

    def is_due(self) -> bool:
        """Whether it is time to draw, and to write out what was found."""
        return time.monotonic() - self._drawn >= INTERVAL

    def draw(self) -> None:
        """Show how far it is."""
        self._drawn = time.monotonic()
        rate = self.probes / max(self._drawn - self._began, 1e-9)
        self._progress.update(self._task, completed=self.probes, rate=f"{rate:,.0f}", refresh=True)

    def clear(self) -> None:
        """Take the bar away."""
        self._progress.stop()

    def words(self) -> list[str]:
        """The sums, as lines."""
        seconds = max(time.monotonic() - self._began, 1e-9)
        share = self.replies / self.probes if self.probes else 0.0
        probes = "probe" if self.probes == 1 else "probes"
        replies = "reply" if self.replies == 1 else "replies"
        line = (
            f"{self.probes:,} {probes} in {seconds:.2f} s ({self.probes / seconds:,.0f}/s): "
            f"{self.replies:,} {replies} ({share:.1%})"
        )
        if self.errors:
            line += f", {self.errors:,} {'error' if self.errors == 1 else 'errors'}"
        if self.unawaited:
            line += f", {self.unawaited:,} more not waited for"
        if self.duplicates:
            line += f", {self.duplicates:,} duplicates"
        lines = [line]
        if self.replies:
            times = self._least, self._total_rtt / self.replies, self._most
            lines.append(f"rtt min/avg/max = {'/'.join(map(milliseconds, times))} ms")
        return lines + [f"{number:,} {words}" for words, number in self._reasons.most_common()]
