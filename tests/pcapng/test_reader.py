"""Reading capture files: those of other programs, odd ones, and damaged ones."""

import gzip
import io
import os
import struct
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from aioprocket import BusyError, CaptureError, ClosedError, Packet, SpecError, WireError, pcapng
from aioprocket.pcapng import InterfaceStatistics, Reader, Writer
from aioprocket.pcapng.parser import Parser
from aioprocket.wire.pcapng import (
    BlockType,
    EnhancedPacket,
    InterfaceDescription,
    SimplePacket,
)
from pcapng.files import START, number_of, packet, raw_block, section, split

GOLDEN = Path(__file__).parents[1] / "golden" / "capture"
LOOPBACK = InterfaceDescription(linktype=1, resolution=9)

# By file: packets, format, link type; and of the first packet the timestamp, how much of it was
# kept, and its length, as `tshark -T fields -e frame.time_epoch -e frame.cap_len -e frame.len` has
# them.
FILES: dict[str, tuple[int, str, int | None, int, int, int]] = {
    "dumpcap.pcapng": (4, "pcapng", 1, 1795905215_522043834, 98, 98),
    "editcap-comments.pcapng": (4, "pcapng", 1, 1795905215_522043834, 98, 98),
    "editcap-modified.pcap": (4, "pcap", 1, 1795905215_522043000, 98, 98),
    "editcap-nano.pcap": (4, "pcap", 1, 1795905215_522043834, 98, 98),
    "editcap-snaplen.pcapng": (4, "pcapng", 1, 1795905215_522043834, 40, 98),
    "mergecap-same.pcapng": (8, "pcapng", 1, 1795905215_522043834, 98, 98),
    "mergecap.pcapng": (8, "pcapng", None, 1795905215_522043000, 60, 104),
    "scapy-big.pcap": (2, "pcap", 1, 1700000000_123456789, 98, 98),
    "tcpdump-any.pcap": (4, "pcap", 276, 1795905215_522043000, 60, 104),
    "tcpdump-micro.pcap": (4, "pcap", 1, 1795905215_522043000, 98, 98),
    "tcpdump-nano.pcap": (4, "pcap", 1, 1795905215_522043834, 98, 98),
    "text2pcap.pcapng": (1, "pcapng", 1, 1795905215_000001000, 16, 16),
    "two-sections.pcapng": (8, "pcapng", 1, 1795905215_522043834, 98, 98),
}


def test_every_golden_file_is_in_the_table() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_file_of_another_program_is_read(name: str) -> None:
    count, kind, linktype, timestamp_ns, kept, wire_len = FILES[name]
    with Reader(GOLDEN / name, strict=True) as reader:
        packets = list(reader)
        assert (reader.format, reader.linktype) == (kind, linktype)
        first = packets[0]
        assert (len(packets), first.timestamp_ns) == (count, timestamp_ns)
        assert (len(first), first.wire_len, first.truncated) == (kept, wire_len, kept < wire_len)
        assert reader.stats()[:2] == (count, sum(map(len, packets)))
        assert not reader.truncated


def test_what_dumpcap_says_of_its_capture_is_found() -> None:
    with Reader(GOLDEN / "dumpcap.pcapng") as reader:
        (*packets,) = reader
        (interface,) = reader.interfaces
        assert (interface.name, interface.filter, interface.resolution) == ("lo", "icmp", 9)
        assert reader.sections[0].comments == ("golden",)
        assert reader.sections[0].application.startswith("Dumpcap")
        assert reader.statistics[1].received == 4
        assert {reader.interface_of(each) for each in packets} == {interface}


def test_interfaces_of_a_later_section_are_further_ones() -> None:
    with Reader(GOLDEN / "two-sections.pcapng") as reader:
        assert [each.ifindex for each in reader] == [1, 1, 1, 1, 2, 2, 2, 2]
        assert len(reader.interfaces) == len(reader.sections) == 2


def test_comments_are_in_the_blocks() -> None:
    found = Reader(GOLDEN / "editcap-comments.pcapng").blocks()
    comments = [each.comments for each in found if isinstance(each, EnhancedPacket)]
    assert comments == [("first",), (), ("third",), ()]
    with pytest.raises(WireError, match="no blocks"):
        list(Reader(GOLDEN / "tcpdump-micro.pcap").blocks())


