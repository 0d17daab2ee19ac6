"""What `pingtruth` runs: each function prints what it has measured of itself.

``python -m benchmarks.pingrtts FUNCTION HOST COUNT SECONDS``
"""

import asyncio
import importlib
import ipaddress
import sys
import time
from contextlib import aclosing

import aioprocket

from .figures import cpu_seconds, resident_bytes


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
    hosts = ipaddress.ip_network(network)
    async with aioprocket.Pinger(type="raw") as pinger:
        await pinger.ping("127.0.0.1", count=1)
        before = resident_bytes()
        echoes = pinger.sweep(hosts, window=count, timeout=20.0)
        async with aclosing(echoes), asyncio.TaskGroup() as group:
            task = group.create_task(anext(echoes))
            while pinger.stats().in_flight < count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            print((resident_bytes() - before) / count)
            task.cancel()


async def watch(first: str, count: int, seconds: float) -> None:
    """Processor seconds for each second of watching."""
    start = int(ipaddress.ip_address(first))
    hosts = [str(ipaddress.ip_address(start + number)) for number in range(count)]
    async with aioprocket.Pinger(type="raw") as pinger:
        monitor = pinger.monitor(hosts, interval=1.0)
        began, before = time.monotonic(), cpu_seconds()
        async with aclosing(aiter(monitor)) as echoes:
            async for _ in echoes:
                if time.monotonic() - began >= seconds:
                    break
    print((cpu_seconds() - before) / seconds)


FUNCTIONS = {each.__name__: each for each in (rtts, gufo_rtts, icmplib_rtts, in_flight, watch)}

if __name__ == "__main__":
    name, host, count, seconds = sys.argv[1:]
    asyncio.run(FUNCTIONS[name](host, int(count), float(seconds)))
