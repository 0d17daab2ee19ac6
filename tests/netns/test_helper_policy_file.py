"""The policy's file: what the setuid helper takes for one, and that any doubt denies everything."""

import asyncio
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

import aioprocket
from aioprocket.errors import NotPermittedError
from helper_client import BY_FILE, Kind, Reason, Stage, session
from lab.forks import beside
from lab.must import require
from lab.policies import ACCOUNT, run_as, system_log
from sandbox import kernel

pytestmark = [pytest.mark.netns, pytest.mark.realroot]

EPERM: Final = 1
SYS_ADMIN: Final = 1 << 21  # linux/capability.h
GOOD: Final = "version 1\nallow uid=61001 icmp icmp6 packet\nallow gid=61077 udp port=53\n"
ICMP: Final[dict[str, Any]] = {"protocol": 1}
NOBODY: Final[dict[str, Any]] = {"uid": 65534, "gid": 65534}


def ask(
    helper: Path,
    kind: Kind = Kind.RAW4,
    *,
    uid: int = ACCOUNT,
    gid: int = ACCOUNT,
    groups: tuple[int, ...] = (),
    **fields: Any,
) -> tuple[Stage, int]:
    """The stage and the reason of the answer to an account of these numbers."""

    def open_one() -> tuple[Stage, int]:
        with session(helper) as running:
            reply = running.open(kind, **(fields or ICMP))
            return reply.stage, reply.detail

    return run_as(open_one, uid, gid, groups)


GRANTED: Final = (Stage.OK, 0)
REFUSED: Final = (Stage.POLICY, int(Reason.POLICY))


def install(file: Path, text: str | bytes = GOOD) -> Path:
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    file.chmod(0o644)
    return file


def test_a_file_grants_what_it_says_and_nothing_else(
    everybodys_helper: Path, policy_file: Path
) -> None:
    install(policy_file)

    assert ask(everybodys_helper) == GRANTED
    assert ask(everybodys_helper, protocol=2) == (Stage.POLICY, Reason.PROTOCOL | BY_FILE)
    assert ask(everybodys_helper, Kind.TCP4, port=80) == (Stage.POLICY, Reason.KIND | BY_FILE)
    assert ask(everybodys_helper, uid=61002) == (Stage.POLICY, Reason.KIND | BY_FILE)


@pytest.mark.hostile(96)
def test_without_a_file_a_helper_for_everybody_denies(
    everybodys_helper: Path, policy_file: Path
) -> None:
    assert ask(everybodys_helper) == (Stage.POLICY, Reason.EVERYBODY)
    policy_file.parent.rmdir()
    try:
        assert ask(everybodys_helper) == (Stage.POLICY, Reason.EVERYBODY)
    finally:
        policy_file.parent.mkdir(mode=0o755)


@pytest.mark.hostile(96)
@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "version 1\n"])
def test_a_file_without_rules_denies(everybodys_helper: Path, policy_file: Path, text: str) -> None:
    install(policy_file, text)

    assert ask(everybodys_helper) == (Stage.POLICY, Reason.KIND | BY_FILE)


def test_a_file_ends_the_built_in_grants(setuid_helper: Path, policy_file: Path) -> None:
    assert ask(setuid_helper, **NOBODY) == GRANTED

    install(policy_file)

    assert ask(setuid_helper, **NOBODY) == (Stage.POLICY, Reason.KIND | BY_FILE)


@pytest.mark.hostile(101)
def test_a_group_counts_as_primary_and_as_supplementary(
    everybodys_helper: Path, policy_file: Path
) -> None:
    install(policy_file)

    assert ask(everybodys_helper, Kind.UDP4, uid=61009, gid=61077, port=53) == GRANTED
    assert ask(everybodys_helper, Kind.UDP4, uid=61009, groups=(7, 61077), port=53) == GRANTED
    denied = ask(everybodys_helper, Kind.UDP4, uid=61009, groups=(7,), port=53)
    assert denied == (Stage.POLICY, Reason.KIND | BY_FILE)


@pytest.mark.hostile(102)
def test_as_many_groups_as_the_kernel_allows(everybodys_helper: Path, policy_file: Path) -> None:
    install(policy_file)
    many = tuple(range(100_000, 165_535))

    assert ask(everybodys_helper, Kind.UDP4, uid=61009, groups=(*many, 61077), port=53) == GRANTED
    denied = ask(everybodys_helper, Kind.UDP4, uid=61009, groups=(*many, 61078), port=53)
    assert denied == (Stage.POLICY, Reason.KIND | BY_FILE)


@pytest.mark.hostile(103)
def test_a_file_that_only_root_can_read_is_read_before_the_drop(
    everybodys_helper: Path, policy_file: Path
) -> None:
    install(policy_file).chmod(0o600)
    policy_file.parent.chmod(0o700)

    assert ask(everybodys_helper) == GRANTED


def symlink(file: Path) -> None:
    file.rename(file.with_name("real"))
    file.symlink_to("real")


