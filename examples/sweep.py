"""Who answers in a network: an echo request to every address, each result as it comes."""

import argparse
import asyncio
import ipaddress
import sys

import aioprocket


def network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text)


async def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("networks", type=network, nargs="+", help="as 192.0.2.0/24")
    options.add_argument("--rate", type=float, help="requests per second at most")
    options.add_argument("--timeout", type=float, default=1.0, help="seconds")
    options.add_argument("--helper")
    arguments = options.parse_args()

    asked = answered = 0
    async with aioprocket.Pinger(helper=arguments.helper) as pinger:
        hosts = pinger.sweep(arguments.networks, rate=arguments.rate, timeout=arguments.timeout)
        async for echo in hosts:
            asked += 1
            if echo.rtt is not None:
                answered += 1
                print(f"{echo.host}: {echo.rtt * 1e3:.3f} ms", flush=True)
            elif echo.error is not None:
                print(f"{echo.host}: {echo.error.kind}, says {echo.error.router or 'this machine'}")
    print(f"{answered} of {asked} answered")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except aioprocket.AioprocketError as error:
        sys.exit(f"{error}\n{error.hint}")
    except KeyboardInterrupt:
        sys.exit(130)
