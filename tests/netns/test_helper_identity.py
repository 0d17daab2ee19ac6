"""Who is calling, in every way of starting the helper, and what that caller gets."""

import ctypes
import errno
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from helper_client import Kind, Mode, Reason, Stage, hello, refused, session
from lab.accounts import Unprivileged
from lab.helpers import sudo_command
from lab.must import require
from sandbox.accounts import NOBODY
from sandbox.namespaces import Namespace

pytestmark = [pytest.mark.netns, pytest.mark.realroot]

EPERM: Final = 1
SO_NETNS_COOKIE: Final = 71
PR_SET_NO_NEW_PRIVS: Final = 38
BIND, ADMIN, RAW, SYS_ADMIN = (1 << bit for bit in (10, 12, 13, 21))  # linux/capability.h
NO_NEW_PRIVS, AT_SECURE = 1, 2
ICMP, IGMP = 1, 2

GRANTED: list[tuple[Kind, dict[str, Any]]] = [
    (Kind.PACKET, {}),
    (Kind.RAW4, {"protocol": ICMP}),
    (Kind.RAW6, {"protocol": 58}),
    (Kind.TCP4, {"port": 80, "backlog": 1}),
    (Kind.UDP6, {"port": 53}),
    (Kind.PACKET, {"priority": 7, "receive_buffer": 1 << 26}),
]
DENIED: list[tuple[Kind, dict[str, Any], Reason]] = [
    (Kind.RAW4, {"protocol": IGMP}, Reason.PROTOCOL),
    (Kind.TCP4, {"port": 8080}, Reason.PORT),
    (Kind.PACKET, {"mark": 1}, Reason.MARK),
    (Kind.PACKET, {"receive_buffer": (1 << 26) + 1}, Reason.BUFFER),
    (Kind.PACKET, {"priority": 8}, Reason.PRIORITY),
    (Kind.TUN, {"interface": "tun0"}, Reason.NAME),
    (Kind.TUN, {"addresses": [(4, 32, bytes([10, 0, 0, 1]))]}, Reason.ADDRESS),
    (Kind.DEVICE, {"device": "mem"}, Reason.DEVICE),
]


@contextmanager
def _copy(helper: Path, name: str) -> Iterator[Path]:
    copied = helper.with_name(name)
    shutil.copy(helper, copied)
    try:
        yield copied
    finally:
        copied.unlink()


def _greet(command: list[str] | Path, **options: Any) -> dict[str, int]:
    with session(command, greet=False, **options) as helper:
        greeting = helper.ask(hello())
        assert greeting.refusal == (Stage.OK, 0), greeting
        names = ("mode", "uid", "state", "capabilities")
        facts = {name: getattr(greeting, name) for name in names}
        return facts | {"state": greeting.state & (NO_NEW_PRIVS | AT_SECURE)}


def test_a_setuid_helper_knows_its_caller(setuid_helper: Path, as_nobody: Unprivileged) -> None:
    assert as_nobody(lambda: _greet(setuid_helper)) == {
        "mode": Mode.SETUID,
        "uid": NOBODY,
        "state": AT_SECURE,
        "capabilities": BIND | ADMIN | RAW | SYS_ADMIN,
    }


def test_a_helper_with_file_capabilities_knows_its_caller(
    caps_helper: Path, as_nobody: Unprivileged
) -> None:
    assert as_nobody(lambda: _greet(caps_helper)) == {
        "mode": Mode.CAPABILITIES,
        "uid": NOBODY,
        "state": AT_SECURE,
        "capabilities": BIND | ADMIN | RAW,
    }


def test_a_helper_behind_sudo_knows_its_caller(sudo_helper: Path, as_nobody: Unprivileged) -> None:
    assert as_nobody(lambda: _greet(sudo_command(sudo_helper))) == {
        "mode": Mode.SUDO,
        "uid": NOBODY,
        "state": 0,
        "capabilities": BIND | ADMIN | RAW | SYS_ADMIN,
    }


