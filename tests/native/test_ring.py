"""A ring on a cable: what is read, and what becomes of it when its block goes back."""

import mmap
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from aioprocket._system import options
from aioprocket._system._native import Batch, Packet, Ring
from aioprocket._system.packet_socket import bind_packet
from aioprocket._system.ring import Geometry, make_ring
from aioprocket._system.statistics import PacketStatistics
from lab.forks import in_child
from lab.leaks import descriptors
from lab.traffic import ETH_P_LOCAL, frame

pytestmark = pytest.mark.netns

PROTOCOL = int.from_bytes(ETH_P_LOCAL, "big")
SMALL = Geometry(block_size=mmap.PAGESIZE, blocks=8, retire_ms=1)
PER_BLOCK = 20  # frames of 64 bytes that fit into a block of SMALL, and some more
PATIENCE = 30.0


def number(data: Packet | bytes | memoryview) -> int:
    return int.from_bytes(bytes(memoryview(data)[14:18]), "big")


@dataclass
class Line:
    """A ring at one end, a plain socket at the other."""

    sock: socket.socket
    ring: Ring
    far: socket.socket
    sent: int = 0
    statistics: PacketStatistics = field(default_factory=PacketStatistics)

    def send(self, count: int, size: int = 64) -> range:
        first = self.sent
        for each in range(first, first + count):
            self.far.send(frame(each, size))
        self.sent += count
        return range(first, self.sent)

    def wait(self) -> None:
        """Until the kernel has handed over what was sent last."""
        assert self.readable(PATIENCE)

    def readable(self, seconds: float = 0.0) -> bool:
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def numbers(self, count: int) -> list[int]:
        got: list[int] = []
        while len(got) < count:
            packets = self.ring.receive(64)
            if not packets:
                self.wait()
            got += map(number, packets)
        return got

    def take(self) -> Batch:
        while (batch := self.ring.take(None)) is None:
            self.wait()
        return batch

    def turn_over(self) -> None:
        """Let the ring go round, several times."""
        for _ in range(4 * SMALL.blocks):
            sent = self.send(PER_BLOCK)
            assert self.numbers(PER_BLOCK) == list(sent)


@contextmanager
def line(veth: tuple[str, str], geometry: Geometry = SMALL, snaplen: int = 65535) -> Iterator[Line]:
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock,
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as far,
    ):
        far.bind((veth[0], 0))
        options.enable_timestamps(sock)
        make_ring(sock, geometry)
        ring = Ring(
            sock.fileno(),
            block_size=geometry.block_size,
            blocks=geometry.blocks,
            snaplen=snaplen,
        )
        bind_packet(sock, socket.if_nametoindex(veth[1]), PROTOCOL)
        try:
            yield Line(sock, ring, far)
        finally:
            ring.close()


def test_packets_come_in_order_and_once(veth: tuple[str, str]) -> None:
    with line(veth) as wire:
        wire.turn_over()

        assert wire.ring.packets == wire.sent
        assert wire.ring.bytes == 64 * wire.sent
        assert not wire.ring.receive(1)
        assert (wire.ring.damaged, wire.ring.held, wire.ring.queued) == (0, 0, 0)


def test_a_packet_says_what_the_kernel_knows(veth: tuple[str, str]) -> None:
    with line(veth) as wire:
        before = time.time_ns()
        wire.send(1)
        wire.wait()
        [packet] = wire.ring.receive(1)

        assert packet.data == frame(0)
        assert packet.addr == (veth[1], PROTOCOL, 3, 1, frame(0)[6:12])
        assert packet.ifindex == socket.if_nametoindex(veth[1])
        assert packet.direction == "otherhost"
        assert before <= packet.timestamp_ns <= time.time_ns()
        assert (packet.wire_len, packet.truncated, packet.ancdata) == (64, False, ())


def test_snaplen_cuts(veth: tuple[str, str]) -> None:
    with line(veth, snaplen=18) as wire:
        wire.send(2, 300)
        batch = wire.take()
        first = batch[0]

        assert (len(first), first.wire_len, first.truncated) == (18, 300, True)
        assert number(first) == 0
        assert wire.ring.truncated == len(batch)


