"""Where a broker listens and who can start one, what it says then, and how it ends."""

import os
import select
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from helper_client import Kind, Reason, Session, Stage, open_request, run_helper
from lab.accounts import Unprivileged
from lab.brokers import (
    NOT_STARTED,
    POLICY_REFUSED,
    Broker,
    greets,
    pass_listener,
    running_broker,
    wait_for,
)
from lab.must import require
from sandbox.accounts import NOBODY

# A broker is a service of the machine: it needs accounts beside that of its client.
pytestmark = [pytest.mark.netns, pytest.mark.realroot]

FAILED: Final = 71


def test_it_ends_with_its_clients_when_it_is_told_to(broker: Broker) -> None:
    with broker.session() as client, broker.session() as other:
        client.granted(Kind.PACKET)
        broker.process.send_signal(signal.SIGTERM)
        assert broker.process.wait(20) == 0
        assert client.receive() is None
        assert other.receive() is None


def test_what_is_being_done_is_done_before_it_ends(broker: Broker) -> None:
    with broker.session() as client:
        child = Path(f"/proc/{broker.only_child()}/fd")
        idle = len(list(child.iterdir()))
        # Such a one waits 15 ms for packets of other processors.
        client.send(
            open_request(Kind.RAW4, protocol=socket.IPPROTO_ICMP, address=bytes([127, 0, 0, 1]))
        )
        # It may be done before we look.
        wait_for(lambda: len(list(child.iterdir())) > idle or _can_be_read(client))
        broker.process.send_signal(signal.SIGTERM)
        reply = client.receive()
        assert reply is not None
        assert reply.refusal == (Stage.OK, 0)
        assert broker.process.wait(20) == 0


def _can_be_read(session: Session) -> bool:
    return bool(select.select([session.line], [], [], 0)[0])


@pytest.mark.hostile(89)
def test_a_socket_that_a_broker_left_is_taken_over(helper_binary: Path, folder: Path) -> None:
    path = folder / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as gone:
        gone.bind(str(path))
    with running_broker(helper_binary, path) as broker:
        assert greets(broker)


@pytest.mark.hostile(89)
def test_a_second_broker_leaves_the_first_alone(broker: Broker, helper_binary: Path) -> None:
    run = _start_in_vain(helper_binary, str(broker.path))
    assert run.returncode == NOT_STARTED
    assert b"errno 98" in run.stderr
    assert greets(broker)


@pytest.mark.hostile(89)
def test_what_is_no_socket_stays(helper_binary: Path, folder: Path) -> None:
    (folder / "socket").write_text("mine")
    run = _start_in_vain(helper_binary, str(folder / "socket"))
    assert run.returncode == NOT_STARTED
    assert (folder / "socket").read_text() == "mine"


@pytest.mark.parametrize("path", ["relative", "", "/" + "x" * 107], ids=["relative", "", "long"])
def test_a_path_that_is_none_is_refused_in_words(helper_binary: Path, path: str) -> None:
    run = _start_in_vain(helper_binary, path)
    assert run.returncode == NOT_STARTED
    assert run.stderr.startswith(b"aioprocket-helper: the socket's path")


