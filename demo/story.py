"""What the unprivileged process does: public names of aioprocket only."""

import asyncio
import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvloop

import aioprocket
from aioprocket.wire.ethernet import EthernetHeader
from aioprocket.wire.icmp import Echo
from aioprocket.wire.ip import IPv4Header
from sandbox import kernel

__all__ = ("FAR", "NEAR", "Station", "ask")

# IPv4 alone, so that no ARP comes between; as `tcpdump -ddd ip` writes it. Asking for the protocol
# "ip" would not do: such a socket gets received frames and none of those sent (packet(7)).
IPV4_ONLY = [(0x28, 0, 0, 12), (0x15, 0, 1, 0x0800), (0x06, 0, 0, 262144), (0x06, 0, 0, 0)]
ECHOES = 3
PATIENCE = 5.0  # seconds for all echoes and all frames; the cable is virtual

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop.new_event_loop,
}


@dataclass(frozen=True)
class Station:
    """One end of the cable."""

    ifname: str
    address: str

    def __str__(self) -> str:
        return f"{self.ifname} {self.address}"


NEAR = Station("near", "10.77.0.1")
FAR = Station("far", "10.77.0.2")


def ask(helper: Path, loop: str) -> int:
    """Try without the helper, then with it. The exit status of the process."""
    capabilities = kernel.effective_capabilities()
    print(f"\n━━ {loop}: process {os.getpid()}, {_account()}, CapEff {capabilities:#x}")
    try_directly("ICMP socket", socket.AF_INET, socket.IPPROTO_ICMP)
    try_directly("packet socket", socket.AF_PACKET, 0)
    try:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(ping_and_sniff(helper))
    except aioprocket.AioprocketError as error:
        print(f"  {type(error).__name__}: {error}\n  {error.hint}", file=sys.stderr)
        return 1
    return 0


def _account() -> str:
    inside, outside, _ = Path("/proc/self/uid_map").read_text().split(maxsplit=2)
    uid = os.getuid()
    return f"uid {uid}" if inside == outside else f"uid {uid} here, {outside} outside"


def try_directly(what: str, family: int, protocol: int) -> None:
    """Show that the kernel refuses this process; it is an error if it does not."""
    try:
        socket.socket(family, socket.SOCK_RAW, protocol).close()
    except PermissionError as error:
        print(f"  directly     {what}: {error.strerror}")
    else:
        raise RuntimeError(f"this process may open a {what}: it is not unprivileged")


async def ping_and_sniff(helper: Path) -> None:
    async with (
        aioprocket.Helper([str(helper)]) as session,
        aioprocket.open_packet(NEAR.ifname, filter=IPV4_ONLY, helper=session) as tap,
        aioprocket.open_icmp(type="raw", helper=session) as icmp,
    ):
        facts = session.facts
        assert facts is not None
        assert facts.mode is not None
        print(f"  by helper    ICMP socket: descriptor {icmp.fileno()}")
        print(f"  by helper    packet socket on {tap.interface}: descriptor {tap.fileno()}")
        print(f"               both from process {session.pid}, {facts.mode.name.lower()},")
        print(f"               which keeps {facts.capabilities:#x} for the caller, uid {facts.uid}")
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            sniffing = group.create_task(sniff(tap, frames=2 * ECHOES))
            group.create_task(ping(icmp, FAR.address))
        for line in sniffing.result():
            print(line)
        stats = tap.stats()
        print(f"  counted      {stats.rx_packets} frames, {stats.rx_dropped} dropped by the kernel")


async def ping(icmp: aioprocket.IcmpChannel, address: str) -> None:
    for sequence in range(1, ECHOES + 1):
        echo = Echo(identifier=icmp.identifier, sequence=sequence)
        sent = time.perf_counter()
        await icmp.sendto(echo.emit(b"aioprocket"), (address, 0))
        # Our own request would come as well if it were for an address of this machine.
        while Echo.parse((await icmp.receive()).data)[0] != Echo(
            identifier=icmp.identifier, sequence=sequence, reply=True
        ):
            pass
        rtt = time.perf_counter() - sent
        print(f"  ping         {address}: answer {sequence} after {rtt * 1e3:.3f} ms")


async def sniff(tap: aioprocket.PacketChannel, frames: int) -> list[str]:
    """One line for each frame; times are the kernel's, from the first on."""
    lines: list[str] = []
    first: int | None = None
    while len(lines) < frames:
        packet = await tap.receive()
        first = packet.timestamp_ns if first is None else first
        header, payload = EthernetHeader.parse(packet.data)
        ip, payload = IPv4Header.parse(payload)
        echo, _ = Echo.parse(payload)
        after = (packet.timestamp_ns - first) / 1e6
        kind = "reply" if echo.reply else "request"
        lines.append(
            f"  sniffed      {after:7.3f} ms  {packet.direction:<3}  {header.source}"
            f"  {ip.source} → {ip.destination}  echo {kind} {echo.sequence}, {len(packet)} bytes"
        )
    return lines
