"""What is in a block of a ring, and what is not: `read_block` walks copies of blocks."""

import random
import struct
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aioprocket._system._native import Batch, read_block
from native.blocks import BLOCK_HEADER, BYTES_AT, Frame, block

FRAMES = [
    Frame(b"first packet of them"),
    Frame(b"cut", wire_len=1500, kind=4),
    Frame(b"tagged", vlan_tci=0x2005, vlan_tpid=0x88A8, ifindex=9),
    Frame(b""),
]


def look_at_all(batch: Batch) -> int:
    """Read every byte that a batch shows, in every way; how many packets it has."""
    total = len(batch)
    for column in (
        batch.timestamps_ns, batch.wire_lens, batch.lens, batch.offsets, batch.vlan_tcis,
        batch.field(0, 1), batch.field(12, 2), batch.field(26, 4), batch.field(2, 8),
        batch.field(6, 6), batch.field(70_000, 64),
    ):  # fmt: skip
        assert len(column.tolist()) == total
    memory = bytes(batch.buffer)
    for packet, offset, length in zip(batch, batch.offsets, batch.lens, strict=True):
        data = bytes(memoryview(packet))
        assert data == memory[offset : offset + length] == packet.data
        list(packet)
        repr(packet)
    for index in range(-total, total):
        assert batch.index(batch[index]) == index % total
    return total


def test_packets_say_what_the_kernel_wrote() -> None:
    batch = read_block(block(FRAMES))

    assert [packet.data for packet in batch] == [frame.data for frame in FRAMES]
    first, cut, tagged, empty = batch
    assert first.timestamp_ns == 1_500_000_000_123_456_789
    assert (first.wire_len, first.truncated, first.vlan_tci, first.direction) == (
        20,
        False,
        None,
        "in",
    )
    assert first.addr == ("", 0x0800, 0, 1, b"abcdef")
    assert (cut.wire_len, cut.truncated, cut.direction) == (1500, True, "out")
    assert (tagged.vlan_tci, tagged.vlan_tpid, tagged.ifindex) == (0x2005, 0x88A8, 9)
    assert (len(empty), empty.truncated) == (0, False)


def test_columns_say_it_without_packets() -> None:
    batch = read_block(block(FRAMES))

    assert batch.lens.tolist() == [20, 3, 6, 0]
    assert batch.wire_lens.tolist() == [20, 1500, 6, 0]
    assert batch.vlan_tcis.tolist() == [-1, -1, 0x2005, -1]
    assert batch.timestamps_ns.tolist() == [1_500_000_000_123_456_789] * 4
    assert batch.offsets[0] == BLOCK_HEADER.size + BYTES_AT
    assert [column.format for column in (
        batch.timestamps_ns, batch.wire_lens, batch.lens, batch.offsets, batch.vlan_tcis
    )] == ["q", "I", "I", "I", "i"]  # fmt: skip
    assert batch.lens.readonly


