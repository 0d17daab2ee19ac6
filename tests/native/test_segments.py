"""Packets that are larger than one on the wire, against the kernel that cuts them itself."""

import fcntl
import ipaddress
import os
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aioprocket._system._native import Packet, Receiver
from aioprocket.wire.checksum import checksum, pseudo_header
from sandbox import links
from sandbox.namespaces import new_network

# linux/if_tun.h
TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000
# linux/virtio_net.h
NEEDS_CSUM = 1
GSO_NONE = 0
GSO_TCPV4 = 1
GSO_TCPV6 = 4
GSO_UDP_L4 = 5
GSO_ECN = 0x80
VNET_HEADER = struct.Struct("=BBHHHH")
# linux/if_packet.h
SOL_PACKET = 263
PACKET_VNET_HDR = 15

FIN, PSH, ACK, CWR = 0x01, 0x08, 0x10, 0x80
SECONDS = 10.0
SOURCES = {4: ipaddress.ip_address("10.9.1.2"), 6: ipaddress.ip_address("fd00:1::2")}
TARGETS = {4: ipaddress.ip_address("10.9.2.2"), 6: ipaddress.ip_address("fd00:2::2")}


@dataclass(frozen=True)
class Whole:
    """A packet before it is cut."""

    version: int
    protocol: int
    payload: bytes
    size: int  # of a segment's payload
    flags: int = ACK
    sequence: int = 0
    identification: int = 0
    options: bytes = b""
    hops: int = 64
    link: bytes = b""

    @property
    def data(self) -> bytes:
        below = self._transport()
        source, target = SOURCES[self.version], TARGETS[self.version]
        if self.version == 6:
            ip = struct.pack("!IHBB", 6 << 28, len(below), self.protocol, self.hops)
            return self.link + ip + source.packed + target.packed + below
        ip = struct.pack(
            "!BBHHHBBH", 0x45, 0, 20 + len(below), self.identification, 0x4000, self.hops,
            self.protocol, 0,
        )  # fmt: skip
        ip += source.packed + target.packed
        return self.link + ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:] + below

    def _transport(self) -> bytes:
        if self.protocol == socket.IPPROTO_UDP:
            length = 8 + len(self.payload)
            return struct.pack("!HHHH", 1000, 2000, length, self._sum(length)) + self.payload
        header = 20 + len(self.options)
        return (
            struct.pack(
                "!HHIIBBHHH", 1000, 2000, self.sequence, 7, header << 2, self.flags, 512,
                self._sum(header + len(self.payload)), 0,
            )
            + self.options + self.payload
        )  # fmt: skip

    def _sum(self, length: int) -> int:
        source, target = SOURCES[self.version], TARGETS[self.version]
        return ~checksum(pseudo_header(source, target, self.protocol, length)) & 0xFFFF

    @property
    def header(self) -> bytes:
        ecn = GSO_ECN if self.flags & CWR else 0
        tcp = GSO_TCPV4 if self.version == 4 else GSO_TCPV6
        udp = self.protocol == socket.IPPROTO_UDP
        start = len(self.link) + (20 if self.version == 4 else 40)
        return VNET_HEADER.pack(
            NEEDS_CSUM, GSO_UDP_L4 if udp else tcp | ecn, start + (8 if udp else 20), self.size,
            start, 6 if udp else 16,
        )  # fmt: skip

    @property
    def packet(self) -> Packet:
        return Packet(self.data, ancdata=[(SOL_PACKET, PACKET_VNET_HDR, self.header)])


@st.composite
def wholes(draw: st.DrawFn) -> Whole:
    size = draw(st.integers(8, 1400))
    return Whole(
        version=draw(st.sampled_from([4, 6])),
        protocol=draw(st.sampled_from([socket.IPPROTO_TCP, socket.IPPROTO_UDP])),
        payload=draw(st.randoms()).randbytes(draw(st.integers(size + 1, size * 20))),
        size=size,
        flags=ACK | draw(st.sampled_from([0, FIN, PSH, CWR, FIN | PSH | CWR])),
        sequence=draw(st.integers(0, 0xFFFFFFFF)),
        identification=draw(st.integers(0, 0xFFFF)),
        options=draw(st.sampled_from([b"", b"\x01\x01\x08\x0a" + bytes(8)])),
    )


