"""The way to a broker's socket, and what is there instead of one."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from aioprocket.errors import (
    HelperNotFoundError,
    HelperTimeoutError,
    NotPermittedError,
)
from aioprocket.helper import (
    ladder,
    obtain,
)
from aioprocket.spec import Spec
from fakes import Conversation, serve
from lab.rungs import UDP, AsNobody, close_one, place_broker

pytestmark = pytest.mark.usefixtures("nothing_installed")


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
