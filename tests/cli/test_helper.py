"""``aioprocket helper``: typed by an ordinary user on a machine that is thrown away."""

import grp
import json
import os
import pty
import pwd
import re
import select
import shlex
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from aioprocket.helper import helper_path
from aioprocket.helper.install import CAPABILITIES
from aioprocket.helper.locate import BROKER_SOCKET as SOCKET_PATH
from aioprocket.policy import POLICY_PATH
from lab.brokers import running_broker
from lab.commands import aioprocket
from lab.machine import ALICE, INSTALLED, Completed, Machine
from lab.must import require
from sandbox import kernel

pytestmark = [pytest.mark.netns, pytest.mark.realroot]

NOBODY = 65534
BROKER_SOCKET = Path(SOCKET_PATH)
SYSTEM_PROGRAMS = (
    "/usr/bin/install, /usr/sbin/setcap, /usr/bin/rm, /usr/bin/systemctl, /usr/bin/kill"
)
UNITS = [
    Path("/etc/systemd/system/aioprocket").with_suffix(kind) for kind in (".socket", ".service")
]
MS_NOSUID = 2  # linux/mount.h


@pytest.fixture
def alice(machine: Machine) -> Machine:
    """Alice may run install, setcap and rm as root and nothing else, and is in the group."""
    require("sudo")
    machine.permit(f"{ALICE} ALL=(root) NOPASSWD: {SYSTEM_PROGRAMS}")
    machine.root(f"groupadd --system aioprocket && usermod -aG aioprocket {ALICE}")
    return machine


def good(done: Completed) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def bad(done: Completed, status: int = 2) -> str:
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def shown(output: str) -> list[list[str]]:
    return [shlex.split(line[2:]) for line in output.splitlines() if line.startswith("$ ")]


def facts() -> tuple[int, int, int, bool]:
    status = INSTALLED.lstat()
    caps = "security.capability" in os.listxattr(INSTALLED)
    return status.st_uid, status.st_gid, status.st_mode & 0o7777, caps


@pytest.mark.parametrize("use_pty", ["use_pty", "!use_pty"])
@pytest.mark.parametrize("mode", ["setuid", "caps"])
def test_one_command_installs_and_opens_a_socket(mode: str, use_pty: str, alice: Machine) -> None:
    alice.permit(f"Defaults {use_pty}")
    output = good(alice.aioprocket("helper", "install", "--mode", mode))

    words = f"it works, {mode}, for the group aioprocket: a raw socket for ICMP was opened\n"
    assert words in output
    gid = Path("/etc/group").read_text().partition("\naioprocket:x:")[2].partition(":")[0]
    expected = (0, int(gid), 0o4750, False) if mode == "setuid" else (0, int(gid), 0o750, True)
    assert facts() == expected
    for sudo, separator, program, *_ in shown(output):
        assert (sudo, separator) == ("/usr/bin/sudo", "--")
        assert program in SYSTEM_PROGRAMS.split(", ")


def test_install_says_what_it_tried_where_the_policy_grants_something_else(alice: Machine) -> None:
    POLICY_PATH.parent.mkdir()
    POLICY_PATH.write_text("version 1\nallow all tcp port=80\n")
    POLICY_PATH.chmod(0o644)
    refused = (
        "a raw socket for ICMP was asked for{}, and refused, for the policy grants tcp port=80"
    )

    output = good(alice.aioprocket("helper", "install"))
    again = good(aioprocket("helper", "install"))

    words = f"it answers, setuid, for the group aioprocket: {refused}: that was not tried\n"
    assert words.format("") in output
    assert words.format(f", as uid {NOBODY} in that group") in again


def test_the_folder_is_made_where_it_is_missing(alice: Machine) -> None:
    INSTALLED.parent.rmdir()
    good(alice.aioprocket("helper", "install"))

    assert INSTALLED.parent.stat().st_mode & 0o7777 == 0o755


def test_a_dry_run_shows_and_changes_nothing(alice: Machine) -> None:
    output = good(alice.aioprocket("helper", "install", "--dry-run", "--mode", "caps"))

    assert [command[2] for command in shown(output)] == ["/usr/bin/install", "/usr/sbin/setcap"]
    assert not INSTALLED.exists()


