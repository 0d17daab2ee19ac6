"""``aioprocket doctor``: what it says is true, and what it says to do helps."""

import asyncio
import json
import os
import pwd
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import aioprocket
import golden
from aioprocket.helper.install import how_to_install
from lab.machine import ALICE, INSTALLED, Completed, Machine
from lab.must import require, unavailable
from lab.policies import run_as
from sandbox import kernel
from sandbox.namespaces import Namespace

pytestmark = [pytest.mark.netns, pytest.mark.realroot]

MS_NOSUID = 2  # linux/mount.h
BROKER_SOCKET = Path("/run/aioprocket/broker.sock")
Row = dict[str, Any]


@pytest.fixture
def machine(machine: Machine) -> Machine:
    require("sudo")
    return machine


@pytest.fixture
def helped(machine: Machine) -> Machine:
    """Alice may use a setuid helper."""
    machine.root(f"groupadd --system aioprocket && usermod -aG aioprocket {ALICE}")
    machine.root(how_to_install().splitlines()[2])
    return machine


def rows(done: Completed) -> dict[str, Row]:
    assert "Traceback" not in done.stderr, done.stderr
    return {row["way"]: row for row in json.loads(done.stdout)}


def examined(machine: Machine, **options: Any) -> dict[str, Row]:
    return rows(machine.aioprocket("doctor", "--json", **options))


def examined_by(machine: Machine, *options: str) -> dict[str, Row]:
    """Started by setpriv with these options."""
    command = machine.command("doctor", "--json")
    return rows(machine.alice(command, ["--init-groups", *options]))


def commands(row: Row) -> list[str]:
    found = [line.strip() for line in row["remedy"].splitlines()]
    return [line for line in found if re.match(r"(sudo|echo) ", line)]


def mend(machine: Machine, row: Row) -> None:
    assert commands(row), row
    for command in commands(row):
        machine.root(command)


def test_a_bare_machine_becomes_one_that_works_by_what_is_said(machine: Machine) -> None:
    done = machine.aioprocket("doctor", "--json")
    assert done.returncode == 1
    row = rows(done)["installed helper"]
    assert row["state"] == "no"
    assert "there is none at" in row["reason"]

    mend(machine, row)

    done = machine.aioprocket("doctor", "--json")
    assert (done.returncode, rows(done)["installed helper"]["state"]) == (0, "works")


def test_what_it_says_is_the_hint_of_the_error(machine: Machine) -> None:
    async def hint() -> str:
        with pytest.raises(aioprocket.NotPermittedError) as caught:
            await aioprocket.open_packet("lo")
        return caught.value.hint

    account = pwd.getpwnam(ALICE)
    hinted = run_as(lambda: asyncio.run(hint()), account.pw_uid, account.pw_gid)

    assert hinted == examined(machine)["installed helper"]["remedy"]


@pytest.mark.parametrize("use_pty", ["use_pty", "!use_pty"])
def test_the_rule_for_sudo_permits_sudo(use_pty: str, machine: Machine) -> None:
    machine.permit(f"Defaults {use_pty}")
    row = examined(machine)["sudo"]
    assert "there is no installed helper for sudo" in row["reason"]
    assert "sudo usermod" not in row["remedy"]

    mend(machine, row)

    assert examined(machine)["sudo"] == row | {"state": "works", "reason": "", "remedy": ""}


def test_sudo_that_asks_a_password_is_named_and_mended(machine: Machine) -> None:
    machine.permit(f"{ALICE} ALL=(root) PASSWD: ALL")
    machine.root(examined(machine)["sudo"]["remedy"].splitlines()[1])
    row = examined(machine)["sudo"]
    assert "a password is required" in row["reason"]
    assert commands(row)[0].startswith(f"echo '{ALICE} ALL=(root) NOPASSWD:NOSETENV: /usr/local/")

    mend(machine, row)

    assert examined(machine)["sudo"] == row | {"state": "works", "reason": "", "remedy": ""}


