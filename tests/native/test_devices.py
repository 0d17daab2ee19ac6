import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from aioprocket._system._native import Batch, Packet, Receiver, Sender
from lab.traffic import frame
from sandbox import links

# linux/if_tun.h
TUNSETIFF = 0x400454CA
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000

Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Not a device, but a descriptor that is no socket, and has an end."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


def payloads(packets: list[Packet]) -> list[bytes]:
    return [packet.data for packet in packets]


def test_device_is_read_until_it_would_block(pipe: Pipe) -> None:
    reader, writer = pipe
    os.write(writer, b"abcdefg")
    receiver = Receiver(reader, size=3, socket=False)

    assert payloads(receiver.receive(64)) == [b"abc", b"def", b"g"]
    assert receiver.receive(64) == []
    assert (receiver.packets, receiver.bytes, receiver.truncated) == (3, 7, 0)


@pytest.mark.parametrize("count", [1, 64, 65, 150])
def test_device_is_read_count_times_at_most(pipe: Pipe, count: int) -> None:
    reader, writer = pipe
    os.write(writer, bytes(range(200)))
    receiver = Receiver(reader, size=1, socket=False)

    assert b"".join(payloads(receiver.receive(count))) == bytes(range(count))


def test_packet_of_a_device_has_data_and_length_only(pipe: Pipe) -> None:
    reader, writer = pipe
    os.write(writer, b"hello")

    [packet] = Receiver(reader, socket=False).receive(1)

    assert list(packet) == [b"hello", None, 0, 5, False, 0, None, None, "in", ()]


def test_end_of_file_is_raised_after_what_came_before_it() -> None:
    reader, writer = os.pipe2(os.O_NONBLOCK)
    try:
        os.write(writer, b"last")
        os.close(writer)
        receiver = Receiver(reader, socket=False)

        assert payloads(receiver.receive(64)) == [b"last"]
        for _ in range(2):
            with pytest.raises(EOFError, match="end of file"):
                receiver.receive(64)
    finally:
        os.close(reader)


def test_error_after_packets_is_kept_for_the_next_call() -> None:
    # Our own memory: reading beyond the end of a mapping is an EIO (proc(5)).
    descriptor = os.open("/proc/self/mem", os.O_RDONLY | os.O_NONBLOCK)
    try:
        page = os.sysconf("SC_PAGESIZE")
        start = end_of_a_mapping() - 2 * page
        os.lseek(descriptor, start, os.SEEK_SET)
        receiver = Receiver(descriptor, size=page, socket=False)

        assert [len(packet) for packet in receiver.receive(64)] == [page, page]
        os.lseek(descriptor, start, os.SEEK_SET)  # now the next read would do
        with pytest.raises(OSError, match="Input/output error") as raised:
            receiver.receive(64)
        assert [len(packet) for packet in receiver.receive(1)] == [page]
    finally:
        os.close(descriptor)

    assert raised.value.errno == errno.EIO


def end_of_a_mapping() -> int:
    """An address with at least two readable pages before and nothing behind it."""
    areas = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        bounds, permissions, *_ = line.split()
        start, end = (int(bound, 16) for bound in bounds.split("-"))
        areas.append((start, end, permissions))
    for (start, end, permissions), (next_start, _, _) in pairwise(areas):
        if permissions.startswith("r") and end - start >= 0x10000 and end < next_start:
            return end
    raise AssertionError("no gap in the address space")


def test_descriptor_that_would_block_is_refused() -> None:
    reader, writer = os.pipe()
    try:
        with pytest.raises(ValueError, match="must be non-blocking"):
            Receiver(reader, socket=False)
    finally:
        os.close(reader)
        os.close(writer)


def test_device_in_place_of_a_socket_is_refused(pipe: Pipe) -> None:
    with pytest.raises(OSError, match="Socket operation on non-socket") as raised:
        Receiver(pipe[0])

    assert raised.value.errno == errno.ENOTSOCK


def test_closed_device_is_refused() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)

    with pytest.raises(OSError, match="Bad file descriptor"):
        Receiver(reader, socket=False)


