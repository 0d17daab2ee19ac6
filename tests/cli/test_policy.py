"""``aioprocket policy``: the command as it is typed, on a policy file of the test's own."""

import grp
import json
import os
import pwd
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aioprocket.helper.locate import BROKER_SOCKET
from aioprocket.policy import find_fault
from lab.commands import run_here
from lab.machine import ALICE, INSTALLED, Machine

pytestmark = [pytest.mark.netns, pytest.mark.realroot]

DAEMON = pwd.getpwnam("daemon")
Completed = subprocess.CompletedProcess[str]


def aioprocket(*words: str) -> Completed:
    return run_here("policy", *words)


def good(*words: str) -> str:
    done = aioprocket(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def report(*words: str) -> tuple[int, dict[str, Any]]:
    done = aioprocket("check", "--json", *words)
    return done.returncode, json.loads(done.stdout)


def test_add_writes_numbers_and_keeps_the_name_as_a_comment(policy_file: Path) -> None:
    good("add", "daemon", "tcp", "port=80")
    good("add", "@nogroup", "icmp", "icmp6")
    good("add", "uid=61001", "tun", "name=vpn*")

    nogroup = grp.getgrnam("nogroup").gr_gid
    assert policy_file.read_text().splitlines()[-4:] == [
        "version 1",
        f"allow uid={DAEMON.pw_uid} tcp port=80  # daemon",
        f"allow gid={nogroup} icmp icmp6  # nogroup",
        "allow uid=61001 tun name=vpn*",
    ]
    status = policy_file.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (0, 0, 0o644)
    assert sorted(os.listdir(policy_file.parent)) == [".lock", "policy"]


def test_the_first_rule_says_what_it_ends(policy_file: Path) -> None:
    assert "is over for" in good("add", "daemon", "icmp")
    assert "is over for" not in good("add", "daemon", "icmp6")


def test_the_folder_is_made_where_it_is_missing(policy_file: Path) -> None:
    policy_file.parent.rmdir()

    good("add", "all", "icmp")

    assert policy_file.parent.stat().st_mode & 0o7777 == 0o755


def test_add_twice_is_add_once(policy_file: Path) -> None:
    good("add", "daemon", "tcp", "port=80", "if=lo")
    before = policy_file.read_text()
    good("add", "daemon", "tcp", "if=lo", "port=80")

    assert policy_file.read_text() == before


def test_remove_takes_one_rule_or_all_and_leaves_comments(policy_file: Path) -> None:
    policy_file.write_text(
        "# Head.\nversion 1\n# Web:\nallow uid=1 tcp port=80 # x\n"
        "allow uid=1 icmp\nallow uid=2 icmp\n"
    )
    policy_file.chmod(0o640)
    os.chown(policy_file, 0, DAEMON.pw_gid)

    good("remove", "daemon", "tcp", "port=80")
    assert (
        policy_file.read_text()
        == "# Head.\nversion 1\n# Web:\nallow uid=1 icmp\nallow uid=2 icmp\n"
    )
    good("remove", "daemon")
    assert policy_file.read_text() == "# Head.\nversion 1\n# Web:\nallow uid=2 icmp\n"
    status = policy_file.stat()
    assert (status.st_gid, status.st_mode & 0o7777) == (DAEMON.pw_gid, 0o640)


def test_what_is_not_there_cannot_be_removed(policy_file: Path) -> None:
    good("add", "daemon", "icmp")
    done = aioprocket("remove", "daemon", "icmp6")

    assert done.returncode == 2
    assert "there is no such rule" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("what", [["tcp"], ["tcp", "port=0"], ["frobnicate"], ["icmp", "port=1"]])
def test_no_rule_that_is_none_is_ever_written(policy_file: Path, what: list[str]) -> None:
    good("add", "daemon", "icmp")
    before = policy_file.read_bytes()
    done = aioprocket("add", "daemon", *what)

    assert done.returncode == 2
    assert "invalid" in done.stderr
    assert policy_file.read_bytes() == before


@pytest.mark.parametrize("who", ["no-such-user", "@no-such-group", "uid=x", "gid=-1", ""])
def test_nobody_of_that_name_gets_anything(policy_file: Path, who: str) -> None:
    assert aioprocket("add", who, "icmp").returncode == 2
    assert not policy_file.exists()


def owned_by_another(file: Path) -> None:
    os.chown(file, 61001, 61001)


def for_everybody_to_write(file: Path) -> None:
    file.chmod(0o666)


def behind_a_link(file: Path) -> None:
    file.rename(file.with_name("real"))
    file.symlink_to("real")


def with_a_second_name(file: Path) -> None:
    file.with_name("other").hardlink_to(file)


def in_a_folder_of_another(file: Path) -> None:
    os.chown(file.parent, 61001, 61001)


@pytest.mark.hostile(98)
@pytest.mark.parametrize(
    "spoil",
    [
        owned_by_another, for_everybody_to_write, behind_a_link, with_a_second_name,
        in_a_folder_of_another,
    ],
    ids=lambda function: function.__name__,
)  # fmt: skip
def test_a_file_that_is_not_roots_alone_is_never_adopted(
    policy_file: Path, spoil: Callable[[Path], None]
) -> None:
    policy_file.write_text("version 1\nallow uid=61001 packet\n")
    policy_file.chmod(0o644)
    spoil(policy_file)

    def facts() -> list[object]:
        status = policy_file.lstat()
        owners = (status.st_ino, status.st_uid, status.st_mode, policy_file.parent.stat().st_uid)
        return [policy_file.read_bytes(), owners]

    before = facts()
    done = aioprocket("add", "daemon", "icmp")

    assert done.returncode == 2
    assert "left as it is" in done.stderr
    assert facts() == before


def test_a_file_that_is_invalid_is_not_made_worse(policy_file: Path) -> None:
    policy_file.write_text("version 1\nallow nonsense\n")
    policy_file.chmod(0o644)

    assert aioprocket("add", "daemon", "icmp").returncode == 2
    assert policy_file.read_text() == "version 1\nallow nonsense\n"


def test_many_at_once_lose_nothing(policy_file: Path) -> None:
    program = "import sys; from aioprocket.cli import main; sys.argv[0] = 'x'; main()"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, "policy", "add", f"uid={number}", "icmp"],
            stdout=subprocess.DEVNULL,
        )
        for number in range(61001, 61007)
    ]
    assert [process.wait() for process in running] == [0] * len(running)

    text = policy_file.read_text()
    assert all(f"allow uid={number} icmp\n" in text for number in range(61001, 61007))
    assert text.count("version 1") == 1