@pytest.mark.hostile(105)
def test_a_helper_without_privilege_has_none(setuid_helper: Path, as_nobody: Unprivileged) -> None:
    with _copy(setuid_helper, "plain") as plain:
        plain.chmod(0o755)
        assert as_nobody(lambda: _greet(plain)) == {
            "mode": Mode.PLAIN,
            "uid": NOBODY,
            "state": 0,
            "capabilities": 0,
        }
        assert as_nobody(lambda: refused(plain)) == ((Stage.SOCKET, EPERM), 0)
        assert as_nobody(lambda: refused(plain, Kind.UDP4, port=5353)) == ((Stage.OK, 0), 0)


@pytest.mark.hostile(69)
def test_no_new_privs_is_told(setuid_helper: Path, as_nobody: Unprivileged) -> None:
    def forbid() -> None:
        assert ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0

    greeting = as_nobody(lambda: _greet(setuid_helper, preexec=forbid))
    assert greeting["capabilities"] == 0
    assert greeting["state"] & NO_NEW_PRIVS


def test_the_built_in_set_is_granted(installed: list[str], as_nobody: Unprivileged) -> None:
    def ask() -> list[tuple[Stage, int]]:
        with session(installed) as helper:
            return [helper.open(kind, **fields).refusal for kind, fields in GRANTED]

    assert as_nobody(ask) == [(Stage.OK, 0)] * len(GRANTED)


