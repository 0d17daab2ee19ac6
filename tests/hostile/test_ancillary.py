"""Descriptors and other company of a message, and what becomes of them."""

import array
import os
import resource
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from helper_client import Kind, Stage, hello, open_request
from hostile.ways import ENDED_BY_CLIENT, ENDED_BY_HELPER, Way, as_account, as_caller, descriptors
from lab.brokers import running_broker

EPERM, EPROTO = 1, 71
PACKET = open_request(Kind.PACKET)
THERE = open_request(Kind.PACKET, namespace=True)
MEM = open_request(Kind.DEVICE, device="mem")
MOST: Final = 253  # SCM_MAX_FD, net/scm.h
SO_PASSPIDFD: Final = 76  # asm-generic/socket.h


@pytest.mark.parametrize(
    ("message", "count"),
    [
        pytest.param(PACKET, MOST, marks=pytest.mark.hostile(24), id="most, unwanted"),
        pytest.param(THERE, MOST, marks=pytest.mark.hostile(24), id="most, one wanted"),
        pytest.param(THERE, 2, marks=pytest.mark.hostile(25), id="two"),
        pytest.param(PACKET, 1, marks=pytest.mark.hostile(26), id="one, unwanted"),
        pytest.param(hello(), 1, marks=pytest.mark.hostile(26), id="with a second hello"),
    ],
)
def test_descriptors_that_are_not_wanted_are_nobodys(way: Way, message: bytes, count: int) -> None:
    reading, writing = os.pipe()
    try:
        with way.session() as running:
            assert running.ask(message, [writing] * count).refusal == (Stage.DECODE, EPROTO)
            assert running.receive() is None
            way.ended(running, ENDED_BY_HELPER)
    finally:
        os.close(writing)
        # The end of the pipe: nobody holds its other one any more.
        with open(reading, "rb") as pipe:
            assert pipe.read() == b""
    way.serves()


@pytest.mark.hostile(27)
@pytest.mark.parametrize("what", ["credentials", "process"])
def test_other_company_is_never_used(way: Way, what: str) -> None:
    option = socket.SO_PASSCRED if what == "credentials" else SO_PASSPIDFD
    if way.broker is None:
        with as_caller():
            pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # What the client can set on its own end only before it passes it on.
        pair[1].setsockopt(socket.SOL_SOCKET, option, 1)
        with way.session(greet=False, pair=pair) as running:
            assert running.ask(hello()).refusal == (Stage.DECODE, EPROTO)
            assert running.receive() is None
            way.ended(running, ENDED_BY_HELPER)
        return
    # Of a broker's connection it is the other end's to ask for; so it gets what is sent, and
    # nothing of who we say we are.
    with way.session() as running:
        lie = struct.pack("=3i", os.getpid(), 0, 0)
        company = [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, lie)]
        running.line.sendmsg([open_request(Kind.PACKET, mark=1)], company)
        reply = running.receive()
        assert reply is not None
        assert reply.stage is Stage.POLICY


def _opened(stack: ExitStack, path: str, flags: int = os.O_RDONLY) -> int:
    fd = os.open(path, flags)
    stack.callback(os.close, fd)
    return fd


def _fifo(stack: ExitStack, folder: Path) -> int:
    os.mkfifo(folder / "fifo")
    return _opened(stack, str(folder / "fifo"), os.O_RDWR)


def _memory(stack: ExitStack) -> int:
    fd = os.memfd_create("aioprocket-test")
    stack.callback(os.close, fd)
    return fd


def _socket(stack: ExitStack) -> int:
    return stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).fileno()


def _process(stack: ExitStack) -> int:
    fd = os.pidfd_open(os.getpid())
    stack.callback(os.close, fd)
    return fd


WRONG: dict[str, Callable[[ExitStack, Path], int]] = {
    "file": lambda stack, folder: _opened(stack, "/etc/passwd"),
    "folder": lambda stack, folder: _opened(stack, "/"),
    "null": lambda stack, folder: _opened(stack, "/dev/null"),
    "fifo": _fifo,
    "memory": lambda stack, folder: _memory(stack),
    "socket": lambda stack, folder: _socket(stack),
    "process": lambda stack, folder: _process(stack),
    **{
        f"{name} namespace": lambda stack, folder, name=name: _opened(  # type: ignore[misc]
            stack, f"/proc/self/ns/{name}"
        )
        for name in ("mnt", "user", "pid", "uts", "ipc", "cgroup", "time")
    },
    "path alone": lambda stack, folder: _opened(stack, "/proc/self/ns/net", os.O_PATH),
    "somebody else's network": lambda stack, folder: _opened(stack, "/proc/self/ns/net"),
}


