"""Processes whose memory is measured: ``python -m benchmarks.memory FUNCTION ARGUMENTS``."""

import asyncio
import re
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

import aioprocket

from .figures import resident_bytes
from .receivers import Count, door

SMALL = 64 << 10  # bytes of ring
AT_ONCE = 20  # channels closed together: every close waits for the kernel, in a thread

FRAME = bytes.fromhex("02000000fefe02000000fefe88b5") + bytes(50)


def mapped_rings() -> int:
    """Bytes of the rings that this process has mapped, as far as they are resident."""
    total, of_ring = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            of_ring = "socket:[" in line
        elif of_ring and line.startswith("Rss:"):
            total += int(line.split()[1]) << 10
    return total


async def beyond_ring(ifname: str, generator: str, sender: str, seconds: str) -> None:
    """Print packets, the ring's bytes, and what a flood has made the process grow beside it."""
    before = resident_bytes()
    transport, protocol = await aioprocket.create_endpoint(Count, door(ifname, "throughput"))
    flooding = await asyncio.create_subprocess_exec(
        generator, sender, seconds, "64", "0", stdout=subprocess.DEVNULL
    )
    await flooding.wait()
    await asyncio.sleep(0.1)
    ring = mapped_rings()
    print(protocol.received, ring, resident_bytes() - before - ring)
    await transport.channel.aclose()


async def thousand(ifname: str, sender: str, count: str) -> None:
    """Print channels, how many of them saw a frame, ms to open one, bytes of ring and beside it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    before, began = resident_bytes(), time.perf_counter()
    endpoints = [
        await aioprocket.create_endpoint(Count, door(ifname, "balanced", SMALL))
        for _ in range(int(count))
    ]
    opened = (time.perf_counter() - began) / len(endpoints)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as tap:
        tap.bind((sender, 0))
        tap.send(FRAME)
    deadline = time.perf_counter() + 10
    while time.perf_counter() < deadline:
        reached = sum(protocol.received > 0 for _, protocol in endpoints)
        if reached == len(endpoints):
            break
        await asyncio.sleep(0.05)
    ring = mapped_rings()
    beside = resident_bytes() - before - ring
    print(len(endpoints), reached, opened * 1e3, ring / len(endpoints), beside / len(endpoints))
    while endpoints:
        group, endpoints = endpoints[:AT_ONCE], endpoints[AT_ONCE:]
        await asyncio.gather(*(transport.channel.aclose() for transport, _ in group))


async def main(function: str, *arguments: str) -> None:
    if function == "beyond_ring":
        await beyond_ring(*arguments)
    else:
        await thousand(*arguments)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