@pytest.mark.parametrize("order", ["little", "big"])
def test_blocks_of_all_kinds_are_read_or_skipped(order: Any) -> None:
    data = section(
        LOOPBACK,
        raw_block(BlockType.NAME_RESOLUTION, bytes(4), order),
        EnhancedPacket(data=b"one", wire_len=3, timestamp=5, drop_count=2, flags=2),
        raw_block(0xBAD, b"custom, and its padding.", order),
        InterfaceStatistics(dropped=7).emit(order),
        SimplePacket(wire_len=9, data=b"two").emit(order),
        # The obsolete block: interface, drops, two words of timestamp, two lengths, data.
        raw_block(
            BlockType.PACKET,
            struct.pack("<HHIIII" if order == "little" else ">HHIIII", 0, 3, 0, 6, 5, 5)
            + b"three\0\0\0",
            order,
        ),
        order=order,
    )
    reader = Reader(io.BytesIO(data))
    found = list(reader)
    assert [bytes(each) for each in found] == [b"one", b"two\0", b"three"]
    assert [each.timestamp_ns for each in found] == [5, 0, 6]
    assert [each.wire_len for each in found] == [3, 9, 5]
    assert found[0].direction == "out"
    assert reader.stats().rx_dropped == 7  # more than the 5 that packets speak of


def test_file_may_change_its_byte_order_between_sections() -> None:
    one = EnhancedPacket(data=b"one", wire_len=3)
    data = section(LOOPBACK, one) + section(LOOPBACK, LOOPBACK, one, order="big")
    assert [each.ifindex for each in Reader(io.BytesIO(data))] == [1, 2]


def test_timestamp_of_each_interface_is_in_its_own_units() -> None:
    data = section(
        InterfaceDescription(resolution=6, offset=10),
        InterfaceDescription(resolution=0x80 | 1),
        InterfaceDescription(resolution=30),
        *(EnhancedPacket(interface=number, timestamp=3) for number in range(3)),
        EnhancedPacket(interface=2, timestamp=(1 << 64) - 1),
        EnhancedPacket(interface=0, timestamp=(1 << 64) - 1),  # in the year 586,912
    )
    moments = [each.timestamp_ns for each in Reader(io.BytesIO(data))]
    assert moments == [10_000_003_000, 1_500_000_000, 0, 0, 0]


def test_packet_of_an_interface_that_is_not_described_is_an_error() -> None:
    data = section(LOOPBACK, EnhancedPacket(interface=1))
    with pytest.raises(WireError, match="interface 1 is not one of the 1") as caught:
        list(Reader(io.BytesIO(data)))
    assert caught.value.offset == len(data) - 32
    with pytest.raises(WireError, match="interface 0 is not one of the 0"):
        list(Reader(io.BytesIO(section(SimplePacket(wire_len=1, data=b"x").emit("little")))))


# Cut and damaged

WHOLE = section(LOOPBACK, *(EnhancedPacket(data=bytes([n] * n), wire_len=n) for n in range(6)))


@pytest.mark.parametrize("cut", range(len(WHOLE)))
def test_file_that_is_cut_anywhere_is_read_up_to_there(cut: int) -> None:
    ends = {end for end, _ in split(WHOLE)}
    whole = [end for end, block in split(WHOLE) if type(block) is EnhancedPacket and end <= cut]

    reader = Reader(io.BytesIO(WHOLE[:cut]))
    assert len(list(reader)) == len(whole)
    assert reader.truncated == (cut not in ends)
    strict = Reader(io.BytesIO(WHOLE[:cut]), strict=True)
    read: list[Packet] = []
    try:
        read.extend(strict)
    except WireError as error:
        assert cut not in ends
        last = max((end for end in ends if end <= cut), default=0)
        assert error.offset == last  # noqa: PT017
    else:
        assert cut in ends
    assert len(read) <= len(whole)


@pytest.mark.parametrize("name", ["tcpdump-micro.pcap", "editcap-modified.pcap"])
def test_pcap_that_is_cut_anywhere_is_read_up_to_there(name: str) -> None:
    data = (GOLDEN / name).read_bytes()
    size = (len(data) - 24) // 4
    for cut in range(len(data)):
        reader = Reader(io.BytesIO(data[:cut]))
        packets, left = divmod(max(0, cut - 24), size)
        assert len(list(reader)) == packets
        assert reader.truncated == (left > 0 or cut < 24)


