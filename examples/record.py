"""Record an interface into files that are rotated: kept are the last few. Shows what was lost."""

import argparse
import asyncio
import sys

import aioprocket
from aioprocket.pcapng import Rotation, Writer


async def record(channel: aioprocket.PacketChannel, writer: Writer, count: int) -> None:
    async for batch in channel.batches():
        writer.write(batch)
        if 0 < count <= writer.stats().packets:
            break


async def report(channel: aioprocket.PacketChannel, writer: Writer) -> None:
    while True:
        await asyncio.sleep(1)
        print(summary(channel, writer), flush=True)


def summary(channel: aioprocket.PacketChannel, writer: Writer) -> str:
    written, dropped, *_, files = writer.stats()
    lost = channel.stats().rx_dropped
    return f"{written} packets in {files} files, {lost} lost by the kernel, {dropped} by the disk"


async def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("interface")
    options.add_argument("file", help="traffic.pcapng, traffic.pcap.gz, …")
    options.add_argument("--megabytes", type=float, default=100, help="of each file")
    options.add_argument("--files", type=int, default=10, help="that are kept")
    options.add_argument("--count", type=int, default=0, help="packets to stop after; 0: none")
    options.add_argument("--helper")
    arguments = options.parse_args()

    rotation = Rotation(size=int(arguments.megabytes * 1e6), files=arguments.files)
    door = aioprocket.open_packet(
        arguments.interface, latency="throughput", helper=arguments.helper
    )
    async with door as channel, Writer(arguments.file, channel, rotation=rotation) as writer:
        print(f"recording {channel.interface}", flush=True)
        reporting = asyncio.create_task(report(channel, writer))
        try:
            await record(channel, writer, arguments.count)
        finally:
            reporting.cancel()
            print(summary(channel, writer), flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except aioprocket.AioprocketError as error:
        sys.exit(f"{error}\n{error.hint}")
    except KeyboardInterrupt:
        sys.exit(130)
