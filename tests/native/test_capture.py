"""Packets in C against the same packets by the codecs in Python."""

import struct
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aioprocket import Batch, Packet
from aioprocket._system._native import capture_read, capture_write, read_block
from aioprocket.wire.options import ByteOrder
from aioprocket.wire.pcap import PcapHeader, RecordHeader
from aioprocket.wire.pcapng import EnhancedPacket, SimplePacket, nanoseconds, parse_block
from native.blocks import Frame, block

PCAP, SWAPPED, MICROSECONDS, MODIFIED, COOKED = 1, 2, 4, 8, 16
OTHER: ByteOrder = "big" if sys.byteorder == "little" else "little"
SNAPLEN = 262144
FLAGS = {"in": 1, "out": 2, "multicast": 9, "broadcast": 13, "otherhost": 17}

packets = st.builds(
    Packet,
    st.binary(max_size=100),
    timestamp_ns=st.integers(0, (1 << 63) - 1),
    wire_len=st.none() | st.integers(100, 1 << 31),
    direction=st.sampled_from(sorted(FLAGS)),
)


def interface(resolution: int = 9, offset: int = 0, snaplen: int = 0) -> bytes:
    return struct.pack("=qII", offset, snaplen, resolution)


def write(
    packets: list[Packet] | Batch, bits: int = 0, dropped: int = 0, tag_at: int = 12
) -> bytes:
    room = bytearray(1 << 16)
    end, count = capture_write(
        room, 0, len(room), packets, 0, len(packets), bits, 3, SNAPLEN, tag_at, dropped
    )
    assert count == len(packets)
    return bytes(room[:end])


def order(bits: int) -> ByteOrder:
    return OTHER if bits & SWAPPED else sys.byteorder


@given(
    st.lists(packets, max_size=5), st.sampled_from([0, SWAPPED]), st.sampled_from([0, 7, 1 << 40])
)
def test_blocks_are_those_of_the_codec(made: list[Packet], bits: int, dropped: int) -> None:
    expected = b"".join(
        EnhancedPacket(
            interface=3,
            timestamp=packet.timestamp_ns,
            data=packet.data,
            wire_len=packet.wire_len,
            flags=FLAGS[packet.direction],
            drop_count=dropped or None if packet is made[0] else None,
        ).emit(order(bits))
        for packet in made
    )
    assert write(made, bits, dropped) == expected
    assert write(Batch(made), bits, dropped) == expected


@given(
    st.lists(packets, max_size=5),
    st.sampled_from([PCAP, PCAP | SWAPPED]),
    st.sampled_from([0, MICROSECONDS]),
)
def test_records_are_those_of_the_codec(made: list[Packet], bits: int, unit: int) -> None:
    header = PcapHeader(order=order(bits), nanoseconds=not unit)
    expected = b"".join(
        RecordHeader(
            timestamp_ns=packet.timestamp_ns, length=len(packet), wire_len=packet.wire_len
        ).emit(header)
        + packet.data
        for packet in made
    )
    assert write(made, bits | unit) == expected


@given(st.lists(packets, max_size=5), st.sampled_from([0, SWAPPED, PCAP, PCAP | SWAPPED]))
def test_what_was_written_is_read(made: list[Packet], bits: int) -> None:
    data = write(made, bits, 9)
    table = b"".join(interface() for _ in range(4))
    read, at, size, cut, dropped = capture_read(data, 0, 100, bits, table, 5)

    assert at == len(data)
    assert [packet.data for packet in read] == [packet.data for packet in made]
    assert [packet.wire_len for packet in read] == [packet.wire_len for packet in made]
    assert size == sum(map(len, made))
    assert cut == sum(packet.truncated for packet in made)
    assert all(packet.addr is None for packet in read)
    if bits & PCAP:
        assert {packet.ifindex for packet in read} <= {5}
        return
    assert [packet.timestamp_ns for packet in read] == [packet.timestamp_ns for packet in made]
    assert [packet.direction for packet in read] == [packet.direction for packet in made]
    assert {packet.ifindex for packet in read} <= {8}
    assert dropped == (9 if made else 0)


def test_batch_in_a_ring_is_written_without_its_packets() -> None:
    batch = read_block(
        block([Frame(bytes(20), vlan_tci=0x2005, vlan_tpid=0x88A8), Frame(b"\x01" * 33, kind=4)])
    )
    expected = write(list(batch))
    assert write(batch) == expected
    parsed = parse_block(expected, 0, sys.byteorder)
    assert parsed is not None
    assert isinstance(parsed[0], EnhancedPacket)
    assert parsed[0].data == bytes(12) + bytes.fromhex("88a82005") + bytes(8)