@pytest.mark.parametrize("run", [1, 2, 8, 16, 40])
def test_columns_of_packets_of_many_sizes_are_those_of_each(run: int) -> None:
    sizes = random.Random(run).choices(range(1500), k=400)
    lengths = [size for size in sizes[: 400 // run] for _ in range(run)]
    frames = [Frame(bytes(length), timestamp_ns=10**18 + n) for n, length in enumerate(lengths)]

    batch = read_block(block(frames))

    assert batch.lens.tolist() == lengths
    assert batch.timestamps_ns.tolist() == [10**18 + n for n in range(len(lengths))]
    places = [at - BYTES_AT for at in batch.offsets]
    assert places[0] == BLOCK_HEADER.size
    room = [-(-(BYTES_AT + length) // 8) * 8 for length in lengths]
    assert [after - at for at, after in pairwise(places)] == room[:-1]


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_a_field_is_a_number_in_network_order(width: int) -> None:
    frames = [Frame(bytes(range(index, index + 20))) for index in range(50)]
    field = read_block(block(frames)).field(3, width)

    assert field.tolist() == [int.from_bytes(frame.data[3 : 3 + width], "big") for frame in frames]


def test_a_field_of_another_width_is_rows_of_bytes() -> None:
    frames = [Frame(bytes(range(index, index + 20))) for index in range(50)]
    field = read_block(block(frames)).field(6, 6)

    assert (field.shape, field.format, field.c_contiguous) == ((50, 6), "B", True)
    assert [bytes(row) for row in field.tolist()] == [frame.data[6:12] for frame in frames]


def test_a_field_that_a_packet_has_not_all_of_is_zero() -> None:
    batch = read_block(block([Frame(b"abcd"), Frame(b"abc"), Frame(b"abcdef")]))

    assert batch.field(2, 2).tolist() == [0x6364, 0, 0x6364]
    assert batch.field(1 << 31, 8).tolist() == [0, 0, 0]


@pytest.mark.parametrize(("offset", "width"), [(-1, 1), (0, 0), (0, 65), (0, -1), (1 << 40, 1)])
def test_a_field_that_cannot_be_is_refused(offset: int, width: int) -> None:
    with pytest.raises(ValueError, match="a field is 1 to 64 bytes"):
        read_block(block(FRAMES)).field(offset, width)


def test_snaplen_cuts_what_is_shown() -> None:
    batch = read_block(block(FRAMES), 5)

    assert [packet.data for packet in batch] == [b"first", b"cut", b"tagge", b""]
    assert [packet.truncated for packet in batch] == [True, True, True, False]
    assert batch.wire_lens.tolist() == [20, 1500, 6, 0]


def test_columns_outlive_their_batch() -> None:
    batch = read_block(block(FRAMES))
    lens, field = batch.lens, batch.field(0, 1)
    del batch
    others = [read_block(block(FRAMES * 2)).lens for _ in range(10)]

    assert lens.tolist() == [20, 3, 6, 0]
    assert field.tolist() == [ord("f"), ord("c"), ord("t"), 0]
    assert all(other.tolist() == [20, 3, 6, 0] * 2 for other in others)


def test_packets_and_views_outlive_their_batch() -> None:
    batch = read_block(block(FRAMES))
    kept, viewed = batch[0], memoryview(batch[2])
    whole = batch.buffer
    del batch

    assert (kept.data, kept.timestamp_ns) == (b"first packet of them", 1_500_000_000_123_456_789)
    assert bytes(viewed) == b"tagged"
    assert bytes(whole[BLOCK_HEADER.size + BYTES_AT :][:5]) == b"first"
    del whole
    assert bytes(viewed) == b"tagged"


def test_the_packet_of_a_loop_is_another_one_if_it_is_kept() -> None:
    frames = [Frame(b"%d" % index, timestamp_ns=index) for index in range(200)]
    kept = [packet for index, packet in enumerate(read_block(block(frames))) if index % 3]

    assert [(int(packet.data), packet.timestamp_ns) for packet in kept] == [
        (index, index) for index in range(200) if index % 3
    ]


def test_a_loop_that_keeps_nothing_makes_two_packets() -> None:
    assert len({id(packet) for packet in read_block(block(FRAMES * 20))}) == 2


def test_what_was_asked_of_one_packet_is_not_the_next_ones() -> None:
    frames = [Frame(b"%d" % index, ifindex=index, kind=index % 5) for index in range(10)]
    seen = [(packet.data, packet.addr, packet.direction) for packet in read_block(block(frames))]

    assert [int(data) for data, _, _ in seen] == list(range(10))
    assert [addr[2] for _, addr, _ in seen] == [index % 5 for index in range(10)]
    assert [direction for _, _, direction in seen[:5]] == [
        "in", "broadcast", "multicast", "otherhost", "out",
    ]  # fmt: skip


def test_the_same_place_gives_equal_packets_and_no_other() -> None:
    batch, other = read_block(block(FRAMES)), read_block(block(FRAMES))

    assert batch[1] == batch[1]
    assert hash(batch[1]) == hash(batch[1])
    assert batch[1] != batch[2]
    assert batch[1] != other[1]
    assert other[1] not in batch
    assert batch.count(batch[1]) == 1
    with pytest.raises(ValueError, match="not in the batch"):
        batch.index(other[1])


def test_a_block_of_nothing_is_a_batch_of_none() -> None:
    for data in (b"", b"\0" * 47, b"\0" * 48, block([])):
        assert look_at_all(read_block(data)) == 0


def test_a_packet_that_reaches_beyond_the_block_ends_it() -> None:
    whole = block(FRAMES[:3])

    assert [look_at_all(read_block(whole[:end])) for end in (len(whole), len(whole) - 3)] == [3, 2]


def test_a_chain_that_goes_nowhere_ends_the_block() -> None:
    for step in (0, 8, 67, 0xFFFFFFF8):
        data = bytearray(block(FRAMES[:3]))
        struct.pack_into("=I", data, BLOCK_HEADER.size, step)
        assert look_at_all(read_block(data)) == 1


words = st.one_of(
    st.integers(0, 300), st.integers(0, 0xFFFFFFFF), st.sampled_from([0x7FFFFFFF, 0xFFFFFFFF, 48])
)


@given(
    st.lists(st.binary(max_size=100), max_size=6),
    st.lists(st.tuples(st.integers(0, 1500), words), max_size=8),
    st.integers(0, 1500),
)
@example([b"x" * 60], [(8, 0xFFFFFFFF)], 1500)
@example([b"x" * 60], [(12, 0xFFFFFFFF), (8, 1)], 1500)
@example([b"x" * 60] * 3, [(8, 1000)], 1500)
def test_nothing_outside_of_a_forged_block_is_read(
    packets: list[bytes], forged: list[tuple[int, int]], end: int
) -> None:
    # What reads beyond it is found by the address sanitizer: test_sanitizers.py.
    data = bytearray(block(map(Frame, packets)))
    for at, word in forged:
        if at + 4 <= len(data):
            struct.pack_into("=I", data, at, word)

    count = look_at_all(read_block(data[:end]))

    assert count <= len(data) // 68


def test_noise_is_a_batch_or_none() -> None:
    noise = random.Random(1)
    for _ in range(2000):
        data = bytearray(noise.randbytes(noise.randrange(400)))
        if len(data) > 20:
            struct.pack_into("=II", data, 12, noise.randrange(5), noise.randrange(0, 64, 4))
        look_at_all(read_block(data))
