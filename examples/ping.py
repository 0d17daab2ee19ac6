"""Ping a host as an ordinary user: one ICMP channel, one echo after the other."""

import argparse
import asyncio
import ipaddress
import sys
import time

import aioprocket
from aioprocket.wire.icmp import Echo


async def one_echo(channel: aioprocket.IcmpChannel, host: str, sequence: int) -> float:
    """Send an echo request and wait for its reply; the seconds in between."""
    request = Echo(identifier=channel.identifier, sequence=sequence)
    reply = Echo(identifier=channel.identifier, sequence=sequence, reply=True)
    sent = time.perf_counter()
    await channel.sendto(request.emit(bytes(56)), (host, 0))
    async for packet in channel:
        # A raw socket gets every ICMP message of this machine, errors for others included.
        try:
            if Echo.parse(packet.data)[0] == reply:
                break
        except aioprocket.WireError:
            continue
    return time.perf_counter() - sent


async def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("host", type=ipaddress.IPv4Address, help="an address, no name")
    options.add_argument("--count", type=int, default=3)
    options.add_argument("--helper")
    arguments = options.parse_args()

    async with aioprocket.open_icmp(helper=arguments.helper) as channel:
        for sequence in range(arguments.count):
            try:
                async with asyncio.timeout(1):
                    rtt = await one_echo(channel, str(arguments.host), sequence)
                outcome = f"{rtt * 1e3:.3f} ms"
            except TimeoutError:
                outcome = "no answer"
            except OSError as error:
                outcome = str(error.strerror)
            print(f"{arguments.host}: sequence {sequence}, {outcome}", flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except aioprocket.AioprocketError as error:
        sys.exit(f"{error}\n{error.hint}")
    except KeyboardInterrupt:
        sys.exit(130)
