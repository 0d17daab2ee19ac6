"""What it takes to watch for DHCP: imports and memory, beside a program that uses scapy for it."""

import statistics
import subprocess
import sys
from typing import Final

from .figures import heading, row, within

__all__ = ("run",)

_ROUNDS: Final = 7
_WHOLE: Final = "scapy.all"
# The imports of examples/dhcp_watch.py, and those of who does the same with scapy's sniffer.
_PROGRAMS: Final = {
    "aioprocket, asyncio": "import argparse, asyncio, aioprocket\n"
    "from aioprocket import bpf\nfrom aioprocket.dissect import summarize\nbpf.dhcp()",
    _WHOLE: "from scapy.all import DHCP, AsyncSniffer",
    "scapy, DHCP alone": "from scapy.layers.dhcp import DHCP\n"
    "from scapy.sendrecv import AsyncSniffer",
}
_MEASURED: Final = """\
import asyncio, time  # who watches without pause has a loop anyway
began = time.perf_counter()
{program}
took = time.perf_counter() - began
with open("/proc/self/statm") as statm:
    print(took, int(statm.read().split()[1]))
"""


def _measure(program: str) -> tuple[float, float] | None:
    """Seconds, and bytes resident afterwards; None: it cannot be imported."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED.format(program=program)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return None
    took, pages = done.stdout.split()
    return float(took), float(pages) * 4096


def run() -> None:
    """Medians of interleaved runs."""
    heading("Watching for DHCP: what is imported")
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in _PROGRAMS}
    for _ in range(_ROUNDS):
        for name, program in _PROGRAMS.items():
            measured = _measure(program)
            if measured is not None:
                found[name].append(measured)
    own = _medians(found.pop("aioprocket, asyncio"))
    row("aioprocket, asyncio", f"{own[0] * 1e3:.0f} ms", f"{own[1] / 1e6:.1f} MB")
    for name, several in found.items():
        if not several:
            row(name, "not installed")
            continue
        seconds, size = _medians(several)
        row(name, f"{seconds * 1e3:.0f} ms", f"{size / 1e6:.1f} MB")
        ratios = own[0] / seconds, own[1] / size
        if name == _WHOLE:
            row("  ours beside it", within(ratios[0], 1.0), within(ratios[1], 0.5))
        else:
            row("  ours beside it", f"{ratios[0]:.2f}×", within(ratios[1], 0.8))


def _medians(several: list[tuple[float, float]]) -> tuple[float, float]:
    times, sizes = zip(*several, strict=True)
    return statistics.median(times), statistics.median(sizes)
