"""Print the IPv4 packets of an interface, passively: ``async for packet in channel``."""

import argparse
import asyncio
import sys

import aioprocket
from aioprocket import bpf
from aioprocket.wire.ethernet import EthernetHeader
from aioprocket.wire.ip import IPv4Header

# As `tcpdump -dd ip` writes it. protocol="ip" would show received packets and none of those sent.
IPV4_ONLY = bpf.Program(
    [(0x28, 0, 0, 12), (0x15, 0, 1, 0x0800), (0x06, 0, 0, 262144), (0x06, 0, 0, 0)]
)


def summary(packet: aioprocket.Packet) -> str:
    """One line, with the kernel's own clock."""
    _, payload = EthernetHeader.parse(packet.data)
    header, _ = IPv4Header.parse(payload)
    seconds, nanoseconds = divmod(packet.timestamp_ns, 10**9)
    return (
        f"{seconds}.{nanoseconds:09} {packet.direction:<9} {header.source} -> {header.destination}"
        f" protocol {header.protocol}, {packet.wire_len} bytes"
    )


async def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("interface")
    options.add_argument("--count", type=int, default=10)
    options.add_argument("--helper")
    arguments = options.parse_args()

    async with aioprocket.open_packet(
        arguments.interface, filter=IPV4_ONLY, helper=arguments.helper
    ) as channel:
        print(f"listening on {channel.interface}, {channel.mtu} bytes", flush=True)
        left = arguments.count
        async for packet in channel:
            print(summary(packet), flush=True)
            left -= 1
            if not left:
                break
        print(f"{channel.stats().rx_dropped} dropped by the kernel")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except aioprocket.AioprocketError as error:
        sys.exit(f"{error}\n{error.hint}")
    except KeyboardInterrupt:
        sys.exit(130)
