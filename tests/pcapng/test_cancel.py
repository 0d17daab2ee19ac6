"""Calls that are cancelled while a thread is at the disk, by anyio and by asyncio's own cancel."""

import asyncio
import errno
import io
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from aioprocket import CaptureError, ClosedError
from aioprocket.pcapng import Reader, Writer
from aioprocket.thread import call_in_thread
from contract import until
from lab.leaks import descriptors
from pcapng.files import number_of, packet

pytestmark = pytest.mark.anyio

COUNT = 3000
SIZE = 1000  # so that a file has more than is read at once


class Gate:
    """Where a thread waits for a disk that does not answer yet."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._opened = threading.Event()
        self.passed = threading.Event()

    def wait(self) -> None:
        self.reached.set()
        assert self._opened.wait(60)

    def open(self) -> None:
        self._opened.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


@pytest.fixture(params=["scope", "task"])
def cancels(request: pytest.FixtureRequest, anyio_backend_name: str) -> str:
    """Who cancels; what asyncio calls a task's cancel, trio does not have."""
    return "scope" if anyio_backend_name == "trio" else str(request.param)


async def cancelled(
    call: Callable[[], Coroutine[Any, Any, None]], gate: Gate, cancels: str
) -> None:
    """Cancel a call when its thread is at the gate; returns when the call has ended."""
    if cancels == "scope":
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await until(gate.reached.is_set)
            tasks.cancel_scope.cancel()
    else:
        task = asyncio.ensure_future(call())
        await until(gate.reached.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def write(path: Path) -> None:
    async with Writer(path) as writer:
        await writer.send([packet(number, SIZE) for number in range(COUNT)])


class LateFile(io.FileIO):
    """A file whose second read waits for the gate."""

    def __init__(self, path: Path, gate: Gate) -> None:
        super().__init__(path)
        self._gate = gate
        self._lock = threading.Lock()
        self.together = False  # two threads were here

    def read(self, size: int | None = -1) -> Any:
        alone = self._lock.acquire(blocking=False)
        self.together |= not alone
        try:
            if self.tell():
                self._gate.wait()
            return super().read(size)
        finally:
            if alone:
                self._lock.release()


async def test_cancelled_receive_loses_nothing_that_its_thread_reads(
    tmp_path: Path, gate: Gate, cancels: str
) -> None:
    await write(tmp_path / "a.pcapng")
    with LateFile(tmp_path / "a.pcapng", gate) as file, anyio.fail_after(60):
        async with Reader(file) as reader:
            seen: list[int] = []

            async def receive() -> None:
                while True:
                    seen.append(number_of(await reader.receive()))

            async def receive_the_rest() -> None:
                seen.extend([number_of(each) async for each in reader])

            await cancelled(receive, gate, cancels)
            assert 0 < len(seen) < COUNT
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(receive_the_rest)
                await anyio.wait_all_tasks_blocked()
                gate.open()

            assert seen == list(range(COUNT))
            assert not file.together


async def test_receives_that_are_cancelled_again_and_again_leave_one_thread(
    tmp_path: Path, gate: Gate
) -> None:
    await write(tmp_path / "a.pcapng")
    with LateFile(tmp_path / "a.pcapng", gate) as file, anyio.fail_after(60):
        async with Reader(file) as reader:
            seen: list[int] = []

            async def receive() -> None:
                seen.extend([number_of(each) async for each in reader])

            await cancelled(receive, gate, "scope")
            before = threading.active_count()
            for _ in range(5):
                with anyio.move_on_after(0.05):
                    await receive()
            assert threading.active_count() <= before
            gate.open()


async def test_error_that_a_thread_left_behind_meets_is_raised_by_the_next_receive(
    tmp_path: Path, gate: Gate, cancels: str
) -> None:
    class BadDisk(LateFile):
        def read(self, size: int | None = -1) -> Any:
            if self.tell() and not gate.reached.is_set():
                gate.wait()
                raise OSError(errno.EIO, "Input/output error")
            return super().read(size)

    await write(tmp_path / "a.pcapng")
    with BadDisk(tmp_path / "a.pcapng", gate) as file, anyio.fail_after(60):
        async with Reader(file) as reader:

            async def receive() -> None:
                async for _ in reader:
                    pass

            await cancelled(receive, gate, cancels)
            gate.open()

            with pytest.raises(CaptureError, match="Input/output error"):
                await receive()


async def test_file_that_a_thread_still_reads_is_closed_by_that(
    tmp_path: Path, gate: Gate, cancels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(tmp_path / "a.pcapng")
    before = descriptors()
    read = os.read

    def read_late(fd: int, size: int) -> bytes:
        if fd in ours and os.lseek(fd, 0, os.SEEK_CUR):
            gate.wait()
        return read(fd, size)

    with anyio.fail_after(60):
        reader = await Reader(tmp_path / "a.pcapng")
        ours = descriptors().keys() - before.keys()
        monkeypatch.setattr("aioprocket.pcapng.input.os.read", read_late)

        async def receive() -> None:
            async for _ in reader:
                pass

        await cancelled(receive, gate, cancels)
        await reader.aclose()
        assert ours <= descriptors().keys()  # else the number would be the next one's
        with pytest.raises(ClosedError):
            await reader.receive()
        gate.open()
        await until(lambda: not ours & descriptors().keys())


async def test_cancelled_open_of_a_writer_leaves_no_thread_at_the_file(
    tmp_path: Path, gate: Gate, cancels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.pcapng"
    path.write_bytes(b"from before")
    before = descriptors()
    open_now = os.open

    def open_late(name: Any, *arguments: Any, **options: Any) -> int:
        if name != str(path):
            return open_now(name, *arguments, **options)
        gate.wait()
        fd = open_now(name, *arguments, **options)
        gate.passed.set()
        return fd

    monkeypatch.setattr("aioprocket.pcapng.output.os.open", open_late)

    async def opening() -> None:
        async with Writer(path, overwrite=True):
            pass

    async def let_pass() -> None:
        await until(gate.reached.is_set)
        await anyio.wait_all_tasks_blocked()
        gate.open()

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(let_pass)
            await cancelled(opening, gate, cancels)
            assert gate.passed.is_set()
        assert descriptors() == before


async def test_call_in_a_thread_that_is_cancelled_before_it_begins_is_never_made() -> None:
    made: list[int] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        await call_in_thread(lambda: made.append(1))
    assert made == []
    assert await call_in_thread(lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        await call_in_thread(lambda: 1 // 0)
