"""Waiting for what comes, and reading what has come."""

import socket
import time

import pytest

from aioprocket.tracer.sockets import SocketSet, read_datagrams


@pytest.mark.anyio
async def test_a_socket_that_is_only_kept_wakes_nobody() -> None:
    sockets = SocketSet()
    reserved = socket.socket()
    reserved.bind(("127.0.0.1", 0))
    sockets.keep(reserved)
    began = time.monotonic()

    await sockets.wait(0.05)

    assert time.monotonic() - began >= 0.05
    sockets.close()
    assert reserved.fileno() == -1


def test_a_flood_does_not_keep_who_reads_for_ever() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs,
    ):
        ours.bind(("127.0.0.1", 0))
        theirs.connect(ours.getsockname())
        theirs.send(b"first")
        count = 0
        for count, datagram in enumerate(read_datagrams(ours), 1):
            assert datagram.data == b"first" or count > 1
            if count < 10_000:
                theirs.send(b"and another for each that is read")

        assert 1 < count < 10_000
