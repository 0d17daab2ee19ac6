"""Writing capture files, as a program that uses it would."""

import errno
import gzip
import os
import sys
import threading
import time
from pathlib import Path

import anyio
import pytest

from aioprocket import Batch, CaptureError, ClosedError, Packet, SpecError
from aioprocket.pcapng import Interface, InterfaceStatistics, Reader, Writer
from aioprocket.wire.pcapng import EnhancedPacket, InterfaceDescription, SectionHeader
from pcapng.files import ARP, SMALL, START, blocks, drain, numbers, packet, stuck_pipe

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("name", ["a.pcapng", "a.pcap", "a.pcapng.gz", "a.pcap.gz", "a"])
async def test_packets_come_back_as_they_were(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    sent = [packet(number, 60 + number) for number in range(7)]
    async with Writer(path) as writer:
        assert writer.write(sent[0]) == 1
        assert writer.write(sent[1:3]) == 2
        assert writer.write(Batch(sent[3:])) == 4

    read = list(Reader(path))
    assert [each.data for each in read] == [each.data for each in sent]
    assert [each.timestamp_ns for each in read] == [each.timestamp_ns for each in sent]
    assert writer.stats()[:4] == (7, 0, 0, writer.stats().written)


async def test_suffix_chooses_the_format_and_format_overrides_it(tmp_path: Path) -> None:
    for name, options, magic in (
        ("a.pcapng", {}, "0a0d0d0a"),
        ("a.pcap", {"order": "little"}, "4d3cb2a1"),
        ("b.pcap", {"order": "big"}, "a1b23c4d"),
        ("c.pcap", {"order": "big", "nanoseconds": False}, "a1b2c3d4"),
        ("d.pcap", {"order": "little", "nanoseconds": False}, "d4c3b2a1"),
        ("e.pcap", {"format": "pcapng"}, "0a0d0d0a"),
        ("f", {"format": "pcap", "order": "little"}, "4d3cb2a1"),
    ):
        async with Writer(tmp_path / name, **options) as writer:
            writer.write(packet(3))
        assert (tmp_path / name).read_bytes()[:4].hex() == magic
        (read,) = Reader(tmp_path / name)
        assert read.data == packet(3).data
        exact = options.get("nanoseconds", True)
        assert read.timestamp_ns == packet(3).timestamp_ns // (1 if exact else 1000) * (
            1 if exact else 1000
        )


async def test_section_is_written_in_the_byte_order_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    async with Writer(path, order="big") as writer:
        writer.write([packet(1), packet(2)])
        with pytest.raises(TypeError, match="packets, not bytes"):
            writer.write(b"bytes")  # type: ignore[arg-type]

    assert path.read_bytes()[8:12].hex() == "1a2b3c4d"
    assert numbers(path) == [1, 2]


