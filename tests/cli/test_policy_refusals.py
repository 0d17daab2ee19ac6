"""``aioprocket policy`` where something is in its way: status and words, and never a traceback."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aioprocket.policy import POLICY_PATH
from lab.machine import ALICE, Machine
from lab.must import require

pytestmark = [pytest.mark.netns, pytest.mark.realroot]

RULES = "version 1\nallow uid=1 icmp\n"


def aioprocket(*words: str, unread: bool = False) -> subprocess.CompletedProcess[str]:
    """As a program of root's; ``unread``: nobody reads its standard output any more."""
    command = [sys.executable, "-P", "-m", "aioprocket.cli", *words]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        out = writing if unread else subprocess.DEVNULL
        return subprocess.run(
            command, stdout=out, stderr=subprocess.PIPE, text=True, check=False, cwd="/"
        )
    finally:
        os.close(writing)


@pytest.fixture
def rules(policy_file: Path) -> Path:
    policy_file.write_text(RULES)
    policy_file.chmod(0o644)
    return policy_file


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_the_answer_is_the_same_where_nobody_reads_it(rules: Path, form: list[str]) -> None:
    for words, answer in (
        (["icmp"], 0), (["packet"], 1), ([], 0), (["--as", "root", "packet"], 0)
    ):  # fmt: skip
        person = [] if "--as" in words or not words else ["--as", "daemon"]
        done = aioprocket("policy", "check", *form, *person, *words, unread=True)
        assert (done.returncode, done.stderr) == (answer, ""), words
    rules.write_text("nonsense\n")
    done = aioprocket("policy", "check", *form, unread=True)
    assert (done.returncode, done.stderr) == (1, "")


def test_what_is_changed_is_changed_where_nobody_reads_it(policy_file: Path) -> None:
    done = aioprocket("policy", "add", "uid=1", "icmp", unread=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert policy_file.read_text().endswith("allow uid=1 icmp\n")

    done = aioprocket("policy", "remove", "uid=1", unread=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "allow" not in policy_file.read_text()


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.usefixtures("machine")
def test_that_no_helper_is_installed_is_the_answer_where_nobody_reads_it(form: list[str]) -> None:
    done = aioprocket("helper", "status", *form, unread=True)

    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("change", [["add", "uid=2", "icmp"], ["remove", "uid=1"]], ids=" ".join)
def test_a_file_that_is_no_text_is_left_as_it_is(rules: Path, change: list[str]) -> None:
    before = RULES.encode() + "# Käse\n".encode()
    rules.write_bytes(before)
    done = aioprocket("policy", *change)

    assert done.returncode == 2
    assert done.stderr.startswith(f"aioprocket: {POLICY_PATH} is no policy: 0xc3 is no ASCII\n")
    assert "aioprocket policy check" in done.stderr
    assert "Traceback" not in done.stderr
    assert rules.read_bytes() == before


def no_rule(machine: Machine) -> None:
    """Alice has no rule of sudo's at all."""


def half_a_rule(machine: Machine) -> None:
    machine.permit(f"{ALICE} ALL=(root) NOPASSWD: /usr/bin/install")


@pytest.mark.parametrize("grant", [no_rule, half_a_rule], ids=lambda grant: grant.__name__)
@pytest.mark.parametrize("change", [["add", "uid=2", "icmp"], ["remove", "uid=1"]], ids=" ".join)
def test_what_sudo_refuses_is_not_done(
    machine: Machine, grant: Callable[[Machine], None], change: list[str]
) -> None:
    require("sudo")
    write(machine)
    grant(machine)
    done = machine.aioprocket("policy", *change)

    assert done.returncode == 2
    assert done.stdout.startswith("$ /usr/bin/sudo -- /usr/bin/sh -c ")
    assert done.stderr.endswith(
        "aioprocket: the policy is as it was: the command ended with status 1\n"
        "run this command as root\n"
    )
    assert "Traceback" not in done.stderr
    assert "granted" not in done.stdout
    assert "taken back" not in done.stdout
    assert POLICY_PATH.read_text() == RULES


@pytest.mark.parametrize("change", [["add", "uid=2", "icmp"], ["remove", "uid=1"]], ids=" ".join)
def test_a_folder_that_cannot_be_listed_is_in_nobodys_way(
    machine: Machine, change: list[str]
) -> None:
    require("sudo")
    write(machine)
    machine.permit(f"{ALICE} ALL=(root) NOPASSWD: /usr/bin/sh")
    POLICY_PATH.parent.chmod(0o711)  # the file can be read, and root alone locks
    done = machine.aioprocket("policy", *change)

    assert (done.returncode, done.stderr) == (0, "")
    assert ("uid=2 icmp" in POLICY_PATH.read_text()) == (change[0] == "add")
    assert POLICY_PATH.parent.stat().st_mode & 0o7777 == 0o711


def write(machine: Machine) -> None:
    """The policy of that machine."""
    machine.root(f"mkdir -p {POLICY_PATH.parent}")
    POLICY_PATH.write_text(RULES)
    POLICY_PATH.chmod(0o644)
