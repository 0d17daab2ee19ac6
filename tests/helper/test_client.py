import asyncio
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from aioprocket._system.interfaces import interface_name
from aioprocket.errors import (
    ClosedError,
    HelperDiedError,
    HelperTimeoutError,
    OpenError,
    SpecError,
)
from aioprocket.helper import Helper, obtain
from aioprocket.helper import launch as launch_module
from aioprocket.spec import PacketSpec, SocketSpec
from aioprocket.wire.reply import Mode
from lab.leaks import children, descriptors, no_leaks
from sandbox import links
from sandbox.namespaces import Namespace

pytestmark = pytest.mark.netns

ICMP = SocketSpec(family=socket.AF_INET, type=socket.SOCK_RAW, protocol=socket.IPPROTO_ICMP)
LOW_PORT = SocketSpec(
    family=socket.AF_INET, type=socket.SOCK_STREAM, protocol=socket.IPPROTO_TCP, port=80, backlog=1
)
DIFFERENT = (ICMP, PacketSpec(), LOW_PORT, PacketSpec(interface="lo", lock_filter=True))


async def take(helper: Helper) -> None:
    os.close(await helper.open_fd(ICMP))


@pytest.mark.anyio
async def test_one_process_gives_many_descriptors(helper_binary: Path) -> None:
    async with Helper(helper_binary) as helper:
        pid = helper.pid
        for spec in DIFFERENT * 5:
            opened = await helper.open_descriptor(spec)
            opened.descriptor.close()
            assert opened.helper_pid == pid


@pytest.mark.anyio
async def test_helper_tells_its_facts(helper_binary: Path) -> None:
    async with Helper(helper_binary) as helper:
        assert helper.facts is not None
        assert helper.facts.mode is Mode.PLAIN
        assert helper.facts.uid == os.getuid()


@pytest.mark.anyio
async def test_tasks_share_a_helper(helper_binary: Path) -> None:
    async with Helper(helper_binary) as helper, anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(take, helper)


@pytest.mark.anyio
async def test_namespace_goes_along_with_the_request(
    helper_binary: Path, namespace: Namespace
) -> None:
    with namespace.entered():
        links.add_veth("there0", "there1")
    spec = PacketSpec(interface="there0", namespace=namespace.path)
    async with Helper(helper_binary) as helper:
        opened = await helper.open_descriptor(spec)
        try:
            assert interface_name(opened.descriptor.fileno(), opened.ifindex) == "there0"
        finally:
            opened.descriptor.close()


@pytest.mark.anyio
async def test_missing_namespace_is_told_before_the_helper_is_asked(helper_binary: Path) -> None:
    async with Helper(helper_binary) as helper:
        with pytest.raises(OpenError) as caught:
            await helper.open_fd(PacketSpec(namespace="nowhere"))

        assert caught.value.step == "namespace"
        await take(helper)


@pytest.mark.anyio
async def test_closed_port_is_free_at_once(helper_binary: Path) -> None:
    async with Helper(helper_binary) as helper:
        for _ in range(50):
            os.close(await helper.open_fd(LOW_PORT))


@pytest.mark.anyio
async def test_thousand_descriptors_leave_none(helper_binary: Path) -> None:
    async with Helper(helper_binary) as helper:
        assert helper.pid is not None
        assert helper._session is not None
        helper._session._readiness.events()  # its descriptor is there from the first wait on
        await take(helper)
        ours = descriptors()
        for _ in range(1000):
            await take(helper)

        assert descriptors() == ours
        # Its standard three, and the last one's, which it closes after it has sent it.
        assert len(os.listdir(f"/proc/{helper.pid}/fd")) <= 4


@pytest.mark.anyio
async def test_helper_that_is_killed_is_reported_with_its_signal(helper_binary: Path) -> None:
    async with Helper(helper_binary) as helper:
        await take(helper)
        assert helper.pid is not None
        os.kill(helper.pid, signal.SIGKILL)

        with pytest.raises(HelperDiedError, match="killed by SIGKILL"):
            await helper.open_fd(ICMP)
        with pytest.raises(HelperDiedError, match="is over"):
            await helper.open_fd(ICMP)


@pytest.mark.anyio
async def test_helper_that_hangs_times_out_and_is_killed(helper_binary: Path) -> None:
    async with Helper(helper_binary, timeout=0.1) as helper:
        assert helper.pid is not None
        os.kill(helper.pid, signal.SIGSTOP)

        with pytest.raises(HelperTimeoutError):
            await helper.open_fd(ICMP)

    assert helper.pid not in children()


