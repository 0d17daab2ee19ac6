import asyncio
import ctypes
import errno
import os
import shutil
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from aioprocket.errors import (
    HelperDiedError,
    HelperNotFoundError,
    HelperTimeoutError,
    NotPermittedError,
    OpenError,
    SpecError,
)
from aioprocket.helper import (
    Helper,
    check_helper,
    check_timeout,
    helper_path,
    ladder,
    locate,
    obtain,
    way,
)
from aioprocket.spec import PacketSpec, SocketSpec, Spec, TunSpec
from aioprocket.wire.reply import Mode
from fakes import Conversation, serve
from lab.leaks import no_leaks
from lab.must import require, unavailable
from sandbox.accounts import NOBODY
from sandbox.namespaces import Namespace

T = TypeVar("T")
AsNobody = Callable[[Callable[[], T]], T]

UDP = SocketSpec(family=socket.AF_INET, type=socket.SOCK_DGRAM, protocol=socket.IPPROTO_UDP)
LOW_PORT = SocketSpec(
    family=socket.AF_INET, type=socket.SOCK_DGRAM, protocol=socket.IPPROTO_UDP, port=53
)
NETLINK = SocketSpec(family=socket.AF_NETLINK, type=socket.SOCK_RAW, protocol=0)
PACKET = PacketSpec(interface="lo")
NOTHING = ("/bin/true",)


