"""Who sends most: columns of a whole batch in numpy, and no object for any packet."""

import argparse
import asyncio
import ipaddress
import sys
from collections import Counter

import numpy

import aioprocket
from aioprocket import bpf

IPV4_SOURCE = 26  # offset of the field in an Ethernet frame, the kernel having taken tags out


def count_senders(batch: aioprocket.Batch, senders: Counter[int]) -> None:
    """Add the bytes of a batch to those of their senders."""
    sources = numpy.asarray(batch.field(IPV4_SOURCE, 4))
    addresses, place = numpy.unique(sources, return_inverse=True)
    sizes = numpy.bincount(place, weights=numpy.asarray(batch.wire_lens))
    senders.update(dict(zip(addresses.tolist(), map(int, sizes), strict=True)))


async def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("interface")
    options.add_argument("--packets", type=int, default=100_000, help="end after at least so many")
    options.add_argument("--helper")
    arguments = options.parse_args()

    senders: Counter[int] = Counter()
    packets = 0
    async with aioprocket.open_packet(
        arguments.interface,
        filter=bpf.ethertype(0x0800),
        latency="throughput",
        snaplen=64,
        helper=arguments.helper,
    ) as channel:
        print(f"counting on {channel.interface}", flush=True)
        async for batch in channel.batches():
            count_senders(batch, senders)
            packets += len(batch)
            if packets >= arguments.packets:
                break
        for address, size in senders.most_common(10):
            print(f"{ipaddress.IPv4Address(address)!s:15} {size:15,} bytes")
        print(f"{packets} packets, {channel.stats().rx_dropped} dropped by the kernel")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except aioprocket.AioprocketError as error:
        sys.exit(f"{error}\n{error.hint}")
    except KeyboardInterrupt:
        sys.exit(130)
