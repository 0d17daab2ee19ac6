"""Capture files that cannot be written to their end: what is said, left behind and counted."""

import errno
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from aioprocket import CaptureError
from aioprocket.pcapng import Reader, Writer
from pcapng.files import SMALL, full_disk, number_of, numbers, packet, stuck_pipe

pytestmark = pytest.mark.anyio


async def test_full_disk_is_told_once_and_leaves_whole_blocks(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    with full_disk(10_000):
        async with Writer(path) as writer:
            assert writer.write([packet(number) for number in range(500)]) == 500
            with pytest.raises(CaptureError, match=r"a\.pcapng'") as caught:
                await writer.flush()
            assert caught.value.errno == errno.EFBIG
            assert writer.write(packet(1)) == 0
            await writer.send(packet(2))
            assert writer.error is caught.value

    with Reader(path) as reader:
        read = reader.read(1000)
        assert not reader.read()
        assert not reader.truncated
    assert [number_of(each) for each in read] == list(range(len(read)))
    assert 10_000 - 128 < path.stat().st_size <= 10_000
    kept = len(read)
    stats = writer.stats()
    assert stats == (kept, 502 - kept, 0, path.stat().st_size, 1)
    assert writer.failed == 502 - kept


@pytest.mark.parametrize("name", ["a.pcapng", "a.pcap"])
@pytest.mark.parametrize("way", ["write", "send"])
async def test_full_disk_is_counted_packet_by_packet_with_the_call_that_told_of_it(
    tmp_path: Path, name: str, way: str
) -> None:
    path = tmp_path / name
    given = 0
    with full_disk(100_000):
        async with Writer(path, snaplen=SMALL, queue_bytes=1) as writer:
            with suppress(CaptureError), anyio.fail_after(40):
                while True:
                    batch = [packet(given + each, 1000) for each in range(7)]
                    given += len(batch)
                    if way == "send":
                        await writer.send(batch)
                    else:
                        writer.write(batch)
                        await anyio.lowlevel.checkpoint()
            assert writer.error is not None
            stats = writer.stats()
            assert stats.packets + stats.dropped == given
            assert writer.write(packet(1)) == 0

    stats = writer.stats()
    assert stats.packets == len(numbers(path)) > 90
    assert stats.packets + stats.dropped == given + 1
    assert 0 < writer.failed <= stats.dropped
    assert stats.written == path.stat().st_size


async def send_for_ever(writer: Writer) -> None:
    while True:
        await writer.send([packet(at, 1500) for at in range(100)])


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
async def test_full_disk_leaves_what_is_counted_in_a_compressed_file(
    tmp_path: Path, suffix: str
) -> None:
    if suffix == ".zst" and sys.version_info < (3, 14):
        pytest.importorskip("zstandard")
    path = tmp_path / f"a.pcapng{suffix}"
    with full_disk(100_000):
        async with Writer(path, queue_bytes=4_000_000) as writer:
            with pytest.raises(CaptureError), anyio.fail_after(40):
                await send_for_ever(writer)

    kept = 0
    with Reader(path) as reader:
        while read := reader.read(1000):
            kept += len(read)
    assert 0 < writer.stats().packets <= kept


async def test_pipe_that_nobody_reads_on_is_no_place_for_packets(tmp_path: Path) -> None:
    with stuck_pipe(tmp_path) as (path, _):
        writer = await Writer(path)
    writer.write([packet(1), packet(2)])
    with pytest.raises(BrokenPipeError):
        await writer.flush()
    await writer.aclose()
    assert writer.stats() == (0, 2, 0, 0, 1)


async def test_full_disk_that_nobody_asked_about_is_told_at_the_end(tmp_path: Path) -> None:
    with full_disk(1000), pytest.raises(CaptureError):
        async with Writer(tmp_path / "a.pcap") as writer:
            writer.write([packet(number) for number in range(100)])
    assert numbers(tmp_path / "a.pcap") == list(range(12))


async def test_reader_of_the_pipe_that_ends_is_a_broken_pipe(tmp_path: Path) -> None:
    with stuck_pipe(tmp_path) as (path, fd):
        writer = await Writer(path)
        os.close(os.dup(fd))
        writer.write(packet(1))
        await writer.flush()
    writer.write(packet(2))
    with pytest.raises(BrokenPipeError, match="Broken pipe"):
        await writer.flush()
    await writer.aclose()


async def test_writer_waits_for_who_reads_a_pipe_with_a_name(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with anyio.move_on_after(0.2) as scope:
        await Writer(path)
    assert scope.cancelled_caught

    async with anyio.create_task_group() as tasks:

        async def write() -> None:
            async with Writer(path) as writer:
                writer.write(packet(3))

        tasks.start_soon(write)
        async with Reader(path) as reader:
            assert [number_of(each) async for each in reader] == [3]


async def test_cancelled_end_gives_up_a_pipe_that_nobody_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aioprocket.pcapng.writer._STUCK", 0.1)
    with stuck_pipe(tmp_path) as (path, _):
        with anyio.move_on_after(0.1) as scope:
            async with Writer(path) as writer:
                writer.write([packet(number, 1500) for number in range(100)])
        assert scope.cancelled_caught
    for thread in threading.enumerate():  # it ends with the pipe
        if thread.name == "aioprocket capture":
            await anyio.to_thread.run_sync(thread.join)
