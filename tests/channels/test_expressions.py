"""``filter=`` as an expression or a match, on every door that takes one, by real traffic."""

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import aioprocket
from aioprocket import Channel, FilterError, NotPermittedError, Packet, bpf
from aioprocket._system.numbers import TunFlag
from aioprocket._system.tun import CLONE_DEVICE, make_device
from lab.must import unavailable
from lab.traffic import ETH_P_LOCAL
from sandbox import links

pytestmark = [pytest.mark.netns, pytest.mark.anyio]

SECONDS = 20
Filter = str | bpf.Match


def udp(destination: int, payload: bytes = b"x") -> bytes:
    """An IPv4 packet from 10.0.0.1 port 1234, without the checksums that nobody here looks at."""
    addresses = bytes([10, 0, 0, 1, 10, 0, 0, 2])
    header = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(payload), 1, 0, 64, 17, 0)
    return (
        header + addresses + struct.pack("!HHHH", 1234, destination, 8 + len(payload), 0) + payload
    )


def framed(packet: bytes, ethertype: int = 0x0800, tags: tuple[int, ...] = ()) -> bytes:
    tagged = b"".join(struct.pack("!HH", 0x8100, tag) for tag in tags)
    return b"\xff" * 6 + b"\2\0\0\0\0\1" + tagged + struct.pack("!H", ethertype) + packet


FRAMES = {
    "udp 53": framed(udp(53)),
    "udp 54": framed(udp(54)),
    "arp": framed(bytes(28), 0x0806),
    "vlan 5, udp 53": framed(udp(53), tags=(5,)),
    "vlan 6, udp 53": framed(udp(53), tags=(6,)),
    "vlan 5, vlan 9, udp 53": framed(udp(53), tags=(5, 9)),
    "vlan 5, arp": framed(bytes(28), 0x0806, tags=(5,)),
}

EXPECTED: dict[Filter, list[str]] = {
    "udp port 53": ["udp 53", "vlan 5, udp 53", "vlan 6, udp 53"],
    "vlan 5 and udp port 53": ["vlan 5, udp 53"],
    "vlan": ["vlan 5, udp 53", "vlan 6, udp 53", "vlan 5, vlan 9, udp 53", "vlan 5, arp"],
    "vlan 5 and vlan 9": ["vlan 5, vlan 9, udp 53"],
    "not vlan": ["udp 53", "udp 54", "arp"],
    "arp or vlan 6": ["arp", "vlan 6, udp 53", "vlan 5, arp"],
    bpf.udp_port(53): ["udp 53", "vlan 5, udp 53", "vlan 6, udp 53", "vlan 5, vlan 9, udp 53"],
    bpf.all_of(bpf.vlan(5), bpf.arp()): ["vlan 5, arp"],
    bpf.negate(bpf.vlan()): ["udp 53", "udp 54", "arp"],
}
# Without a link header, where nothing is behind a second tag.
BARE: dict[Filter, list[str]] = {
    "udp port 53": ["udp 53", "vlan 5, udp 53", "vlan 6, udp 53"],
    "vlan 5 and udp": ["vlan 5, udp 53"],
    "arp": ["arp", "vlan 5, arp"],
    "not vlan and not arp": ["udp 53", "udp 54"],
    bpf.udp_port(53): ["udp 53", "vlan 5, udp 53", "vlan 6, udp 53"],
}


@pytest.fixture
def far(veth: tuple[str, str]) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind((veth[0], 0))
        yield sock


async def seen(channel: Channel, far: socket.socket, expected: list[str]) -> list[str]:
    """Which of `FRAMES` come through, in order. The first of them ends it, by coming once more."""
    for name in (*FRAMES, expected[0]):
        far.send(FRAMES[name])
    with anyio.fail_after(SECONDS):
        got = [name_of(await channel.receive(), channel) for _ in range(len(expected) + 1)]
    assert got[-1] == expected[0]
    return got[:-1]


def name_of(packet: Packet, channel: Channel) -> str:
    tag = b"" if packet.vlan_tci is None else struct.pack("!HH", 0x8100, packet.vlan_tci)
    raw = channel.get_extra_info("spec").type == socket.SOCK_RAW
    for name, data in FRAMES.items():
        behind = 12 if raw else 14
        if raw and packet.data[:12] + tag + packet.data[12:] == data:
            return name
        if not raw and data[12 : 12 + len(tag)] == tag and data[len(tag) + behind :] == packet.data:
            return name
    return packet.data.hex()


