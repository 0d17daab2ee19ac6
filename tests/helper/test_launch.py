import errno
import gc
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from aioprocket.errors import HelperError, HelperNotFoundError
from aioprocket.helper import launch as launch_module
from aioprocket.helper.launch import Process, launch
from channels.rig import in_child
from lab.leaks import children, descriptors
from sandbox import kernel
from sandbox.accounts import NOBODY

pytestmark = pytest.mark.anyio

SHELL = "/bin/sh"


@asynccontextmanager
async def launched(*argv: str) -> AsyncIterator[tuple[socket.socket, Process]]:
    sock, process = launch(argv)
    try:
        yield sock, process
    finally:
        sock.close()
        await process.end()


def script(text: str) -> tuple[str, str, str]:
    return SHELL, "-c", text


async def test_stdin_is_the_session_and_names_us_as_its_maker() -> None:
    async with launched("/bin/cat") as (sock, _):
        assert sock.type == socket.SOCK_SEQPACKET
        assert sock.family == socket.AF_UNIX


async def test_a_program_gets_no_environment() -> None:
    async with launched("/bin/cat") as (_, process):
        with open(f"/proc/{process.pid}/environ", "rb") as environment:  # noqa: ASYNC230
            assert environment.read() == b""


async def test_a_program_with_arguments_gets_one_path_and_none_of_our_descriptors() -> None:
    ours = os.open(__file__, os.O_RDONLY | os.O_CLOEXEC)
    text = "cat /proc/$$/environ >&0; ls -l /proc/$$/fd >&0"
    async with launched(*script(text)) as (sock, process):
        await process.obituary()
        said = b""
        while data := sock.recv(4096):
            said += data
    os.close(ours)

    environment, _, files = said.partition(b"\0")
    assert environment == b"PATH=/usr/sbin:/usr/bin:/sbin:/bin"
    assert files.startswith(b"total")
    assert __file__.encode() not in said
    assert b"/dev/null" in said


async def test_ctrl_c_at_the_terminal_is_not_for_the_program() -> None:
    async with launched("/bin/cat") as (_, process):
        assert os.getpgid(process.pid) == process.pid


async def test_program_with_arguments_has_no_terminal_to_ask_at() -> None:
    async with launched("/bin/sleep", "600") as (_, process):
        assert os.getsid(process.pid) == process.pid
        process.kill()


async def test_brief_wait_ends_with_the_program() -> None:
    async with launched(*script("exit 3")) as (_, process):
        # Bounded each time: on a busy machine the shell may need more than one.
        while not process.reap():
            process.wait_briefly()


async def test_brief_wait_is_not_for_a_program_that_goes_on() -> None:
    async with launched("/bin/sleep", "600") as (_, process):
        process.wait_briefly()

        assert not process.reap()
        process.kill()


async def test_program_that_exits_is_reported_with_its_status_and_its_last_words() -> None:
    async with launched(*script("echo 'no such luck' >&2; exit 7")) as (_, process):
        assert await process.obituary() == "it exited with status 7: no such luck"


async def test_program_that_is_killed_is_reported_with_its_signal() -> None:
    async with launched("/bin/sleep", "600") as (_, process):
        process.kill()

        assert await process.obituary() == "it was killed by SIGKILL"


async def test_program_that_says_too_much_is_not_held_up() -> None:
    async with launched(*script("head -c 1000000 /dev/zero >&2; exit 3")) as (_, process):
        assert (await process.obituary()).startswith("it exited with status")


@pytest.mark.parametrize("how", ["sleeps", "is stopped", "ignores signals"])
async def test_program_that_does_not_go_is_killed(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch_module, "_EXIT", 0.1)
    # exec: the shell's own child would outlive it.
    argv = script(("trap '' TERM; " if how == "ignores signals" else "") + "exec sleep 600")
    async with launched(*argv) as (_, process):
        if how == "is stopped":
            os.kill(process.pid, signal.SIGSTOP)

    assert process.pid not in children()


async def test_cancelled_end_still_leaves_no_process() -> None:
    sock, process = launch(("/bin/sleep", "600"))
    sock.close()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(process.end)
        await anyio.wait_all_tasks_blocked()
        process.kill()
        tasks.cancel_scope.cancel()

    assert process.pid not in children()


async def test_process_that_is_dropped_is_reaped() -> None:
    sock, process = launch(("/bin/sleep", "600"))
    sock.close()
    pid = process.pid
    del process
    gc.collect()

    assert pid not in children()


@pytest.mark.parametrize("missing", ["/no/such/program", "no-such-program"])
async def test_missing_program_is_not_found(missing: str) -> None:
    with pytest.raises(HelperNotFoundError, match=missing) as caught:
        launch((missing,))

    assert caught.value.errno == errno.ENOENT


async def test_file_that_is_no_program_cannot_be_started(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("not a program")
    text.chmod(0o644)

    with pytest.raises(HelperNotFoundError, match="cannot start") as caught:
        launch((str(text),))

    assert caught.value.hint


async def test_folder_is_told_from_a_program(tmp_path: Path) -> None:
    with pytest.raises(HelperNotFoundError) as caught:
        launch((str(tmp_path),))

    assert "is a folder" in caught.value.hint


async def test_no_room_for_descriptors_is_an_error_that_leaves_nothing() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = descriptors()
    free = [fd for fd in range(max(used) + 20) if fd not in used]
    # Two for the session, two for stderr, one of which is closed before the pidfd is made.
    for room in range(4):
        resource.setrlimit(resource.RLIMIT_NOFILE, (free[room], limits[1]))
        try:
            with pytest.raises(HelperError, match="EMFILE") as caught:
                launch(("/bin/cat",))
            assert "ulimit -n" in caught.value.hint
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.realroot
def test_a_closed_null_device_is_not_taken_for_a_fault_of_the_helper(tmp_path: Path) -> None:
    mine = tmp_path / "null"
    mine.touch(0o644)

    def blame() -> tuple[str, str]:
        with pytest.raises(HelperError) as caught:
            launch(("/bin/cat",))
        return str(caught.value), caught.value.hint

    def apart() -> None:
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
        kernel.mount(str(mine), "/dev/null", "", kernel.MS_BIND)
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        message, hint = blame()
        assert "its output cannot go to /dev/null: Permission denied" in message
        assert hint == "sudo chmod 0666 /dev/null"

    in_child(apart)


async def test_parent_that_ignores_its_children_is_no_obstacle() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        async with launched("/bin/cat"):
            pass
    finally:
        signal.signal(signal.SIGCHLD, before)
