"""Packets and files for the tests of capture files."""

import os
import resource
import signal
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aioprocket import Packet
from aioprocket.pcapng import Reader
from aioprocket.wire.options import ByteOrder
from aioprocket.wire.pcapng import (
    Block,
    EnhancedPacket,
    InterfaceDescription,
    SectionHeader,
    parse_block,
)

SMALL = 1500  # a snaplen, so that a queue of two packets is small
START = 1_700_000_000_123_456_789  # nanoseconds: the last digits are lost in microseconds

# An ARP request, 42 bytes: short, and understood by every tool.
ARP = bytes.fromhex(
    "ffffffffffff 020000000001 0806 0001080006040001 020000000001 c0000201 000000000000 c0000202"
)


def packet(number: int = 0, size: int = 60, **facts: object) -> Packet:
    """An Ethernet frame that carries its number in its last four bytes, one per microsecond."""
    data = ARP.ljust(size - 4, b"\0") + number.to_bytes(4, "big")
    return Packet(data, timestamp_ns=START + number * 1000, **facts)  # type: ignore[arg-type]


def number_of(packet: Packet) -> int:
    return int.from_bytes(packet.data[-4:], "big")


def numbers(path: str | Path) -> list[int]:
    """The numbers of the packets in a file."""
    return [number_of(packet) for packet in Reader(path)]


def blocks(path: str | Path) -> list[Block]:
    return list(Reader(path).blocks())


def split(data: bytes, order: ByteOrder = "little") -> Iterator[tuple[int, Block]]:
    """Where each block of a file ends, and what it is."""
    at = 0
    while at < len(data):
        found = parse_block(data, at, order)
        assert found is not None
        block, at = found
        yield at, block


def section(
    *rest: EnhancedPacket | InterfaceDescription | bytes, order: ByteOrder = "little"
) -> bytes:
    """A section of a file."""
    parts = [each if isinstance(each, bytes) else each.emit(order) for each in rest]
    return b"".join([SectionHeader(order=order).emit(), *parts])


def raw_block(kind: int, body: bytes, order: ByteOrder = "little") -> bytes:
    """A block with any body at all."""
    size = struct.pack("<I" if order == "little" else ">I", len(body) + 12)
    return kind.to_bytes(4, order) + size + body + size


@contextmanager
def stuck_pipe(folder: Path) -> Iterator[tuple[Path, int]]:
    """A pipe with a name, and its end for reading, from which nobody reads yet."""
    path = folder / "pipe"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(fd, True)
    try:
        yield path, fd
    finally:
        os.close(fd)


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file of this process grows beyond so many bytes (setrlimit(2))."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    # Python takes a module that it could write in part for one that it has compiled.
    writes_none, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        sys.dont_write_bytecode = writes_none
        signal.signal(signal.SIGXFSZ, handler)


def drain(fd: int) -> bytes:
    """All that comes out of a pipe until its other end is closed."""
    parts = []
    while data := os.read(fd, 1 << 16):
        parts.append(data)
    return b"".join(parts)