def hard_link(file: Path) -> None:
    file.with_name("other").hardlink_to(file)


def replaced_by(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def spoil(file: Path) -> None:
        file.unlink()
        make(file)

    spoil.__name__ = str(getattr(make, "__name__", make))
    return spoil


def fifo(file: Path) -> None:
    os.mkfifo(file, 0o644)


def folder(file: Path) -> None:
    file.mkdir()


def device(file: Path) -> None:
    os.mknod(file, stat.S_IFCHR | 0o644, os.makedev(1, 5))


def bound_socket(file: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(file))


def other_owner(file: Path) -> None:
    os.chown(file, ACCOUNT, 0)


def group_can_write(file: Path) -> None:
    file.chmod(0o664)


def others_can_write(file: Path) -> None:
    file.chmod(0o646)


def folder_of_another(file: Path) -> None:
    os.chown(file.parent, ACCOUNT, 0)


def folder_for_a_group(file: Path) -> None:
    file.parent.chmod(0o775)


def folder_for_all(file: Path) -> None:
    file.parent.chmod(0o1777)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(each, marks=pytest.mark.hostile(number), id=each.__name__)
        for number, each in (
            (97, symlink),
            (97, hard_link),
            (97, replaced_by(fifo)),
            (97, replaced_by(folder)),
            (97, replaced_by(device)),
            (97, replaced_by(bound_socket)),
            (98, other_owner),
            (98, group_can_write),
            (98, others_can_write),
            (98, folder_of_another),
            (98, folder_for_a_group),
            (98, folder_for_all),
        )
    ],
)
def test_a_file_that_others_may_have_had_a_hand_in_denies_everything(
    everybodys_helper: Path, setuid_helper: Path, policy_file: Path, spoil: Callable[[Path], None]
) -> None:
    install(policy_file)
    spoil(policy_file)

    assert ask(everybodys_helper) == REFUSED
    # The built-in grants do not come back either.
    assert ask(setuid_helper, uid=65534, gid=65534) == REFUSED


@pytest.mark.hostile(98)
def test_a_folder_that_is_a_symbolic_link_denies_everything(
    everybodys_helper: Path, policy_file: Path
) -> None:
    install(policy_file)
    real = policy_file.parent.rename("/etc/aioprocket-real")
    policy_file.parent.symlink_to(real)
    try:
        assert ask(everybodys_helper) == REFUSED
    finally:
        policy_file.parent.unlink()
        real.rename(policy_file.parent)


def test_a_grandparent_that_others_can_write_denies_everything(
    everybodys_helper: Path, policy_file: Path
) -> None:
    install(policy_file)
    os.chmod("/etc", 0o775)
    try:
        assert ask(everybodys_helper) == REFUSED
    finally:
        os.chmod("/etc", 0o755)


@pytest.mark.hostile(97)
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(GOOD + "#" * 66_000 + "\n", id="65 KiB"),
        pytest.param(GOOD + "#\0\n", id="NUL"),
        pytest.param(GOOD.replace("\n", "\r\n"), id="CRLF"),
        pytest.param("\ufeff" + GOOD, id="byte order mark"),
        pytest.param(GOOD[:-1], id="no newline at the end"),
        pytest.param(GOOD + "#" * 513 + "\n", id="513 bytes"),
        pytest.param(GOOD + "allow all icmp\n" * 255, id="257 rules"),
        pytest.param(GOOD + "allow all icmp color=red\n", id="unknown key"),
    ],
)
def test_a_fault_anywhere_denies_everything(
    everybodys_helper: Path, policy_file: Path, text: str
) -> None:
    install(policy_file, text)

    assert ask(everybodys_helper) == REFUSED


