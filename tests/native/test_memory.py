"""Over hundreds of thousands of packets, nothing is kept that the caller does not keep."""

import array
import contextlib
import gc
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aioprocket._system._native import (
    Delivery,
    Gatherer,
    Packet,
    Reader,
    Receiver,
    Sender,
    capture_read,
    capture_write,
)
from lab.forks import in_child
from lab.leaks import descriptors

SO_TIMESTAMPNS = 35  # asm-generic/socket.h
IP_RECVTTL = 12  # linux/in.h
PACKETS = 200_000
# A byte lost with each packet would be 200 kB; pages that the allocator keeps are some.
SLACK = 150_000


def resident() -> int:
    """Bytes of physical memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


def growth(action: Callable[[], None], rounds: int) -> int:
    """By how much memory has grown after the action has come to its steady state."""
    for _ in range(rounds // 4):
        action()
    gc.collect()
    before = resident()
    for _ in range(rounds):
        action()
    gc.collect()
    return resident() - before


@pytest.fixture
def looped() -> Iterator[socket.socket]:
    """A socket that sends to itself, with control messages of both sorts: kept and consumed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.connect(sock.getsockname())
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
        yield sock


def test_receiving_keeps_nothing(looped: socket.socket) -> None:
    receiver = Receiver(looped.fileno())

    def receive_50() -> None:
        for _ in range(50):
            looped.send(b"hello")
        packets = receiver.receive(64)
        assert len(packets) == 50
        assert packets[0].addr == packets[1].addr
        list(packets[2])

    assert growth(receive_50, PACKETS // 50) < SLACK


def test_capture_files_keep_nothing() -> None:
    packets = [Packet(bytes(60), vlan_tci=5) for _ in range(50)]
    room = bytearray(10_000)

    def there_and_back() -> None:
        end, _ = capture_write(room, 0, len(room), packets, 0, 50, 0, 0, 4096, 12, 3)
        read, at, *_ = capture_read(room, 0, 60, 0, struct.pack("=qII", 0, 0, 9), 1)
        assert (len(read), at) == (50, end)
        assert read[49].data
        with contextlib.suppress(TypeError):
            capture_write(room, 0, len(room), [*packets, b""], 0, 51, 0, 0, 4096, 12, 0)  # type: ignore[list-item]

    assert growth(there_and_back, PACKETS // 50) < SLACK


@pytest.mark.parametrize("datagrams", [False, True])
def test_dispatching_keeps_nothing(looped: socket.socket, datagrams: bool) -> None:
    receiver, delivery = Receiver(looped.fileno()), Delivery()
    delivery.credit = -1
    called = 0

    def callback(*arguments: object) -> None:
        nonlocal called
        called += 1
        if called % 100 == 40:
            delivery.interrupt()
        if called % 100 == 80:
            raise ZeroDivisionError

    def dispatch_50() -> None:
        for _ in range(50):
            looped.send(b"hello")
        until = called + 50
        while called < until:
            with contextlib.suppress(ZeroDivisionError):
                receiver.dispatch(delivery, callback, 64, datagrams, 10**12)

    assert growth(dispatch_50, PACKETS // 50) < SLACK


class Slow:
    """What a coroutine goes on with where there is no packet."""

    async def _receive_slowly(self, tried: bool, error: object) -> None:
        raise ZeroDivisionError


def test_awaiting_packets_keeps_nothing(looped: socket.socket) -> None:
    delivery, slow = Delivery(), Slow()
    reader = Reader(delivery, Receiver(looped.fileno()).receive, 64)

    def await_50() -> None:
        for _ in range(50):
            looped.send(b"hello")
        reader.turns = 1000
        for _ in range(50):
            with pytest.raises(StopIteration):
                reader.receive(slow).send(None)
        with pytest.raises(ZeroDivisionError):
            reader.receive(slow).send(None)
        reader.receive(slow).close()

    before = sys.getrefcount(slow)
    assert growth(await_50, PACKETS // 100) < SLACK
    assert sys.getrefcount(slow) == before


def test_gathering_keeps_nothing(looped: socket.socket) -> None:
    sender = Sender(looped.fileno())
    gatherer = Gatherer(sender, lambda data, addr: None)
    gatherer.open = True

    def gather_and_send_50() -> None:
        for number in range(50):
            gatherer.sendto(b"hello", ("127.0.0.1", 1024 + number))
            gatherer.sendto(bytearray(b"hello"))
        assert len(gatherer.take()[0]) == 50

    assert growth(gather_and_send_50, PACKETS // 50) < SLACK


def test_reading_a_device_keeps_nothing() -> None:
    device = os.open("/dev/zero", os.O_RDONLY | os.O_NONBLOCK)
    try:
        receiver = Receiver(device, size=100, socket=False)

        assert growth(lambda: [*receiver.receive(64)].clear(), PACKETS // 64) < SLACK
    finally:
        os.close(device)


def test_constructing_keeps_nothing() -> None:
    def construct() -> None:
        packet = Packet(b"abcd", ("192.0.2.1", 7), vlan_tci=5, ancdata=[(1, 2, b"x")])
        Packet(*packet.__getnewargs_ex__()[0], **packet.__getnewargs_ex__()[1])

    assert growth(construct, PACKETS // 2) < SLACK


def test_refused_arguments_are_not_kept() -> None:
    data, addr = bytes(range(100)), ("192.0.2.1", 7)
    before = sys.getrefcount(data), sys.getrefcount(addr)

    for _ in range(10):
        with pytest.raises(ValueError, match="direction"):
            Packet(data, addr, ancdata=[(1, 2, data)], direction="nowhere")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="ancdata"):
            Packet(data, addr, ancdata=[(1, 2, data), (3, 4)])  # type: ignore[list-item]

    assert (sys.getrefcount(data), sys.getrefcount(addr)) == before


def test_receivers_that_come_and_go_keep_nothing(looped: socket.socket) -> None:
    types_before = sys.getrefcount(Receiver), sys.getrefcount(Packet)

    def receive_by_a_new_one() -> None:
        looped.send(b"hello")
        [packet] = Receiver(looped.fileno()).receive(1)
        assert packet.data == b"hello"

    assert growth(receive_by_a_new_one, PACKETS // 10) < SLACK
    assert (sys.getrefcount(Receiver), sys.getrefcount(Packet)) == types_before


@pytest.mark.netns
def test_interface_names_are_not_lost(veth: tuple[str, str]) -> None:
    near, far = veth
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock,
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender,
    ):
        sock.bind((near, 0x0003))
        sender.bind((far, 0))

        def receive_by_a_new_one() -> None:
            sender.send(bytes(60))
            [packet] = Receiver(sock.fileno()).receive(1)
            assert packet.addr[0] == near

        assert growth(receive_by_a_new_one, PACKETS // 10) < SLACK


def test_idle_receiver_is_small(looped: socket.socket) -> None:
    assert sys.getsizeof(Receiver(looped.fileno())) < 1024


def test_descriptors_are_not_lost_when_memory_is() -> None:
    testcapi = pytest.importorskip("_testcapi", reason="this Python cannot fail allocations")

    def receive() -> None:
        sock, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        receiver = Receiver(sock.fileno())
        before = descriptors()
        failures = 0
        for allocations in range(50):
            for _ in range(3):
                socket.send_fds(sender, [b"hello"], [0, 1])
            testcapi.set_nomemory(allocations, allocations + 1)
            try:
                packets = receiver.receive(3)
            except MemoryError:
                failures += 1
                packets = []
            finally:
                testcapi.remove_mem_hooks()
            packets += receiver.receive(3)
            for packet in packets:
                for fd in array.array("i", packet.ancdata[0][2]):
                    os.close(fd)

        assert failures > 10
        assert descriptors() == before

    # Allocations fail in all threads of a process, and pytest-xdist's waits for work in ours.
    in_child(receive)


def test_sending_keeps_nothing(looped: socket.socket) -> None:
    sender = Sender(looped.fileno())
    address = looped.getsockname()
    items = (b"bytes", bytearray(b"view"), (b"pair", address), Packet(b"packet", address))
    wrong = (b"bytes", bytearray(b"view"), bytes(70_000), bytearray(70_000))

    def send_50() -> None:
        assert sender.send(items * 12, 0, True) == 48
        assert sender.send(wrong, 0, True) == 2
        assert sender.send((b"last", "text"), 0, True) == 1
        while True:
            try:
                looped.recv(1, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break

    assert growth(send_50, PACKETS // 50 // 4) < SLACK