def test_a_rule_for_sudo_permits_nothing_else(machine: Machine) -> None:
    mend(machine, examined(machine)["sudo"])

    done = machine.shell(f"sudo -n {INSTALLED} --broker /tmp/x")
    assert done.returncode == 1
    assert "password is required" in done.stderr


def test_no_sudo_is_named(helped: Machine) -> None:
    kernel.mount("/dev/null", "/usr/bin/sudo", None, kernel.MS_BIND)
    try:
        row = examined(helped)["sudo"]
    finally:
        kernel.unmount("/usr/bin/sudo")

    assert "there is no sudo" in row["reason"]
    assert "apt install sudo" in row["remedy"]


@pytest.mark.hostile(69, "once")
def test_a_file_system_mounted_nosuid_is_named_and_mended(helped: Machine) -> None:
    content, status = INSTALLED.read_bytes(), INSTALLED.stat()
    kernel.mount("tmpfs", str(INSTALLED.parent), "tmpfs", MS_NOSUID, "mode=0755")
    try:
        INSTALLED.write_bytes(content)
        os.chown(INSTALLED, 0, status.st_gid)
        INSTALLED.chmod(0o4750)
        row = examined(helped)["installed helper"]
        assert "mounted nosuid" in row["reason"]
        assert commands(row) == [f"sudo mount -o remount,suid {INSTALLED.parent}"]

        mend(helped, row)

        assert examined(helped)["installed helper"]["state"] == "works"
    finally:
        kernel.unmount(str(INSTALLED.parent))


@pytest.mark.hostile(69, "once")
def test_no_new_privs_is_named_for_all_that_suffers(helped: Machine) -> None:
    found = examined_by(helped, "--no-new-privs")

    for way in ("installed helper", "sudo"):
        assert found[way]["state"] == "no"
        assert "no_new_privs" in found[way]["reason"]
        assert "NoNewPrivileges=" in found[way]["remedy"]


def test_a_bounding_set_without_the_capabilities_is_named(helped: Machine) -> None:
    network = "-net_raw,-net_admin,-net_bind_service"
    row = examined_by(helped, f"--bounding-set={network}")["installed helper"]

    assert "the bounding set has none" in row["reason"]
    assert "--cap-add=NET_RAW" in row["remedy"]


def test_a_group_joined_after_the_login_is_named(helped: Machine) -> None:
    row = examined(helped, groups=[])["installed helper"]

    assert "which you joined after you logged in" in row["reason"]
    assert "newgrp aioprocket" in row["remedy"]
    assert examined(helped)["installed helper"]["state"] == "works"


def test_a_group_not_joined_is_mended_by_joining(helped: Machine) -> None:
    helped.root(f"gpasswd -d {ALICE} aioprocket")
    row = examined(helped)["installed helper"]
    assert "for the group aioprocket, which you are not in" in row["reason"]

    mend(helped, row)

    assert examined(helped)["installed helper"]["state"] == "works"


def test_lost_privilege_is_given_back_in_place(helped: Machine) -> None:
    INSTALLED.chmod(0o750)
    row = examined(helped)["installed helper"]
    assert "neither root's setuid bit nor file capabilities" in row["reason"]

    mend(helped, row)

    assert examined(helped)["installed helper"]["state"] == "works"


@pytest.mark.hostile(104, "once")
def test_a_helper_that_others_can_replace_is_called_unsafe(helped: Machine) -> None:
    os.chown(INSTALLED.parent, pwd.getpwnam(ALICE).pw_uid, 0)
    done = helped.aioprocket("doctor", "--json")
    row = rows(done)["installed helper"]
    assert (done.returncode, row["state"]) == (1, "unsafe")
    assert "whoever can replace it becomes root" in row["reason"]

    mend(helped, row)

    assert examined(helped)["installed helper"]["state"] == "works"


