"""The way to a host as an ordinary user: once with its times, or its largest packet."""

import argparse
import asyncio
import sys
from collections.abc import Iterable

import aioprocket


def times(hop: aioprocket.Hop) -> Iterable[str]:
    """One word for each probe, and the labels where MPLS is spoken."""
    for answer in hop.probes:
        yield "*" if answer is None else f"{answer.rtt * 1e3:.3f} ms"
    if hop.error is not None:
        yield f"({hop.error.text})"
    if hop.labels:
        yield "MPLS " + ", ".join(str(label.label) for label in hop.labels)


async def trace(arguments: argparse.Namespace) -> None:
    async with aioprocket.traceroute(
        arguments.host, method=arguments.method, timeout=arguments.wait, helper=arguments.helper
    ) as hops:
        async for hop in hops:
            names = " ".join(map(str, hop.addresses)) or "*"
            print(f"{hop.ttl:2}  {names}  {'  '.join(times(hop))}", flush=True)
        print(f"by {hops.method}, {hops.type} socket")


async def measure(arguments: argparse.Namespace) -> None:
    found = await aioprocket.path_mtu(
        arguments.host, timeout=arguments.wait, helper=arguments.helper
    )
    for limit in found.limits:
        print(f"{limit.address}: {limit.mtu} bytes")
    print(f"path MTU {found.mtu}{', behind a black hole' if found.black_hole else ''}")


async def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("host")
    options.add_argument("--method", choices=("icmp", "udp", "tcp"))
    options.add_argument("--mtu", action="store_true", help="how large a packet may be")
    options.add_argument("--wait", type=float, default=1.0, metavar="SECONDS")
    options.add_argument("--helper")
    arguments = options.parse_args()
    await (measure if arguments.mtu else trace)(arguments)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except aioprocket.AioprocketError as error:
        sys.exit(f"{error}\n{error.hint}")
    except KeyboardInterrupt:
        sys.exit(130)
