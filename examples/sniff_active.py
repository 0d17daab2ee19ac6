"""Sniff with a protocol class: packets come by callback, in portions that we ask for."""

import argparse
import asyncio
import sys

import aioprocket
from aioprocket.wire.ethernet import EthernetHeader


class Portions(aioprocket.RawProtocol):
    """Prints packets, and tells whoever waits for it how each portion of them ended."""

    def __init__(self) -> None:
        self.ends: asyncio.Queue[Exception | None] = asyncio.Queue()

    def packet_received(self, packet: aioprocket.Packet) -> None:
        header, payload = EthernetHeader.parse(packet.data)
        print(f"{header.source} -> {header.destination} {len(payload)} bytes", flush=True)

    def passive(self) -> None:
        # The count has run out and not one packet more was read: the rest waits in the kernel.
        self.ends.put_nowait(None)

    def connection_lost(self, error: Exception | None) -> None:
        self.ends.put_nowait(error)


async def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("interface")
    options.add_argument("--size", type=int, default=5)
    options.add_argument("--portions", type=int, default=2)
    options.add_argument("--helper")
    arguments = options.parse_args()
    if not 0 < arguments.size < 32768 or arguments.portions < 1:
        options.error("--size goes from 1 to 32767, --portions starts at 1")

    door = aioprocket.open_packet(arguments.interface, helper=arguments.helper)
    transport, protocol = await aioprocket.create_endpoint(Portions, door, active=arguments.size)
    print("listening", flush=True)
    for left in reversed(range(arguments.portions)):
        if error := await protocol.ends.get():
            raise error
        print(f"portion complete, {left} to go", flush=True)
        if left:
            transport.set_active(arguments.size)
    transport.close()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except aioprocket.AioprocketError as error:
        sys.exit(f"{error}\n{error.hint}")
    except KeyboardInterrupt:
        sys.exit(130)