def test_installing_twice_is_installing_once(alice: Machine) -> None:
    good(alice.aioprocket("helper", "install"))
    before = INSTALLED.stat()
    output = good(alice.aioprocket("helper", "install"))

    assert "nothing to do" in output
    assert shown(output) == []
    assert INSTALLED.stat().st_ino == before.st_ino


def test_a_group_that_is_missing_is_made_by_the_commands_it_names(machine: Machine) -> None:
    machine.permit(f"{ALICE} ALL=(root) NOPASSWD: {SYSTEM_PROGRAMS}")
    said = bad(machine.aioprocket("helper", "install", "--group", "ring0"))

    assert not INSTALLED.exists()
    commands = re.findall(r"^  (sudo .*)$", said, re.MULTILINE)
    assert [command.split()[1] for command in commands] == ["groupadd", "usermod"]
    assert "log in again" in said
    for command in commands:
        machine.root(command)
    assert "it works" in good(machine.aioprocket("helper", "install", "--group", "ring0"))


def test_who_has_not_joined_is_told_how_to(alice: Machine) -> None:
    output = good(alice.aioprocket("helper", "install", groups=[]))
    assert "joined after you logged in" in output
    assert "log in again" in output

    alice.root(f"gpasswd -d {ALICE} aioprocket")
    output = good(alice.aioprocket("helper", "install"))
    assert f"sudo usermod -aG aioprocket {ALICE}" in output


def test_mode_and_group_stay_as_they_were_and_that_is_said(alice: Machine) -> None:
    alice.root(f"groupadd ring0 && usermod -aG ring0 {ALICE}")
    good(alice.aioprocket("helper", "install", "--group", "ring0", "--mode", "caps"))
    before = facts()
    INSTALLED.write_bytes(b"old")  # which takes the capabilities away
    alice.root(f"setcap {CAPABILITIES} {INSTALLED}")
    output = good(alice.aioprocket("helper", "install"))

    assert "mode caps is kept: --mode setuid changes it" in output
    assert "group ring0 is kept: --group aioprocket changes it" in output
    assert facts() == before

    output = good(
        alice.aioprocket("helper", "install", "--mode", "setuid", "--group", "aioprocket")
    )
    assert "kept" not in output
    assert facts()[2:] == (0o4750, False)


def test_one_for_sudo_gets_no_privilege_unasked(alice: Machine) -> None:
    good(alice.aioprocket("helper", "install", "--mode", "plain"))
    assert facts() == (0, 0, 0o755, False)
    INSTALLED.write_bytes(b"old")

    output = good(alice.aioprocket("helper", "install"))
    assert "stays without privilege" in output
    assert facts() == (0, 0, 0o755, False)


def test_one_that_lost_its_capabilities_gets_them_again(alice: Machine) -> None:
    good(alice.aioprocket("helper", "install", "--mode", "caps"))
    os.removexattr(INSTALLED, "security.capability")

    assert "gets them again" in good(alice.aioprocket("helper", "install"))
    assert facts()[3]


def test_roots_group_is_no_group_for_it(alice: Machine) -> None:
    said = bad(alice.aioprocket("helper", "install", "--group", "root"))

    assert "usermod -aG root" not in said
    assert not INSTALLED.exists()


def owned_by_alice(folder: Path) -> None:
    os.chown(folder, pwd.getpwnam(ALICE).pw_uid, 0)


def writable_for_a_group(folder: Path) -> None:
    folder.chmod(0o775)


def sticky_for_everybody(folder: Path) -> None:
    folder.chmod(0o1777)


def below_a_folder_of_alices(folder: Path) -> None:
    os.chown(folder.parent, pwd.getpwnam(ALICE).pw_uid, 0)


