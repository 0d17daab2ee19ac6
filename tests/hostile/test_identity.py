"""Who is calling, and where the helper cannot know enough to grant anything."""

import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from helper_client import BY_FILE, Kind, Mode, Reason, Session, Stage, hello, open_request, session
from hostile.ways import BROKER, Way, as_account, as_caller, become_caller
from lab.brokers import running_broker, wait_for
from lab.must import require
from sandbox import kernel
from sandbox.accounts import NOBODY

pytestmark = [pytest.mark.netns, pytest.mark.realroot]

EPERM: Final = 1
IGMP: Final = 2
MS_RDONLY_BIND = kernel.MS_BIND | kernel.MS_REMOUNT | kernel.MS_RDONLY


def pair_of_caller() -> tuple[socket.socket, socket.socket]:
    with as_caller():
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def refused(running: Session) -> None:
    assert running.ask(hello()).refusal == (Stage.IDENTITY, EPERM)
    assert running.receive() is None
    assert running.close() == 1


@pytest.mark.hostile(91, "sudo")
def test_a_socket_of_roots_is_not_the_callers_by_sudo(sudo_helper: Path) -> None:
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [require("sudo"), "-n", str(sudo_helper)]
    with session(command, greet=False, pair=pair, preexec=become_caller) as running:
        refused(running)


@pytest.mark.hostile(91, "sudo")
@pytest.mark.parametrize("claim", ["1000", "65534", "1"])
def test_what_sudo_says_must_be_true_of_the_socket(helper_binary: Path, claim: str) -> None:
    with session(helper_binary, greet=False, environment={"SUDO_UID": claim}) as running:
        refused(running)


@pytest.mark.hostile(92, "sudo")
@pytest.mark.parametrize("claim", ["", "x", "4294967295", "0x0", "0x10", "00", "-1", "65534\n"])
def test_what_is_no_number_of_an_account_is_nobodys(helper_binary: Path, claim: str) -> None:
    pair = pair_of_caller()
    environment = {"SUDO_UID": claim}
    with session(helper_binary, greet=False, environment=environment, pair=pair) as running:
        refused(running)


@contextmanager
def sudo_rules(stage: Path, helper: Path, *defaults: str, tag: str = "") -> Iterator[None]:
    """Rules of another administrator, who is more careless."""
    file = stage / "careless"
    lines = [*(f"Defaults {each}\n" for each in defaults),
             f"#{NOBODY} ALL=(root) {tag}NOPASSWD: {helper}\n"]  # fmt: skip
    file.write_text("".join(lines))
    file.chmod(0o440)
    kernel.mount(str(file), "/etc/sudoers", None, kernel.MS_BIND)
    try:
        yield
    finally:
        kernel.unmount("/etc/sudoers")
        file.unlink()


@pytest.mark.hostile(93)
def test_careless_rules_of_sudo_change_nothing(sudo_helper: Path, stage: Path) -> None:
    lies = {"SUDO_UID": "0", "SUDO_GID": "0", "LD_PRELOAD": "/nowhere/x.so", "PATH": "/nowhere"}
    sudo = require("sudo")
    ways: list[list[str]] = [
        [sudo, "-n", str(sudo_helper)],
        [sudo, "-n", "-C", "100", str(sudo_helper)],
        [sudo, "-n", "-E", str(sudo_helper)],
        [sudo, "-n", "SUDO_UID=0", "LISTEN_FDS=1", str(sudo_helper)],
    ]
    careless = ("!env_reset", "closefrom_override", 'env_keep += "SUDO_UID LD_PRELOAD LISTEN_FDS"')
    with sudo_rules(stage, sudo_helper, *careless, tag="SETENV: "):
        for command in ways:
            with (
                open("/dev/zero", "rb") as extra,
                session(
                    command,
                    greet=False,
                    pair=pair_of_caller(),
                    environment=lies,
                    preexec=become_caller,
                    pass_fds=[extra.fileno()],
                ) as running,
            ):
                reply = running.ask(hello())
                # What sudo lets through of SUDO_UID can only make it refuse.
                if reply.stage is Stage.IDENTITY:
                    continue
                assert (reply.mode, reply.uid) == (Mode.SUDO, NOBODY)
                assert running.open(Kind.PACKET, mark=1).stage is Stage.POLICY


@pytest.mark.hostile(94)
def test_without_its_sudo_it_ends_with_its_client(sudo_helper: Path) -> None:
    command = [require("sudo"), "-n", str(sudo_helper)]
    with session(command, pair=pair_of_caller(), preexec=become_caller) as running:
        below = [running.process.pid]
        for each in below:
            found = Path(f"/proc/{each}/task/{each}/children").read_text().split()
            below += map(int, found)
        assert len(below) > 1
        for sudo in below[:-1]:
            os.kill(sudo, signal.SIGKILL)
        running.process.wait(20)
        running.line.close()
        wait_for(lambda: not Path(f"/proc/{below[-1]}").exists())


