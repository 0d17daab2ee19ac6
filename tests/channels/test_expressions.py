"""``filter=`` as an expression or a match, on every door whose socket takes one, on real traffic."""

import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

import aioprocket
from aioprocket import Channel, FilterError, NotPermittedError, SpecError, bpf
from channels.rig import ETH_P_LOCAL_NUMBER, cable, frame, number
from lab.traffic import ETH_P_LOCAL
from sandbox import links

pytestmark = [pytest.mark.netns, pytest.mark.anyio]

# The number of `frame` is at offset 14.
EVEN, ODD = "ether[17] & 1 = 0", "ether[17] & 1 = 1"
FIRST, LAST = 0x0A, 0xFF


def udp4(destination: int, payload: bytes = b"x", source: int = 1234) -> bytes:
    """An IPv4 packet with UDP in it; no checksums, which nobody here looks at."""
    length = 28 + len(payload)
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, length, 1, 0, 64, 17, 0, b"\x0a\0\0\1", b"\x0a\0\0\2"
    )
    return header + struct.pack("!HHHH", source, destination, 8 + len(payload), 0) + payload


def framed(packet: bytes, ethertype: int = 0x0800, tags: tuple[int, ...] = ()) -> bytes:
    tagged = b"".join(struct.pack("!HH", 0x8100, tag) for tag in tags)
    return (
        bytes([LAST] * 6 + [2, 0, 0, 0, 0, FIRST]) + tagged + struct.pack("!H", ethertype) + packet
    )


FRAMES = {
    "udp 53": framed(udp4(53)),
    "udp 54": framed(udp4(54)),
    "arp": framed(bytes(28), 0x0806),
    "vlan 5, udp 53": framed(udp4(53), tags=(5,)),
    "vlan 6, udp 53": framed(udp4(53), tags=(6,)),
    "vlan 5, vlan 9, udp 53": framed(udp4(53), tags=(5, 9)),
    "vlan 5, arp": framed(bytes(28), 0x0806, tags=(5,)),
}  # fmt: skip


async def seen(channel: Channel, far: socket.socket) -> list[str]:
    """Which of `FRAMES` come through, by the last of them, which always does."""
    bodies = {}
    for name, data in FRAMES.items():
        far.send(data)
        bodies.setdefault(data, name)
    got = []
    with anyio.move_on_after(0.3):
        while True:
            got.append(await channel.receive())
    return [name for name, data in FRAMES.items() for packet in got if _same(packet, data, channel)]


def _same(packet: aioprocket.Packet, data: bytes, channel: Channel) -> bool:
    raw = channel.get_extra_info("spec").type == socket.SOCK_RAW
    tag = b"" if packet.vlan_tci is None else struct.pack("!HH", 0x8100, packet.vlan_tci)
    if raw:
        return packet.data[:12] + tag + packet.data[12:] == data
    return (tag + data[12 + len(tag) : 14 + len(tag)] + packet.data) == data[12:]


EXPECTED: dict[Any, list[str]] = {
    "udp port 53": ["udp 53", "vlan 5, udp 53", "vlan 6, udp 53"],
    "vlan 5 and udp port 53": ["vlan 5, udp 53"],
    "vlan": ["vlan 5, udp 53", "vlan 6, udp 53", "vlan 5, vlan 9, udp 53", "vlan 5, arp"],
    "not vlan": ["udp 53", "udp 54", "arp"],
    "arp": ["arp", "vlan 5, arp"],
    "arp or vlan 6": ["arp", "vlan 6, udp 53", "vlan 5, arp"],
    bpf.udp_port(53): ["udp 53", "vlan 5, udp 53", "vlan 6, udp 53", "vlan 5, vlan 9, udp 53"],
    bpf.all_of(bpf.vlan(5), bpf.arp()): ["vlan 5, arp"],
    bpf.negate(bpf.vlan()): ["udp 53", "udp 54", "arp"],
}


@pytest.fixture
def far(veth: tuple[str, str]) -> Any:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind((veth[0], 0))
        yield sock


@pytest.mark.parametrize("filter", EXPECTED, ids=str)
@pytest.mark.parametrize("options", [{}, {"ring": False}, {"interface": None}], ids=str)
async def test_packet_channel_gets_what_the_filter_says(
    veth: tuple[str, str], far: socket.socket, filter: Any, options: dict[str, Any]
) -> None:
    options = {"interface": veth[1], "filter": filter} | options
    async with aioprocket.open_packet(**options) as channel:
        if options["interface"] is None:
            # It also sees the frames as they leave by the other end.
            channel.set_filter(bpf.program_for(filter, bpf.View.FRAME))
        got = await seen(channel, far)

    times = 2 if options["interface"] is None else 1
    if times == 1:
        assert got == EXPECTED[filter]
    else:
        assert {name for name in got if "vlan" not in name} == {
            name for name in EXPECTED[filter] if "vlan" not in name
        }


@pytest.mark.parametrize(
    "filter", ["udp port 53", "vlan 5 and udp", "arp", bpf.udp_port(53)], ids=str
)
async def test_channel_without_link_headers_gets_the_same(
    veth: tuple[str, str], far: socket.socket, filter: Any
) -> None:
    async with aioprocket.open_packet(veth[1], type="dgram", filter=filter) as channel:
        got = await seen(channel, far)

    expected = {"vlan 5 and udp": ["vlan 5, udp 53"]}.get(filter) or EXPECTED[filter]
    # The inner tag's frame has another protocol; the builder looks behind tags of Ethernet only.
    assert got == [name for name in expected if name != "vlan 5, vlan 9, udp 53"]
