"""What `pingtruth` runs: each function prints what it has measured of itself.

``python -m benchmarks.pingrtts FUNCTION HOST COUNT SECONDS``
"""

import asyncio
import importlib
import ipaddress
import sys
from array import array
from contextlib import aclosing

import anyio

import aioprocket

from .figures import resident_bytes
from .pingers import hosts


async def rtts(host: str, count: int, apart: float) -> None:
    """Each round trip in nanoseconds, as `Pinger` reports it."""
    async with aioprocket.Pinger(type="raw") as pinger:
        result = await pinger.ping(host, count=count, interval=apart)
    for echo in result.echoes:
        if echo.rtt is not None:
            print(round(echo.rtt * 1e9))


async def gufo_rtts(host: str, count: int, apart: float) -> None:
    """The same by gufo_ping."""
    pinger = importlib.import_module("gufo.ping").Ping(size=64)
    for _ in range(count):
        rtt = await pinger.ping(host)
        if rtt is not None:
            print(round(rtt * 1e9))
        await asyncio.sleep(apart)


async def icmplib_rtts(host: str, count: int, apart: float) -> None:
    """The same by icmplib."""
    ping = importlib.import_module("icmplib").async_ping
    for rtt in (await ping(host, count=count, interval=apart, privileged=True)).rtts:
        print(round(rtt * 1e6))


async def in_flight(network: str, count: int, apart: float) -> None:
    """Bytes that this process takes for each probe on its way: all are, in the end."""
    addresses = ipaddress.ip_network(network)
    async with aioprocket.Pinger(type="raw") as pinger:
        await pinger.ping("127.0.0.1", count=1)
        before = resident_bytes()
        echoes = pinger.sweep(addresses, window=count, timeout=20.0)
        async with aclosing(echoes), asyncio.TaskGroup() as group:
            task = group.create_task(anext(echoes))
            while pinger.stats().in_flight < count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            print((resident_bytes() - before) / count)
            task.cancel()


async def watch(first: str, count: int, seconds: float, stamps: bool = True) -> None:
    """Collect the round trips of hosts that are watched; say how many did not come."""
    names = hosts(first, count)
    rtts = array("d")
    lost = 0
    async with aioprocket.Pinger(type="raw") as pinger:
        monitor = pinger.monitor(names, interval=1.0, stamps=stamps)
        with anyio.move_on_after(seconds):
            async with aclosing(aiter(monitor)) as echoes:
                async for echo in echoes:
                    if (rtt := echo.rtt) is None:
                        lost += 1
                    else:
                        rtts.append(rtt)
    print(lost)


async def watch_unstamped(first: str, count: int, seconds: float) -> None:
    """The same, without the kernel's timestamp of each request."""
    await watch(first, count, seconds, stamps=False)


MEASURED = (rtts, gufo_rtts, icmplib_rtts, in_flight, watch, watch_unstamped)
FUNCTIONS = {each.__name__: each for each in MEASURED}

if __name__ == "__main__":
    name, host, count, seconds = sys.argv[1:]
    asyncio.run(FUNCTIONS[name](host, int(count), float(seconds)))
