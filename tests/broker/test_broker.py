"""The broker: who its clients are, what they get, and what they cannot do to it."""

import errno
import os
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from helper_client import Kind, Reason, Session, Stage, hello, open_request, run_helper
from lab.brokers import Broker, connect, pass_listener, running_broker, wait_for
from lab.must import require
from lab.policies import hide_etc
from sandbox import kernel
from sandbox.namespaces import Namespace

# A broker is a service of the machine: it needs accounts beside that of its client.
pytestmark = [pytest.mark.netns, pytest.mark.realroot]

NOBODY: Final = 65534
BROKER: Final = 5  # helper/PROTOCOL.md, mode
OF_ONE: Final = 64  # connections, helper/broker.c
NOT_STARTED, FAILED = 64, 71
POLICY_REFUSED = (Stage.POLICY, errno.EPERM)
ICMP = 1
SYS_ADMIN: Final = 1 << 21

Unprivileged = Callable[[Callable[[], Any]], Any]


@pytest.fixture
def folder(stage: Path) -> Iterator[Path]:
    made = stage / "broker"
    made.mkdir(mode=0o755)
    try:
        yield made
    finally:
        for left in made.iterdir():
            left.unlink()
        made.rmdir()


@pytest.fixture
def broker(helper_binary: Path, folder: Path) -> Iterator[Broker]:
    with running_broker(helper_binary, folder / "socket") as running:
        yield running


@pytest.fixture
def for_nobody(broker: Broker) -> Broker:
    os.chown(broker.path, 0, NOBODY)  # whose group it is may connect
    return broker


def test_only_its_group_may_connect(broker: Broker) -> None:
    assert broker.path.stat().st_mode & 0o777 == 0o660


