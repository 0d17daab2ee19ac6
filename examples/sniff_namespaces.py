"""Sniff in two network namespaces at once: a socket stays where it was opened."""

import argparse
import asyncio
import sys

import aioprocket
from aioprocket.wire.ethernet import EthernetHeader


async def sniff(where: str, interface: str, count: int, helper: str | None) -> None:
    """Print ``count`` frames of one interface of one namespace."""
    async with aioprocket.open_packet(interface, namespace=where, helper=helper) as channel:
        print(f"{where}: listening on {channel.interface}", flush=True)
        for _ in range(count):
            packet = await channel.receive()
            header, _ = EthernetHeader.parse(packet.data)
            print(f"{where}: {packet.direction} from {header.source}", flush=True)


async def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "place", nargs=2, help="NAMESPACE:INTERFACE; the namespace a name, a path or pid:NUMBER"
    )
    options.add_argument("--count", type=int, default=5)
    options.add_argument("--helper")
    arguments = options.parse_args()

    if not all(place.rpartition(":")[0] for place in arguments.place):
        options.error("a place is NAMESPACE:INTERFACE")

    sniffers = []
    for place in arguments.place:
        namespace, _, interface = place.rpartition(":")
        sniffers.append(sniff(namespace, interface, arguments.count, arguments.helper))
    # If one fails, this raises its error alone, and the end of the loop closes the other's channel.
    await asyncio.gather(*sniffers)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except aioprocket.AioprocketError as error:
        sys.exit(f"{error}\n{error.hint}")
    except KeyboardInterrupt:
        sys.exit(130)
