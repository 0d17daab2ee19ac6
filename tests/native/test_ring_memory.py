"""Over millions of packets of blocks and rings, nothing is kept that the caller does not keep."""

import gc
import mmap
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aioprocket._system._native import Batch, Packet, Ring, read_block
from aioprocket._system.ring import Geometry
from lab.forks import in_child
from native.blocks import Frame, block
from native.test_memory import SLACK, growth
from native.test_ring import PER_BLOCK, Line, line, number

BLOCK = block([Frame(bytes([index]) * 60, vlan_tci=index) for index in range(250)])
ROUNDS = 2000
ROOMY = Geometry(mmap.PAGESIZE, 64, 1)

USES: dict[str, Callable[[Batch], object]] = {
    "iterate": lambda batch: [None for packet in batch if packet[0] > 255],
    "keep": list,
    "ask": lambda batch: [(packet.data, packet.addr, packet.timestamp_ns) for packet in batch],
    "columns": lambda batch: (
        batch.timestamps_ns,
        batch.lens,
        batch.field(0, 4),
        batch.field(3, 3),
    ),
    "views": lambda batch: [memoryview(packet) for packet in batch],
    "index": lambda batch: [batch.index(batch[at]) for at in range(0, 250, 25)],
    "break off": lambda batch: next(iter(batch)),
}


@pytest.mark.parametrize("use", USES)
def test_a_batch_keeps_nothing(use: str) -> None:
    gc.collect()  # packets of earlier tests that still lie in cycles
    batches, packets = sys.getrefcount(Batch), sys.getrefcount(Packet)

    def read() -> None:
        USES[use](read_block(BLOCK))

    assert growth(read, ROUNDS) < SLACK
    assert sys.getrefcount(Batch) <= batches
    assert sys.getrefcount(Packet) <= packets


def test_millions_of_packets_keep_nothing() -> None:
    batch = read_block(BLOCK)
    none, number = sys.getrefcount(None), batch[0][0]

    def iterate() -> None:
        for packet in batch:
            assert packet[0] >= number

    assert growth(iterate, 8000) < SLACK  # 2,000,000 packets
    assert abs(sys.getrefcount(None) - none) < 1000
    assert sys.getrefcount(batch) == 2


def test_a_batch_of_packets_keeps_nothing() -> None:
    packets = [Packet(b"abcd"), Packet(b"efgh")]
    before = [sys.getrefcount(packet) for packet in packets]

    def make() -> None:
        batch = Batch(packets)
        assert bytes(batch.buffer) == b"abcdefgh"
        assert list(batch) == packets

    assert growth(make, ROUNDS) < SLACK
    assert [sys.getrefcount(packet) for packet in packets] == before
    with pytest.raises(TypeError, match="a batch is of packets"):
        Batch([packets[0], b"bytes"])  # type: ignore[list-item]
    assert sys.getrefcount(packets[0]) == before[0]


def drain(wire: Line, use: Callable[[Ring], object]) -> None:
    wire.send(4 * PER_BLOCK)
    left = wire.ring.packets + 4 * PER_BLOCK
    while wire.ring.packets < left:
        use(wire.ring)


RING_USES: dict[str, Callable[[Ring], object]] = {
    "receive": lambda ring: ring.receive(64),
    "keep": lambda ring: [packet.addr for packet in ring.receive(7)],
    "take": lambda ring: ring.take(None),
    "view": lambda ring: [memoryview(packet) for packet in ring.receive(2)] and ring.receive(1),
}


@pytest.mark.netns
@pytest.mark.parametrize("use", RING_USES)
def test_a_ring_keeps_nothing(veth: tuple[str, str], use: str) -> None:
    with line(veth, ROOMY) as wire:
        assert growth(lambda: drain(wire, RING_USES[use]), 100) < SLACK


@pytest.mark.netns
def test_rings_that_come_and_go_keep_nothing(veth: tuple[str, str]) -> None:
    types_before = sys.getrefcount(Ring), sys.getrefcount(Packet)

    def open_and_close() -> None:
        with line(veth) as wire:
            wire.send(1)
            packet = wire.take()[0]
        assert packet[0] == 2

    assert growth(open_and_close, 40) < SLACK
    assert (sys.getrefcount(Ring), sys.getrefcount(Packet)) == types_before


@pytest.mark.netns
def test_memory_is_the_ring_and_little_more(veth: tuple[str, str]) -> None:
    with line(veth) as wire:

        def turn_over() -> None:
            for _ in range(10):
                wire.turn_over()

        assert growth(turn_over, 4) < 1 << 20


def test_memory_that_is_short_is_an_error_and_no_leak() -> None:
    testcapi = pytest.importorskip("_testcapi", reason="this Python cannot fail allocations")

    def read() -> None:
        failures = 0
        for allocations in range(30):
            testcapi.set_nomemory(allocations, allocations + 1)
            try:
                batch = read_block(BLOCK)
                columns = [batch[1].data, batch.lens, batch.field(0, 3), next(iter(batch))]
                del batch, columns
            except MemoryError:
                failures += 1
            finally:
                testcapi.remove_mem_hooks()

        assert failures > 3
        assert len(read_block(BLOCK)) == 250

    # Allocations fail in all threads of a process, and pytest-xdist's waits for work in ours.
    in_child(read)


@pytest.mark.netns
def test_a_view_outlives_a_ring_that_ends_without_memory(veth: tuple[str, str]) -> None:
    # Blocks for which the allocator asks the kernel: what the limit forbids.
    large = Geometry(4 << 20, 4, 1)

    def end() -> None:
        with line(veth, large) as wire:
            kept = []
            for _ in range(3):
                wire.send(2)
                batch = wire.take()
                kept.append((memoryview(batch[0]), batch[-1], batch))
            held = [(number(view), number(packet), len(whole)) for view, packet, whole in kept]
            with no_more_memory():
                wire.ring.close()
            assert held == [
                (number(view), number(packet), len(whole)) for view, packet, whole in kept
            ]
            assert [number(whole[0]) for *_, whole in kept] == [first for first, *_ in held]
            before = mapped()
            del batch, kept
            assert before - mapped() >= 3 * large.block_size
        gc.collect()

    in_child(end)


def mapped() -> int:
    """Bytes of address space that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE


@contextmanager
def no_more_memory() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mapped() + (1 << 20), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