@pytest.mark.realroot
def test_a_client_is_known_by_his_account(for_nobody: Broker, as_nobody: Unprivileged) -> None:
    def look() -> Any:
        with for_nobody.session(greet=False) as client:
            greeting = client.greeted()
            child = for_nobody.only_child()
            lines = Path(f"/proc/{child}/status").read_text().splitlines()
            status = dict(line.split(":\t", 1) for line in lines)
            names = ("Uid", "Gid", "CapEff", "CapInh", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")
            return greeting.mode, greeting.uid, [status[name].split() for name in names]

    nothing, nobody = ["0" * 16], [str(NOBODY)] * 4
    expected = [nobody, nobody, nothing, nothing, nothing, nothing, ["1"], ["2"]]
    assert as_nobody(look) == (BROKER, NOBODY, expected)


@pytest.mark.realroot
def test_nobody_else_gets_in(broker: Broker, as_nobody: Unprivileged) -> None:
    with pytest.raises(PermissionError):
        as_nobody(lambda: connect(broker.path))


GRANTED: list[tuple[Kind, dict[str, Any]]] = [
    (Kind.PACKET, {"interface": "lo", "lock": True}),
    (Kind.RAW4, {"protocol": ICMP}),
    (Kind.RAW6, {"protocol": 58}),
    (Kind.TCP4, {"port": 80, "backlog": 1}),
    (Kind.UDP6, {"port": 53}),
]
DENIED: list[tuple[Kind, dict[str, Any], Reason]] = [
    (Kind.RAW4, {"protocol": 2}, Reason.PROTOCOL),
    (Kind.TCP4, {"port": 8080}, Reason.PORT),
    (Kind.PACKET, {"mark": 1}, Reason.MARK),
    (Kind.DEVICE, {"device": "mem"}, Reason.DEVICE),
]


# Also root, for root of a container without capabilities is uid 0 as well.
def test_the_built_in_set_is_granted_and_nothing_else(broker: Broker) -> None:
    with broker.session() as client:
        for kind, fields in GRANTED:
            client.granted(kind, **fields)
        for kind, fields, reason in DENIED:
            denied = client.open(kind, **fields)
            assert (denied.refusal, denied.detail) == (POLICY_REFUSED, reason)


def test_what_is_served_is_in_the_network_of_the_client(
    broker: Broker, namespace: Namespace
) -> None:
    with broker.session() as client, client.granted_socket(Kind.PACKET) as here:
        assert _network_of(here) == _network_here()
    with namespace.entered():
        there = _network_here()
        with broker.session() as client:
            opened = [client.granted_socket(kind, **fields) for kind, fields in GRANTED]
    with ExitStack() as stack:
        assert {_network_of(stack.enter_context(one)) for one in opened} == {there}


def test_a_device_does_not_reach_another_network_by_accident(
    broker: Broker, namespace: Namespace, tun_device: Path
) -> None:
    devices: list[tuple[Kind, dict[str, Any]]] = [
        (Kind.TUN, {}),
        (Kind.TAP, {}),
        (Kind.DEVICE, {"device": "net/tun"}),
    ]
    with namespace.entered(), broker.session() as client:
        for kind, fields in devices:
            denied = client.open(kind, **fields)
            assert (denied.refusal, denied.detail) == (POLICY_REFUSED, Reason.KIND)


def test_a_network_that_two_witnesses_disagree_on_is_nobodys(
    broker: Broker, namespace: Namespace
) -> None:
    # A socket of this network, used by a process of another.
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with line, namespace.entered():
        line.settimeout(20)
        line.connect(str(broker.path))
        _assert_lost(line)


@pytest.mark.hostile(85)
def test_a_process_that_is_gone_has_no_network(broker: Broker) -> None:
    # The broker is held until the client has ended, and another has its connection.
    broker.process.send_signal(signal.SIGSTOP)
    try:
        line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        line.settimeout(20)
        pid = os.posix_spawn(
            require("python3"),
            ["python3", "-c", "import socket, sys; socket.socket(fileno=3).connect(sys.argv[1])",
             str(broker.path)],
            {},
            file_actions=[(os.POSIX_SPAWN_DUP2, line.fileno(), 3)],
        )  # fmt: skip
        assert os.waitpid(pid, 0)[1] == 0
    finally:
        broker.process.send_signal(signal.SIGCONT)
    with line:
        _assert_lost(line)


@pytest.mark.hostile(84)
@pytest.mark.hostile(108)
@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_kernel_that_knows_no_process_of_a_peer_serves_this_network_alone(
    helper_binary: Path, folder: Path, namespace: Namespace, tmp_path: Path, where: str
) -> None:
    # Of a child's questions to getsockopt(2), SO_PEERPIDFD is the third.
    fault = "inject=getsockopt:error=ENOPROTOOPT:when=3"
    traced = [
        require("strace"),
        "-D",
        "-f",
        "-o",
        str(tmp_path / "trace"),
        "-e",
        "trace=getsockopt",
    ]
    with running_broker([*traced, "-e", fault, str(helper_binary)], folder / "socket") as broker:
        if where == "here":
            with broker.session() as client:
                client.granted(Kind.PACKET)
        else:
            with namespace.entered(), connect(broker.path) as line:
                _assert_lost(line)
    made = [line for line in (tmp_path / "trace").read_text().splitlines() if "INJECTED" in line]
    assert made
    assert all("SO_PEERPIDFD" in line or "0x4d" in line for line in made)


def _assert_lost(line: socket.socket) -> None:
    line.send(hello())
    reply = line.recv(96)
    stage, error = struct.unpack_from("<H", reply, 10)[0], struct.unpack_from("<I", reply, 16)[0]
    assert (stage, error) == (Stage.NAMESPACE, errno.EPERM)
    assert line.recv(96) == b""


def test_the_hosts_network_is_no_containers_by_a_descriptor(
    broker: Broker, namespace: Namespace
) -> None:
    # Both belong to uid 0, and so does this client.
    with open("/proc/self/ns/net", "rb") as host, namespace.entered(), broker.session() as client:
        refused = client.open(Kind.PACKET, [host.fileno()], namespace=True)
        assert refused.refusal == (Stage.NAMESPACE, errno.EPERM)


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
            assert _is_closed(one_more)
        if is_root:
            os.chown(broker.path, 0, NOBODY)
            assert as_nobody(lambda: _greets(broker))
        for line in silent[:2]:
            line.close()
        wait_for(lambda: len(broker.children()) == OF_ONE - 2)
        assert _greets(broker)


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
            assert _is_closed(one_more)
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
    assert _greets(for_nobody)


def _greets(broker: Broker) -> bool:
    with broker.session(greet=False) as client:
        return client.ask(hello()).refusal == (Stage.OK, 0)


def _is_closed(line: socket.socket) -> bool:
    try:
        return line.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_child_that_is_killed_counts_no_more(broker: Broker) -> None:
    with ExitStack() as stack:
        lines = [stack.enter_context(connect(broker.path)) for _ in range(OF_ONE)]
        wait_for(lambda: len(broker.children()) == OF_ONE)
        for child in broker.children():
            os.kill(child, signal.SIGKILL)
        assert all(_is_closed(line) for line in lines)
        wait_for(lambda: broker.children() == [])
        assert _greets(broker)


@pytest.mark.realroot
@pytest.mark.hostile(88)
def test_without_a_descriptor_to_spare_it_waits_and_goes_on(broker: Broker) -> None:
    pid = broker.process.pid
    usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, usual[1]))  # those that it has
    with connect(broker.path) as line:
        line.send(hello())
        line.settimeout(0.3)  # three of its moments
        with pytest.raises(TimeoutError):
            line.recv(96)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
        line.settimeout(20)
        assert len(line.recv(96)) == 96