@pytest.fixture(autouse=True)
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has installed, the ladder finds nothing but what a test puts there."""
    monkeypatch.delenv(locate.DEFAULT_VARIABLE, raising=False)
    place_installed(monkeypatch, tmp_path / "none")
    place_broker(monkeypatch, tmp_path / "none.sock")


@pytest.fixture
def bundled() -> Path:
    try:
        return helper_path()
    except HelperNotFoundError:
        unavailable("package", "the package is run from its sources")


def place_installed(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    for module in (locate, ladder, way):
        monkeypatch.setattr(module, "INSTALLED", (str(path),))


def place_broker(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    for module in (ladder, way):
        monkeypatch.setattr(module, "BROKER_SOCKET", str(path))


def close_one(spec: Spec, helper: ladder.HelperLike = None) -> tuple[str, int | None]:
    """Obtain and close; which rung it was, and its process."""

    async def run() -> tuple[str, int | None]:
        opened = await obtain(spec, helper=helper)
        opened.descriptor.close()
        return opened.origin, opened.helper_pid

    with no_leaks():
        return asyncio.run(run())


@pytest.mark.netns
def test_first_rung_is_the_own_right() -> None:
    assert close_one(PACKET) == ("direct", None)


@pytest.mark.realroot
@pytest.mark.parametrize("fixture", ["setuid_helper", "caps_helper"])
@pytest.mark.parametrize("spec", [PACKET, LOW_PORT], ids=["packet", "low port"])
def test_second_rung_is_the_installed_helper(
    fixture: str,
    spec: Spec,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    as_nobody: AsNobody[tuple[str, int | None]],
) -> None:
    place_installed(monkeypatch, request.getfixturevalue(fixture))

    origin, pid = as_nobody(lambda: close_one(spec))

    assert origin == "helper"
    assert pid is not None


@pytest.mark.realroot
def test_helper_says_how_it_got_its_rights(
    setuid_helper: Path, as_nobody: AsNobody[tuple[Mode | None, int]]
) -> None:
    async def run() -> tuple[Mode | None, int]:
        async with Helper(setuid_helper) as helper:
            assert helper.facts is not None
            return helper.facts.mode, helper.facts.uid

    assert as_nobody(lambda: asyncio.run(run())) == (Mode.SETUID, 65534)


@pytest.mark.realroot
def test_sudo_is_taken_when_it_is_asked_for(
    sudo_helper: Path, monkeypatch: pytest.MonkeyPatch, as_nobody: AsNobody[tuple[str, int | None]]
) -> None:
    place_installed(monkeypatch, sudo_helper)

    origin, _ = as_nobody(lambda: close_one(PACKET, "sudo"))

    assert origin == "sudo"


@pytest.mark.realroot
def test_sudo_is_never_tried_unasked(
    sudo_helper: Path, monkeypatch: pytest.MonkeyPatch, as_nobody: AsNobody[tuple[str, int | None]]
) -> None:
    place_installed(monkeypatch, sudo_helper)

    with pytest.raises(NotPermittedError, match="neither root's setuid bit"):
        as_nobody(lambda: close_one(PACKET))


@pytest.mark.realroot
def test_sudo_that_refuses_is_not_permitted_and_shows_the_rule(
    setuid_helper: Path, as_nobody: AsNobody[tuple[str, int | None]]
) -> None:
    require("sudo")
    with pytest.raises(NotPermittedError, match="sudo") as caught:
        as_nobody(lambda: close_one(PACKET, f"sudo -n -- {setuid_helper}"))

    assert f'NOPASSWD:NOSETENV: {setuid_helper} ""' in caught.value.hint


@pytest.mark.netns
def test_every_rung_that_refused_is_named(as_nobody: AsNobody[tuple[str, int | None]]) -> None:
    with pytest.raises(NotPermittedError) as caught:
        as_nobody(lambda: close_one(PACKET))

    message = str(caught.value)
    assert "directly: opening the packet socket on lo: Operation not permitted (EPERM)" in message
    assert "installed helper: there is none" in message
    assert "broker: there is none" in message
    assert message.count("\n") == 3
    assert caught.value.__cause__ is None
    assert (caught.value.step, caught.value.errno) == ("socket", errno.EPERM)


def hint_for(spec: Spec, helper: ladder.HelperLike = None) -> str:
    with pytest.raises(NotPermittedError) as caught:
        close_one(spec, helper)
    return caught.value.hint


def raw(protocol: int) -> SocketSpec:
    return SocketSpec(family=socket.AF_INET, type=socket.SOCK_RAW, protocol=protocol)


PING = SocketSpec(family=socket.AF_INET, type=socket.SOCK_DGRAM, protocol=socket.IPPROTO_ICMP)


@pytest.mark.realroot
@pytest.mark.parametrize(
    ("spec", "advice"),
    [
        (PACKET, "sudo install -D -o root -g aioprocket -m 4750"),
        (LOW_PORT, "sudo groupadd --system --force aioprocket"),
        (PING, "net.ipv4.ping_group_range"),
        (PacketSpec(mark=7), "CAP_NET_ADMIN"),
        (replace(UDP, mark=7), "CAP_NET_ADMIN"),
        (replace(UDP, receive_buffer=1 << 28), "net.core.rmem_max"),
        (replace(UDP, send_buffer=1 << 28), "net.core.wmem_max"),
        (raw(socket.IPPROTO_GRE), "does not grant it"),
        (PacketSpec(namespace="/proc/1/ns/net"), "does not grant it"),
    ],
    ids=[
        "packet", "low port", "ping", "mark after refusal", "mark", "receive", "send", "gre",
        "namespace",
    ],
)  # fmt: skip
def test_advice_without_a_helper_is_what_would_do(
    spec: Spec, advice: str, as_nobody: AsNobody[str], namespace: Namespace
) -> None:
    with namespace.entered():  # a new one, where nobody may have ping sockets yet
        hint = as_nobody(lambda: hint_for(spec))

    assert advice in hint
    assert ("sudo install" in hint) == (spec in (PACKET, LOW_PORT))


@pytest.mark.realroot
def test_closed_tun_device_is_to_be_opened_to_all(
    tun_device: Path, setuid_helper: Path, as_nobody: AsNobody[str]
) -> None:
    tun_device.chmod(0o600)

    assert as_nobody(lambda: hint_for(TunSpec())) == "sudo chmod 0666 /dev/net/tun"
    named = as_nobody(lambda: hint_for(TunSpec(), str(setuid_helper)))
    assert named == "sudo chmod 0666 /dev/net/tun"


@pytest.mark.realroot
def test_port_that_needs_no_helper_is_told_to_who_named_one(
    setuid_helper: Path, as_nobody: AsNobody[str]
) -> None:
    hint = as_nobody(lambda: hint_for(replace(LOW_PORT, port=5353), str(setuid_helper)))

    assert "leave helper= out" in hint


@pytest.mark.realroot
def test_file_capabilities_do_not_enter_a_namespace(
    caps_helper: Path, as_nobody: AsNobody[str]
) -> None:
    spec = PacketSpec(namespace="/proc/self/ns/net")

    assert "setuid variant" in as_nobody(lambda: hint_for(spec, str(caps_helper)))


@pytest.mark.realroot
def test_user_namespace_without_accounts_has_no_use_for_a_setuid_helper(
    as_nobody: AsNobody[str],
) -> None:
    def inside() -> str:
        assert ctypes.CDLL(None).unshare(0x10000000) == 0  # CLONE_NEWUSER, linux/sched.h
        return hint_for(LOW_PORT)

    assert "user namespace" in as_nobody(inside)


@pytest.mark.realroot
def test_helper_with_some_capabilities_is_told_from_one_with_all(
    caps_helper: Path, stage: Path, as_nobody: AsNobody[str]
) -> None:
    partial = stage / "partial"
    shutil.copy(caps_helper, partial)
    os.chown(partial, 0, NOBODY)
    partial.chmod(0o750)
    only_bind = struct.pack("<IIIII", 0x02000000, 1 << 10, 0, 0, 0)  # struct vfs_cap_data
    os.setxattr(partial, "security.capability", only_bind)

    assert f"=p {partial}" in as_nobody(lambda: hint_for(PACKET, str(partial)))


@pytest.mark.realroot
def test_helper_that_may_not_be_executed_is_a_rung_that_refused(
    stage: Path, monkeypatch: pytest.MonkeyPatch, as_nobody: AsNobody[tuple[str, int | None]]
) -> None:
    installed = stage / "roots-own"
    installed.touch()
    installed.chmod(0o4700)
    place_installed(monkeypatch, installed)

    with pytest.raises(NotPermittedError, match="executable by its owner only") as caught:
        as_nobody(lambda: close_one(PACKET))

    assert f"sudo chgrp aioprocket {installed} && sudo chmod 4750 {installed}" in caught.value.hint
    assert "aioprocket nobody" in caught.value.hint


@pytest.mark.realroot
def test_failure_of_a_rung_that_is_permitted_is_the_end(
    setuid_helper: Path,
    monkeypatch: pytest.MonkeyPatch,
    as_nobody: AsNobody[tuple[str, int | None]],
) -> None:
    place_installed(monkeypatch, setuid_helper)

    with pytest.raises(OpenError) as caught:
        as_nobody(lambda: close_one(PacketSpec(interface="eth9")))

    assert (caught.value.step, caught.value.errno) == ("interface", errno.ENODEV)
    assert "interfaces here: lo" in caught.value.hint


@pytest.mark.realroot
def test_policy_of_the_helper_is_explained(
    setuid_helper: Path, as_nobody: AsNobody[tuple[str, int | None]]
) -> None:
    with pytest.raises(NotPermittedError, match="must be named aio") as caught:
        as_nobody(lambda: close_one(TunSpec(name="tun7"), str(setuid_helper)))

    assert caught.value.step == "policy"


def test_environment_names_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(locate.DEFAULT_VARIABLE, "/no/such/helper")

    with pytest.raises(HelperNotFoundError, match=r"/no/such/helper \(from AIOPROCKET_HELPER\)"):
        close_one(UDP)


def test_faulty_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(locate.DEFAULT_VARIABLE, "unix:")

    with pytest.raises(SpecError, match=r"\(from AIOPROCKET_HELPER\)"):
        close_one(UDP)


def test_argument_is_stronger_than_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(locate.DEFAULT_VARIABLE, "/no/such/helper")

    with pytest.raises(HelperNotFoundError, match="/another"):
        close_one(UDP, "/another")


def test_sockets_that_everybody_may_open_need_no_helper() -> None:
    assert close_one(NETLINK, "/no/such/helper") == ("direct", None)


@pytest.mark.parametrize(
    "command",
    ["", [], [""], "'unclosed", '"a', "unix:", "unix:/a\0b", "a\0b", b"helper", 7, True, [7],
     "unix:/" + "x" * 107],
)  # fmt: skip
def test_command_that_is_none_is_refused_at_the_call(command: Any) -> None:
    with pytest.raises(SpecError):
        check_helper(command)
    with pytest.raises(SpecError):
        asyncio.run(obtain(UDP, helper=command))
    with pytest.raises(SpecError):
        Helper(command)


@pytest.mark.parametrize("helper", [None, "sudo", "unix:/run/x", "a b", ["a"], Path("/a")])
def test_way_that_could_be_is_not_looked_up_at_the_call(helper: ladder.HelperLike) -> None:
    check_helper(helper)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), True, "5", None])
def test_timeout_that_is_none_is_refused(timeout: Any) -> None:
    with pytest.raises(SpecError, match="timeout"):
        check_timeout(timeout)
    with pytest.raises(SpecError, match="timeout"):
        asyncio.run(obtain(NETLINK, timeout=timeout))
    with pytest.raises(SpecError, match="timeout"):
        Helper("/bin/true", timeout=timeout)


def test_sudo_without_an_installed_helper_says_what_to_install_for_it() -> None:
    with pytest.raises(HelperNotFoundError) as caught:
        close_one(UDP, "sudo")

    assert "-g root -m 0755" in caught.value.hint
    assert "NOPASSWD:NOSETENV:" in caught.value.hint


@pytest.mark.realroot
def test_no_helper_at_all_says_what_to_install(as_nobody: AsNobody[None]) -> None:
    async def run() -> None:
        async with Helper():
            pass

    with pytest.raises(HelperNotFoundError) as caught:
        as_nobody(lambda: asyncio.run(run()))

    assert "sudo install" in caught.value.hint


@pytest.mark.anyio
@pytest.mark.netns
async def test_process_with_capabilities_needs_no_installed_helper(bundled: Path) -> None:
    async with Helper() as helper:
        opened = await helper.open_descriptor(PACKET)
        opened.descriptor.close()

        assert helper.facts is not None
        assert helper.facts.mode is Mode.PLAIN


@pytest.mark.anyio
@pytest.mark.netns
@pytest.mark.parametrize("form", ["path", "text", "words"])
async def test_command_has_three_forms(form: str, helper_binary: Path) -> None:
    text = str(helper_binary)
    forms: dict[str, ladder.HelperLike] = {"path": helper_binary, "text": text, "words": [text]}
    opened = await obtain(PACKET, helper=forms[form])
    opened.descriptor.close()

    assert opened.origin == "helper"


@pytest.mark.anyio
async def test_loop_gets_its_turn_between_helpers_that_answer_at_once(helper_binary: Path) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count)
        for _ in range(20):
            (await obtain(UDP, helper=helper_binary)).descriptor.close()
        tasks.cancel_scope.cancel()

    assert turns >= 19


@pytest.mark.anyio
async def test_program_that_ends_at_once_is_reported() -> None:
    with pytest.raises(HelperDiedError, match="exited with status 0") as caught:
        await obtain(UDP, helper=NOTHING)

    assert "python3 -P -m aioprocket.helper" in caught.value.hint


@pytest.mark.anyio
async def test_program_that_never_answers_is_ended_at_the_timeout() -> None:
    with pytest.raises(HelperTimeoutError) as caught:
        await obtain(UDP, helper=["/bin/sleep", "600"], timeout=0.05)

    assert "has not even said HELLO" in caught.value.hint


@pytest.mark.anyio
async def test_cancellation_is_not_held_up_by_a_helper_that_hangs() -> None:
    began = time.monotonic()
    with anyio.move_on_after(0.05) as scope:
        await obtain(UDP, helper=["/bin/sleep", "600"], timeout=60)

    assert scope.cancelled_caught
    assert time.monotonic() - began < 0.6


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[tuple[Path, socket.socket]]:
    path = tmp_path / "broker.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen(1)
        yield path, listener


@pytest.mark.anyio
async def test_broker_is_reached_by_its_socket(broker: tuple[Path, socket.socket]) -> None:
    path, listener = broker

    def serve_one() -> None:
        accepted, _ = listener.accept()
        with accepted:
            serve(Conversation(accepted))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, serve_one)
        opened = await obtain(UDP, helper=f"unix:{path}")
        opened.descriptor.close()

    assert (opened.origin, opened.helper_pid) == ("broker", os.getpid())


@pytest.mark.anyio
async def test_third_rung_is_the_broker(
    broker: tuple[Path, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    place_broker(monkeypatch, broker[0])

    def refuse(spec: Spec) -> None:
        raise NotPermittedError("not me", step="socket")

    monkeypatch.setattr(ladder, "open_directly", refuse)

    def serve_one() -> None:
        accepted, _ = broker[1].accept()
        with accepted:
            serve(Conversation(accepted))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, serve_one)
        opened = await obtain(UDP)
        opened.descriptor.close()

    assert opened.origin == "broker"


@pytest.mark.realroot
@pytest.mark.hostile(86, "once")
def test_broker_of_a_stranger_is_told_nothing(tmp_path: Path, as_nobody: AsNobody[None]) -> None:
    path = tmp_path / "strangers.sock"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with listener:
        listener.bind(str(path))
        # SO_PEERCRED is of whoever called listen(2).
        as_nobody(lambda: listener.listen(1))

        with pytest.raises(NotPermittedError, match="uid 65534 listens"):
            close_one(UDP, f"unix:{path}")

        accepted, _ = listener.accept()
        with accepted:
            assert accepted.recv(1) == b""


@pytest.mark.anyio
async def test_missing_broker_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(HelperNotFoundError, match="ENOENT") as caught:
        await obtain(UDP, helper=f"unix:{tmp_path / 'none'}")

    assert "to start one: " in caught.value.hint


@pytest.mark.anyio
async def test_file_that_is_no_socket_is_no_broker(tmp_path: Path) -> None:
    (tmp_path / "text").touch()

    with pytest.raises(HelperNotFoundError, match="is no socket"):
        await obtain(UDP, helper=f"unix:{tmp_path / 'text'}")


@pytest.mark.anyio
async def test_socket_that_a_broker_left_behind_is_not_found(tmp_path: Path) -> None:
    path = tmp_path / "left.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))

    with pytest.raises(HelperNotFoundError, match="ECONNREFUSED"):
        await obtain(UDP, helper=f"unix:{path}")


@pytest.mark.anyio
async def test_broker_whose_queue_stays_full_times_out(
    broker: tuple[Path, socket.socket],
) -> None:
    waiting = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
    try:
        for sock in waiting:
            sock.setblocking(False)
            sock.connect(str(broker[0]))

        with pytest.raises(HelperTimeoutError, match="took no connection"):
            await obtain(UDP, helper=f"unix:{broker[0]}", timeout=0.05)
    finally:
        for sock in waiting:
            sock.close()
