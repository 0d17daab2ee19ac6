"""Ping an IPv6 host with trio: channels are the same there."""

import argparse

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
    options.add_argument("host", help="an IPv6 address; fe80::1%%eth0 where it is link-local")
    options.add_argument("--count", type=int, default=3)
    options.add_argument("--helper")
    arguments = options.parse_args()

    async with aioprocket.open_icmp(6, helper=arguments.helper) as channel:
        for sequence in range(arguments.count):
            good = await answered(channel, arguments.host, sequence)
            print(f"{arguments.host}: sequence {sequence}, {'answered' if good else 'no answer'}")


if __name__ == "__main__":
    trio.run(main)
