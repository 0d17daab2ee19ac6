"""Blocks of pcapng and records of pcap, alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioprocket.errors import WireError
from aioprocket.wire.options import ByteOrder, emit_options, parse_options
from aioprocket.wire.pcap import PcapHeader, RecordHeader, is_pcap
from aioprocket.wire.pcapng import (
    MAX_BLOCK,
    Block,
    EnhancedPacket,
    InterfaceDescription,
    InterfaceStatistics,
    OtherBlock,
    SectionHeader,
    SimplePacket,
    nanoseconds,
    parse_block,
    section_order,
)

orders = st.sampled_from(["little", "big"])
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
comments = st.lists(texts, max_size=2).map(tuple)
u8, u16, u32, u64 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32, 64))
counts = st.none() | u64
values = st.binary(max_size=9)

sections = st.builds(
    SectionHeader,
    order=orders,
    length=st.none() | st.integers(0, 1 << 40),
    hardware=texts,
    os=texts,
    application=texts,
    comments=comments,
)
interfaces = st.builds(
    InterfaceDescription,
    linktype=u16,
    snaplen=u32,
    name=texts,
    description=texts,
    filter=texts,
    os=texts,
    hardware=texts,
    hwaddr=st.just(b"") | st.binary(min_size=6, max_size=6),
    speed=counts,
    resolution=u8,
    offset=st.integers(-(1 << 63), (1 << 63) - 1),
    fcslen=st.none() | u8,
    comments=comments,
)
packets = st.builds(
    EnhancedPacket,
    interface=u32,
    timestamp=u64,
    data=st.binary(max_size=70),
    wire_len=u32,
    flags=st.none() | u32,
    drop_count=counts,
    comments=comments,
    options=st.lists(st.tuples(st.integers(5, 0xFFFF), values), max_size=2).map(tuple),
)
simple = st.binary(max_size=70).map(lambda data: SimplePacket(wire_len=len(data), data=data))
statistics = st.builds(
    InterfaceStatistics,
    interface=u32,
    timestamp=u64,
    start=counts,
    end=counts,
    received=counts,
    dropped=counts,
    accepted=counts,
    os_dropped=counts,
    delivered=counts,
    comments=comments,
)
others = st.builds(
    OtherBlock,
    type=st.integers(7, 0xFFFFFFFF).filter(lambda kind: kind != 0x0A0D0D0A),
    body=st.integers(0, 9).flatmap(lambda words: st.binary(min_size=4 * words, max_size=4 * words)),
)


@given(sections | interfaces | packets | simple | statistics | others, orders)
def test_block_survives_the_way_there_and_back(block: Block, order: ByteOrder) -> None:
    if isinstance(block, SectionHeader):
        order = block.order
    data = block.emit(order)

    assert parse_block(data, 0, order) == (block, len(data))
    assert parse_block(b"\xff" * 8 + data + b"\xff" * 12, 8, order) == (block, 8 + len(data))
    for cut in range(len(data)):
        assert parse_block(data[:cut], 0, order) is None


@given(sections)
def test_section_says_its_byte_order(section: SectionHeader) -> None:
    data = section.emit()
    assert section_order(data) == section.order
    assert section_order(data[:11]) is None


@given(st.binary(max_size=100), orders)
def test_any_bytes_are_a_block_not_yet_one_or_a_wire_error(data: bytes, order: ByteOrder) -> None:
    try:
        found = parse_block(data, 0, order)
    except WireError as error:
        offset = error.offset
        assert 0 <= offset <= len(data)
    else:
        assert found is None or 12 <= found[1] <= len(data)


@given(st.binary(max_size=60), st.sampled_from(range(7)), orders)
def test_any_body_is_a_block_or_a_wire_error(body: bytes, kind: int, order: ByteOrder) -> None:
    size = (len(body) + 12 + -len(body) % 4).to_bytes(4, order)
    data = kind.to_bytes(4, order) + size + body + bytes(-len(body) % 4) + size
    try:
        found = parse_block(data, 0, order)
    except WireError as error:
        offset = error.offset
        assert 8 <= offset <= len(data)
    else:
        assert found is not None
        assert found[1] == len(data)


PACKET = EnhancedPacket(data=b"four", wire_len=4).emit("little")


@pytest.mark.parametrize(
    ("data", "words", "offset"),
    [
        (PACKET[:4] + (9).to_bytes(4, "little"), "a block of 9 bytes", 4),
        (PACKET[:4] + bytes(4), "a block of 0 bytes", 4),
        (PACKET[:4] + (MAX_BLOCK + 4).to_bytes(4, "little"), "a block of 16777220 bytes", 4),
        (PACKET[:-4] + bytes(4), "36 bytes that ends as one of 0", 32),
        (PACKET[:20] + b"\x05" + PACKET[21:], "a packet of 5 bytes in a block of 24", 20),
    ],
    ids=["odd", "zero", "large", "end", "data"],
)
def test_fault_is_found_where_it_is(data: bytes, words: str, offset: int) -> None:
    with pytest.raises(WireError, match=words) as caught:
        parse_block(data, 0, "little")
    assert caught.value.offset == offset


def test_length_alone_condemns_a_block_before_it_is_there() -> None:
    with pytest.raises(WireError, match="4294967292 bytes"):
        parse_block(PACKET[:4] + b"\xfc\xff\xff\xff", 0, "little")


def test_section_of_another_version_or_order_is_refused() -> None:
    data = bytearray(SectionHeader().emit())
    data[12] = 2
    with pytest.raises(WireError, match=r"version 2\.0"):
        parse_block(data, 0, "little")
    data[8] = 0
    with pytest.raises(WireError, match="byte order"):
        section_order(data)


@given(st.lists(st.tuples(st.integers(1, 0xFFFF), values), max_size=4), orders)
def test_options_survive_the_way_there_and_back(
    options: list[tuple[int, bytes]], order: ByteOrder
) -> None:
    assert parse_options(emit_options(options, order), 0, order) == (options, 0)


@pytest.mark.parametrize(
    ("size", "count", "read"),
    [(0, 256, 256), (0, 257, 256), (0, 4_000_000, 256), (65532, 2, 1), (65528, 3, 2)],
)
def test_options_are_read_in_bounds_and_the_rest_is_counted(
    size: int, count: int, read: int
) -> None:
    options = emit_options([(7, bytes(size))], "little")[:-4] * count + bytes(4)

    found, unread = parse_options(options, 0, "little")

    assert found == [(7, bytes(size))] * read
    assert unread == (0 if read == count else len(options) - read * (size + 4))


def test_block_says_that_options_of_it_were_not_read() -> None:
    blocks: list[Block] = [
        SectionHeader(comments=("c",) * 300),
        InterfaceDescription(comments=("c",) * 300),
        InterfaceStatistics(comments=("c",) * 300),
        EnhancedPacket(comments=("c",) * 300),
    ]
    for block in blocks:
        found = parse_block(block.emit("little"), 0, "little")
        assert found is not None
        assert not isinstance(found[0], SimplePacket | OtherBlock)
        assert len(found[0].comments) == 256
        assert found[0].unread >= 44 * 8


def test_option_that_does_not_fit_is_refused() -> None:
    with pytest.raises(WireError, match="65536 bytes"):
        emit_options([(1, bytes(65536))], "little")
    with pytest.raises(WireError, match="option 1 of 5 bytes where 4 are left") as caught:
        parse_options(bytes.fromhex("0100 0500 61626364"), 0, "little")
    assert caught.value.offset == 0


@pytest.mark.parametrize(
    ("timestamp", "resolution", "offset", "expected"),
    [
        (1, 9, 0, 1),
        (1_700_000_000_123_456, 6, 0, 1_700_000_000_123_456_000),
        (1_700_000_000, 0, 5, 1_700_000_005_000_000_000),
        (123_456, 12, 0, 123),  # picoseconds
        (3, 0x81, 0, 1_500_000_000),  # halves of a second
        ((5 << 32) + (1 << 31), 0xA0, -1, 4_500_000_000),
        (1, 100, 0, 0),
    ],
)
def test_timestamp_is_nanoseconds_whatever_it_was(
    timestamp: int, resolution: int, offset: int, expected: int
) -> None:
    assert nanoseconds(timestamp, resolution, offset) == expected


headers = st.builds(PcapHeader, order=orders, nanoseconds=st.booleans(), linktype=u16, snaplen=u32)


@given(headers)
def test_pcap_header_survives_the_way_there_and_back(header: PcapHeader) -> None:
    data = header.emit()
    assert is_pcap(data[:4])
    assert PcapHeader.parse(data) == header


@given(headers, st.integers(0, (1 << 32) - 1), st.integers(0, 999_999), st.integers(0, 1 << 24))
def test_record_survives_the_way_there_and_back(
    header: PcapHeader, seconds: int, micros: int, length: int
) -> None:
    record = RecordHeader(
        timestamp_ns=seconds * 10**9 + micros * 1000, length=length, wire_len=length
    )
    data = record.emit(header)
    assert RecordHeader.parse(data, 0, header) == record
    assert RecordHeader.parse(data[:15], 0, header) is None


def test_pcap_header_knows_frame_check_sequences() -> None:
    data = PcapHeader(order="big").emit()[:20] + bytes.fromhex("24000001")
    assert PcapHeader.parse(data).fcslen == 4
    assert PcapHeader.parse(data).linktype == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bytes(24), "begins with 00000000"),
        (PcapHeader().emit()[:23], "23 bytes, not 24"),
        (PcapHeader(order="big").emit()[:4] + bytes(20), r"version 0\.0"),
    ],
)
def test_what_is_no_pcap_header_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(WireError, match=words):
        PcapHeader.parse(data)


def test_forged_length_of_a_record_is_refused() -> None:
    header = PcapHeader()
    data = RecordHeader(timestamp_ns=0, length=(1 << 24) + 1, wire_len=0).emit(header)
    with pytest.raises(WireError, match="a packet of 16777217 bytes") as caught:
        RecordHeader.parse(data, 0, header)
    assert caught.value.offset == 8
