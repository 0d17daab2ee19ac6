"""asyncio's own datagram transport on a packet socket: ``endpoint.py INTERFACE SECONDS BUFFER``.

A program of its own, of the standard library only, so that the Python that has the transport to
compare with can run it. Prints packets received, packets dropped, and processor nanoseconds.
"""

import asyncio
import resource
import socket
import struct
import sys
from typing import Any

ETH_P_ALL = 3  # linux/if_ether.h
SOL_PACKET = 263  # linux/socket.h
PACKET_STATISTICS = 6  # linux/if_packet.h
SO_RCVBUFFORCE = 33  # asm-generic/socket.h


class Count(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received = 0

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received += 1


def cpu_ns() -> int:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return int((usage.ru_utime + usage.ru_stime) * 1e9)


async def count(ifname: str, seconds: float, buffer: int) -> None:
    # asyncio took SOCK_RAW only from 3.11.8, 3.12.2 and 3.13 on.
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    if buffer:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, buffer)
    sock.bind((ifname, ETH_P_ALL))
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(Count, sock=sock)
    print("ready", flush=True)
    began = cpu_ns()
    await asyncio.sleep(seconds)
    ended = cpu_ns()
    statistics = sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
    transport.close()
    print(protocol.received, struct.unpack("=II", statistics)[1], ended - began)


if __name__ == "__main__":
    asyncio.run(count(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