def test_what_is_kept_stays_as_it_is(veth: tuple[str, str]) -> None:
    with line(veth) as wire:
        wire.send(3)
        kept: list[Packet] = []
        while len(kept) < 3:
            packets = wire.ring.receive(3)
            if not packets:
                wire.wait()
            kept += packets
        wire.turn_over()

        assert [number(packet) for packet in kept] == [0, 1, 2]
        assert kept[0].data == frame(0)
        assert kept[1].addr[0] == veth[1]
        assert kept[2].timestamp_ns > 0
        assert wire.ring.held == 0


def test_a_view_stays_as_it_is_and_the_ring_goes_on(veth: tuple[str, str]) -> None:
    with line(veth) as wire:
        views: list[memoryview] = []
        while len(views) < 3 * SMALL.blocks:
            wire.send(1)
            while not (packets := wire.ring.receive(1)):
                wire.wait()
            views.append(memoryview(packets[0]))
            del packets
        wire.turn_over()

        assert [number(view) for view in views] == list(range(len(views)))
        assert bytes(views[0]) == frame(0)
        assert wire.ring.held == 0


def test_a_batch_stays_as_it_is_and_the_ring_goes_on(veth: tuple[str, str]) -> None:
    with line(veth) as wire:
        batches, counts = [], []
        for _ in range(3 * SMALL.blocks):
            wire.send(5)
            batches.append(wire.take())
            counts.append(len(batches[-1]))
        wire.numbers(wire.sent - sum(counts))
        wire.turn_over()

        assert [number(batch[0]) for batch in batches][:2] == [0, counts[0]]
        for batch in batches:
            first = number(batch[0])
            assert [number(packet) for packet in batch] == list(range(first, first + len(batch)))
            assert batch.field(14, 4).tolist() == list(range(first, first + len(batch)))
            assert batch[-1].addr[0] == veth[1]


def test_the_memory_of_a_batch_stays_as_it_is(veth: tuple[str, str]) -> None:
    with line(veth) as wire:
        wire.send(5)
        batch = wire.take()
        memory, offset, count = batch.buffer, batch.offsets[0], len(batch)
        del batch
        wire.numbers(5 - count)
        wire.turn_over()

        assert memory[offset : offset + 64] == frame(0)


KEEP: dict[str, Callable[[Batch], object]] = {
    "packet": lambda batch: batch[0],
    "view": lambda batch: memoryview(batch[0]),
    "batch": lambda batch: batch,
    "buffer": lambda batch: batch.buffer,
}


@pytest.mark.parametrize("kept", KEEP)
def test_what_is_kept_makes_no_socket_readable(veth: tuple[str, str], kept: str) -> None:
    with line(veth) as wire:
        wire.send(1)
        batch = wire.take()
        holder = KEEP[kept](batch)
        del batch

        assert wire.ring.receive(1) == []
        assert not wire.readable()
        assert holder is not None


def test_held_packets_are_counted(veth: tuple[str, str]) -> None:
    with line(veth) as wire:
        wire.send(1)
        batch = wire.take()

        assert wire.ring.held == 1
        view = batch.buffer
        del batch
        assert wire.ring.held == 1
        view.release()
        assert wire.ring.held == 0


def test_everything_stays_valid_after_the_end(veth: tuple[str, str]) -> None:
    with line(veth) as wire:
        wire.send(5)
        batch = wire.take()
        packet, view, memory = batch[0], memoryview(batch[0]), batch.buffer
        iterator = iter(batch)
        next(iterator)
        offset, count = batch.offsets[0], len(batch)
        wire.ring.close()
        wire.ring.close()

        assert number(packet) == number(view) == 0
        assert packet.addr[0] == veth[1]
        assert memory[offset : offset + 64] == frame(0)
        assert [number(each) for each in batch] == list(range(count))
        assert len(list(iterator)) == count - 1
        with pytest.raises(OSError, match="Bad file descriptor"):
            wire.ring.receive(1)
        assert (wire.ring.held, wire.ring.queued) == (0, 0)


def test_the_socket_is_closed_with_its_descriptor(veth: tuple[str, str]) -> None:
    # A mapping keeps the socket of a ring alive: it would go on to collect packets.
    with line(veth) as wire:
        wire.send(1)
        view = memoryview(wire.take()[0])
        wire.ring.close()

        with open("/proc/self/maps") as maps:
            assert "socket:" not in maps.read()
        assert number(view) == 0