def test_the_most_of_everything_is_still_good(everybodys_helper: Path, policy_file: Path) -> None:
    rules = GOOD + "allow uid=7 icmp\n" * 254
    comments = ("#" * 512 + "\n") * ((65536 - len(rules)) // 513)
    text = rules + comments
    install(policy_file, text + "#" * (65535 - len(text)) + "\n")
    assert policy_file.stat().st_size == 65536

    assert ask(everybodys_helper) == GRANTED


@pytest.mark.hostile(99)
def test_a_file_replaced_while_it_is_read_is_the_old_or_the_new_one(
    everybodys_helper: Path, policy_file: Path
) -> None:
    install(policy_file)
    other = GOOD.replace("icmp icmp6 packet", "udp port=1-9")

    def replace() -> None:
        while True:
            for text in (other, GOOD):
                new = install(policy_file.with_name("new"), text)
                os.rename(new, policy_file)

    try:
        with beside(replace):
            answers = {ask(everybodys_helper) for _ in range(100)}
    finally:
        policy_file.with_name("new").unlink(missing_ok=True)

    assert answers <= {GRANTED, (Stage.POLICY, Reason.KIND | BY_FILE)}


def test_a_session_keeps_the_policy_that_it_began_with(
    everybodys_helper: Path, policy_file: Path
) -> None:
    install(policy_file)
    reading, writing = os.pipe()
    ready, told = os.pipe()

    def two() -> list[Stage]:
        with session(everybodys_helper) as running:
            first = running.open(Kind.RAW4, **ICMP)
            os.write(told, b"x")
            os.read(reading, 1)
            return [first.stage, running.open(Kind.RAW4, **ICMP).stage]

    def change() -> None:
        os.read(ready, 1)
        policy_file.write_text("version 1\n")
        os.write(writing, b"x")

    try:
        with beside(change):
            assert run_as(two, ACCOUNT, ACCOUNT) == [Stage.OK, Stage.OK]
    finally:
        for fd in (reading, writing, ready, told):
            os.close(fd)
    assert ask(everybodys_helper)[0] is Stage.POLICY


def test_an_invalid_file_is_told_to_the_log_with_its_line(
    everybodys_helper: Path, policy_file: Path
) -> None:
    install(policy_file, GOOD + "allow uid=1 icmp colour=red\n")

    with system_log() as log:
        assert ask(everybodys_helper) == REFUSED
        invalid, denied = log.lines()

    assert invalid.startswith("<84>aioprocket-helper[")
    assert f"uid={ACCOUNT} " in invalid
    assert invalid.endswith("nobody gets anything: the policy is invalid, line 4: unknown word")
    assert " denied reason=policy kind=raw4 proto=1" in denied


def test_root_is_not_subject_to_it(everybodys_helper: Path, policy_file: Path) -> None:
    install(policy_file, "nonsense\n")

    assert ask(everybodys_helper, Kind.TCP4, uid=0, gid=0, port=80) == GRANTED


def test_by_capabilities_the_file_must_be_readable_by_its_caller(
    caps_helper: Path, policy_file: Path
) -> None:
    install(policy_file, GOOD.replace("61001", "65534"))
    assert ask(caps_helper, **NOBODY) == GRANTED

    policy_file.chmod(0o600)

    assert ask(caps_helper, **NOBODY) == REFUSED


def test_without_a_rule_about_namespaces_the_right_to_enter_one_is_not_kept(
    everybodys_helper: Path, policy_file: Path
) -> None:
    def held() -> int:
        with session(everybodys_helper, greet=False) as running:
            return running.greeted().capabilities

    install(policy_file, "version 1\nallow uid=61001 packet\nallow uid=61002 packet netns=own\n")

    assert run_as(held, 61001, 61001) & SYS_ADMIN == 0
    assert run_as(held, 61002, 61002) & SYS_ADMIN != 0


@pytest.mark.parametrize(
    "fake",
    [
        pytest.param(False, marks=pytest.mark.hostile(70)),
        pytest.param(True, marks=pytest.mark.hostile(71)),
    ],
)
def test_ones_own_user_namespace_makes_no_privilege_even_with_a_policy_of_ones_own(
    everybodys_helper: Path, policy_file: Path, fake: bool
) -> None:
    def ask_inside() -> tuple[Stage, int]:
        uid = os.getuid()
        kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {uid} 1")
        if fake:
            kernel.mount("tmpfs", "/etc/aioprocket", "tmpfs", 0, "mode=0755")
            install(policy_file, "version 1\nallow all raw4 proto=0-255\n")
        with session(everybodys_helper) as running:
            reply = running.open(Kind.RAW4, protocol=2)
            return reply.stage, reply.errno

    install(policy_file)
    # The kernel's answer, not the policy's: root of a namespace has no right to this network.
    assert run_as(ask_inside, ACCOUNT, ACCOUNT) == (Stage.SOCKET, EPERM)


def test_by_sudo_the_groups_are_those_of_the_caller(sudo_helper: Path, policy_file: Path) -> None:
    install(policy_file)

    def asked() -> tuple[Stage, int]:
        with session([require("sudo"), "-n", sudo_helper]) as running:
            reply = running.open(Kind.UDP4, port=53)
            return reply.stage, reply.detail

    assert run_as(asked, 65534, 65534, (61077,)) == GRANTED
    # Root's groups, which sudo brought, are nobody's here.
    assert run_as(asked, 65534, 65534) == (Stage.POLICY, Reason.KIND | BY_FILE)


def test_a_denial_tells_the_line_to_ask_for(setuid_helper: Path, policy_file: Path) -> None:
    install(policy_file)

    async def denied() -> tuple[str, str]:
        with pytest.raises(NotPermittedError) as caught:
            async with aioprocket.open(79, ip="127.0.0.1", helper=str(setuid_helper)):
                pass
        return str(caught.value), caught.value.hint

    text, hint = run_as(lambda: asyncio.run(denied()), 65534, 65534)
    assert "its policy grants you nothing of this kind" in text
    assert "allow uid=65534 tcp port=79 addr=127.0.0.1\n" in hint
    assert "aioprocket policy add uid=65534 tcp port=79 addr=127.0.0.1" in hint
