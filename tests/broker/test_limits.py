"""What clients cannot do to a broker: how many there may be, and what each may cost."""

import errno
import os
import resource
import signal
import socket
import struct
from contextlib import ExitStack
from pathlib import Path

import pytest

from helper_client import Kind, Reason, Stage, hello, open_request
from lab.accounts import Unprivileged
from lab.brokers import (
    GRANTED,
    OF_ONE,
    Broker,
    connect,
    greets,
    is_closed,
    wait_for,
)
from sandbox import kernel
from sandbox.accounts import NOBODY

# A broker is a service of the machine: it needs accounts beside that of its client.
pytestmark = [pytest.mark.netns, pytest.mark.realroot]


@pytest.mark.hostile(78)
def test_one_account_has_so_many_connections_and_others_are_served(
    broker: Broker, as_nobody: Unprivileged, is_root: bool
) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(connect(broker.path)) for _ in range(OF_ONE)]
        wait_for(lambda: len(broker.children()) == OF_ONE)
        with connect(broker.path) as one_more:
            reply = one_more.recv(96)
            assert struct.unpack_from("<HH", reply, 8) == (1, Stage.POLICY)
            assert struct.unpack_from("<IH", reply, 16) == (errno.EUSERS, Reason.LIMIT)
            assert is_closed(one_more)
        if is_root:
            os.chown(broker.path, 0, NOBODY)
            assert as_nobody(lambda: greets(broker))
        for line in silent[:2]:
            line.close()
        wait_for(lambda: len(broker.children()) == OF_ONE - 2)
        assert greets(broker)


@pytest.mark.hostile(78)
def test_subordinate_accounts_are_one_owners(private_etc: Path, broker: Broker) -> None:
    Path("/etc/subuid").write_text("alice:100000:65536\n")
    os.chmod(broker.path, 0o666)
    with ExitStack() as stack:
        for uid in range(100000, 100000 + OF_ONE):
            stack.enter_context(_connect_as(uid, broker))
        wait_for(lambda: len(broker.children()) == OF_ONE)
        with _connect_as(100000 + OF_ONE, broker) as one_more:
            reply = one_more.recv(96)
            assert struct.unpack_from("<IH", reply, 16) == (errno.EUSERS, Reason.LIMIT)
            assert is_closed(one_more)
        # Who is of another range, or of none, is another.
        for uid in (99999, 165536, NOBODY):
            with _connect_as(uid, broker) as other:
                other.send(hello())
                assert struct.unpack_from("<H", other.recv(96), 10)[0] == Stage.OK


def _connect_as(uid: int, broker: Broker) -> socket.socket:
    """SO_PEERCRED shows the effective ids of who connected."""
    os.seteuid(uid)
    try:
        return connect(broker.path)
    finally:
        os.seteuid(0)
        kernel.set_dumpable()


@pytest.mark.hostile(73)
def test_a_child_that_its_client_stops_is_ended(
    for_nobody: Broker, as_nobody: Unprivileged
) -> None:
    def stop() -> bool:
        with for_nobody.session() as client:
            os.kill(for_nobody.only_child(), signal.SIGSTOP)
            return client.receive() is None

    assert as_nobody(stop)
    wait_for(lambda: for_nobody.children() == [])
    assert greets(for_nobody)


def test_a_child_that_is_killed_counts_no_more(broker: Broker) -> None:
    with ExitStack() as stack:
        lines = [stack.enter_context(connect(broker.path)) for _ in range(OF_ONE)]
        wait_for(lambda: len(broker.children()) == OF_ONE)
        for child in broker.children():
            os.kill(child, signal.SIGKILL)
        assert all(is_closed(line) for line in lines)
        wait_for(lambda: broker.children() == [])
        assert greets(broker)


@pytest.mark.realroot
@pytest.mark.hostile(88)
@pytest.mark.parametrize("room", [0, 1], ids=["for nothing", "for the connection alone"])
def test_without_a_descriptor_to_spare_it_waits_and_goes_on(broker: Broker, room: int) -> None:
    pid = broker.process.pid
    usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    # Beside those that it has.
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3 + room, usual[1]))
    with connect(broker.path) as line:
        line.send(hello())
        line.settimeout(0.3)  # three of its moments
        with pytest.raises(TimeoutError):
            line.recv(96)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
        line.settimeout(20)
        assert len(line.recv(96)) == 96


@pytest.mark.hostile(79)
def test_a_storm_of_connections_leaves_nothing_behind(broker: Broker) -> None:
    before = _descriptors(broker)
    for number in range(200):
        line = connect(broker.path)
        if number % 3 == 0:
            line.send(open_request(Kind.PACKET))
        line.close()
    wait_for(lambda: broker.children() == [])
    assert greets(broker)
    wait_for(lambda: broker.children() == [])
    assert _descriptors(broker) == before


def _descriptors(broker: Broker) -> list[str]:
    folder = Path(f"/proc/{broker.process.pid}/fd")
    try:
        return sorted(os.readlink(fd) for fd in folder.iterdir())
    except PermissionError:  # not real root
        return []


@pytest.mark.parametrize(
    "message",
    [b"x", bytes(128), b"\xff" * 200, hello(version=9), open_request(Kind.PACKET), bytes(200_000)],
    ids=["short", "zeros", "ones", "version", "open first", "long"],
)
def test_nonsense_ends_one_session_and_not_the_broker(broker: Broker, message: bytes) -> None:
    with broker.session(greet=False) as bad, open("/dev/null", "rb") as extra:
        bad.send(message, [extra.fileno()] * 200)
        while bad.receive() is not None:
            pass
    assert greets(broker)


@pytest.mark.realroot  # which may look at the memory of a process that is not dumpable
def test_a_connection_costs_less_than_a_mebibyte(broker: Broker) -> None:
    with broker.session() as client:
        for kind, fields in GRANTED:
            client.granted(kind, **fields)
        longest = [(6, 0, 0, 1)] * 4000
        client.granted(Kind.PACKET, filter=longest)
        child = broker.only_child()
        lines = Path(f"/proc/{child}/smaps_rollup").read_text().splitlines()
        sizes = {line.split()[0]: int(line.split()[1]) for line in lines[1:]}
        of_its_own = sizes["Private_Dirty:"] + sizes["Private_Clean:"]
        page_tables = _kilobytes(child, "VmPTE")
        assert of_its_own + page_tables + 32 < 1024  # 32: the kernel's stack and task


def _kilobytes(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    [value] = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(value)


@pytest.mark.realroot
def test_where_memory_ends_a_child_goes_first(broker: Broker) -> None:
    with broker.session():
        child = broker.only_child()
        assert Path(f"/proc/{child}/oom_score_adj").read_text() == "500\n"