def test_forgetting_takes_what_came_and_nothing_else(veth: tuple[str, str]) -> None:
    # Whoever is bound last is served first: what the witness has got, the ring has.
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as witness,
        line(veth, Geometry(mmap.PAGESIZE, 8, 1)) as wire,
    ):
        witness.settimeout(PATIENCE)
        witness.bind((veth[1], PROTOCOL))
        bind_packet(wire.sock, socket.if_nametoindex(veth[1]), PROTOCOL)
        for waiting in (0, 1, 3, PER_BLOCK, 3 * PER_BLOCK, 500):
            for _ in range(waiting):
                [sent] = wire.send(1)
                assert number(witness.recv(64)) == sent
            wire.ring.forget()
            assert wire.ring.queued == 0
            before = wire.ring.packets

            later = wire.send(5)
            assert wire.numbers(5) == list(later)
            assert wire.ring.packets == before + 5
            assert [number(witness.recv(64)) for _ in later] == list(later)


def test_forgetting_ends_the_block_that_is_read(veth: tuple[str, str]) -> None:
    with line(veth) as wire:
        wire.send(4)
        wire.wait()
        [first] = wire.ring.receive(1)
        wire.ring.forget()

        sent = wire.send(2)
        assert wire.numbers(2) == list(sent)
        assert number(first) == 0


def test_received_and_dropped_are_what_was_sent(veth: tuple[str, str]) -> None:
    with line(veth) as wire:
        wire.send(10 * PER_BLOCK * SMALL.blocks)
        deadline = time.monotonic() + PATIENCE
        while wire.ring.packets + wire.statistics.dropped < wire.sent:
            wire.ring.receive(64)
            wire.statistics.update(wire.sock)
            assert time.monotonic() < deadline

        assert wire.statistics.dropped > 0
        assert wire.statistics.freezes > 0
        assert wire.ring.packets + wire.statistics.dropped == wire.sent
        assert wire.statistics.packets == wire.sent


def test_a_child_leaves_the_ring_to_its_parent(veth: tuple[str, str]) -> None:
    with line(veth) as wire:
        wire.send(3)
        batch = wire.take()

        def child() -> None:
            with pytest.raises(OSError, match="Bad file descriptor"):
                wire.ring.receive(1)
            nonlocal batch
            del batch
            wire.ring.close()

        in_child(child)
        wire.numbers(3 - len(batch))
        wire.turn_over()

        assert number(batch[0]) == 0


def test_an_error_of_the_link_is_told_once(veth: tuple[str, str]) -> None:
    from sandbox import links

    with line(veth) as wire:
        links.set_down(veth[1])
        with pytest.raises(OSError, match="Network is down"):
            wire.ring.receive(1)
        assert wire.ring.receive(1) == []


@pytest.mark.parametrize(
    ("block_size", "blocks"), [(0, 4), (4095, 4), (4096, 1), (4096, 0)]
)  # fmt: skip
def test_a_ring_that_cannot_be_is_refused(block_size: int, blocks: int) -> None:
    with pytest.raises(ValueError, match="at least 2 blocks of whole pages"):
        Ring(0, block_size=block_size, blocks=blocks)


def test_no_ring_is_mapped_where_none_was_made() -> None:
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock,
        pytest.raises(OSError, match="Invalid argument"),
    ):
        Ring(sock.fileno(), block_size=4096, blocks=4)


def test_vlan_tags_are_beside_the_bytes(veth: tuple[str, str]) -> None:
    with line(veth) as wire:
        bind_packet(wire.sock, socket.if_nametoindex(veth[1]), 3)
        tagged = frame(0)[:12] + struct.pack("!HH", 0x8100, 0x6007) + frame(0)[12:]
        wire.far.send(tagged)
        batch = wire.take()

        assert batch.vlan_tcis.tolist() == [0x6007]
        assert (batch[0].vlan_tci, batch[0].vlan_tpid) == (0x6007, 0x8100)
        assert batch[0].data == frame(0)


def test_nothing_is_left_open(veth: tuple[str, str]) -> None:
    before = descriptors()
    for _ in range(5):
        with line(veth) as wire:
            wire.send(1)
            wire.take()
    assert descriptors() == before
