"""Ping an IPv6 host with trio: channels are the same there."""

import argparse
import ipaddress
import sys

import trio

import aioprocket
from aioprocket.wire.icmp import Echo


async def answered(channel: aioprocket.IcmpChannel, host: str, sequence: int) -> bool:
    """Whether the reply to one echo request comes within a second."""
    identifier = channel.identifier
    # The kernel makes ICMPv6's checksum, which covers addresses that we do not know yet.
    request = Echo(identifier=identifier, sequence=sequence, version=6)
    reply = Echo(identifier=identifier, sequence=sequence, version=6, reply=True)
    await channel.sendto(request.emit(bytes(56)), (host, 0))
    with trio.move_on_after(1):
        async for packet in channel:
            # Neighbour discovery is ICMPv6, too.
            try:
                if Echo.parse(packet.data, version=6)[0] == reply:
                    return True
            except aioprocket.WireError:
                continue
    return False


async def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "host", type=ipaddress.IPv6Address, help="an address, fe80::1%%eth0 if link-local; no name"
    )
    options.add_argument("--count", type=int, default=3)
    options.add_argument("--helper")
    arguments = options.parse_args()

    async with aioprocket.open_icmp(6, helper=arguments.helper) as channel:
        for sequence in range(arguments.count):
            try:
                good = await answered(channel, str(arguments.host), sequence)
                outcome = "answered" if good else "no answer"
            except OSError as error:
                outcome = str(error.strerror)
            print(f"{arguments.host}: sequence {sequence}, {outcome}", flush=True)


if __name__ == "__main__":
    try:
        trio.run(main)
    except aioprocket.AioprocketError as error:
        sys.exit(f"{error}\n{error.hint}")
    except KeyboardInterrupt:
        sys.exit(130)