@pytest.mark.parametrize("compress", [gzip.compress, None])
def test_compressed_file_that_is_cut_gives_what_is_there(
    compress: Callable[[bytes], bytes] | None,
) -> None:
    if compress is None:
        compress = pytest.importorskip("zstandard").compress
    assert compress is not None
    data = compress(WHOLE)
    assert len(list(Reader(io.BytesIO(data)))) == 6
    for cut in range(4, len(data)):
        reader = Reader(io.BytesIO(data[:cut]))
        assert len(list(reader)) <= 6
        assert reader.truncated


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_compressed_file_of_many_parts_is_one_file(suffix: str) -> None:
    compress: Callable[[bytes], bytes] = gzip.compress
    if suffix == "zst":
        compress = pytest.importorskip("zstandard").compress
    parts = [compress(WHOLE[at : at + 1]) for at in range(len(WHOLE))]
    reader = Reader(io.BytesIO(b"".join(parts) + compress(b"") * 20_000))
    assert len(list(reader)) == 6
    assert not reader.truncated
    if suffix == "gz":
        reader = Reader(io.BytesIO(gzip.compress(WHOLE) + bytes(100_000)))
        assert len(list(reader)) == 6
        assert not reader.truncated


def test_compressed_file_is_read_in_bounded_pieces() -> None:
    packets = [EnhancedPacket(data=bytes(60_000), wire_len=60_000)] * 500
    data = gzip.compress(section(LOOPBACK, *packets))
    assert len(data) < 100_000
    tracemalloc.start()
    try:
        assert sum(len(each) for each in Reader(io.BytesIO(data))) == 30_000_000
        assert tracemalloc.get_traced_memory()[1] < 12_000_000
    finally:
        tracemalloc.stop()


def test_damage_is_an_error_after_what_came_before_it() -> None:
    blocks = list(split(WHOLE))
    begin = blocks[3][0]
    data = bytearray(WHOLE)
    data[begin + 4] ^= 1  # the length of the third packet
    reader = Reader(io.BytesIO(bytes(data)))
    packets = iter(reader)
    assert [len(next(packets)) for _ in range(2)] == [0, 1]
    with pytest.raises(WireError, match=f"at byte {begin + 4}") as caught:
        next(packets)
    assert caught.value.offset == begin + 4


def test_forged_length_does_not_fill_the_memory() -> None:
    class Endless(io.RawIOBase):
        """A file that never ends, and says how much of it was read."""

        given = 0

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            data = forged if not self.given else bytes(1 << 20)
            self.given += len(data)
            return data

    forged = section(LOOPBACK) + (6).to_bytes(4, "little") + (1 << 31).to_bytes(4, "little")
    file = Endless()
    with pytest.raises(WireError, match="a block of 2147483648 bytes"):
        list(Reader(file))  # type: ignore[arg-type]
    assert file.given == len(forged)


def test_interfaces_without_end_do_not_fill_the_memory() -> None:
    data = section(InterfaceDescription().emit("little") * 65537)
    with pytest.raises(WireError, match="more than 65536"):
        list(Reader(io.BytesIO(data)))


def test_packet_costs_the_same_however_many_interfaces_there_are() -> None:
    parser = Parser()
    parser.feed(section(*[InterfaceDescription()] * 30_000))
    assert parser.take(1) == []
    block = EnhancedPacket(interface=29_999, data=bytes(60), wire_len=60)
    parser.feed(block.emit("little"))
    tracemalloc.start()
    try:
        found = parser.take_block()  # packets alone are read in C
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert found == block
    assert peak < 30_000


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"not a capture at all", "begins with 6e6f7420"),
        (b"\x7fELF", "begins with 7f454c46"),
        (b"\x1f\x8b\x08\x00" + bytes(20), "gzip"),
        (bytes.fromhex("28b52ffd") + b"\xff" * 40, "zstd"),
    ],
)
def test_file_of_another_kind_is_said_to_be_one(data: bytes, words: str) -> None:
    with pytest.raises(WireError, match=words):
        list(Reader(io.BytesIO(data)))


def test_empty_file_is_one_that_was_cut() -> None:
    reader = Reader(io.BytesIO(b""))
    assert list(reader) == []
    assert reader.truncated


# As a file


def test_file_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    for path, kind in ((tmp_path / "no.pcap", FileNotFoundError), (tmp_path, IsADirectoryError)):
        with pytest.raises(kind, match="read '") as caught:
            list(Reader(path))
        assert isinstance(caught.value, CaptureError)


def test_reader_is_closed_with_its_block(tmp_path: Path) -> None:
    path = GOLDEN / "dumpcap.pcapng"
    with Reader(path) as reader:
        reader.read(1)
    with pytest.raises(ClosedError, match="is closed"):
        reader.read()
    with pytest.raises(ClosedError, match="not open yet"):
        Reader(path).read()
    with pytest.raises(SpecError, match="opened once"):
        reader.__enter__()


