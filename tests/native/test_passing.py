"""A message that brings a descriptor, and the kind of a socket."""

import errno
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from aioprocket._system._native import receive_passed, socket_kind
from lab.forks import in_child
from lab.leaks import descriptors

Pair = tuple[socket.socket, socket.socket]

LONG_MS = 60_000


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


def send(sock: socket.socket, data: bytes, count: int) -> None:
    with open("/dev/null", "rb") as null:
        socket.send_fds(sock, [data], [null.fileno()] * count)


def receive(sock: socket.socket, size: int = 97, wait_ms: int = 0) -> tuple[bytes, int, bool]:
    received = receive_passed(sock.fileno(), size, wait_ms)
    assert received is not None
    return received


def test_message_without_a_descriptor_has_none(pair: Pair) -> None:
    pair[1].send(b"hello")

    assert receive(pair[0]) == (b"hello", -1, False)


def test_descriptor_is_the_callers_and_close_on_exec(pair: Pair) -> None:
    send(pair[1], b"hello", 1)

    data, fd, lost = receive(pair[0])
    assert (data, lost) == (b"hello", False)
    assert os.path.samestat(os.fstat(fd), Path("/dev/null").stat())
    assert not os.get_inheritable(fd)
    os.close(fd)


@pytest.mark.parametrize("count", [2, 3, 253])
def test_of_many_descriptors_one_is_kept_and_the_loss_is_told(pair: Pair, count: int) -> None:
    before = descriptors()
    send(pair[1], b"hello", count)

    _, fd, lost = receive(pair[0])
    assert lost
    assert descriptors().keys() - before.keys() == {fd}
    os.close(fd)


def test_nothing_to_receive_is_none(pair: Pair) -> None:
    assert receive_passed(pair[0].fileno(), 97, 0) is None
    assert receive_passed(pair[0].fileno(), 97, 1) is None


def test_message_that_comes_meanwhile_is_waited_for(pair: Pair) -> None:
    sender = threading.Timer(0.05, pair[1].send, [b"late"])
    sender.start()
    try:
        assert receive(pair[0], wait_ms=LONG_MS) == (b"late", -1, False)
    finally:
        sender.join()


def test_end_of_the_other_side_is_an_empty_message(pair: Pair) -> None:
    pair[1].close()

    assert receive(pair[0], wait_ms=LONG_MS) == (b"", -1, False)


def test_longer_message_is_cut_to_size(pair: Pair) -> None:
    pair[1].send(bytes(range(200)))

    assert receive(pair[0], 97)[0] == bytes(range(97))


def test_signal_handler_that_raises_ends_the_wait(pair: Pair) -> None:
    interrupted = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        if not interrupted:
            interrupted = True
            raise InterruptedError

    def wait_for_it() -> None:
        # Again and again: the first may come before the wait has begun.
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        receive_passed(pair[0].fileno(), 97, LONG_MS)

    def expect_it() -> None:
        signal.signal(signal.SIGALRM, interrupt)
        with pytest.raises(InterruptedError):
            wait_for_it()

    in_child(expect_it)  # in this process that timer is pytest-timeout's


@pytest.mark.parametrize("size", [-1, 257])
def test_size_that_cannot_be_is_refused(pair: Pair, size: int) -> None:
    with pytest.raises(ValueError, match="0 to 256"):
        receive_passed(pair[0].fileno(), size, 0)


def test_arguments_are_counted_and_are_ints(pair: Pair) -> None:
    wrong: list[tuple[object, ...]] = [(), (1,), (1, 2), (1, 2, 3, 4), ("1", 2, 3), (1 << 40, 2, 3)]
    for arguments in wrong:
        with pytest.raises((TypeError, OverflowError)):
            receive_passed(*arguments)  # type: ignore[arg-type]


def test_failure_has_its_errno() -> None:
    with open("/dev/null", "rb") as null:
        fd = null.fileno()
        for call in (lambda: receive_passed(fd, 97, 0), lambda: socket_kind(fd)):
            with pytest.raises(OSError, match=os.strerror(errno.ENOTSOCK)):
                call()


@pytest.mark.parametrize(
    ("family", "type", "protocol"),
    [
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP),
        (socket.AF_INET6, socket.SOCK_DGRAM, socket.IPPROTO_UDP),
        (socket.AF_UNIX, socket.SOCK_SEQPACKET, 0),
    ],
)
def test_kind_is_family_type_and_protocol(family: int, type: int, protocol: int) -> None:
    with socket.socket(family, type, protocol) as sock:
        assert socket_kind(sock.fileno()) == (family, type, protocol)