@pytest.mark.parametrize(
    ("serves", "expected"),
    [("0.0.0.0", (Stage.BIND, errno.EADDRINUSE)), ("127.0.0.2", (Stage.OK, 0))],
    ids=["at all addresses", "at another address"],
)
@pytest.mark.parametrize("type", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
def test_a_low_port_is_had_where_nobody_serves_it(
    setuid_helper: Path,
    as_nobody: Unprivileged,
    type: socket.SocketKind,
    serves: str,
    expected: tuple[Stage, int],
) -> None:
    # SECURITY.md says so. The service shares whatever the kernel lets it share.
    stream = type == socket.SOCK_STREAM
    kind4, kind6 = (Kind.TCP4, Kind.TCP6) if stream else (Kind.UDP4, Kind.UDP6)
    fields: dict[str, Any] = {"port": 80, "reuse_port": True}

    def ask() -> Any:
        with session(setuid_helper) as helper:
            local = helper.open(kind4, address=bytes([127, 0, 0, 1]), **fields)
            return local.refusal, helper.open(kind6, **fields).refusal

    with socket.socket(socket.AF_INET, type) as service:
        service.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        service.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        service.bind((serves, 80))
        if stream:
            service.listen()
        assert as_nobody(ask) == (expected, (Stage.OK, 0))


@pytest.mark.hostile(38)
@pytest.mark.hostile(40)
@pytest.mark.hostile(47)
@pytest.mark.hostile(57)
def test_all_else_is_denied_with_its_reason(installed: list[str], as_nobody: Unprivileged) -> None:
    def ask() -> list[Any]:
        with session(installed) as helper:
            replies = [helper.open(kind, **fields) for kind, fields, _ in DENIED]
            return [(reply.refusal, reply.detail) for reply in replies]

    expected = [((Stage.POLICY, EPERM), int(reason)) for _, _, reason in DENIED]
    assert as_nobody(ask) == expected


def test_the_process_is_the_caller_for_good(installed: list[str], as_nobody: Unprivileged) -> None:
    def look() -> list[dict[str, str]]:
        with session(installed) as helper:
            found = [_status(pid) for pid in _with_children(helper.process.pid)]
            helper.granted(Kind.PACKET)
            return found

    helper = as_nobody(look)[-1]  # behind sudo, and behind the watcher of its terminal
    assert helper["Name"] == "aioprocket-help"
    assert helper["Uid"].split() == helper["Gid"].split() == [str(NOBODY)] * 4
    assert helper["Groups"] == ""
    assert int(helper["CapEff"], 16) == int(helper["CapInh"], 16) == 0
    assert int(helper["CapPrm"], 16) & ~(BIND | ADMIN | RAW | SYS_ADMIN) == 0
    assert helper["NoNewPrivs"] == "1"


@pytest.mark.hostile(72)
def test_the_caller_cannot_look_into_it(setuid_helper: Path, as_nobody: Unprivileged) -> None:
    def look() -> list[str]:
        with session(setuid_helper) as helper:
            folder = f"/proc/{helper.process.pid}"
            forbidden = []
            for name in ("fd", "environ", "mem", "maps"):
                try:
                    os.close(os.open(f"{folder}/{name}", os.O_RDONLY))
                except PermissionError:
                    forbidden.append(name)
            return forbidden

    assert as_nobody(look) == ["fd", "environ", "mem", "maps"]


@pytest.mark.hostile(60)
def test_the_environment_says_nothing_to_a_setuid_helper(
    setuid_helper: Path, as_nobody: Unprivileged, stage: Path
) -> None:
    library = stage / "preloaded.so"
    source = "__attribute__((constructor)) static void run(void) { *(volatile int *)0 = 1; }"
    subprocess.run(
        [require("gcc"), "-shared", "-fPIC", "-xc", "-", "-o", library],
        input=source.encode(),
        check=True,
    )
    lies = {
        "SUDO_UID": "0", "SUDO_GID": "0", "USER": "root", "LD_PRELOAD": str(library),
        "LD_LIBRARY_PATH": str(stage), "LISTEN_FDS": "1", "AIOPROCKET_HELPER": "sudo",
    }  # fmt: skip

    def ask() -> Any:
        with session(setuid_helper, environment=lies, greet=False) as helper:
            greeting = helper.greeted()
            denied = helper.open(Kind.PACKET, mark=1)
            return greeting.mode, greeting.uid, denied.detail

    assert as_nobody(ask) == (Mode.SETUID, NOBODY, Reason.MARK)


@pytest.mark.parametrize(("mode", "reason"), [
    (0o4755, Reason.EVERYBODY),
    (0o4770, Reason.FILE),
    (0o4752, Reason.FILE),
])  # fmt: skip
def test_a_setuid_helper_of_careless_mode_grants_nothing(
    setuid_helper: Path, as_nobody: Unprivileged, mode: int, reason: Reason
) -> None:
    with _copy(setuid_helper, "careless") as careless:
        os.chown(careless, 0, NOBODY)
        careless.chmod(mode)
        assert as_nobody(lambda: refused(careless)) == ((Stage.POLICY, EPERM), reason)


def test_a_helper_with_capabilities_that_is_not_roots_grants_nothing(
    caps_helper: Path, as_nobody: Unprivileged
) -> None:
    with _copy(caps_helper, "foreign") as foreign:
        os.chown(foreign, 1, NOBODY)
        foreign.chmod(0o750)
        name = "security.capability"
        os.setxattr(foreign, name, os.getxattr(caps_helper, name))
        assert as_nobody(lambda: refused(foreign)) == ((Stage.POLICY, EPERM), Reason.FILE)


@pytest.mark.hostile(82)
def test_a_socket_that_somebody_else_made_is_refused(
    installed: list[str], as_nobody: Unprivileged
) -> None:
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def ask() -> Any:
        with session(installed, greet=False, pair=pair) as helper:
            refused = helper.ask(hello()).refusal
            return refused, helper.process.wait(20)

    with pair[0], pair[1]:
        assert as_nobody(ask) == ((Stage.IDENTITY, EPERM), 1)


@pytest.mark.parametrize(
    "claim",
    [None, "", "0", "1", "abc", "0xfffe", "065534", "+65534", " 65534", "65534 ", "65534x",
     "-2", "4294967295", "18446744073709617150", "9" * 100_000],
    ids=lambda claim: str(claim)[:24] or "empty",
)  # fmt: skip
@pytest.mark.hostile(92, "sudo")
def test_root_whose_client_is_not_root_needs_a_true_sudo_uid(
    helper_binary: Path, claim: str | None
) -> None:
    environment = {} if claim is None else {"SUDO_UID": claim}
    with session(
        helper_binary, greet=False, environment=environment, pair=_pair_of(NOBODY)
    ) as helper:
        assert helper.ask(hello()).refusal == (Stage.IDENTITY, EPERM)
        assert helper.receive() is None


@pytest.mark.hostile(95, "sudo")
def test_root_may_have_what_the_built_in_set_has_not(helper_binary: Path) -> None:
    # As sudo starts it for root.
    with session(helper_binary, greet=False, environment={"SUDO_UID": "0"}) as helper:
        greeting = helper.greeted()
        assert (greeting.mode, greeting.uid) == (Mode.SUDO, 0)
        helper.granted(Kind.RAW4, protocol=IGMP, mark=1, priority=9)


@pytest.mark.hostile(94)
def test_a_helper_behind_sudo_ends_with_its_client(
    sudo_helper: Path, as_nobody: Unprivileged
) -> None:
    def kill_sudo() -> int:
        with session(sudo_command(sudo_helper)) as helper:
            pids = _with_children(helper.process.pid)
            helper.line.close()
            helper.process.wait(20)
            return sum(Path(f"/proc/{pid}").exists() for pid in pids)

    assert as_nobody(kill_sudo) == 0


def test_a_namespace_of_somebody_else_is_refused(
    installed: list[str], as_nobody: Unprivileged, namespace: Namespace
) -> None:
    def ask() -> Any:
        with session(installed) as helper:
            return helper.open(Kind.PACKET, [namespace.fd], namespace=True).refusal

    assert as_nobody(ask) == (Stage.NAMESPACE, EPERM)


def test_a_namespace_of_the_caller_is_entered(setuid_helper: Path, as_nobody: Unprivileged) -> None:
    def ask() -> tuple[bytes, bytes]:
        with _own_network() as (network, cookie), session(setuid_helper) as helper:
            opened = helper.granted_socket(Kind.PACKET, [network], namespace=True)
            with opened:
                return opened.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), cookie

    found, there = as_nobody(ask)
    assert found == there