def test_check_without_a_file_says_what_holds(policy_file: Path) -> None:
    said = good("check")
    assert "there is none; what is built in holds for whoever may execute the helper" in said
    status, found = report()
    assert (status, found["exists"], found["valid"]) == (0, False, True)


@pytest.fixture
def installed(policy_file: Path, machine: Machine) -> Path:
    """A program in the installed helper's place, which the group nogroup may execute."""
    INSTALLED.write_bytes(b"")
    os.chown(INSTALLED, 0, grp.getgrnam("nogroup").gr_gid)
    INSTALLED.chmod(0o4750)
    return INSTALLED


def test_check_without_a_file_denies_who_cannot_execute_the_helper(installed: Path) -> None:
    status, found = report("--as", ALICE, "packet")
    assert (status, found["granted"], found["reason"]) == (1, False, "execute")
    assert f"{installed} is not executable by uid {found['uid']}" in found["ask"]
    done = aioprocket("check", "--as", ALICE, "packet")
    assert (done.returncode, "granted to" in done.stdout) == (1, False)
    assert f"denied to uid {found['uid']}: execute\n{installed} is not" in done.stdout

    assert report("--as", "nobody", "packet")[0] == 0  # whose group it is
    assert report("--as", "root", "packet")[0] == 0
    # What nobody gets at all is said first.
    assert report("--as", ALICE, "packet", "mark=1")[1]["reason"] == "mark"


