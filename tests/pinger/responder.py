"""A network on a TUN device, whose hosts answer as they are told to: none, twice, late, wrongly.

It answers from the test's own process and loop, so that a test knows what left and when.
"""

import ipaddress
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias

import anyio

import aioprocket
from aioprocket.channels import TunChannel
from aioprocket.wire.checksum import checksum, pseudo_header

__all__ = ("NETWORKS", "PATIENT", "Request", "Responder", "host", "reached", "running")

# Networks for documentation and benchmarks (RFC 5737, RFC 2544, RFC 3849): the device has the first
# address of each.
NETWORKS = {4: "198.18.0.1/16", 6: "2001:db8:77::1/64"}
PREFIX = {4: "198.18.0.", 6: "2001:db8:77::"}
PATIENT = 30.0  # seconds: a reply is on its way, however slow the machine
IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


class Request:
    """An echo request that arrived."""

    def __init__(self, packet: bytes) -> None:
        self.packet = packet
        self.version = packet[0] >> 4
        self.header = 20 if self.version == 4 else 40
        source, target = (packet[12:16], packet[16:20]) if self.version == 4 else (
            packet[8:24], packet[24:40]
        )  # fmt: skip
        self.source = ipaddress.ip_address(source)
        self.target = ipaddress.ip_address(target)
        self.message = packet[self.header :]
        self.read_at = time.monotonic()

    @property
    def number(self) -> int:
        """The last two bytes of the address that it went to."""
        return int(self.target) & 0xFFFF

    @property
    def is_echo(self) -> bool:
        protocol = self.packet[9] if self.version == 4 else self.packet[6]
        return (protocol, self.message[0]) == ((1, 8) if self.version == 4 else (58, 128))

    def reply(
        self,
        *,
        change: Callable[[bytearray], None] = lambda message: None,
        sender: IpAddress | None = None,
        right: bool = True,
    ) -> bytes:
        """The packet of a reply.

        Args:
            change: Changes the message before its checksum is made.
            sender: Who it comes from; None: the host that was asked.
            right: Whether the checksum is.
        """
        message = bytearray(self.message)
        message[0] = 0 if self.version == 4 else 129
        change(message)
        return self._packet(message, sender or self.target, right=right)

    def error(self, type: int, code: int, rest: int, router: IpAddress, quoted: int = 576) -> bytes:
        """The packet of an ICMP error that quotes it."""
        message = bytearray([type, code, 0, 0]) + rest.to_bytes(4, "big") + self.packet[:quoted]
        return self._packet(message, router, right=True)

    def _packet(self, message: bytearray, sender: IpAddress, *, right: bool) -> bytes:
        message[2:4] = bytes(2)
        covered = bytes(message)
        if self.version == 6:
            covered = pseudo_header(sender, self.source, 58, len(message)) + covered
        message[2:4] = (checksum(covered) ^ (0 if right else 0x5555)).to_bytes(2, "big")
        if self.version == 6:
            start = b"\x60\0\0\0" + len(message).to_bytes(2, "big") + bytes([58, 61])
            return start + sender.packed + self.source.packed + bytes(message)
        head = bytearray(b"\x45\0" + (20 + len(message)).to_bytes(2, "big") + bytes(4))
        head += bytes([61, 1, 0, 0]) + sender.packed + self.source.packed
        head[10:12] = checksum(bytes(head)).to_bytes(2, "big")
        return bytes(head + message)


class Responder:
    """What it has seen. ``requests`` are counted by the number of their host."""

    def __init__(self, channel: TunChannel, answer: "Answer") -> None:
        self.channel = channel
        self.requests: Counter[int] = Counter()
        self._answer = answer

    async def send(self, packet: bytes) -> None:
        await self.channel.send(packet)

    async def run(self) -> None:
        async with anyio.create_task_group() as group:
            async for packet in self.channel:
                request = Request(packet.data)
                if request.is_echo:
                    self.requests[request.number] += 1
                    group.start_soon(self._answer, self, request)


def host(version: int, number: int) -> str:
    """The address of one of the hosts."""
    return f"{PREFIX[version]}{number if version == 4 else f'{number:x}'}"


async def reached(
    pinger: aioprocket.Pinger, version: int, counter: str, count: int
) -> aioprocket.PingerStats:
    """What was counted, once that is there: the kernel may be slow to hand over what it has."""
    while getattr(pinger.stats(), counter) < count:
        await pinger.ping("127.0.0.1" if version == 4 else "::1", count=1, timeout=PATIENT)
    return pinger.stats()


async def _usable() -> None:
    """Until this machine takes packets to its address of IPv6: it sees to the route in a while.

    The address is no longer tentative a moment before its route is there (addrconf_dad_completed()
    in net/ipv6/addrconf.c), and what comes in between is thrown away.
    """
    own = NETWORKS[6].partition("/")[0]
    while True:
        with suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.bind((own, 0))
            sock.sendto(b"?", sock.getsockname())
            if sock.recv(1):
                return
        await anyio.sleep(0.005)


Answer: TypeAlias = Callable[[Responder, Request], Coroutine[Any, Any, None]]


@asynccontextmanager
async def running(
    answer: Answer,
) -> AsyncIterator[Responder]:
    """A network whose hosts answer by ``answer``, until the block is left."""
    async with aioprocket.open_tun(addresses=NETWORKS.values()) as channel:
        await _usable()
        responder = Responder(channel, answer)
        async with anyio.create_task_group() as group:
            group.start_soon(responder.run)
            try:
                yield responder
            finally:
                group.cancel_scope.cancel()