def test_a_program_that_is_no_helper_is_named_and_replaced(helped: Machine) -> None:
    INSTALLED.write_text("#!/bin/sh\nexit 3\n")
    INSTALLED.chmod(0o755)
    row = examined(helped)["installed helper"]
    assert "is no helper that this library can talk to" in row["reason"]

    mend(helped, row)

    assert examined(helped)["installed helper"]["state"] == "works"


def test_a_helper_of_another_version_is_named_and_replaced(helped: Machine) -> None:
    found = golden.load("reply", "hello-version").data
    answer = found[:12] + bytes(4) + found[16:]  # to the first request, which is number 0
    INSTALLED.write_text(
        f"#!{sys.executable}\nimport socket\nsock = socket.socket(fileno=0)\n"
        f"sock.recv(4096)\nsock.send({answer!r})\n"
    )
    INSTALLED.chmod(0o755)
    row = examined(helped)["installed helper"]
    assert "speaks versions" in row["reason"]

    mend(helped, row)

    assert examined(helped)["installed helper"]["state"] == "works"


def test_a_way_that_the_environment_names_is_the_one_that_counts(helped: Machine) -> None:
    command = " ".join(helped.command("doctor", "--json"))
    done = helped.shell(f"AIOPROCKET_HELPER=/usr/bin/true {command}")
    found = rows(done)

    assert done.returncode == 1
    assert found["AIOPROCKET_HELPER"]["state"] == "no"
    assert found["installed helper"]["state"] == "works"


def test_a_policy_that_grants_nothing_is_no_fault_of_the_helper(helped: Machine) -> None:
    policy = Path("/etc/aioprocket/policy")
    policy.parent.mkdir(mode=0o755, exist_ok=True)
    policy.write_text("version 1\nallow uid=0 icmp\n")
    policy.chmod(0o644)
    row = examined(helped)["installed helper"]
    assert row["state"] == "denied"
    line = re.search(r": (allow uid=\d+ .*)$", row["remedy"], re.MULTILINE)
    assert line

    policy.write_text(f"version 1\n{line[1]}\n")

    assert examined(helped)["installed helper"]["state"] == "works"


def test_the_range_of_ping_sockets_is_named_and_mended(
    machine: Machine, namespace: Namespace
) -> None:
    with namespace.entered():
        row = examined(machine)["ping socket"]
        assert row["state"] == "no"
        mend(machine, row)
        assert examined(machine)["ping socket"]["state"] == "works"


def test_a_tun_device_that_is_closed_is_named_and_opened(machine: Machine, tmp_path: Path) -> None:
    device = Path("/dev/net/tun")
    if not device.exists():
        unavailable("tun", f"there is no {device}")
    closed = tmp_path / "tun"
    closed.touch(0o600)
    machine.root(f"mount --bind {closed} {device}")
    try:
        row = examined(machine)["tun and tap"]
        assert (row["state"], row["reason"]) == ("no", f"{device}: Permission denied")
        mend(machine, row)
        assert examined(machine)["tun and tap"]["state"] == "works"
    finally:
        machine.root(f"umount {device}")


def test_user_namespaces_that_are_forbidden_are_named_and_permitted_again() -> None:
    # In a user namespace of its own: the setting would be the machine's.
    program = (
        "import anyio\n"
        "from aioprocket.helper.examine import examine\n"
        "row = next(e for e in anyio.run(examine) if e.way == 'user namespace')\n"
        "print(row.state, '|', row.reason, '|', row.remedy)\n"
    )
    setting = "/proc/sys/user/max_user_namespaces"
    ask = f'{sys.executable} -P -c "$PROGRAM"'
    script = (
        f'{ask}; echo 0 > {setting}; answer=$({ask}); echo "$answer"; '
        f'remedy="${{answer##*| sudo }}"; $remedy >/dev/null; {ask}'
    )
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--net", "bash", "-c", script],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PROGRAM": program},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    before, forbidden, after = done.stdout.splitlines()

    assert before.startswith("works")
    assert forbidden.startswith("no | user.max_user_namespaces is 0")
    assert after.startswith("works")