@pytest.mark.hostile(95)
def test_root_itself_has_roots_rights(setuid_helper: Path, policy_file: Path) -> None:
    policy_file.write_text("version 1\n")
    policy_file.chmod(0o644)
    with session(setuid_helper, greet=False) as running:
        assert running.greeted().uid == 0
        running.granted(Kind.RAW4, protocol=IGMP, mark=1)


@pytest.mark.hostile(105)
def test_a_copy_has_no_privilege(bits: Way, tmp_path: Path) -> None:
    original = bits.command[0]
    folder = Path(original).parents[1] / "copies"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    copy = folder / "helper"

    def take() -> None:
        shutil.copy(original, copy)
        copy.chmod(0o6755)

    try:
        # It may be executed by its group, and so read.
        as_account(take)
        mine = Way(bits.name, (str(copy),))
        with mine.session(greet=False) as running:
            greeting = running.greeted()
            assert greeting.capabilities == 0
            assert running.open(Kind.PACKET).refusal == (Stage.SOCKET, EPERM)
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    "fake",
    [
        pytest.param(False, marks=pytest.mark.hostile(70), id="of one's own"),
        pytest.param(True, marks=pytest.mark.hostile(71), id="with a policy of one's own"),
    ],
)
def test_root_of_a_user_namespace_is_nobody_here(bits: Way, policy_file: Path, fake: bool) -> None:
    policy_file.write_text(f"version 1\nallow uid={NOBODY} packet\n")
    policy_file.chmod(0o644)

    def apart() -> None:
        kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {NOBODY} 1")
        Path("/proc/self/gid_map").write_text(f"0 {NOBODY} 1")
        if fake:
            kernel.mount("tmpfs", "/etc/aioprocket", "tmpfs", 0, "mode=0755")
            policy_file.write_text("version 1\nallow all raw4 proto=0-255 netns=own,host\n")

    with bits.session(preexec=apart) as running:
        for message in (open_request(Kind.RAW4, protocol=IGMP), open_request(Kind.PACKET)):
            refusal = running.ask(message).refusal
            # The kernel's answer where the policy has none: this network is the host's.
            assert refusal in ((Stage.SOCKET, EPERM), (Stage.POLICY, EPERM))


def without(what: str) -> Callable[[], None]:
    """In a process of root's: from there on, something of the system is not there."""

    def change() -> None:
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
        if what == "read-only root":
            kernel.mount("/", "/", None, kernel.MS_BIND | kernel.MS_REC)
            kernel.mount(None, "/", None, MS_RDONLY_BIND)
        else:
            kernel.mount("tmpfs", what, "tmpfs", 0, "mode=0755")

    return change


@pytest.mark.hostile(107)
@pytest.mark.parametrize("what", ["/proc", "/dev", "read-only root"])
def test_where_something_is_missing_it_fails_closed_or_serves(way: Way, what: str) -> None:
    if way.broker is not None:
        helper = str(way.running.process.args[0])  # type: ignore[index]
        prefix = [sys.executable, "-P", "-c", _prefix(what)]
        other = way.running.path.with_name("without")
        with running_broker([*prefix, helper], other) as broker:
            os.chown(other, 0, NOBODY)
            with Way(BROKER, (), broker).session(greet=False) as running:
                _judge(running, what)
        return
    with way.session(greet=False, before=without(what)) as running:
        _judge(running, what)


def _prefix(what: str) -> str:
    folder = str(Path(__file__).parents[1])
    demo = str(Path(__file__).parents[2] / "demo")
    return (
        f"import sys, os; sys.path[:0] = [{folder!r}, {demo!r}]\n"
        f"from hostile.test_identity import without; without({what!r})()\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )


def _judge(running: Session, what: str) -> None:
    greeting = running.ask(hello())
    if what == "/proc":
        # Whether the uid of nobody is an account's, or that of all that have none here; what the
        # helper's own file is: both stay unknown.
        assert greeting.refusal == (Stage.IDENTITY, EPERM)
        return
    assert greeting.refusal == (Stage.OK, 0)
    assert running.open(Kind.PACKET).refusal == (Stage.OK, 0)
    if what == "/dev":
        assert running.open(Kind.TUN).stage in (Stage.DEVICE, Stage.POLICY)


@pytest.mark.hostile(107)
def test_without_proc_an_account_that_is_known_gets_nothing_either(
    everybodys_helper: Path, policy_file: Path
) -> None:
    policy_file.write_text(f"version 1\nallow uid={NOBODY + 1} packet\n")
    policy_file.chmod(0o644)
    account = NOBODY + 1

    def become() -> None:
        without("/proc")()
        os.setgroups([])
        os.setresgid(account, account, account)
        os.setresuid(account, account, account)

    os.seteuid(account)
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    os.seteuid(0)
    with session(everybodys_helper, pair=pair, preexec=become) as running:
        denied = running.open(Kind.PACKET)
        assert (denied.stage, denied.detail & ~BY_FILE) == (Stage.POLICY, Reason.FILE)