def datas(packets: list[Packet]) -> list[bytes]:
    return [packet.data for packet in packets]


def make_device(path: Path, name: str, flags: int) -> int:
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags | IFF_NO_PI))
    except BaseException:
        os.close(fd)
        raise
    return fd


@contextmanager
def router(path: Path) -> Iterator[tuple[int, int]]:
    """Two devices that the kernel forwards between: one with headers, and one without."""
    with new_network() as network, network.entered():
        inlet = make_device(path, "in0", IFF_TUN | IFF_VNET_HDR)
        try:
            outlet = make_device(path, "out0", IFF_TUN)
            try:
                for ifname, number in (("in0", 1), ("out0", 2)):
                    links.set_up(ifname)
                    links.add_address(ifname, f"10.9.{number}.1/24")
                    links.add_address(ifname, f"fd00:{number}::1/64")
                for family in ("ipv4", "ipv6"):
                    Path(f"/proc/sys/net/{family}/conf/all/forwarding").write_text("1")
                yield inlet, outlet
            finally:
                os.close(outlet)
        finally:
            os.close(inlet)


def read_forwarded(fd: int, count: int) -> list[bytes]:
    """So many TCP and UDP packets, without what the kernel says of itself."""
    found: list[bytes] = []
    while len(found) < count:
        assert select.select([fd], [], [], SECONDS)[0], f"only {len(found)} of {count}"
        data = os.read(fd, 65535)
        protocol = data[9] if data[0] >> 4 == 4 else data[6]
        if protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
            found.append(data)
    return found


@pytest.mark.netns
def test_segments_are_those_that_the_kernel_makes(tun_device: Path) -> None:
    with router(tun_device) as (inlet, outlet):

        @settings(deadline=None, max_examples=60)
        @given(wholes())
        def compare(whole: Whole) -> None:
            os.writev(inlet, [whole.header, whole.data])
            count = -(-len(whole.payload) // whole.size)
            routed = replace(whole, hops=whole.hops - 1)

            assert datas(routed.packet.segments()) == read_forwarded(outlet, count)

        compare()


@pytest.mark.parametrize("tags", [0, 1, 2])
@pytest.mark.parametrize("version", [4, 6])
def test_segments_of_frames_keep_their_link_header(version: int, tags: int) -> None:
    link = bytes.fromhex("45000000000145000000000a") + bytes.fromhex("81000007") * tags
    link += bytes.fromhex("0800" if version == 4 else "86dd")
    whole = Whole(version, socket.IPPROTO_TCP, bytes(range(250)), 100, sequence=0xFFFFFF00)

    frames = replace(whole, link=link).packet.segments()

    assert datas(frames) == [link + data for data in datas(whole.packet.segments())]
    assert [len(frame) - len(whole.data) for frame in frames] == [
        len(link) - 150, len(link) - 150, len(link) - 200,
    ]  # fmt: skip


def test_segments_keep_when_and_where_the_packet_was_received() -> None:
    whole = Whole(4, socket.IPPROTO_TCP, bytes(3), 2)
    packet = Packet(
        whole.data, timestamp_ns=5, ifindex=3, direction="out", ancdata=whole.packet.ancdata
    )

    for segment in packet.segments():
        assert (segment.timestamp_ns, segment.ifindex, segment.direction) == (5, 3, "out")
        assert (segment.wire_len, segment.gso_size, segment.ancdata) == (len(segment), 0, ())


def test_a_packet_of_wire_size_is_its_only_segment() -> None:
    packet = Packet(b"whole", ancdata=[(1, 2, b"else")])

    assert packet.gso_size == 0
    assert packet.segments() == [packet]


def test_a_packet_to_be_cut_says_how_large_its_segments_are() -> None:
    assert Whole(6, socket.IPPROTO_UDP, bytes(500), 99).packet.gso_size == 99


@given(st.binary(min_size=1, max_size=120), st.binary(min_size=10, max_size=10))
def test_headers_that_do_not_fit_are_refused_or_harmless(data: bytes, header: bytes) -> None:
    packet = Packet(data, ancdata=[(SOL_PACKET, PACKET_VNET_HDR, header)])

    try:
        segments = packet.segments()
    except ValueError as error:
        assert "does not fit" in str(error)  # noqa: PT017
    else:
        assert segments


@pytest.mark.parametrize(
    "change",
    [
        {"csum_start": 21}, {"csum_start": 200}, {"csum_start": 0}, {"gso_type": 3}, {"flags": 0},
        {"length": 39},
    ],
)  # fmt: skip
def test_a_header_that_does_not_fit_is_refused(change: dict[str, int]) -> None:
    whole = Whole(4, socket.IPPROTO_TCP, bytes(100), 10)
    flags, gso_type, length, size, start, offset = VNET_HEADER.unpack(whole.header)
    header = VNET_HEADER.pack(
        change.get("flags", flags), change.get("gso_type", gso_type), length, size,
        change.get("csum_start", start), offset,
    )  # fmt: skip
    data = whole.data[: change.get("length")]

    with pytest.raises(ValueError, match="does not fit the packet"):
        Packet(data, ancdata=[(SOL_PACKET, PACKET_VNET_HDR, header)]).segments()


@pytest.mark.parametrize(("headers", "fits"), [(512, True), (516, False), (32_000, False)])
def test_a_packet_is_not_cut_into_many_times_its_size(headers: int, fits: bool) -> None:
    start = headers - 20
    tcp = bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5 << 4, ACK, 0, 0, 0, 0, 0, 0])
    data = (bytes([6 << 4]) + bytes(start - 1) + tcp).ljust(65_535, b"x")
    header = VNET_HEADER.pack(NEEDS_CSUM, GSO_TCPV6, headers, 1, start, 16)
    packet = Packet(data, ancdata=[(SOL_PACKET, PACKET_VNET_HDR, header)])

    if fits:
        assert len(packet.segments()) == len(data) - headers
    else:
        with pytest.raises(ValueError, match="does not fit the packet"):
            packet.segments()


