"""Echoes as lines for people, as ping(8) and fping(8) have them."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.style import Style

import aioprocket

from .tally import Summary, Tally

__all__ = ("Compact", "Lines", "milliseconds", "outcome", "reason", "summary_lines")

# What is to be done where this machine sent nothing.
_HINTS: Final = {
    "broadcast": "--broadcast allows it",
    "own-address": "by the link nobody is asked for it; --path ip asks",
}


def milliseconds(seconds: float | None) -> str:
    """``0.034``; ``-`` without a time."""
    return "-" if seconds is None else f"{seconds * 1e3:.3f}"


def outcome(echo: aioprocket.Echo) -> str:
    """What became of a probe, without its number: ``64 bytes from 192.0.2.1: ttl=64 …``."""
    if echo.rtt is not None:
        ttl = "" if echo.ttl is None else f" ttl={echo.ttl}"
        twice = f" ({echo.duplicates} more)" if echo.duplicates else ""
        size = echo.size + 8  # with its ICMP header, as ping(8) counts
        return (
            f"{size} bytes from {echo.address}: seq={echo.sequence}{ttl} "
            f"time={milliseconds(echo.rtt)} ms{twice}"
        )
    error = echo.error
    if error is None:
        return f"no reply from {echo.address}: seq={echo.sequence}"
    who = "this machine" if error.router is None else str(error.router)
    return f"from {who}: seq={echo.sequence} {reason(error)}"


def reason(error: aioprocket.EchoError) -> str:
    """Why a probe was refused: ``net unreachable: Network is unreachable (ENETUNREACH)``."""
    hint = _HINTS.get(error.kind) if error.router is None else None
    return f"{error.reason} ({hint})" if hint else error.reason


def summary_lines(summary: Summary) -> list[str]:
    """The last words on a host."""
    counts = f"{summary.sent} sent, {summary.received} received, {summary.loss:.1%} lost"
    if summary.duplicates:
        counts += f", {summary.duplicates} duplicates"
    for kind, number in summary.errors.items():
        counts += f", {number} {kind}"
    if summary.unawaited:
        counts += f", {summary.unawaited} not waited for"
    lines = [f"--- {summary.host} ---", counts]
    if summary.received:
        times = (
            summary.min, summary.avg, summary.median, summary.max, summary.stddev, summary.jitter,
        )  # fmt: skip
        values = "/".join(milliseconds(time) for time in times)
        lines.append(f"rtt min/avg/median/max/stddev/jitter = {values} ms")
    return lines


class Lines:
    """One line for each probe; sums at the end.

    Args:
        out: Where to.
        several: Whether lines say the host.
        quiet: The sums alone.
        stamped: Whether lines begin with the time, in seconds since 1970.
    """

    def __init__(self, out: Console, *, several: bool, quiet: bool, stamped: bool) -> None:
        self._out = out
        self._several = several
        self._quiet = quiet
        self._stamped = stamped
        self._bad = Style.parse("red")

    def echo(self, tally: Tally, echo: aioprocket.Echo) -> None:
        """Show one."""
        if self._quiet:
            return
        text = outcome(echo)
        if self._several:
            text = f"{tally.host}: {text}"
        if self._stamped:
            text = f"[{(echo.received_ns or echo.sent_ns) / 1e9:.6f}] {text}"
        self._out.print(text, style=None if echo.ok else self._bad, markup=False, soft_wrap=True)
        self._out.file.flush()

    def end(self, tallies: Sequence[Tally]) -> None:
        """Show the sums; of several hosts as a table."""
        for tally in tallies:
            self._out.print()
            for line in summary_lines(tally.summary()):
                self._out.print(line, markup=False, soft_wrap=True)


class Compact:
    """One line for each host at the end, all its times: as ``fping -C``."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._times: dict[int, dict[int, str]] = {}

    def echo(self, tally: Tally, echo: aioprocket.Echo) -> None:
        """Keep one."""
        time = "-" if echo.rtt is None else f"{echo.rtt * 1e3:.3g}"
        self._times.setdefault(id(tally), {})[echo.sequence] = time

    def end(self, tallies: Sequence[Tally]) -> None:
        """Show all."""
        width = max((len(tally.host) for tally in tallies), default=0)
        for tally in tallies:
            times = self._times.get(id(tally), {})
            row = " ".join(times[sequence] for sequence in sorted(times))
            self._out.print(f"{tally.host:<{width}} : {row}", markup=False, soft_wrap=True)