def test_packet_that_does_not_fit_is_not_begun() -> None:
    made = [Packet(bytes(8)) for _ in range(3)]
    size = len(write(made)) // 3
    room = bytearray(3 * size)
    for end in range(3 * size + 1):
        at, reached = capture_write(room, 0, end, made, 0, 3, 0, 0, SNAPLEN, 12, 0)
        assert (at, reached) == (end // size * size, end // size)
    assert capture_write(room, 0, len(room), made, 1, 2, 0, 0, SNAPLEN, 12, 0) == (size, 2)


def test_cooked_header_is_made_of_the_sender() -> None:
    (packet,) = read_block(block([Frame(b"payload")]))
    written = write([packet], COOKED | PCAP, tag_at=14)[16:]
    name, protocol, pkttype, hatype, address = packet.addr
    assert name is not None
    assert written == (
        pkttype.to_bytes(2, "big")
        + hatype.to_bytes(2, "big")
        + len(address).to_bytes(2, "big")
        + address.ljust(8, b"\0")
        + protocol.to_bytes(2, "big")
        + b"payload"
    )


def test_cooked_header_of_a_tagged_packet_has_the_tag_before_the_protocol() -> None:
    (packet,) = read_block(block([Frame(b"payload", vlan_tci=5)]))
    written = write([packet], COOKED | PCAP, tag_at=14)[16:]
    protocol = packet.addr[1].to_bytes(2, "big")
    assert written[14:] == bytes.fromhex("81000005") + protocol + b"payload"


def test_snaplen_cuts_anywhere() -> None:
    packet = Packet(bytes(range(40)), vlan_tci=5)
    whole = bytes(range(12)) + bytes.fromhex("81000005") + bytes(range(12, 40))
    room = bytearray(1000)
    for snaplen in range(1, 50):
        end, _ = capture_write(room, 0, 1000, [packet], 0, 1, PCAP, 0, snaplen, 12, 0)
        assert room[16:end] == whole[:snaplen]


@pytest.mark.parametrize("at", [-1, 101])
def test_place_outside_of_the_buffer_is_refused(at: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        capture_write(bytearray(100), at, 100, [], 0, 0, 0, 0, 64, 12, 0)
    with pytest.raises(ValueError, match="outside"):
        capture_read(bytes(100), at, 1, 0, b"", 1)
    with pytest.raises(ValueError, match="outside"):
        capture_write(bytearray(100), 0, 101, [], 0, 0, 0, 0, 64, 12, 0)


@given(
    st.integers(0, (1 << 64) - 1),
    st.integers(0, 255),
    st.integers(-(1 << 33), 1 << 33),
    st.sampled_from([0, SWAPPED]),
)
@example(9_223_372_037, 0, -1, 0)
def test_timestamp_is_that_of_the_codec_or_left_to_it(
    ticks: int, resolution: int, offset: int, bits: int
) -> None:
    data = EnhancedPacket(timestamp=ticks).emit(order(bits))
    expected = nanoseconds(ticks, resolution, offset)
    read, *_ = capture_read(data, 0, 1, bits, interface(resolution, offset), 1)
    if read:
        assert read[0].timestamp_ns == expected
    else:
        fits = nanoseconds(ticks, resolution) < 1 << 63 and -(1 << 63) <= expected < 1 << 63
        assert not fits or resolution & 0x7F > (34 if resolution & 0x80 else 18)


def test_simple_packet_ends_where_its_interface_cuts() -> None:
    data = SimplePacket(wire_len=100, data=bytes(64)).emit(sys.byteorder)
    (packet,), at, *_ = capture_read(data, 0, 1, 0, interface(snaplen=61), 1)
    assert (len(packet), packet.wire_len, packet.timestamp_ns, at) == (61, 100, 0, len(data))
    (packet,), *_ = capture_read(data, 0, 1, 0, interface(), 1)
    assert len(packet) == 64


@pytest.mark.parametrize("size", [65532, 65533, 65535])
def test_longest_option_is_skipped_as_a_whole(size: int) -> None:
    # Within a comment, what would say that the packet went out.
    comment = struct.pack("=HHIHH", 2, 4, 2, 0, 0).ljust(size, b"x")
    data = EnhancedPacket(data=b"abcd", wire_len=4, options=((1, comment),)).emit(sys.byteorder)
    (packet,), at, *_ = capture_read(data, 0, 1, 0, interface(), 1)
    assert (packet.direction, at) == ("in", len(data))


@pytest.mark.parametrize(
    ("before", "size", "seen"),
    [(255, 1, True), (256, 1, False), (1, 65528, True), (1, 65532, False)],
)
def test_options_are_read_within_the_bounds_that_python_has(
    before: int, size: int, seen: bool
) -> None:
    options = ((1, bytes(size)),) * before + ((4, (7).to_bytes(8, sys.byteorder)),)
    data = EnhancedPacket(options=options).emit(sys.byteorder)

    _, at, _, _, dropped = capture_read(data, 0, 1, 0, interface(), 1)
    found = parse_block(data, 0, sys.byteorder)

    assert at == len(data)
    assert found is not None
    assert isinstance(found[0], EnhancedPacket)
    assert (dropped, found[0].drop_count) == ((7, 7) if seen else (0, None))


def test_record_of_the_modified_layout_has_its_packet_type() -> None:
    # struct pcap_sf_patched_pkthdr of libpcap: interface, protocol, packet type, a byte of padding
    record = struct.pack("=IIIIIHBB", 1, 2, 3, 4, 7, 0x800, 4, 0) + b"abc"
    (packet,), at, *_ = capture_read(record, 0, 1, PCAP | MODIFIED | MICROSECONDS, b"", 1)
    assert (packet.data, packet.wire_len, packet.direction, at) == (b"abc", 4, "out", 27)
    assert packet.timestamp_ns == 1_000_002_000


@given(st.binary(max_size=200), st.integers(0, 31), st.lists(st.integers(0, 255), max_size=3))
def test_any_bytes_are_packets_within_them(data: bytes, bits: int, kinds: list[int]) -> None:
    table = b"".join(interface(kind) for kind in kinds)
    read, at, size, _, _ = capture_read(data, 0, 100, bits, table, 1)
    assert 0 <= at <= len(data)
    assert size == sum(map(len, read)) <= len(data)