@pytest.mark.realroot
@pytest.mark.hostile(80)
@pytest.mark.hostile(81)
@pytest.mark.hostile(82)
def test_a_session_stays_with_the_account_that_connected(
    broker: Broker, as_nobody: Unprivileged
) -> None:
    with broker.session(greet=False) as client:
        assert as_nobody(lambda: client.greeted().uid) == 0
        client.granted(Kind.PACKET)


@pytest.mark.hostile(79)
def test_a_storm_of_connections_leaves_nothing_behind(broker: Broker) -> None:
    before = _descriptors(broker)
    for number in range(200):
        line = connect(broker.path)
        if number % 3 == 0:
            line.send(open_request(Kind.PACKET))
        line.close()
    wait_for(lambda: broker.children() == [])
    assert _greets(broker)
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
    assert _greets(broker)


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
        client.send(open_request(Kind.RAW4, protocol=ICMP, address=bytes([127, 0, 0, 1])))
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
        assert _greets(broker)


@pytest.mark.hostile(89)
def test_a_second_broker_leaves_the_first_alone(broker: Broker, helper_binary: Path) -> None:
    run = _start_in_vain(helper_binary, str(broker.path))
    assert run.returncode == NOT_STARTED
    assert b"errno 98" in run.stderr
    assert _greets(broker)


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
            assert _greets(broker)
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


@pytest.mark.realroot
def test_root_keeps_no_way_into_networks_that_no_rule_lets_it_use(broker: Broker) -> None:
    def kept() -> int:
        with broker.session():
            child = broker.only_child()
            lines = Path(f"/proc/{child}/status").read_text().splitlines()
            return int(dict(line.split(":\t", 1) for line in lines)["CapPrm"], 16)

    with hide_etc() as etc:
        policy = etc / "policy"
        for places, way_in in (("host", 0), ("host,own", SYS_ADMIN)):
            policy.write_text(f"version 1\nallow uid=0 packet netns={places}\n")
            policy.chmod(0o644)
            assert kept() & SYS_ADMIN == way_in


# Root of a container has what it takes to raise the device's MTU no more than others have.
def test_roots_device_is_not_too_small_for_ipv6(broker: Broker, tun_device: Path) -> None:
    with broker.session() as client:
        assert client.open(Kind.TUN, mtu=1279).refusal == (Stage.ADDRESS, errno.EPERM)
        client.granted(Kind.TUN, mtu=1280)


@pytest.mark.realroot
@pytest.mark.hostile(83)
def test_an_id_of_no_account_of_ours_is_nobodys(helper_binary: Path, folder: Path) -> None:
    # Of a broker in a user namespace that knows root alone, all others are the same.
    apart = [require("unshare"), "--user", "--map-root-user", str(helper_binary)]
    with running_broker(apart, folder / "socket") as broker:
        broker.path.chmod(0o666)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.setresgid(1234, 1234, 1234)
                os.setresuid(1234, 1234, 1234)
                kernel.set_dumpable()
                with broker.session(greet=False) as client:
                    refusal = client.ask(hello()).refusal
                    status = 0 if refusal == (Stage.IDENTITY, errno.EPERM) else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


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


def _network_of(opened: socket.socket) -> bytes:
    return opened.getsockopt(socket.SOL_SOCKET, 71, 8)  # SO_NETNS_COOKIE


def _network_here() -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as local:
        return _network_of(local)


def test_requests_are_refused_one_by_one_and_the_session_goes_on(broker: Broker) -> None:
    with broker.session() as client:
        _refuse_and_go_on(client)


def _refuse_and_go_on(client: Session) -> None:
    assert client.open(Kind.PACKET, interface="nosuch0").stage is Stage.INTERFACE
    client.granted(Kind.PACKET)
