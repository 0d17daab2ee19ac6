"""``aioprocket policy`` of an account, by sudo, while others change the file as well."""

import fcntl
import os
import pwd
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from aioprocket.policy import POLICY_PATH, distrust
from lab.commands import PATIENCE, aioprocket
from lab.machine import ALICE, Machine
from lab.must import require

pytestmark = [pytest.mark.netns, pytest.mark.realroot]


def as_root(*words: str) -> None:
    done = aioprocket("policy", *words)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def alice(machine: Machine) -> Machine:
    """Alice may run the system's shell as root; there is no folder for a policy yet."""
    require("sudo")
    assert not POLICY_PATH.parent.exists()
    machine.permit(f"{ALICE} ALL=(root) NOPASSWD: /usr/bin/sh")
    return machine


def drafts() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob("aioprocket-policy-*"))


def test_an_ordinary_user_adds_by_sudo_and_loses_no_rule(alice: Machine) -> None:
    before = drafts()
    for what in (("tcp", "port=80,443"), ("icmp",), ("packet", "if=eth0")):
        done = alice.aioprocket("policy", "add", "daemon", *what)
        assert done.returncode == 0, done.stdout + done.stderr

    assert POLICY_PATH.read_text().splitlines()[-3:] == [
        "allow uid=1 tcp port=80,443  # daemon",
        "allow uid=1 icmp  # daemon",
        "allow uid=1 packet if=eth0  # daemon",
    ]
    status = POLICY_PATH.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (0, 0, 0o644)
    assert sorted(os.listdir(POLICY_PATH.parent)) == [".lock", "policy"]
    assert POLICY_PATH.parent.stat().st_mode & 0o7777 == 0o755
    assert drafts() == before
    assert distrust() == []


def test_an_ordinary_user_removes_by_sudo_and_keeps_the_mode(alice: Machine) -> None:
    as_root("add", "daemon", "icmp")
    as_root("add", "all", "icmp6")
    POLICY_PATH.chmod(0o604)
    done = alice.aioprocket("policy", "remove", "daemon")

    assert done.returncode == 0, done.stdout + done.stderr
    assert POLICY_PATH.read_text().endswith("version 1\nallow all icmp6\n")
    assert POLICY_PATH.stat().st_mode & 0o7777 == 0o604


def test_many_at_once_by_sudo_lose_nothing(alice: Machine) -> None:
    numbers = range(61001, 61005)
    commands = [alice.command("policy", "add", f"uid={number}", "icmp") for number in numbers]
    running = [
        subprocess.Popen(
            alice.as_alice(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=alice.environment(),
            cwd="/",
        )
        for command in commands
    ]
    assert [process.wait() for process in running] == [0] * len(running)

    text = POLICY_PATH.read_text()
    assert all(f"allow uid={number} icmp\n" in text for number in numbers)
    assert sorted(os.listdir(POLICY_PATH.parent)) == [".lock", "policy"]


def test_what_another_wrote_meanwhile_is_not_written_over(alice: Machine) -> None:
    # Alice's first command writes another rule before it goes on to the shell that she may run.
    as_root("add", "all", "icmp6")
    shell, once = Path("/usr/local/bin/sh-after-another"), Path("/etc/aioprocket-once")
    shell.write_text(
        f"#!/bin/sh\n[ -e {once} ] || {{ : >{once}; echo allow all icmp >>{POLICY_PATH}; }}\n"
        'exec /bin/sh "$@"\n'
    )
    shell.chmod(0o755)
    program = (
        "import aioprocket.cli.elevate as elevate, sys; from aioprocket.cli import main\n"
        "found = elevate.system_program\n"
        f"elevate.system_program = lambda name: {str(shell)!r} if name == 'sh' else found(name)\n"
        "sys.argv[1:] = ['policy', 'add', 'daemon', 'packet']; main()"
    )
    alice.permit(f"{ALICE} ALL=(root) NOPASSWD: {shell}")

    done = alice.alice([sys.executable, "-P", "-c", program])

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("the policy was changed meanwhile: once more") == 1
    assert POLICY_PATH.read_text().splitlines()[-3:] == [
        "allow all icmp6", "allow all icmp", "allow uid=1 packet  # daemon",
    ]  # fmt: skip


def test_no_folder_of_any_name_is_fallen_into(alice: Machine) -> None:
    as_root("add", "all", "icmp")
    (POLICY_PATH.parent / "policy.new").mkdir()

    done = alice.aioprocket("policy", "add", "daemon", "icmp6")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "allow uid=1 icmp6" in POLICY_PATH.read_text()
    assert os.listdir(POLICY_PATH.parent / "policy.new") == []


@pytest.mark.hostile(98)
def test_no_lock_that_an_account_can_have_keeps_root_waiting(alice: Machine) -> None:
    as_root("add", "all", "icmp")
    folder, account = POLICY_PATH.parent, pwd.getpwnam(ALICE)
    locks = []
    os.setegid(account.pw_gid)
    os.seteuid(account.pw_uid)
    try:
        for path in (folder, *folder.iterdir()):
            with suppress(PermissionError):
                locks.append(os.open(path, os.O_RDONLY))
                fcntl.flock(locks[-1], fcntl.LOCK_EX)
    finally:
        os.seteuid(0)
        os.setegid(0)
    try:
        assert len(locks) == 2  # the folder and the policy, and no more
        by_sudo = alice.as_alice(alice.command("policy", "add", "daemon", "icmp"))
        for command in (alice.command("policy", "add", "daemon", "packet"), by_sudo):
            environment = alice.environment()
            subprocess.run(command, env=environment, cwd="/", check=True, timeout=PATIENCE)
    finally:
        for lock in locks:
            os.close(lock)


def test_without_sudo_nothing_is_changed_and_nothing_left(machine: Machine) -> None:
    as_root("add", "daemon", "icmp")
    before, text = drafts(), POLICY_PATH.read_text()
    done = machine.aioprocket("policy", "add", "daemon", "packet")

    assert done.returncode == 2
    assert "the policy is as it was" in done.stderr
    assert "run this command as root" in done.stderr
    assert POLICY_PATH.read_text() == text
    assert drafts() == before


def test_an_ordinary_user_learns_before_the_first_rule_what_it_ends(machine: Machine) -> None:
    done = machine.aioprocket("policy", "add", "daemon", "packet")

    said = done.stdout.partition("$ ")[0]
    assert "This is the first rule" in said
    assert not POLICY_PATH.exists()
