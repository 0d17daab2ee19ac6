"""Figures and how they are shown: medians of interleaved runs, and their ratios to a bound."""

import os
import resource
import time
from typing import Final

__all__ = (
    "CORES",
    "Verdict",
    "at_least",
    "cpu_seconds",
    "cpu_seconds_of",
    "heading",
    "resident_bytes",
    "row",
    "summary",
    "within",
)

# For the load, and for what is measured. Taken before anything is pinned.
CORES: Final = tuple((sorted(os.sched_getaffinity(0)) * 2)[:2])


def cpu_seconds() -> float:
    """User and system time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def cpu_seconds_of(pid: int) -> float:
    """The same of another process that runs: by its clock, as of clock_getcpuclockid(3)."""
    scheduled = 2
    return time.clock_gettime((~pid << 3) | scheduled)


def resident_bytes(pid: int | str = "self") -> int:
    """Resident memory of a process."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


class Verdict(str):
    """A ratio beside what it may be, as a cell of a row; the row is then in the summary."""

    __slots__ = ()


def within(ratio: float, bound: float, unit: str = "×") -> Verdict:
    """The ratio beside what it may be at most."""
    return Verdict(f"{ratio:.2f}{unit} {'≤' if ratio <= bound else 'OVER'} {bound:g}")


def at_least(ratio: float, bound: float, unit: str = "×") -> Verdict:
    """The ratio beside what it may be at least."""
    return Verdict(f"{ratio:.2f}{unit} {'≥' if ratio >= bound else 'UNDER'} {bound:g}")


_headings: list[str] = []
_judged: list[tuple[str, str, Verdict]] = []


def heading(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")
    _headings.append(text)


def row(name: str, *cells: str) -> None:
    print(f"  {name:<46}" + "".join(f"{cell:>17}" for cell in cells), flush=True)
    title = _headings[-1] if _headings else ""
    _judged.extend((title, name.strip(), cell) for cell in cells if isinstance(cell, Verdict))


def summary() -> None:
    """Every ratio with a bound once more."""
    missed = sum("OVER" in cell or "UNDER" in cell for _, _, cell in _judged)
    rule = f"Bounds: {len(_judged) - missed} held, {missed} missed"
    print(f"\n{rule}\n{'=' * len(rule)}")
    before = ""
    for title, name, cell in _judged:
        if title != before:
            print(f"  {title}")
        before = title
        print(f"    {name:<60}{cell:>24}", flush=True)