@pytest.mark.anyio
async def test_helper_is_gone_after_the_block(helper_binary: Path) -> None:
    async with Helper(helper_binary) as helper:
        assert helper.pid in children()

    assert helper.pid not in children()


@pytest.mark.anyio
async def test_helper_cannot_be_used_outside_its_block(helper_binary: Path) -> None:
    helper = Helper(helper_binary)
    with pytest.raises(ClosedError, match="async with"):
        await helper.open_fd(ICMP)
    async with helper:
        pass
    with pytest.raises(ClosedError):
        await helper.open_fd(ICMP)
    with pytest.raises(ClosedError, match="entered once"):
        await helper.__aenter__()


def test_two_ways_at_once_are_refused() -> None:
    with pytest.raises(SpecError):
        Helper("/bin/true", socket_path="/run/x")


@pytest.mark.anyio
async def test_helper_shows_its_state(helper_binary: Path) -> None:
    helper = Helper(helper_binary)
    assert repr(helper) == "<Helper not entered>"
    async with helper:
        assert repr(helper) == f"<Helper pid={helper.pid} mode=plain open>"
    assert repr(helper) == f"<Helper pid={helper.pid} mode=plain closed>"


@pytest.mark.anyio
async def test_helper_that_is_dropped_warns_and_leaves_nothing(helper_binary: Path) -> None:
    before = descriptors(), children()
    helpers = [await Helper(helper_binary).__aenter__()]

    with pytest.warns(ResourceWarning, match=r"unclosed <Helper pid=\d+ mode=plain open>"):
        helpers.clear()

    assert (descriptors(), children()) == before


def test_helper_that_outlives_its_loop_warns_and_leaves_nothing(helper_binary: Path) -> None:
    async def enter() -> Helper:
        return await Helper(helper_binary).__aenter__()

    with no_leaks():
        helpers = [asyncio.run(enter())]
        with pytest.warns(ResourceWarning, match="unclosed <Helper"):
            helpers.clear()


@pytest.mark.anyio
async def test_stopped_helper_does_not_hold_up_the_end(helper_binary: Path) -> None:
    async with Helper(helper_binary, timeout=30) as helper:
        assert helper.pid is not None
        os.kill(helper.pid, signal.SIGSTOP)
        began = time.monotonic()

    assert time.monotonic() - began < 10
    assert helper.pid not in children()


async def cancelled_after(seconds: float, what: Callable[[], Awaitable[object]]) -> None:
    with anyio.move_on_after(seconds):
        await what()


@pytest.mark.anyio
async def test_cancelled_one_shot_opens_leave_nothing(helper_binary: Path) -> None:
    async def once() -> None:
        opened = await obtain(ICMP, helper=helper_binary)
        opened.descriptor.close()

    for number in range(200):
        await cancelled_after(number * 20e-6, once)


@pytest.mark.asyncio
async def test_cancelled_tasks_of_asyncio_leave_nothing(helper_binary: Path) -> None:
    # Task.cancel() goes through anyio's shields, and lands wherever the task waits.
    async def once() -> None:
        opened = await obtain(ICMP, helper=helper_binary)
        opened.descriptor.close()

    for number in range(200):
        task = asyncio.ensure_future(once())
        asyncio.get_running_loop().call_later(number * 20e-6, task.cancel)
        await asyncio.wait([task])
        assert task.cancelled() or task.exception() is None


@pytest.mark.anyio
async def test_cancelled_opens_leave_a_session_usable(helper_binary: Path) -> None:
    async with Helper(helper_binary) as helper:

        async def once() -> None:
            os.close(await helper.open_fd(LOW_PORT))

        for number in range(200):
            await cancelled_after(number * 1e-6, once)
        await once()


async def take_until_it_dies(helper: Helper) -> None:
    while True:
        await take(helper)


@pytest.mark.anyio
async def test_helper_killed_at_any_moment_is_an_error_of_ours(helper_binary: Path) -> None:
    async def kill_after(seconds: float, pid: int) -> None:
        await anyio.sleep(seconds)
        os.kill(pid, signal.SIGKILL)

    for number in range(20):
        async with Helper(helper_binary) as helper, anyio.create_task_group() as tasks:
            assert helper.pid is not None
            tasks.start_soon(kill_after, number * 1e-4, helper.pid)
            with pytest.raises(HelperDiedError):
                await take_until_it_dies(helper)


@pytest.mark.anyio
async def test_helper_that_ignores_its_end_is_killed(
    helper_binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch_module, "_EXIT", 0.1)
    async with Helper(helper_binary) as helper:
        assert helper.pid is not None
        os.kill(helper.pid, signal.SIGSTOP)

    assert helper.pid not in children()