def test_files_object_stays_open() -> None:
    with (GOLDEN / "dumpcap.pcapng").open("rb") as file:
        assert len(list(Reader(file))) == 4
        assert not file.closed


@pytest.mark.parametrize("speed", [0, -1.0, float("nan")])
def test_speed_that_cannot_be_is_refused(speed: float) -> None:
    with pytest.raises(SpecError, match="speed"):
        Reader("x", realtime=True, speed=speed)


# As a source of packets


@pytest.mark.anyio
async def test_open_gives_the_passive_interface_of_a_channel() -> None:
    async with pcapng.open(GOLDEN / "two-sections.pcapng") as source:
        assert source.linktype == 1
        first = await source.receive()
        batch = await source.receive_batch(2)
        assert [type(each) for each in (first, *batch)] == [Packet] * 3
        assert source.stats().rx_packets == 3
        async for batches in source.batches(2):
            assert 1 <= len(batches) <= 2
            assert list(batches.lens) == [98] * len(batches)
        assert source.stats().rx_packets == 8
        with pytest.raises(anyio.EndOfStream):
            await source.receive()
        with pytest.raises(SpecError, match="max"):
            await source.receive_batch(0)
    with pytest.raises(ClosedError):
        await source.receive()


@pytest.mark.anyio
async def test_awaited_source_is_open_and_iterates() -> None:
    source = await pcapng.open(str(GOLDEN / "tcpdump-nano.pcap"))
    assert len([each async for each in source]) == 4
    await source.aclose()


@pytest.mark.anyio
async def test_what_is_no_capture_is_found_out_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("buy milk")
    with pytest.raises(WireError, match="begins with"):
        await pcapng.open(path)


@pytest.mark.anyio
async def test_long_file_leaves_other_tasks_their_turns(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    async with Writer(path) as writer:
        writer.write([packet(number) for number in range(20_000)])
    turns = 0
    async with pcapng.open(path) as source, anyio.create_task_group() as tasks:

        async def count() -> None:
            nonlocal turns
            while True:
                await anyio.lowlevel.checkpoint()
                turns += 1

        tasks.start_soon(count)
        assert [number_of(each) async for each in source] == list(range(20_000))
        tasks.cancel_scope.cancel()
    assert turns > 200


@pytest.mark.anyio
async def test_second_reader_is_refused_and_a_close_wakes_the_first(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    fd = os.open(tmp_path / "pipe", os.O_RDWR)  # an end to write to, so that it never ends
    try:
        source = await pcapng.open(tmp_path / "pipe")
        woken = anyio.Event()
        async with anyio.create_task_group() as tasks:

            async def receive() -> None:
                with pytest.raises(ClosedError):
                    await source.receive()
                woken.set()

            tasks.start_soon(receive)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(BusyError):
                await source.receive()
            await source.aclose()
            await woken.wait()
    finally:
        os.close(fd)


@pytest.mark.anyio
async def test_packets_of_a_pipe_come_while_it_is_written_and_none_is_lost_by_a_cancel(
    tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / "pipe")
    data = section(LOOPBACK, *(EnhancedPacket(data=bytes([n]), wire_len=1) for n in range(50)))
    fd = os.open(tmp_path / "pipe", os.O_RDWR)

    def write() -> None:
        for at in range(0, len(data), 7):
            os.write(fd, data[at : at + 7])

    async with pcapng.open(tmp_path / "pipe") as source:
        writing = threading.Thread(target=write)
        writing.start()
        read: list[int] = []
        patience = 0.0005
        while len(read) < 50:
            with anyio.move_on_after(patience) as scope:
                read.append((await source.receive())[0])
            patience *= 1.1 if scope.cancelled_caught else 0.9
        assert read == list(range(50))
        writing.join()
    os.close(fd)


@pytest.mark.anyio
async def test_packets_come_in_real_time(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    moments = [0, 1, 100, 101, 102]  # milliseconds
    async with Writer(path) as writer:
        for moment in moments:
            writer.write(Packet(b"x", timestamp_ns=START + moment * 10**6))
    began = anyio.current_time()
    async with pcapng.open(path, realtime=True, speed=0.5) as source:
        came = [anyio.current_time() - began async for _ in source]
    assert all(at >= moment / 500 - 0.002 for at, moment in zip(came, moments, strict=True))

    began = anyio.current_time()
    due = 0
    async with pcapng.open(path, realtime=True, speed=0.5) as source:
        while due < len(moments):
            due += len(await source.receive_batch())
            assert anyio.current_time() - began >= moments[due - 1] / 500 - 0.002
