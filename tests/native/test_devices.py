import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from aioprocket._system._native import Packet, Receiver
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
