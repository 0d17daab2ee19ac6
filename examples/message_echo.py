"""Answer UDP datagrams from the address they were sent to, by ancillary data."""

import argparse
import asyncio
import socket
import struct
import sys

import aioprocket

IP_PKTINFO = 8  # linux/in.h
# struct in_pktinfo of ip(7): interface index, our address, destination in the packet's header
PKTINFO = struct.Struct("=I4s4s")


def packet_info(ancdata: list[tuple[int, int, bytes]]) -> tuple[int, bytes]:
    """The interface that a datagram came by, and the address it was sent to."""
    for level, kind, data in ancdata:
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
            ifindex, local, _ = PKTINFO.unpack(data)
            return ifindex, local
    raise LookupError("the kernel gave no IP_PKTINFO")


async def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, default=7)
    options.add_argument("--count", type=int, default=1, help="datagrams to answer")
    options.add_argument("--helper")
    arguments = options.parse_args()

    async with aioprocket.open(
        arguments.port, protocol="udp", ip="0.0.0.0", helper=arguments.helper
    ) as channel:
        channel.get_extra_info("socket").setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        print(f"echo on port {arguments.port}", flush=True)
        for _ in range(arguments.count):
            # Room for more than PKTINFO: the kernel's timestamp comes with every packet.
            data, ancdata, _, sender = await channel.recvmsg(65535, 256)
            ifindex, local = packet_info(ancdata)
            # Without this the kernel would choose the source address by the route back.
            source = PKTINFO.pack(ifindex, local, bytes(4))
            await channel.sendmsg([data], [(socket.IPPROTO_IP, IP_PKTINFO, source)], 0, sender)
            name = socket.if_indextoname(ifindex)
            print(f"{sender[0]} asked {socket.inet_ntoa(local)} by {name}", flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except aioprocket.AioprocketError as error:
        sys.exit(f"{error}\n{error.hint}")
    except KeyboardInterrupt:
        sys.exit(130)