def test_check_takes_the_bits_that_count_for_the_account(installed: Path) -> None:
    installed.chmod(0o4705)
    assert report("--as", "nobody", "packet")[1]["reason"] == "everybody"
    installed.chmod(0o4700)
    assert report("--as", "nobody", "packet")[1]["reason"] == "execute"
    os.chown(installed, DAEMON.pw_uid, 0)
    installed.chmod(0o700)
    assert report("--as", "daemon", "packet")[0] == 0
    installed.chmod(0o070)
    assert report("--as", "daemon", "packet")[1]["reason"] == "execute"


def test_check_does_not_deny_what_an_acl_or_a_broker_may_allow(installed: Path) -> None:
    assert report("--as", ALICE, "packet")[0] == 1
    socket_of_broker = Path(BROKER_SOCKET)
    socket_of_broker.parent.mkdir()
    socket_of_broker.touch()
    assert report("--as", ALICE, "packet")[0] == 0
    socket_of_broker.unlink()
    # linux/posix_acl_xattr.h: owner, alice, group, mask, others.
    alice, none = pwd.getpwnam(ALICE).pw_uid, 0xFFFFFFFF
    entries = [(0x01, 7, none), (0x02, 1, alice), (0x04, 0, none), (0x10, 1, none), (0x20, 0, none)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr(installed, "system.posix_acl_access", acl)
    assert report("--as", ALICE, "packet")[0] == 0


def test_check_says_that_it_has_not_looked_at_sudo(installed: Path) -> None:
    assert report("--as", "nobody", "packet")[1]["unknown"] == ""
    os.chown(INSTALLED, 0, 0)
    installed.chmod(0o755)
    for asked in ("packet", "packet mark=1"):
        unknown = report("--as", ALICE, *asked.split())[1]["unknown"]
        said = aioprocket("check", "--as", ALICE, *asked.split()).stdout
        assert said.endswith(f"{unknown}\n")
        assert unknown.endswith(f"was not looked at: sudo -l -U {ALICE}")
    assert report("--as", "root", "packet")[1]["unknown"] == ""


def test_check_by_a_file_denies_who_cannot_execute_the_helper(installed: Path) -> None:
    good("add", ALICE, "packet")
    status, found = report("--as", ALICE, "packet")
    assert (status, found["reason"]) == (1, "execute")
    assert "is not executable by uid" in found["ask"]
    good("add", "nobody", "packet")
    assert report("--as", "nobody", "packet")[0] == 0


def test_check_tells_where_a_text_is_wrong(policy_file: Path) -> None:
    policy_file.write_text("version 1\n\nallow daemon icmp\n")
    policy_file.chmod(0o644)
    done = aioprocket("check")

    assert done.returncode == 1
    assert "nobody gets anything until it is mended" in done.stdout
    assert "line 3: unknown word" in done.stdout


def test_check_tells_how_to_mend_owner_and_mode(policy_file: Path) -> None:
    policy_file.write_text("version 1\n")
    policy_file.chmod(0o664)
    os.chown(policy_file, 61001, 0)
    done = aioprocket("check")

    assert done.returncode == 1
    assert "nobody gets anything" in done.stdout
    for command in re.findall(r"^ +sudo (.*)$", done.stdout, re.MULTILINE):
        subprocess.run(command, shell=True, check=True)
    good("check")


@pytest.fixture
def no_helper(policy_file: Path, machine: Machine) -> None:
    """Nothing is installed, even if the machine that the test runs on has a helper."""
    INSTALLED.unlink(missing_ok=True)


@pytest.mark.usefixtures("no_helper")
def test_check_explains_a_decision() -> None:
    good("add", "daemon", "packet", "if=eth0")

    status, granted = report("--as", "daemon", "packet")
    assert (status, granted["granted"], granted["imposed"]) == (
        0, True, ["the rule's interface", "a locked filter"],
    )  # fmt: skip
    assert granted["rule"] == "allow uid=1 packet if=eth0  # daemon"
    assert "by line 3: allow uid=1" in good("check", "--as", "daemon", "packet")

    status, denied = report("--as", "daemon", "packet", "if=lo")
    assert (status, denied["granted"], denied["reason"]) == (1, False, "interface")
    assert "allow uid=1 packet if=lo" in denied["ask"]

    assert report("--as", "61009", "packet")[1]["reason"] == "kind"
    assert report("--as", "root", "raw4", "proto=255")[0] == 0


@pytest.mark.usefixtures("no_helper")
def test_check_knows_the_groups_of_an_account() -> None:
    good("add", f"gid={DAEMON.pw_gid}", "icmp")

    assert report("--as", "daemon", "icmp")[0] == 0
    assert report("--as", "nobody", "icmp")[1]["reason"] == "kind"


def test_check_grants_nothing_by_a_file_that_is_not_trusted(policy_file: Path) -> None:
    good("add", "daemon", "icmp")
    policy_file.chmod(0o646)

    assert report("--as", "daemon", "icmp")[1]["reason"] == "policy"


@pytest.mark.parametrize(
    "words", [["frob"], ["tcp", "port=x"], ["icmp", "port=3"], ["packet", "x"]]
)
def test_check_does_not_guess_what_is_asked_for(policy_file: Path, words: list[str]) -> None:
    done = aioprocket("check", *words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_show_prints_rules_with_the_names_of_now(policy_file: Path) -> None:
    good("add", "uid=1", "icmp")

    assert re.search(r"uid=1 daemon +icmp", good("show"))
    assert json.loads(good("show", "--json"))["rules"] == [
        {"line": 3, "who": "uid=1", "what": "icmp", "comment": "", "name": "daemon"}
    ]


def test_show_does_not_pass_an_invalid_file_off_as_what_is_in_force(policy_file: Path) -> None:
    policy_file.write_text("version 1\nallow uid=1 icmp\nallow uid=1 icmpp\n")
    policy_file.chmod(0o644)
    done = aioprocket("show")

    assert done.returncode == 1
    assert "nobody gets anything until it is mended" in done.stdout.splitlines()[0]
    assert "line 3: unknown word" in done.stdout
    assert json.loads(aioprocket("show", "--json").stdout)["valid"] is False


def test_a_draft_is_judged_by_its_text_whoever_owns_it(
    policy_file: Path, no_helper: None, tmp_path: Path
) -> None:
    draft = tmp_path / "draft"
    draft.write_text("version 1\nallow uid=1 icmp\n")
    os.chown(draft, 61001, 61001)
    draft.chmod(0o666)

    assert "valid" in good("check", "--file", str(draft))
    assert report("--file", str(draft), "--as", "daemon", "icmp")[0] == 0
    draft.write_text("version 1\nallow uid=1 icmpp\n")
    done = aioprocket("check", "--file", str(draft))
    assert done.returncode == 1
    assert "line 2: unknown word" in done.stdout
    assert "sudo" not in done.stdout
    done = aioprocket("check", "--file", str(tmp_path / "nothing"))
    assert "there is none" in done.stdout


def test_the_command_is_a_program(policy_file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "aioprocket.cli", "policy", "add", "daemon", "nonsense"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("aioprocket: that would make the policy invalid: unknown word")
    assert "tcp, udp, tun, tap or device=" in done.stderr
    assert "Traceback" not in done.stderr


def test_show_prints_what_is_built_in_as_a_policy() -> None:
    assert find_fault(good("show", "--built-in").encode()) is None