def _start_in_vain(helper: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    command = [str(helper), "--broker", *arguments]
    return subprocess.run(command, env={}, capture_output=True, timeout=20, check=False)


# Modes of a folder and of the one above it, and whether what lies there is believed.
FOLDERS: Final = [
    (0o755, 0o755, True),
    (0o777, 0o755, False),
    (0o1777, 0o755, False),
    (0o755, 0o777, False),
    (0o755, 0o775, False),
    (0o755, 0o1777, True),  # as /tmp: nobody can take away what is another's
]


@pytest.mark.parametrize(("own", "above", "good"), FOLDERS)
def test_a_folder_that_others_can_write_makes_it_deny_all(
    helper_binary: Path, stage: Path, own: int, above: int, good: bool
) -> None:
    with _folders(stage) as (outer, inner):
        inner.chmod(own)
        outer.chmod(above)
        with running_broker(helper_binary, inner / "socket") as broker, broker.session() as client:
            answered = client.open(Kind.PACKET)
    denied = (POLICY_REFUSED, Reason.FILE)
    assert (answered.refusal, answered.detail) == (((Stage.OK, 0), 0) if good else denied)


@pytest.mark.parametrize("whose", ["own", "above"])
def test_a_folder_that_is_another_accounts_makes_it_deny_all(
    helper_binary: Path, stage: Path, whose: str
) -> None:
    with _folders(stage) as (outer, inner):
        os.chown(inner if whose == "own" else outer, NOBODY, NOBODY)
        with running_broker(helper_binary, inner / "socket") as broker, broker.session() as client:
            denied = client.open(Kind.PACKET)
    assert (denied.refusal, denied.detail) == (POLICY_REFUSED, Reason.FILE)


def test_a_way_by_a_symbolic_link_makes_it_deny_all(helper_binary: Path, stage: Path) -> None:
    with _folders(stage) as (outer, inner):
        link = outer / "link"
        link.symlink_to(inner)
        with running_broker(helper_binary, link / "socket") as broker, broker.session() as client:
            denied = client.open(Kind.PACKET)
        link.unlink()
    assert (denied.refusal, denied.detail) == (POLICY_REFUSED, Reason.FILE)


@contextmanager
def _folders(stage: Path) -> Iterator[tuple[Path, Path]]:
    outer = stage / "outer"
    inner = outer / "inner"
    inner.mkdir(mode=0o755, parents=True)
    outer.chmod(0o755)
    try:
        yield outer, inner
    finally:
        shutil.rmtree(outer)


@pytest.mark.hostile(63)
def test_it_says_why_it_ends_also_to_a_file(helper_binary: Path, folder: Path) -> None:
    log = folder / "log"
    with log.open("wb") as file:
        status = run_helper([helper_binary, "--broker", "relative"], stderr=file, env={})
    assert status == NOT_STARTED
    assert "errno 22" in log.read_text()


@pytest.mark.hostile(62)
@pytest.mark.hostile(63)
@pytest.mark.parametrize("what", ["closed", "full pipe"])
def test_nobody_who_listens_to_it_is_no_trouble(
    helper_binary: Path, folder: Path, what: str
) -> None:
    folder.chmod(0o777)  # of which it has to complain
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        with open(writing, "wb", closefd=False, buffering=0) as pipe:
            while pipe.write(bytes(4096)) is not None:
                pass
        os.set_blocking(writing, True)
        command: list[str | Path] = [helper_binary]
        if what == "closed":
            command = ["/bin/sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh", helper_binary]
        with running_broker(command, folder / "socket", stderr=writing) as broker:
            assert greets(broker)
    finally:
        os.close(reading)
        os.close(writing)


@pytest.fixture
def listener(folder: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as made:
        made.bind(str(folder / "systemds"))
        (folder / "systemds").chmod(0o660)
        made.listen()
        yield made


def test_a_socket_is_taken_from_the_service_manager(
    helper_binary: Path, listener: socket.socket
) -> None:
    with pass_listener(helper_binary, listener) as broker, broker.session() as client:
        client.granted(Kind.PACKET)


def test_a_socket_that_everybody_can_connect_to_gives_nobody_anything(
    helper_binary: Path, listener: socket.socket, folder: Path
) -> None:
    (folder / "systemds").chmod(0o666)
    with pass_listener(helper_binary, listener) as broker, broker.session() as client:
        denied = client.open(Kind.PACKET)
        assert (denied.refusal, denied.detail) == (POLICY_REFUSED, Reason.EVERYBODY)


@pytest.mark.hostile(90)
@pytest.mark.parametrize(
    "changed",
    [{"LISTEN_FDS": "0"}, {"LISTEN_FDS": "2"}, {"LISTEN_FDS": "01"}, {"FORGED": "1"}],
    ids=["none", "two", "not a number", "another process's"],
)
def test_what_is_not_passed_to_it_is_left_alone(
    helper_binary: Path, listener: socket.socket, changed: dict[str, str]
) -> None:
    with pass_listener(helper_binary, listener, **changed) as broker:
        assert broker.process.wait(20) == NOT_STARTED
        assert broker.process.stderr is not None
        assert broker.process.stderr.read().startswith(b"aioprocket-helper: no path")


@pytest.mark.hostile(90)
@pytest.mark.parametrize("type", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_passed_socket_of_another_type_is_refused(
    helper_binary: Path, folder: Path, type: socket.SocketKind
) -> None:
    with socket.socket(socket.AF_UNIX, type) as wrong:
        wrong.bind(str(folder / "wrong"))
        if type == socket.SOCK_STREAM:
            wrong.listen()
        with pass_listener(helper_binary, wrong) as broker:
            assert broker.process.wait(20) == NOT_STARTED


@pytest.mark.hostile(87)
def test_an_abstract_name_is_no_place_for_a_broker(helper_binary: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as abstract:
        abstract.bind(f"\0aioprocket-test-{os.getpid()}")
        abstract.listen()
        with pass_listener(helper_binary, abstract) as broker:
            assert broker.process.wait(20) == FAILED


@pytest.mark.realroot
@pytest.mark.hostile(59)
@pytest.mark.parametrize("installed", ["setuid_helper", "caps_helper", "sudo_helper"])
def test_who_has_its_rights_from_it_can_start_none(
    installed: str, request: pytest.FixtureRequest, as_nobody: Unprivileged, folder: Path
) -> None:
    helper = request.getfixturevalue(installed)
    sudo = [require("sudo"), "-n"] if installed == "sudo_helper" else []
    os.chown(folder, NOBODY, NOBODY)

    def start() -> int:
        return run_helper([*sudo, helper, "--broker", folder / "mine"], stderr=subprocess.DEVNULL)

    assert as_nobody(start) == NOT_STARTED
    assert list(folder.iterdir()) == []


@pytest.mark.realroot
@pytest.mark.hostile(59)
def test_who_can_start_none_is_told_so_with_his_own_rights(
    setuid_helper: Path, as_nobody: Unprivileged, folder: Path
) -> None:
    log = folder / "log"
    log.touch()
    log.chmod(0o4666)

    def start() -> int:
        with log.open("ab") as file:
            return run_helper([setuid_helper, "--broker", folder / "mine"], stderr=file)

    assert as_nobody(start) == NOT_STARTED
    assert "without sudo" in log.read_text()
    # The kernel takes the bit off when somebody writes who is not privileged.
    assert log.stat().st_mode & 0o7777 == 0o666
