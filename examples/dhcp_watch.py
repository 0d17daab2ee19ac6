"""Name every device that asks for an address by DHCP: a kernel filter, and no libpcap.

What home-automation systems watch for. The kernel wakes the program for DHCP requests alone, so it
may run for years beside anything else.
"""

import argparse
import asyncio
import sys

import aioprocket
from aioprocket import bpf
from aioprocket.dissect import summarize


def request_in(packet: aioprocket.Packet) -> tuple[str, str, str] | None:
    """Hardware address, name and wanted address of who asks; None: it is no request."""
    for layer in summarize(packet.data).layers:
        # Discover and Request of RFC 2131; answers, and what is no DHCP at all, have no such type.
        if layer.name == "dhcp" and layer.fields.get("type") in (1, 3):
            wanted = layer.fields.get("requested") or layer.fields.get("current", "any address")
            return str(layer.fields["client"]), str(layer.fields.get("host_name", "")), str(wanted)
    return None


async def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("interface")
    options.add_argument("--count", type=int, help="end after so many new devices")
    options.add_argument("--helper")
    arguments = options.parse_args()

    known: dict[str, str] = {}
    async with aioprocket.open_packet(
        arguments.interface, filter=bpf.dhcp(), ring=False, helper=arguments.helper
    ) as channel:
        print(f"watching {channel.interface}", flush=True)
        async for packet in channel:
            request = request_in(packet)
            if request is None or known.get(request[0]) == request[1]:
                continue
            client, name, wanted = request
            print(f"{client} {name or '(no name)'} wants {wanted}", flush=True)
            known[client] = name
            if len(known) == arguments.count:
                break


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except aioprocket.AioprocketError as error:
        sys.exit(f"{error}\n{error.hint}")
    except KeyboardInterrupt:
        sys.exit(130)
