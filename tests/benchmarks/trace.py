"""A trace of ten hops, three probes each, against traceroute(8) in the same run."""

import asyncio
import shutil
import subprocess
import time
from statistics import median

import aioprocket
from aioprocket.tracer.flow import Method
from lab.chain import Chain, chain

from .figures import heading, row, within

HOPS = 10
ROUNDS = 15
BOUND = 1.25  # Python, against a C program that has to start

# The same probes, and as many at a time; names are not looked up.
THEIRS = ("traceroute", "-n", "-q", "3", "-N", "48", "-w", "1")
METHODS: dict[Method, str] = {"icmp": "-I", "udp": "-U", "tcp": "-T"}


def run() -> None:
    heading(f"A trace of {HOPS} hops, milliseconds; traceroute's with its start")
    with chain(HOPS) as way:
        for method, option in METHODS.items():
            ours, theirs = _interleaved(way, method, option)
            row(f"{method}, traceroute", f"{theirs * 1e3:.2f}" if theirs else "not installed")
            verdict = (within(ours / theirs, BOUND),) if theirs else ()
            row(f"{method}, aioprocket", f"{ours * 1e3:.2f}", *verdict)


def _interleaved(way: Chain, method: Method, option: str) -> tuple[float, float]:
    installed = shutil.which("traceroute") is not None
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(asyncio.run(_ours(way, method)))
        if installed:
            theirs.append(_theirs(way, option))
    return median(ours), median(theirs) if theirs else 0.0


async def _ours(way: Chain, method: Method) -> float:
    started = time.perf_counter()
    trace = aioprocket.traceroute(
        way.destination(),
        method=method,
        parallel=48,
        type="raw",
    )
    hops = [hop async for hop in trace]
    elapsed = time.perf_counter() - started
    assert [str(hop.address) for hop in hops] == way.addresses()
    return elapsed


def _theirs(way: Chain, option: str) -> float:
    started = time.perf_counter()
    done = subprocess.run(
        [*THEIRS, option, way.destination()], capture_output=True, text=True, check=True
    )
    elapsed = time.perf_counter() - started
    assert way.destination() in done.stdout.splitlines()[-1]
    return elapsed
