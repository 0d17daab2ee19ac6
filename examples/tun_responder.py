"""A host that exists only in this program: it answers pings sent into a TUN device."""

import argparse
import asyncio
import dataclasses
import ipaddress
import sys

import aioprocket
from aioprocket.wire.icmp import PROTOCOLS, Echo
from aioprocket.wire.ip import IPv4Header


def answer(packet: bytes, host: ipaddress.IPv4Address) -> bytes | None:
    """The echo reply to a packet from the network; None if it is no echo request for us."""
    try:
        header, payload = IPv4Header.parse(packet)
        if (header.protocol, header.destination) != (PROTOCOLS[4], host):
            return None
        echo, data = Echo.parse(payload)
    except aioprocket.WireError:
        return None
    if echo.reply:
        return None
    back = IPv4Header(source=host, destination=header.source, protocol=header.protocol)
    return back.emit(dataclasses.replace(echo, reply=True).emit(data))


async def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--address", default="198.18.98.1/24", help="of the device")
    options.add_argument("--host", type=ipaddress.IPv4Address, default="198.18.98.2")
    options.add_argument("--count", type=int, default=0, help="answers to give; 0: for ever")
    options.add_argument("--helper")
    arguments = options.parse_args()

    async with aioprocket.open_tun(addresses=[arguments.address], helper=arguments.helper) as tun:
        print(f"{arguments.host} answers behind {tun.name}", flush=True)
        answered = 0
        async for packet in tun:
            reply = answer(packet.data, arguments.host)
            if reply is not None:
                await tun.send(reply)
                answered += 1
                print(f"answered {answered}", flush=True)
                if answered == arguments.count:
                    break


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except aioprocket.AioprocketError as error:
        sys.exit(f"{error}\n{error.hint}")
    except KeyboardInterrupt:
        sys.exit(130)
