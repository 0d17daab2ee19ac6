"""Clients that leave, fall silent, are many, or are not who they seem."""

import os
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final, NoReturn

import pytest

from helper_client import Kind, Session, Stage, hello, open_request
from hostile.ways import (
    ENDED_BY_CLIENT,
    ENDED_BY_HELPER,
    STRANGER,
    Way,
    as_account,
    as_caller,
    descriptors,
    resident,
)
from lab.brokers import connect, wait_for
from sandbox.accounts import NOBODY
from sandbox.namespaces import Namespace

EPERM = 1
MEM = open_request(Kind.DEVICE, device="mem")
SYN = open_request(Kind.TCP4, port=80)
OF_ONE: Final = 64  # connections, helper/broker.c


@pytest.mark.hostile(75)
def test_a_client_that_leaves_before_its_reply_is_no_trouble(way: Way) -> None:
    for count in range(1, 17):
        with way.session() as running:
            for _ in range(count):
                running.send(SYN)
            way.ended(running, ENDED_BY_CLIENT, ENDED_BY_HELPER)
    way.serves()
    with way.session() as running:
        # Nobody holds the port of a reply that nobody took.
        running.granted(Kind.TCP4, port=80, backlog=1)


@pytest.mark.hostile(76)
def test_a_client_that_only_reads_on_gets_its_last_reply(way: Way) -> None:
    with way.session() as running:
        for number in (1, 2, 3):
            running.send(open_request(Kind.TCP4, id=number))
        running.send(open_request(Kind.PACKET, id=4))
        running.line.shutdown(socket.SHUT_WR)
        replies = [running.receive() for _ in range(4)]
        assert [reply and (reply.id, reply.stage) for reply in replies] == [
            (1, Stage.POLICY), (2, Stage.POLICY), (3, Stage.POLICY), (4, Stage.OK),
        ]  # fmt: skip
        assert running.receive() is None
        way.ended(running, ENDED_BY_CLIENT)


def _send_for_ever(running: Session) -> NoReturn:
    while True:
        running.send(open_request(Kind.PACKET))


@pytest.mark.hostile(77)
def test_a_client_that_never_reads_is_left(way: Way) -> None:
    with way.session() as running:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            _send_for_ever(running)
        way.ended(running, ENDED_BY_HELPER)
    way.serves()


@pytest.mark.hostile(78)
def test_a_thousand_connections_are_sent_away_and_a_few_wait(of_broker: Way) -> None:
    broker = of_broker.running
    before, memory = descriptors(broker.process.pid), resident(broker.process.pid)
    with ExitStack() as stack:
        with as_caller():
            silent = [stack.enter_context(connect(broker.path)) for _ in range(OF_ONE)]
        wait_for(lambda: len(broker.children()) == OF_ONE)
        refused = 0
        for _ in range(1000):
            with as_caller():
                line = connect(broker.path)
            with line:
                refused += struct.unpack_from("<H", line.recv(96), 10)[0] == Stage.POLICY
        assert refused == 1000
        # Each had a child to tell it so.
        wait_for(lambda: len(broker.children()) == OF_ONE)
        # Meanwhile another account is served.
        with broker.session() as other:
            other.granted(Kind.PACKET)
        for line in silent:
            line.close()
        wait_for(lambda: broker.children() == [])
    assert descriptors(broker.process.pid) == before
    assert resident(broker.process.pid) <= memory + (64 << 10)
    of_broker.serves()


