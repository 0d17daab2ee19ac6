"""Sniff with a protocol class: packets come by callback, in portions that we ask for."""

import argparse
import asyncio

import aioprocket
from aioprocket.wire.ethernet import EthernetHeader


class Portions(aioprocket.RawProtocol):
    """Takes ``size`` packets, rests, and takes more, until there were ``portions`` of them."""

    def __init__(self, size: int, portions: int) -> None:
        self.size = size
        self.portions = portions
        self.finished = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: aioprocket.RawTransport) -> None:
        self.transport = transport

    def packet_received(self, packet: aioprocket.Packet) -> None:
        header, payload = EthernetHeader.parse(packet.data)
        print(f"{header.source} → {header.destination} {len(payload)} bytes", flush=True)

    def passive(self) -> None:
        # The count has run out and not one packet more was read: the rest waits in the kernel.
        self.portions -= 1
        print(f"portion complete, {self.portions} to go", flush=True)
        if self.portions:
            self.transport.set_active(self.size)
        else:
            self.finished.set_result(None)


async def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("interface")
    options.add_argument("--size", type=int, default=5)
    options.add_argument("--portions", type=int, default=2)
    options.add_argument("--helper")
    arguments = options.parse_args()

    transport, protocol = await aioprocket.create_endpoint(
        lambda: Portions(arguments.size, arguments.portions),
        aioprocket.open_packet(arguments.interface, helper=arguments.helper),
        active=arguments.size,
    )
    print("listening", flush=True)
    await protocol.finished
    transport.close()


if __name__ == "__main__":
    asyncio.run(main())