@pytest.mark.netns
def test_tap_gives_one_packet_for_each_frame(tun_device: Path) -> None:
    tap = os.open(tun_device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", b"aiotap", IFF_TAP | IFF_NO_PI))
        links.disable_ipv6("aiotap")
        links.set_up("aiotap")
        sent = [frame(number, size=60 + number) for number in range(100)]
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind(("aiotap", 0))
            for each in sent:
                sender.send(each)
        receiver = Receiver(tap, socket=False)

        packets = receiver.receive(64) + receiver.receive(64)
    finally:
        os.close(tap)

    assert payloads(packets) == sent


# In one piece


def written(writer: int, sizes: list[int]) -> list[bytes]:
    """Packets of these sizes, in a pipe that keeps them apart (O_DIRECT)."""
    packets = [bytes([at % 256]) * size for at, size in enumerate(sizes)]
    for packet in packets:
        assert os.write(writer, packet) == len(packet)
    return packets


@pytest.fixture
def device() -> Iterator[Pipe]:
    """A pipe of packets, with room for some hundred of them."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC | os.O_DIRECT)
    try:
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 1 << 20)
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize("sizes", [[1], [7, 60, 1], [64] * 64, [1400] * 64, [4096] * 3])
def test_packets_in_one_piece_are_those_that_were_written(device: Pipe, sizes: list[int]) -> None:
    reader, writer = device
    packets = written(writer, sizes)
    receiver = Receiver(reader, socket=False)

    batch = receiver.take(64)

    assert batch is not None
    assert payloads(list(batch)) == packets
    assert list(batch.lens) == list(batch.wire_lens) == sizes
    assert [
        bytes(batch.buffer[at : at + n]) for at, n in zip(batch.offsets, sizes, strict=True)
    ] == (packets)
    assert set(batch.timestamps_ns) == {0}
    assert set(batch.vlan_tcis) == {-1}
    assert list(batch.field(0, 1)) == [packet[0] for packet in packets]
    assert (receiver.packets, receiver.bytes) == (len(sizes), sum(sizes))
    assert receiver.take(64) is None


def test_a_packet_out_of_one_piece_is_as_any_of_a_device(device: Pipe) -> None:
    reader, writer = device
    os.write(writer, b"hello")

    batch = Receiver(reader, socket=False).take(1)

    assert batch is not None
    assert list(batch[0]) == [b"hello", None, 0, 5, False, 0, None, None, "in", ()]


@pytest.mark.parametrize("count", [1, 64, 65, 150])
def test_one_piece_has_count_packets_at_most(device: Pipe, count: int) -> None:
    reader, writer = device
    written(writer, [10] * 200)
    receiver = Receiver(reader, socket=False)

    batch = receiver.take(count)

    assert batch is not None
    assert len(batch) == count


def test_one_piece_ends_at_112_kib_and_nothing_is_lost(device: Pipe) -> None:
    reader, writer = device
    packets = written(writer, [4096] * 60)
    receiver = Receiver(reader, socket=False)
    found: list[bytes] = []

    while (batch := receiver.take(1000)) is not None:
        assert len(batch) <= 112 * 1024 // 4096
        found += payloads(list(batch))

    assert found == packets


@pytest.mark.parametrize("size", [64, 1400])
def test_what_is_kept_of_pieces_stays_as_it_is(device: Pipe, size: int) -> None:
    reader, writer = device
    receiver = Receiver(reader, socket=False)
    kept: list[object] = []
    wanted: list[bytes] = []

    for turn in range(12):  # more than there are memories to use again
        packets = [bytes([turn, at]) * (size // 2) for at in range(64)]
        for packet in packets:
            os.write(writer, packet)
        batch = receiver.take(64)
        assert batch is not None
        kept += [batch[3], memoryview(batch[5]), batch] if turn % 2 else [batch[3], batch[5]]
        wanted += [packets[3], packets[5], *([b"".join(packets)] if turn % 2 else [])]

    said = [b"".join(map(bytes, one)) if isinstance(one, Batch) else bytes(one) for one in kept]  # type: ignore[call-overload]
    assert said == wanted


def test_what_came_before_the_end_is_taken_in_one_piece_first() -> None:
    reader, writer = os.pipe2(os.O_NONBLOCK)
    try:
        os.write(writer, b"last")
        os.close(writer)
        receiver = Receiver(reader, socket=False)

        batch = receiver.take(64)

        assert batch is not None
        assert payloads(list(batch)) == [b"last"]
        for _ in range(2):
            with pytest.raises(EOFError, match="end of file"):
                receiver.take(64)
    finally:
        os.close(reader)


def test_one_piece_is_asked_for_by_a_number_of_packets(device: Pipe) -> None:
    receiver = Receiver(device[0], socket=False)

    with pytest.raises(ValueError, match="count must be at least 1, not 0"):
        receiver.take(0)


@pytest.mark.parametrize("size", [10, 1400])
def test_one_piece_goes_on_as_it_came(device: Pipe, size: int) -> None:
    reader, writer = device
    packets = written(writer, [size] * 100)
    batch = Receiver(reader, socket=False).take(100)
    assert batch is not None
    assert len(batch) >= 64
    sender = Sender(writer, socket=False)

    assert sender.send(batch, 3, False) == len(batch) - 3

    assert sender.failure == 0
    assert sender.packets == len(batch) - 3
    assert sender.bytes == (len(batch) - 3) * size
    receiver = Receiver(reader, socket=False)
    again = payloads(receiver.receive(100)) + payloads(receiver.receive(100))
    assert again == (packets[len(batch) :] + packets[3 : len(batch)])


def test_one_piece_ends_at_what_a_device_refuses(device: Pipe) -> None:
    reader, writer = device
    written(writer, [4000] * 20)
    batch = Receiver(reader, socket=False).take(20)
    assert batch is not None
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 1 << 15)  # room for 8 of them
    sender = Sender(writer, socket=False)

    taken = sender.send(batch, 0, False)

    assert 0 < taken < 20
    assert sender.failure == errno.EAGAIN
    assert sender.packets == taken


def test_one_piece_goes_to_a_socket(device: Pipe) -> None:
    reader, writer = device
    packets = written(writer, [100] * 200)
    batch = Receiver(reader, socket=False).take(200)
    assert batch is not None
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with near, far:
        sender = Sender(near.fileno())
        found: list[bytes] = []
        at = 0
        while at < len(batch):
            at += sender.send(batch, at, False)
            assert sender.failure in (0, errno.EAGAIN)
            found += payloads(Receiver(far.fileno()).receive(1000))
        assert found == packets
        assert sender.send(batch, len(batch), False) == 0