@pytest.mark.parametrize("filter", EXPECTED, ids=str)
@pytest.mark.parametrize("ring", [True, False])
async def test_packet_channel_gets_what_the_filter_says(
    veth: tuple[str, str], far: socket.socket, filter: Filter, ring: bool
) -> None:
    async with aioprocket.open_packet(veth[1], filter=filter, ring=ring) as channel:
        assert await seen(channel, far, EXPECTED[filter]) == EXPECTED[filter]


@pytest.mark.parametrize("filter", BARE, ids=str)
async def test_channel_without_link_headers_gets_the_same(
    veth: tuple[str, str], far: socket.socket, filter: Filter
) -> None:
    async with aioprocket.open_packet(veth[1], type="dgram", filter=filter) as channel:
        assert await seen(channel, far, BARE[filter]) == BARE[filter]


@pytest.mark.parametrize("filter", ["udp port 53", bpf.udp_port(53)], ids=str)
async def test_channel_of_all_interfaces_filters_frames_with_and_without_a_header(
    veth: tuple[str, str], far: socket.socket, filter: Filter
) -> None:
    try:
        fd = os.open(CLONE_DEVICE, os.O_RDWR | os.O_NONBLOCK)
    except OSError as reason:
        unavailable("tun", str(reason))
    try:
        name = make_device(fd, "tun0", TunFlag.TUN | TunFlag.NO_PI)
        links.disable_ipv6(name)
        links.set_up(name)
        async with aioprocket.open_packet(protocol="ip", filter=filter) as channel:
            for port in (54, 53):
                os.write(fd, udp(port))
                far.send(framed(udp(port)))
            with anyio.fail_after(SECONDS):
                got = [await channel.receive() for _ in range(2)]
    finally:
        os.close(fd)

    assert {packet.data for packet in got} == {udp(53), framed(udp(53))}


@pytest.fixture
def loopback() -> None:
    links.set_up("lo")


async def received(channel: Channel) -> list[bytes]:
    """The last byte of each, up to one that ends in 0xFF."""
    got: list[bytes] = []
    with anyio.fail_after(SECONDS):
        while not got or got[-1] != b"\xff":
            got.append((await channel.receive()).data[-1:])
    return got[:-1]


async def udp_channel(ip: str, filter: Filter) -> Channel:
    if ip != "::":
        return await aioprocket.open(5353, protocol="udp", ip=ip, filter=filter)
    # One that receives IPv4 as well; a door's does not.
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind((ip, 5353))
    channel = Channel.from_fd(sock)
    channel.set_filter(filter)
    return channel


@pytest.mark.parametrize("filter", ["src port 1235", bpf.udp_port(1235, "src")], ids=str)
@pytest.mark.parametrize(
    ("ip", "to"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "127.0.0.1")]
)
async def test_udp_channel_filters_by_addresses_and_ports(
    loopback: None, filter: Filter, ip: str, to: str
) -> None:
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    async with await udp_channel(ip, filter) as channel:
        with (
            socket.socket(family, socket.SOCK_DGRAM) as other,
            socket.socket(family, socket.SOCK_DGRAM) as right,
        ):
            other.bind((to, 1234))
            right.bind((to, 1235))
            for sender, mark in ((other, 1), (right, 2), (other, 3), (right, 4), (right, 255)):
                sender.sendto(bytes([mark]), (to, 5353))
            assert await received(channel) == [b"\2", b"\4"]


@pytest.mark.parametrize("filter", ["udp dst port 53", bpf.udp_port(53, "dst")], ids=str)
@pytest.mark.parametrize(("family", "to"), [("inet", "127.0.0.1"), ("inet6", "::1")])
async def test_raw_channel_filters_whole_packets(
    loopback: None, filter: Filter, family: str, to: str
) -> None:
    number = socket.AF_INET6 if family == "inet6" else socket.AF_INET
    door = aioprocket.open(protocol="udp", type="raw", family=family, filter=filter)
    async with door as channel:
        with socket.socket(number, socket.SOCK_DGRAM) as sender:
            for port, mark in ((54, 1), (53, 2), (54, 3), (53, 255)):
                sender.sendto(bytes([mark]), (to, port))
            assert await received(channel) == [b"\2"]


async def test_loopback_has_ethernet_headers(loopback: None) -> None:
    filter = "ether dst 00:00:00:00:00:00 and udp dst port 53"
    async with aioprocket.open_packet("lo", filter=filter) as channel:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for port, mark in ((54, 1), (53, 2), (53, 255)):
                sender.sendto(bytes([mark]), ("127.0.0.1", port))
        assert set(await received(channel)) == {b"\2"}


