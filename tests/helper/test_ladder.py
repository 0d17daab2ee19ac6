import asyncio
import errno
import time
from pathlib import Path
from typing import Any

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
)
from aioprocket.spec import PacketSpec, Spec, TunSpec
from aioprocket.wire.reply import Mode
from lab.must import require, unavailable
from lab.rungs import (
    LOW_PORT,
    NETLINK,
    PACKET,
    UDP,
    AsNobody,
    close_one,
    place_installed,
)

pytestmark = pytest.mark.usefixtures("nothing_installed")

NOTHING = ("/bin/true",)


@pytest.fixture
def bundled() -> Path:
    try:
        return helper_path()
    except HelperNotFoundError:
        unavailable("package", "the package is run from its sources")


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

    with pytest.raises(NotPermittedError, match="sudo") as caught:
        as_nobody(lambda: close_one(PACKET, "sudo -n /bin/false"))
    assert "NOPASSWD" not in caught.value.hint


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
    assert time.monotonic() - began < 10
