"""Figures and how they are shown: medians of interleaved runs, and their ratios."""

import os
import resource
from typing import Final

__all__ = ("CORES", "cpu_seconds", "heading", "resident_bytes", "row", "within")

# For the load, and for what is measured. Taken before anything is pinned.
CORES: Final = tuple((sorted(os.sched_getaffinity(0)) * 2)[:2])


def cpu_seconds() -> float:
    """User and system time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def resident_bytes(pid: int | str = "self") -> int:
    """Resident memory of a process."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def heading(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


def row(name: str, *cells: str) -> None:
    print(f"  {name:<46}" + "".join(f"{cell:>17}" for cell in cells), flush=True)


def within(ratio: float, bound: float, unit: str = "×") -> str:
    """The ratio beside what it may be."""
    return f"{ratio:.2f}{unit} {'≤' if ratio <= bound else 'OVER'} {bound}"