async def test_interfaces_are_described_and_packets_are_theirs(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    first = Interface(name="eth0", description="uplink", filter="arp", os="Linux", snaplen=100)
    async with Writer(path, first, application="test", comment="why") as writer:
        writer.write(packet(1, 200))
        second = writer.add_interface(Interface(linktype=101, name="tun0"))
        writer.write(Packet(b"\x45" + bytes(19)), second)
        with pytest.raises(SpecError, match="no interface 2"):
            writer.write(packet(1), 2)

    head, one, cut, two, whole, *statistics = blocks(path)
    assert isinstance(head, SectionHeader)
    assert (head.application, head.comments) == ("test", ("why",))
    assert one == first
    assert isinstance(two, InterfaceDescription)
    assert (two.linktype, two.name, two.resolution) == (101, "tun0", 9)
    assert isinstance(cut, EnhancedPacket)
    assert (cut.interface, len(cut.data), cut.wire_len) == (0, 100, 200)
    assert isinstance(whole, EnhancedPacket)
    assert (whole.interface, len(whole.data)) == (1, 20)
    assert [type(each) for each in statistics] == [InterfaceStatistics] * 2
    with Reader(path) as reader:
        names = [reader.interface_of(each).name for each in reader]
    assert names == ["eth0", "tun0"]


async def test_no_packet_is_longer_than_the_file_allows(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    async with Writer(path, Interface(), snaplen=64, queue_bytes=1) as writer:
        writer.write(packet(1, 100_000))
        writer.write(packet(2, 63))
    with Reader(path) as reader:
        assert [(len(each), each.wire_len) for each in reader] == [(64, 100_000), (63, 63)]
        assert reader.interfaces[0].snaplen == 64


async def test_pcap_file_has_one_link_type(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "a.pcap", Interface(linktype=1))
    with pytest.raises(SpecError, match="one link type, 1, and not 101") as caught:
        writer.add_interface(Interface(linktype=101))
    assert caught.value.hint == "write pcapng"


@pytest.mark.parametrize(
    ("direction", "flags"),
    [("in", 1), ("out", 2), ("broadcast", 13), ("multicast", 9), ("otherhost", 17)],
)
async def test_direction_is_in_the_flags_and_comes_back(
    tmp_path: Path, direction: str, flags: int
) -> None:
    path = tmp_path / "a.pcapng"
    async with Writer(path) as writer:
        writer.write(packet(direction=direction))

    (written,) = (block for block in blocks(path) if isinstance(block, EnhancedPacket))
    assert written.flags == flags
    assert [each.direction for each in Reader(path)] == [direction]


async def test_direction_that_a_file_does_not_say_is_not_made_up_in_a_copy(
    tmp_path: Path,
) -> None:
    async with Writer(tmp_path / "a.pcap") as writer:  # that format has none
        writer.write(packet(direction="out"))
    async with Writer(tmp_path / "b.pcapng") as writer:
        writer.write(list(Reader(tmp_path / "a.pcap")))

    (copied,) = (block for block in blocks(tmp_path / "b.pcapng") if type(block) is EnhancedPacket)
    assert copied.flags is None


async def test_vlan_tag_is_put_back_into_the_frame(tmp_path: Path) -> None:
    tagged = Packet(ARP, vlan_tci=0x2005, vlan_tpid=0x88A8, wire_len=100)
    for name in ("a.pcapng", "a.pcap"):
        async with Writer(tmp_path / name) as writer:
            writer.write(tagged)
        (read,) = Reader(tmp_path / name)
        assert read.data == ARP[:12] + bytes.fromhex("88a82005") + ARP[12:]
        assert read.wire_len == 104
        assert read.vlan_tci is None


async def test_tag_stays_out_of_what_is_no_ethernet_frame(tmp_path: Path) -> None:
    async with Writer(tmp_path / "a.pcapng", Interface(linktype=101)) as writer:
        writer.write(Packet(b"\x45" + bytes(19), vlan_tci=5))
    assert [len(each) for each in Reader(tmp_path / "a.pcapng")] == [20]


async def test_comment_goes_with_one_packet(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    async with Writer(path) as writer:
        writer.write(packet(1), comment="the one")
        writer.write(packet(2))
        with pytest.raises(SpecError, match="single packet"):
            writer.write([packet(3), packet(4)], comment="which?")

    found = [block.comments for block in blocks(path) if isinstance(block, EnhancedPacket)]
    assert found == [("the one",), ()]
    async with Writer(tmp_path / "a.pcap") as writer:
        with pytest.raises(SpecError, match="pcapng"):
            writer.write(packet(), comment="no place for it")


async def test_file_that_exists_is_refused_unless_it_may_be_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError) as caught:
        await Writer(path)
    assert isinstance(caught.value, CaptureError)
    assert caught.value.errno == errno.EEXIST
    assert caught.value.hint == "say overwrite=True, or give another name"
    assert path.read_bytes() == b"precious"

    async with Writer(path, overwrite=True) as writer:
        writer.write(packet(1))
    assert numbers(path) == [1]


async def test_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with Writer(tmp_path / "a.pcapng") as writer:
            writer.write(packet(1))
    finally:
        os.umask(before)

    assert (tmp_path / "a.pcapng").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("path", "kind"),
    [("nowhere/a.pcapng", FileNotFoundError), (".", (IsADirectoryError, FileExistsError))],
)
async def test_file_that_cannot_be_made_is_a_clear_error(
    tmp_path: Path, path: str, kind: type[OSError]
) -> None:
    with pytest.raises(kind, match="write to "):
        await Writer(tmp_path / path)


async def test_writer_that_is_not_open_says_so(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "a.pcapng")
    with pytest.raises(ClosedError, match="not open yet"):
        writer.write(packet())
    async with writer:
        writer.write(packet())
    with pytest.raises(ClosedError, match="is closed"):
        writer.write(packet())
    with pytest.raises(ClosedError, match="is closed"):
        await writer.send(packet())
    await writer.aclose()
    with pytest.raises(SpecError, match="opened once"):
        await writer


@pytest.mark.parametrize(
    "options",
    [
        {"snaplen": 0},
        {"snaplen": 262145},
        {"queue_bytes": 0},
        {"format": "erf"},
        {"order": "middle"},
    ],
)
async def test_argument_that_cannot_be_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(SpecError):
        Writer("a.pcapng", **options)  # type: ignore[arg-type]


async def test_what_is_no_packet_is_refused_whole(tmp_path: Path) -> None:
    async with Writer(tmp_path / "a.pcapng") as writer:
        with pytest.raises(TypeError, match="b'bytes'"):
            writer.write([packet(1), b"bytes"])  # type: ignore[list-item]
        assert writer.stats().packets == 0


async def test_file_without_packets_is_a_capture_file(tmp_path: Path) -> None:
    for name in ("a.pcapng", "a.pcap", "a.pcapng.gz"):
        async with Writer(tmp_path / name):
            pass
        with Reader(tmp_path / name) as reader:
            assert reader.read() == []
            assert reader.linktype == 1
            assert not reader.truncated


# The queue


async def test_what_the_queue_has_no_room_for_is_dropped_counted_and_written_down(
    tmp_path: Path,
) -> None:
    with stuck_pipe(tmp_path) as (path, fd):
        async with Writer(path, snaplen=SMALL, queue_bytes=1) as writer:
            # More than the pipe and the queue hold.
            taken = [number for number in range(300) if writer.write(packet(number, 1000))]
            lost = 300 - len(taken)
            assert writer.stats().dropped == lost > 100
            drained: list[bytes] = []
            reading = threading.Thread(target=lambda: drained.append(drain(fd)))
            reading.start()
            await writer.flush()
            assert writer.write(packet(300, 1000)) == 1
        await anyio.to_thread.run_sync(reading.join)

    (tmp_path / "b.pcapng").write_bytes(drained[0])
    found = blocks(tmp_path / "b.pcapng")
    written = [block for block in found if isinstance(block, EnhancedPacket)]
    assert [int.from_bytes(block.data[-4:], "big") for block in written] == [*taken, 300]
    expected = iter([*taken, 300])
    before = -1
    for block in written:  # each says how many are missing before it
        number = next(expected)
        assert block.drop_count == (number - before - 1 or None)
        before = number
    assert isinstance(found[-1], InterfaceStatistics)
    counts = found[-1].received, found[-1].dropped, found[-1].delivered
    assert counts == (301, lost, 301 - lost)
    with Reader(tmp_path / "b.pcapng") as reader:
        reader.read(1000)
        assert reader.stats()[:3] == (301 - lost, (301 - lost) * 1000, lost)
    assert writer.stats()[:3] == (301 - lost, lost, 0)


async def test_send_waits_for_room_and_loses_nothing(tmp_path: Path) -> None:
    count = 5000
    with stuck_pipe(tmp_path) as (path, fd):
        drained: list[bytes] = []

        def read_slowly() -> None:
            time.sleep(0.05)
            drained.append(drain(fd))

        async with Writer(path, snaplen=SMALL, queue_bytes=1) as writer:
            reading = threading.Thread(target=read_slowly)
            reading.start()
            for number in range(0, count, 10):
                await writer.send([packet(each, 1000) for each in range(number, number + 10)])
        await anyio.to_thread.run_sync(reading.join)

    (tmp_path / "b.pcapng").write_bytes(drained[0])
    assert numbers(tmp_path / "b.pcapng") == list(range(count))
    assert writer.stats().dropped == 0


async def test_write_does_not_wait_for_the_file(tmp_path: Path) -> None:
    with stuck_pipe(tmp_path) as (path, fd):
        async with Writer(path) as writer:
            for number in range(100):
                assert writer.write([packet(number, 1500)] * 20) == 20
            assert writer.stats().queued > 2_000_000  # a pipe holds 64 KiB
            reading = threading.Thread(target=drain, args=(fd,))
            reading.start()
        await anyio.to_thread.run_sync(reading.join)


async def test_packet_is_in_the_file_soon_after_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    async with Writer(path) as writer:
        writer.write(packet(5))
        with anyio.fail_after(30):
            while numbers(path) != [5]:  # noqa: ASYNC110
                await anyio.sleep(0.002)
        writer.write(packet(6))
        await writer.flush()
        assert numbers(path) == [5, 6]


async def test_compressed_packet_can_be_read_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng.gz"
    async with Writer(path) as writer:
        writer.write(packet(5))
        await writer.flush()
        assert numbers(path) == [5]
    assert gzip.decompress(path.read_bytes())[:4].hex() == "0a0d0d0a"


async def test_writer_and_reader_agree_on_zstd(tmp_path: Path) -> None:
    if sys.version_info < (3, 14):
        pytest.importorskip("zstandard")
    path = tmp_path / "a.pcapng.zst"
    async with Writer(path) as writer:
        writer.write([packet(number) for number in range(10_000)])
    assert path.read_bytes()[:4].hex() == "28b52ffd"
    assert path.stat().st_size < 300_000
    assert numbers(path) == list(range(10_000))
    path.write_bytes(path.read_bytes()[:-1])
    with Reader(path) as reader:
        while reader.read():
            pass
        assert reader.truncated


async def test_statistics_are_written_while_packets_come(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    async with Writer(path, statistics_interval=0.02) as writer:
        for number in range(4):
            writer.write(packet(number))
            await anyio.sleep(0.03)
    told = [
        block.delivered or 0 for block in blocks(path) if isinstance(block, InterfaceStatistics)
    ]
    assert len(told) >= 4
    assert told == sorted(told)
    assert told[-1] == 4


def test_start_is_a_moment_that_microseconds_cannot_tell() -> None:
    assert START % 1000