def test_without_the_capability_the_callers_namespace_is_refused_too(
    caps_helper: Path, as_nobody: Unprivileged
) -> None:
    def ask() -> Any:
        with _own_network() as (network, _), session(caps_helper) as helper:
            return helper.open(Kind.PACKET, [network], namespace=True).refusal

    assert as_nobody(ask) == (Stage.NAMESPACE, EPERM)


@contextmanager
def _own_network() -> Iterator[tuple[int, bytes]]:
    """A network of a user namespace of the caller's, and its cookie."""
    program = (
        "import socket, sys; from sandbox.namespaces import enter_private; enter_private();"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
        f"print(s.getsockopt(socket.SOL_SOCKET, {SO_NETNS_COOKIE}, 8).hex(), flush=True);"
        "sys.stdin.read()"
    )
    path = os.pathsep.join(sys.path)
    with subprocess.Popen(
        [sys.executable, "-P", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": path},
    ) as child:
        assert child.stdout is not None
        cookie = bytes.fromhex(child.stdout.readline().decode())
        network = os.open(f"/proc/{child.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield network, cookie
        finally:
            os.close(network)


def _pair_of(uid: int) -> tuple[socket.socket, socket.socket]:
    """A socketpair that this account seems to have made: SO_PEERCRED takes the effective id."""
    os.seteuid(uid)
    try:
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    finally:
        os.seteuid(0)


def _with_children(pid: int) -> list[int]:
    """A process and all below it, parents first."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