@pytest.mark.parametrize(
    "spoil",
    [owned_by_alice, writable_for_a_group, sticky_for_everybody, below_a_folder_of_alices],
    ids=lambda function: function.__name__,
)
@pytest.mark.hostile(104, "once")
def test_nothing_is_installed_where_others_can_write_until_that_is_mended(
    spoil: Callable[[Path], None], alice: Machine
) -> None:
    spoil(INSTALLED.parent)
    said = bad(alice.aioprocket("helper", "install"))

    assert "nothing privileged is put at" in said
    assert not INSTALLED.exists()
    for command in re.findall(r"^  (sudo .*)$", said, re.MULTILINE):
        alice.root(command)
    good(alice.aioprocket("helper", "install"))


def acl(*entries: tuple[int, int, int]) -> bytes:
    """linux/posix_acl_xattr.h: tag, permissions, id."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def acl_for_alice(permissions: int) -> bytes:
    anyone = 0xFFFFFFFF
    return acl(
        (0x01, 7, anyone), (0x02, permissions, pwd.getpwnam(ALICE).pw_uid), (0x04, 5, anyone),
        (0x10, 7, anyone), (0x20, 5, anyone),
    )  # fmt: skip


def test_an_acl_counts_as_the_mode_does(alice: Machine) -> None:
    kernel.mount("tmpfs", str(INSTALLED.parent), "tmpfs", 0, "mode=0755")
    try:
        os.setxattr(INSTALLED.parent, "system.posix_acl_access", acl_for_alice(7))
        said = bad(alice.aioprocket("helper", "install"))
        assert "its ACL lets uid" in said
        assert f"sudo setfacl -b {INSTALLED.parent}" in said

        os.removexattr(INSTALLED.parent, "system.posix_acl_access")
        INSTALLED.parent.chmod(0o755)
        os.setxattr(INSTALLED.parent, "system.posix_acl_default", acl_for_alice(5))
        said = bad(alice.aioprocket("helper", "install"))
        assert "default ACL is handed on" in said
        assert not INSTALLED.exists()
    finally:
        kernel.unmount(str(INSTALLED.parent))


@pytest.mark.parametrize("what", ["a link to a file", "a link to a folder", "a folder"])
def test_what_is_no_file_is_not_written_through(what: str, alice: Machine, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    if what == "a link to a file":
        victim.write_text("precious")
        INSTALLED.symlink_to(victim)
    elif what == "a link to a folder":
        victim.mkdir()
        INSTALLED.symlink_to(victim)
    else:
        INSTALLED.mkdir()
    said = bad(alice.aioprocket("helper", "install"))

    assert "no file" in said
    assert not victim.is_file() or victim.read_text() == "precious"
    assert not victim.is_dir() or not list(victim.iterdir())


def test_a_link_through_a_folder_of_the_users_is_seen(alice: Machine, tmp_path: Path) -> None:
    theirs = Path("/usr/local/theirs")
    theirs.mkdir()
    (theirs / "libexec").symlink_to("/usr/libexec")
    os.chown(theirs, pwd.getpwnam(ALICE).pw_uid, 0)
    INSTALLED.parent.rmdir()
    INSTALLED.parent.symlink_to(theirs / "libexec")

    assert f"{theirs}: it belongs to uid" in bad(alice.aioprocket("helper", "install"))


def test_a_file_system_mounted_nosuid_is_refused_until_it_is_remounted(alice: Machine) -> None:
    kernel.mount("tmpfs", str(INSTALLED.parent), "tmpfs", MS_NOSUID, "mode=0755")
    try:
        said = bad(alice.aioprocket("helper", "install"))
        assert "it is mounted nosuid" in said
        (command,) = re.findall(r"^  (sudo .*)$", said, re.MULTILINE)
        alice.root(command)
        assert "it works" in good(alice.aioprocket("helper", "install"))
    finally:
        kernel.unmount(str(INSTALLED.parent))


def test_setcap_that_is_missing_is_named_before_anything_is_done(alice: Machine) -> None:
    kernel.mount("/dev/null", "/usr/sbin/setcap", None, kernel.MS_BIND)
    try:
        said = bad(alice.aioprocket("helper", "install", "--mode", "caps"))
    finally:
        kernel.unmount("/usr/sbin/setcap")

    assert "libcap2-bin" in said
    assert not INSTALLED.exists()


def test_no_sudo_says_what_to_do_as_root(alice: Machine) -> None:
    kernel.mount("/dev/null", "/usr/bin/sudo", None, kernel.MS_BIND)
    try:
        said = bad(alice.aioprocket("helper", "install"))
    finally:
        kernel.unmount("/usr/bin/sudo")

    assert "apt install sudo" in said


def test_programs_of_the_users_own_path_are_not_taken(alice: Machine, tmp_path: Path) -> None:
    for name in ("sudo", "install", "setcap"):
        trap = tmp_path / name
        trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
        trap.chmod(0o755)
    command = shlex.join(alice.command("helper", "install"))
    good(alice.shell(f"export PATH={tmp_path}:$PATH; {command}"))

    assert not (tmp_path / "sprung").exists()


def test_a_password_that_nobody_can_be_asked_for_leaves_the_commands(machine: Machine) -> None:
    require("sudo")
    machine.root(f"groupadd --system aioprocket && usermod -aG aioprocket {ALICE}")
    machine.permit(f"{ALICE} ALL=(root) PASSWD: ALL")
    said = bad(machine.aioprocket("helper", "install"))

    assert "what is left to do" in said
    assert "/usr/bin/sudo -- /usr/bin/install" in said
    assert not INSTALLED.exists()


@pytest.mark.parametrize("use_pty", ["use_pty", "!use_pty"])
def test_sudo_asks_for_its_password_at_the_terminal(use_pty: str, machine: Machine) -> None:
    require("sudo")
    machine.root(f"groupadd --system aioprocket && usermod -aG aioprocket {ALICE}")
    machine.root(f"echo {ALICE}:correct-horse | chpasswd")
    machine.permit(f"Defaults {use_pty}\n{ALICE} ALL=(root) PASSWD: ALL")
    pid, terminal = pty.fork()
    if pid == 0:
        command = machine.as_alice(machine.command("helper", "install"))
        os.chdir("/")
        os.execve(command[0], command, machine.environment())
    output = b""
    with open(terminal, "r+b", buffering=0) as asking:
        while select.select([asking], [], [], 40)[0]:
            try:
                piece = asking.read(1000)
            except OSError:  # EIO: nobody has the other end any more
                break
            output += piece
            if output.endswith(b"password for alice: "):
                asking.write(b"correct-horse\n")
                output += b"\n"
    _, status = os.waitpid(pid, 0)

    assert os.waitstatus_to_exitcode(status) == 0, output
    assert b"it works" in output
    assert facts()[2] == 0o4750


def test_nothing_is_gained_under_no_new_privs_and_that_is_said(alice: Machine) -> None:
    command = alice.command("helper", "install")
    said = bad(alice.alice(command, ["--init-groups", "--no-new-privs"]))

    assert "no new privileges" in said
    assert not INSTALLED.exists()


def test_root_needs_no_sudo_and_tries_it_as_nobody(alice: Machine) -> None:
    done = subprocess.run(
        alice.command("helper", "install", "--mode", "caps"),
        capture_output=True, text=True, env=alice.environment(), cwd="/", check=False,
    )  # fmt: skip

    assert "it works, caps" in good(done)
    assert all(command[0] != "/usr/bin/sudo" for command in shown(done.stdout))
    done = subprocess.run(
        alice.command("helper", "status"),
        capture_output=True, text=True, env=alice.environment(), cwd="/", check=False,
    )  # fmt: skip
    assert "installed helper: works" in good(done)


def test_status_says_what_is_there(alice: Machine) -> None:
    assert "no helper at" in bad(alice.aioprocket("helper", "status"), 1)
    good(alice.aioprocket("helper", "install"))

    assert "setuid, root:aioprocket, mode 4750" in good(alice.aioprocket("helper", "status"))
    report = json.loads(good(alice.aioprocket("helper", "status", "--json")))
    assert report["state"] == "works"
    assert report["installed"][0]["mode"] == "setuid"


def test_status_names_a_program_that_is_no_helper(alice: Machine) -> None:
    INSTALLED.write_text("#!/bin/sh\nexit 3\n")
    INSTALLED.chmod(0o755)
    said = bad(alice.aioprocket("helper", "status"), 1)

    assert "is no helper that this library can talk to" in said
    assert f"sudo install -D -o root -g aioprocket -m 4750 {helper_path()}" in said


def test_a_helper_of_somebody_else_is_named_and_replaced(alice: Machine) -> None:
    INSTALLED.write_bytes(helper_path().read_bytes())
    INSTALLED.chmod(0o4755)
    os.chown(INSTALLED, NOBODY, NOBODY)
    INSTALLED.chmod(0o4755)
    assert f"belongs to uid {NOBODY}, not to root" in bad(alice.aioprocket("helper", "status"), 1)

    output = good(alice.aioprocket("helper", "install"))
    assert "kept" not in output
    assert facts()[2] == 0o4750


def test_uninstall_leaves_nothing_and_may_be_repeated(alice: Machine) -> None:
    good(alice.aioprocket("helper", "install"))
    output = good(alice.aioprocket("helper", "uninstall"))

    assert [command[2:] for command in shown(output)] == [
        ["/usr/bin/rm", "-f", "--", str(INSTALLED)]
    ]
    assert not INSTALLED.exists()
    assert "the group aioprocket" in output
    assert "nothing is installed" in good(alice.aioprocket("helper", "uninstall"))


def test_a_broker_without_systemd_is_started_by_hand_and_ended_by_uninstall(
    alice: Machine,
) -> None:
    said = bad(alice.aioprocket("helper", "install", "--broker"))
    assert "systemd does not run here" in said
    assert f"{INSTALLED} --broker {BROKER_SOCKET}" in said
    assert not INSTALLED.exists()

    good(alice.aioprocket("helper", "install", "--mode", "plain"))
    BROKER_SOCKET.parent.mkdir(mode=0o755)
    with running_broker(INSTALLED, BROKER_SOCKET) as broker:
        os.chown(BROKER_SOCKET, 0, grp.getgrnam("aioprocket").gr_gid)
        report = json.loads(alice.aioprocket("doctor", "--json").stdout)
        assert {row["way"]: row["state"] for row in report}["broker"] == "works"

        assert "broker: works" in good(alice.aioprocket("helper", "status"))
        output = good(alice.aioprocket("helper", "uninstall"))
        assert broker.process.wait(20) == 0

    assert ["/usr/bin/kill", str(broker.process.pid)] in [line[2:] for line in shown(output)]
    assert not INSTALLED.exists()


def test_the_broker_is_installed_as_a_service_as_far_as_systemd_goes(alice: Machine) -> None:
    require("systemctl")
    # sd_booted(3): as if systemd ran. It does not, so its part is left over.
    Path("/run/systemd/system").mkdir(parents=True)
    output = good(alice.aioprocket("helper", "install", "--broker", "--dry-run"))
    assert [line[2:] for line in shown(output)][-3:] == [
        ["/usr/bin/systemctl", "daemon-reload"],
        ["/usr/bin/systemctl", "enable", "--now", "aioprocket.socket"],
        ["/usr/bin/systemctl", "stop", "aioprocket.service"],
    ]
    said = bad(alice.aioprocket("helper", "install", "--broker"))
    left = said.partition("what is left to do:")[2]
    assert "/usr/bin/systemctl enable --now aioprocket.socket" in left
    assert facts() == (0, 0, 0o755, False)
    for unit in UNITS:
        assert unit.read_bytes() == helper_path().with_name(unit.name).read_bytes()
        assert unit.stat().st_mode & 0o7777 == 0o644

    Path("/run/systemd/system").rmdir()
    good(alice.aioprocket("helper", "uninstall"))
    assert not INSTALLED.exists()
    assert not any(unit.exists() for unit in UNITS)


def test_the_brokers_group_is_that_of_its_unit(alice: Machine) -> None:
    Path("/run/systemd/system").mkdir(parents=True)
    said = bad(alice.aioprocket("helper", "install", "--broker", "--group", ALICE))

    assert "SocketGroup=" in said
    assert not INSTALLED.exists()