def received(header: bytes, data: bytes) -> Packet:
    """A packet that comes after its header, as from a device."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(writer, header + data)
        [packet] = Receiver(reader, socket=False, header=len(header)).receive(1)
    finally:
        os.close(reader)
        os.close(writer)
    return packet


@given(st.binary(min_size=40, max_size=300), st.integers(10, 64))
def test_a_checksum_that_is_left_open_is_filled_in(payload: bytes, size: int) -> None:
    whole = Whole(4, socket.IPPROTO_UDP, payload, 0)
    header = VNET_HEADER.pack(NEEDS_CSUM, GSO_NONE, 0, 0, 20, 6).ljust(size, b"\xff")

    packet = received(header, whole.data)

    datagram = packet.data[20:]
    pseudo = pseudo_header(SOURCES[4], TARGETS[4], socket.IPPROTO_UDP, len(datagram))
    assert checksum(pseudo + datagram) == 0
    assert datagram[6:8] != b"\0\0"
    assert (packet.gso_size, packet.ancdata) == (0, ())
    assert packet.wire_len == len(whole.data)


def test_a_packet_to_be_cut_is_received_as_it_is_with_its_header() -> None:
    whole = Whole(6, socket.IPPROTO_TCP, bytes(500), 99)

    packet = received(whole.header + b"\0\0", whole.data)

    assert packet.data == whole.data
    assert packet.ancdata == ((SOL_PACKET, PACKET_VNET_HDR, whole.header),)


@pytest.mark.parametrize("data", [b"", b"short", bytes(20)])
def test_a_checksum_outside_of_its_packet_is_an_error(data: bytes) -> None:
    with pytest.raises(OSError, match="Protocol error"):
        received(VNET_HEADER.pack(NEEDS_CSUM, GSO_NONE, 0, 0, 20, 6), data)


@pytest.mark.parametrize("size", [1, 9, 65])
def test_a_header_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"10 to 64, not {size}"):
        Receiver(0, socket=False, header=size)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
        pytest.raises(ValueError, match="of a device"),
    ):
        Receiver(sock.fileno(), header=10)
