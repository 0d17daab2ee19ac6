import asyncio
import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import anyio
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
from aioprocket.helper import Helper, ladder, locate, obtain, way
from aioprocket.spec import PacketSpec, SocketSpec, Spec, TunSpec
from aioprocket.wire.reply import Mode
from fakes import Conversation, serve
from lab.leaks import no_leaks
from lab.must import require

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
    assert "sudo install" in caught.value.hint
    assert (caught.value.step, caught.value.errno) == ("socket", errno.EPERM)


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

    assert f"sudo chmod g+x {installed}" in caught.value.hint


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

    with pytest.raises(HelperNotFoundError, match="/no/such/helper"):
        close_one(UDP)


def test_argument_is_stronger_than_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(locate.DEFAULT_VARIABLE, "/no/such/helper")

    with pytest.raises(HelperNotFoundError, match="/another"):
        close_one(UDP, "/another")


def test_sockets_that_everybody_may_open_need_no_helper() -> None:
    assert close_one(NETLINK, "/no/such/helper") == ("direct", None)


@pytest.mark.parametrize("command", ["", [], "'unclosed"])
def test_command_that_is_none_is_refused(command: str | list[str]) -> None:
    with pytest.raises(SpecError):
        asyncio.run(obtain(UDP, helper=command))


def test_sudo_without_an_installed_helper_says_what_to_install() -> None:
    with pytest.raises(HelperNotFoundError) as caught:
        close_one(UDP, "sudo")

    assert "sudo install" in caught.value.hint


@pytest.mark.anyio
async def test_no_helper_at_all_says_what_to_install() -> None:
    with pytest.raises(HelperNotFoundError) as caught:
        async with Helper():
            pass

    assert "sudo install" in caught.value.hint


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
async def test_program_that_ends_at_once_is_reported() -> None:
    with pytest.raises(HelperDiedError, match="exited with status 0"):
        await obtain(UDP, helper=NOTHING)


@pytest.mark.anyio
async def test_program_that_never_answers_is_ended_at_the_timeout() -> None:
    with pytest.raises(HelperTimeoutError):
        await obtain(UDP, helper=["/bin/sleep", "600"], timeout=0.05)


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
    with pytest.raises(HelperNotFoundError, match="ENOENT"):
        await obtain(UDP, helper=f"unix:{tmp_path / 'none'}")


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
