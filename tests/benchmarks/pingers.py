"""What is measured by `ping`: each function pings in a process of its own, and tells figures.

``python -m benchmarks.pingers FUNCTION LOOP FIRST COUNT``: prints how many answered, the seconds,
and the processor seconds, of the work alone: without the start of Python.
"""

import asyncio
import importlib
import ipaddress
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Literal

import anyio.lowlevel

import aioprocket

from .figures import cpu_seconds

WORKERS = 200  # of gufo_ping, which has no window of its own
BUFFER = 4 << 20
BACK_TO_BACK = 1.0  # seconds


def hosts(first: str, count: int) -> list[str]:
    start = int(ipaddress.ip_address(first))
    return [str(ipaddress.ip_address(number)) for number in range(start, start + count)]


async def sweep(
    first: str, count: int, path: Literal["ip", "link"] = "ip"
) -> tuple[int, float, float]:
    """`Pinger.sweep` with its defaults."""
    names = hosts(first, count)
    answered = 0
    began, before = time.monotonic(), cpu_seconds()
    async with aioprocket.Pinger(type="raw") as pinger:
        async for echo in pinger.sweep(names, path=path):
            answered += echo.rtt is not None
    return answered, time.monotonic() - began, cpu_seconds() - before


async def link(first: str, count: int) -> tuple[int, float, float]:
    """The same by the link."""
    return await sweep(first, count, "link")


async def ping(first: str, count: int) -> tuple[int, float, float]:
    """`Pinger.ping` back to back."""
    began, before = time.monotonic(), cpu_seconds()
    answered = 0
    async with aioprocket.Pinger(type="raw") as pinger:
        while time.monotonic() - began < BACK_TO_BACK:
            result = await pinger.ping(first, count=1000, interval=0)
            answered += result.received
    return answered, time.monotonic() - began, cpu_seconds() - before


async def gufo_sweep(first: str, count: int) -> tuple[int, float, float]:
    """gufo_ping, with the window and the buffer that it needs to lose none."""
    names = iter(hosts(first, count))
    answered = 0
    module = importlib.import_module("gufo.ping")
    began, before = time.monotonic(), cpu_seconds()
    pinger = module.Ping(size=64, recv_buffer_size=BUFFER)

    async def worker() -> None:
        nonlocal answered
        for name in names:
            # Not in one expression with the sum, which would be read before the wait.
            rtt = await pinger.ping(name)
            answered += rtt is not None

    await asyncio.gather(*(worker() for _ in range(min(WORKERS, count))))
    return answered, time.monotonic() - began, cpu_seconds() - before


async def gufo_ping(first: str, count: int) -> tuple[int, float, float]:
    """gufo_ping, one host."""
    answered = 0
    module = importlib.import_module("gufo.ping")
    began, before = time.monotonic(), cpu_seconds()
    pinger = module.Ping(size=64, recv_buffer_size=BUFFER)
    while time.monotonic() - began < BACK_TO_BACK:
        answered += await pinger.ping(first) is not None
    return answered, time.monotonic() - began, cpu_seconds() - before


FUNCTIONS: dict[str, Callable[[str, int], Awaitable[tuple[int, float, float]]]] = {
    "sweep": sweep,
    "link": link,
    "ping": ping,
    "gufo_sweep": gufo_sweep,
    "gufo_ping": gufo_ping,
}


def main(function: str, loop: str, first: str, count: str) -> None:
    if loop == "uvloop":
        import uvloop

        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    else:
        runner = asyncio.Runner()
    with runner:
        answered, seconds, cpu = runner.run(_told(FUNCTIONS[function], first, int(count)))
    print(answered, f"{seconds:.6f}", f"{cpu:.6f}")


async def _told(
    function: Callable[[str, int], Awaitable[tuple[int, float, float]]], first: str, count: int
) -> tuple[int, float, float]:
    # What anyio imports at its first use in a loop is part of Python's start, as all imports.
    importlib.import_module("aioprocket.pinger")
    await anyio.lowlevel.checkpoint()
    return await function(first, count)


if __name__ == "__main__":
    main(*sys.argv[1:])