@contextmanager
def _lingering() -> Iterator[socket.socket]:
    """A socket whose last close takes a minute: its peer reads nothing while this is entered."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as sender,
        listener.accept()[0],
    ):
        sender.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                sender.send(bytes(1 << 16))
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
        yield sender


@pytest.mark.hostile(109)
def test_a_socket_that_lingers_in_a_refused_connection_keeps_nobody_waiting(
    of_broker: Way,
) -> None:
    broker = of_broker.running
    with ExitStack() as stack:
        with as_caller():
            for _ in range(OF_ONE):
                stack.enter_context(connect(broker.path))
        wait_for(lambda: len(broker.children()) == OF_ONE)
        sender = stack.enter_context(_lingering())
        # Its sender is gone before the broker sees the connection, which has the last one then.
        os.kill(broker.process.pid, signal.SIGSTOP)
        with as_caller():
            line = connect(broker.path)
        socket.send_fds(line, [b"x"], [sender.fileno()])
        sender.close()
        line.close()
        os.kill(broker.process.pid, signal.SIGCONT)
        with broker.session() as other:
            other.granted(Kind.PACKET)


@pytest.mark.hostile(79)
def test_a_storm_of_sessions_leaves_nothing(way: Way) -> None:
    # With pauses: each of them ends a filter of the kernel's.
    for number in range(40):
        with way.session(greet=False) as running:
            if number % 3:
                running.send(hello())
            if number % 3 == 2:
                running.send(SYN)
    if way.broker is not None:
        broker = way.broker.process.pid
        # It may still be at connections of which no child has been made.
        wait_for(lambda: way.running.children() == [] and len(descriptors(broker)) == 3)
    way.serves()


@pytest.mark.hostile(80)
def test_two_processes_of_one_session_get_what_its_maker_may_have(way: Way) -> None:
    with way.session() as running:

        def other_half() -> list[int]:
            return [running.ask(MEM).stage, running.granted(Kind.TCP4, port=81).stage]

        assert as_account(other_half) == [Stage.POLICY, Stage.OK]
        running.granted(Kind.TCP4, port=80)


def _as(uid: int, function: Any) -> int:
    """Call it in a child of that account; the child's exit status."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            status = 0 if function() else 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.hostile(81)
@pytest.mark.hostile(82)
def test_a_session_is_its_makers_whoever_speaks(way: Way) -> None:
    with way.session(greet=False) as running:
        assert _as(STRANGER, lambda: running.greeted().uid == NOBODY) == 0
        assert _as(STRANGER, lambda: running.open(Kind.PACKET, mark=1).stage == Stage.POLICY) == 0


@pytest.mark.hostile(82)
def test_a_socket_that_another_account_made_is_refused(way: Way) -> None:
    if way.broker is not None:
        # Whoever connects is the client: there is no other socket to pass.
        line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with line:
            line.settimeout(20)
            path = str(way.broker.path)
            as_account(lambda: line.connect(path))
            line.send(hello())
            reply = line.recv(96)
            stage, uid = (
                struct.unpack_from("<H", reply, 10)[0],
                struct.unpack_from("<I", reply, 60)[0],
            )
            # The account that connected; unless its process was gone, and with it its network.
            assert (stage, uid) in ((Stage.OK, NOBODY), (Stage.NAMESPACE, 0))
        return
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # root's
    with way.session(greet=False, pair=pair) as running:
        assert running.ask(hello()).refusal == (Stage.IDENTITY, EPERM)
        assert running.receive() is None
        way.ended(running, ENDED_BY_HELPER)


@pytest.mark.hostile(84)
def test_a_socket_is_of_the_network_of_its_client(way: Way, namespace: Namespace) -> None:
    cookie = 71  # SO_NETNS_COOKIE
    with namespace.entered():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as local:
            there = local.getsockopt(socket.SOL_SOCKET, cookie, 8)
        with way.session() as running, running.granted_socket(Kind.PACKET) as opened:
            assert opened.getsockopt(socket.SOL_SOCKET, cookie, 8) == there


@pytest.mark.hostile(86)
def test_nobody_puts_another_socket_in_place_of_the_brokers(of_broker: Way) -> None:
    folder = of_broker.running.path.parent
    # Root's alone: the account can put nothing there, and take nothing away.
    for tried in (
        lambda: os.symlink("/tmp/other", folder / "new"),
        lambda: os.unlink(folder / "socket"),
        lambda: os.rename(folder / "socket", folder / "old"),
    ):
        with pytest.raises(PermissionError):
            as_account(tried)


@pytest.mark.hostile(85)
def test_a_process_that_is_gone_is_no_witness(of_broker: Way) -> None:
    # It connected, and left its connection to this one, which is not it, whatever its number.
    os.kill(of_broker.running.process.pid, signal.SIGSTOP)
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with line:
        line.settimeout(20)
        path = str(of_broker.running.path)
        assert _as(NOBODY, lambda: line.connect_ex(path) == 0) == 0
        os.kill(of_broker.running.process.pid, signal.SIGCONT)
        line.send(hello())
        assert struct.unpack_from("<H", line.recv(96), 10)[0] == Stage.NAMESPACE