@pytest.fixture
def deserted_socket(machine: Machine) -> None:
    BROKER_SOCKET.parent.mkdir(mode=0o755)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind(str(BROKER_SOCKET))
    BROKER_SOCKET.chmod(0o666)


@pytest.mark.usefixtures("deserted_socket")
def test_a_brokers_socket_without_a_broker_is_named(machine: Machine) -> None:
    row = examined(machine)["broker"]

    assert row["state"] == "no"
    assert "Connection refused" in row["reason"]
    assert "start the broker" in row["remedy"]


@pytest.mark.usefixtures("deserted_socket")
def test_a_brokers_socket_that_is_closed_to_us_is_named(machine: Machine) -> None:
    BROKER_SOCKET.chmod(0o600)

    row = examined(machine)["broker"]
    assert row["state"] == "no"
    assert f"{BROKER_SOCKET} is for root alone" in row["reason"]


@pytest.mark.usefixtures("deserted_socket")
def test_a_brokers_socket_for_a_group_says_how_to_join(helped: Machine) -> None:
    helped.root(f"gpasswd -d {ALICE} aioprocket")
    helped.root(f"chgrp aioprocket {BROKER_SOCKET} && chmod 0660 {BROKER_SOCKET}")
    row = examined(helped)["broker"]
    assert f"{BROKER_SOCKET} is for the group aioprocket, which you are not in" in row["reason"]

    mend(helped, row)

    assert "Connection refused" in examined(helped)["broker"]["reason"]


def test_own_rights_are_named(machine: Machine) -> None:
    assert "has no cap_net_raw" in examined(machine)["own rights"]["reason"]
    raw = ("--inh-caps=+net_raw", "--ambient-caps=+net_raw")
    assert examined_by(machine, *raw)["own rights"]["state"] == "works"


def test_the_table_has_a_line_for_each_way_and_whole_commands(machine: Machine) -> None:
    done = machine.aioprocket("doctor")

    for way in ("own rights", "installed helper", "broker", "sudo", "ping socket", "user namesp"):
        assert re.search(rf"^{way}", done.stdout, re.MULTILINE), way
    for line in how_to_install().splitlines()[1:3]:
        assert line in done.stdout.splitlines()
    assert (
        "Programs cannot open raw sockets here, for none of these works: own rights" in done.stdout
    )


def test_what_is_enough_is_said(helped: Machine) -> None:
    done = helped.aioprocket("doctor")

    assert "Programs open raw sockets here, by installed helper" in done.stdout


def test_no_remedy_gives_more_than_it_must(machine: Machine) -> None:
    said = machine.aioprocket("doctor").stdout

    assert "usermod -aG root" not in said
    assert not re.search(r"(chmod|chown|setcap|NOPASSWD).*site-packages", said)


def test_what_a_policy_grants_beside_raw_sockets_works(helped: Machine) -> None:
    helped.root(
        "install -d -m 0755 /etc/aioprocket; "
        f"printf 'version 1\\nallow uid=0 icmp\\nallow uid={pwd.getpwnam(ALICE).pw_uid} "
        "tcp port=80,443\\n' >/etc/aioprocket/policy; chmod 0644 /etc/aioprocket/policy"
    )
    row = examined(helped)["installed helper"]
    assert (row["state"], row["grants"]) == ("works", ["tcp port=80,443"])
    done = helped.aioprocket("doctor")
    assert done.returncode == 0, done.stdout
    assert "by installed helper, what its policy grants: tcp port=80,443." in done.stdout
    done = helped.aioprocket("helper", "status")
    assert done.returncode == 0, done.stdout
    assert "works: its policy grants you tcp port=80,443" in done.stdout
