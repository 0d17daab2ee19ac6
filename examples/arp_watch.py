"""Tell of every new hardware address, and of every IP address that moved to another one."""

import argparse
import asyncio
import sys

import aioprocket
from aioprocket import bpf
from aioprocket.wire.arp import ArpPacket
from aioprocket.wire.ethernet import EthernetHeader

NOBODY = "0.0.0.0"  # the sender of a probe, who does not have its address yet (RFC 5227)


def sender_in(packet: aioprocket.Packet) -> tuple[str, str] | None:
    """IP and hardware address of who sent an ARP packet; None: it says neither."""
    try:
        _, payload = EthernetHeader.parse(packet.data)
        arp, _ = ArpPacket.parse(payload)
    except aioprocket.WireError:
        return None
    return str(arp.sender_ip), arp.sender_mac


async def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("interface")
    options.add_argument("--count", type=int, help="end after so many events")
    options.add_argument("--helper")
    arguments = options.parse_args()

    known: dict[str, str] = {}
    events = 0
    async with aioprocket.open_packet(
        arguments.interface, filter=bpf.arp(), ring=False, helper=arguments.helper
    ) as channel:
        print(f"watching {channel.interface}", flush=True)
        async for packet in channel:
            sender = sender_in(packet)
            if sender is None or sender[0] == NOBODY or known.get(sender[0]) == sender[1]:
                continue
            ip, mac = sender
            print(
                f"{ip}: {known[ip]} became {mac}" if ip in known else f"{ip} is {mac}", flush=True
            )
            known[ip] = mac
            events += 1
            if events == arguments.count:
                break


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except aioprocket.AioprocketError as error:
        sys.exit(f"{error}\n{error.hint}")
    except KeyboardInterrupt:
        sys.exit(130)