async def test_icmp_channel_gets_its_own_echoes_alone(loopback: None) -> None:
    mine = bpf.all_of(bpf.icmp_id(77), bpf.icmp_type(0))
    async with aioprocket.open_icmp(type="raw", filter=mine) as channel:
        for identifier, mark in ((76, 1), (77, 2), (78, 3), (77, 255)):
            await channel.sendto(_echo(8, identifier, mark), ("127.0.0.1", 0))
        assert await received(channel) == [b"\2"]


def _echo(kind: int, identifier: int, mark: int) -> bytes:
    body = struct.pack("!HH", identifier, 1) + bytes([0, mark])
    total = (kind << 8) + sum(struct.unpack("!HHH", body))
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBH", kind, 0, ~total & 0xFFFF) + body


async def test_icmp6_channel_gets_types_by_the_kernels_own_filter(loopback: None) -> None:
    async with aioprocket.open_icmp(6, type="raw", filter=bpf.icmp6_types(129)) as channel:
        sock = channel.extra(anyio.abc.SocketAttribute.raw_socket)
        for mark in (1, 255):
            await channel.sendto(struct.pack("!BBHHHBB", 128, 0, 0, 5, 5, 0, mark), ("::1", 0))
        assert await received(channel) == [b"\1"]
        assert sock.getsockopt(socket.IPPROTO_ICMPV6, 1, 32) == bpf.icmp6_types(129).option

        channel.set_filter("icmp6[icmp6type] = icmp6-echo")
        assert sock.getsockopt(socket.IPPROTO_ICMPV6, 1, 32) == bytes(32)
        for mark in (2, 255):
            await channel.sendto(struct.pack("!BBHHHBB", 128, 0, 0, 5, 5, 0, mark), ("::1", 0))
        with anyio.fail_after(SECONDS):
            assert [(await channel.receive()).data[0] for _ in range(2)] == [128, 128]


@pytest.mark.parametrize(
    ("door", "words"),
    [
        (lambda: aioprocket.open(80, backlog=5, filter="tcp"), "a stream"),
        (lambda: aioprocket.open(80, filter=bpf.arp()), "a stream"),
        (lambda: aioprocket.open(protocol=0, family="netlink", filter="ip"), "another protocol"),
        (lambda: aioprocket.open(53, protocol="udp", filter="len > 5"), "length"),
        (lambda: aioprocket.open(53, protocol="udp", filter="arp"), "."),
        (lambda: aioprocket.open_icmp(4, type="raw", filter=bpf.icmp6_types(1)), "ICMPv6 types"),
        (lambda: aioprocket.open_packet("lo", filter="tcp prt 80"), "'prt'"),
        (lambda: aioprocket.open_packet("lo", type="dgram", filter="ether src 2:0:0:0:0:1"), "."),
    ],
)  # fmt: skip
async def test_filter_that_can_mean_nothing_is_refused_at_the_call(door: Any, words: str) -> None:
    with pytest.raises(FilterError, match=words):
        door()


EVEN, ODD = "ether[17] & 1 = 0", "ether[17] & 1 = 1"  # of `frame`'s number, at offset 14


@pytest.mark.parametrize("ring", [True, False])
async def test_nothing_that_the_new_expression_refuses_comes_after_the_swap(
    veth: tuple[str, str], flood: Any, ring: bool
) -> None:
    options: dict[str, Any] = {"protocol": int.from_bytes(ETH_P_LOCAL), "ring": ring}
    async with aioprocket.open_packet(veth[1], filter=EVEN, **options) as channel:
        with flood(veth[0], 400_000, per_second=40_000), anyio.fail_after(SECONDS):
            for swap in range(6):
                wanted = swap % 2
                for _ in range(100):
                    assert (await channel.receive()).data[17] & 1 == wanted
                channel.set_filter(EVEN if wanted else ODD)


@pytest.mark.parametrize("filter", ["udp port 53", bpf.udp_port(53)], ids=str)
async def test_expression_that_the_helper_locks_stays(
    veth: tuple[str, str], far: socket.socket, helper_binary: Path, filter: Filter
) -> None:
    door = aioprocket.open_packet(
        veth[1], filter=filter, lock_filter=True, helper=str(helper_binary)
    )
    async with door as channel:
        assert channel.get_extra_info("origin") == "helper"
        with pytest.raises(NotPermittedError):
            channel.set_filter("udp port 54")
        with pytest.raises(NotPermittedError):
            channel.set_filter(None)
        assert await seen(channel, far, EXPECTED[filter]) == EXPECTED[filter]
        assert channel.filter == bpf.program_for(filter, bpf.View.FRAME)