@pytest.mark.hostile(28)
def test_what_is_no_network_of_the_callers_is_refused_with_one_error(
    way: Way, tmp_path: Path
) -> None:
    with ExitStack() as stack, way.session() as running:
        pid = way.worker(running)
        before = descriptors(pid)
        for name, make in WRONG.items():
            refused = running.ask(THERE, [make(stack, tmp_path)])
            assert refused.refusal == (Stage.NAMESPACE, EPERM), name
        running.ask(MEM)
        assert descriptors(pid) == before
        running.granted(Kind.TCP4, port=80)


@pytest.mark.hostile(29)
def test_a_client_without_room_gets_none_and_the_session_goes_on(way: Way) -> None:
    with way.session() as running:
        running.send(open_request(Kind.TCP4, port=80))
        with _full_table():
            data, rights, flags, _ = running.line.recvmsg(97, socket.CMSG_LEN(4))
        assert len(data) == 96
        assert not rights
        assert flags & socket.MSG_CTRUNC
        # The kernel has closed what could not be delivered: the port is free again.
        running.granted(Kind.TCP4, port=80, backlog=1)


@contextmanager
def _full_table() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


FILL = (
    "import os, resource, sys\n"
    "resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))\n"
    "for number in range(3, 1000): os.dup2(2, number)\n"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


@pytest.mark.hostile(30)
def test_a_full_table_that_it_inherits_is_emptied(
    way: Way, helper_binary: Path, stage: Path
) -> None:
    prefix = [sys.executable, "-I", "-c", FILL]
    if way.broker is None:
        # sudo closes what it was given, too.
        with way.session(prefix=prefix) as running:
            running.granted(Kind.PACKET)
            running.ask(MEM)
            assert len(descriptors(way.worker(running))) <= 5
        return
    path = way.broker.path.with_name("full")
    with running_broker([*prefix, helper_binary], path) as broker:
        assert len(descriptors(broker.process.pid)) == 3
        with broker.session() as client:
            client.granted(Kind.PACKET)


@pytest.mark.hostile(31)
def test_what_is_its_output_too_gets_replies_and_nothing_else(started: Way) -> None:
    with as_caller():
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    number = pair[1].fileno()

    def everywhere() -> None:
        os.dup2(number, 1)
        os.dup2(number, 2)

    with started.session(greet=False, pair=pair, before=everywhere) as running:
        assert running.ask(hello(id=9)).id == 9
        assert running.ask(MEM).stage is Stage.POLICY
        assert running.granted(Kind.PACKET, id=11).id == 11
        running.send(b"x")
        assert running.receive() is None


@pytest.mark.hostile(32)
def test_the_session_itself_is_no_network_and_leaves_nothing(way: Way) -> None:
    with way.session() as running:
        pid = way.worker(running)
        before = descriptors(pid)
        for _ in range(10):
            refused = running.ask(THERE, [running.line.fileno()])
            assert refused.refusal == (Stage.NAMESPACE, EPERM)
        running.ask(MEM)
        assert descriptors(pid) == before
        way.ended(running, ENDED_BY_CLIENT)


@pytest.mark.hostile(32)
def test_a_session_within_itself_ends_with_its_client(way: Way) -> None:
    # Sent and never read: only the kernel's collector finds such a ring.
    with way.session() as running:
        for _ in range(4):
            running.send(THERE, [running.line.fileno()])
        way.ended(running, ENDED_BY_CLIENT, ENDED_BY_HELPER)


@pytest.mark.hostile(33)
def test_what_was_granted_is_not_handed_on_to_programs(way: Way) -> None:
    with way.session() as running:
        opened = running.granted(Kind.PACKET)
        assert not os.get_inheritable(opened.fd)
        listed = subprocess.run(
            [sys.executable, "-I", "-c", "import os; print(*os.listdir('/proc/self/fd'))"],
            close_fds=False,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        assert str(opened.fd) not in listed.stdout.split()


@pytest.mark.hostile(34)
def test_more_in_flight_than_the_account_may_have_ends_the_session(way: Way) -> None:
    few = 8
    with way.session() as running, _many_in_flight(few + 4):
        pid = way.worker(running)
        limit = partial(resource.prlimit, pid, resource.RLIMIT_NOFILE, (few, few))
        as_account(limit)
        running.send(open_request(Kind.TCP4, port=80))
        assert running.receive() is None  # ETOOMANYREFS
        way.ended(running, ENDED_BY_HELPER)
    way.serves()


@contextmanager
def _many_in_flight(count: int) -> Iterator[None]:
    """Descriptors that the account has sent and nobody has received."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    def send() -> None:
        rights = array.array("i", [ours.fileno()] * count)
        ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])

    with ours, theirs:
        as_account(send)
        try:
            yield
        finally:
            _, rights, _, _ = theirs.recvmsg(1, socket.CMSG_LEN(4 * count))
            for fd in array.array("i", b"".join(value for _, _, value in rights)):
                os.close(fd)
