"""Errors that somebody forges about a ping socket's probes, more than are worth reading at once."""

import errno
import socket
import time
from collections.abc import AsyncIterator

import pytest

from aioprocket._system._native import EchoGroup
from aioprocket.errors import NotPermittedError
from aioprocket.pinger import lane as module
from aioprocket.pinger.lane import READ, Lane
from aioprocket.pinger.opening import open_socket
from aioprocket.pinger.reports import local_error
from aioprocket.pinger.settings import Settings
from aioprocket.pinger.targets import Target
from aioprocket.wire.checksum import checksum
from lab.must import unavailable
from sandbox import links

pytestmark = [pytest.mark.anyio, pytest.mark.netns]

HOST = Target("127.0.0.1", bytes([127, 0, 0, 1]))
PATIENT = 30.0


@pytest.fixture
async def flooded(ping_sockets: None) -> AsyncIterator[tuple[socket.socket, int]]:
    """A ping socket, and the identifier of its probes, in a network where packets have 1500."""
    links.set_up("lo")
    links.set_mtu("lo", 1500)
    try:
        sock, identifier = await open_socket(4, Settings(type="dgram", df=True), 5.0)
    except NotPermittedError as reason:
        unavailable("ping sockets", str(reason))
    yield sock, identifier
    sock.close()


def forge(identifier: int, count: int) -> None:
    """Errors that say of a probe that its host cannot be reached, as anybody could send them."""
    probe = bytes([8, 0, 0, 0]) + identifier.to_bytes(2, "big") + bytes(2)
    header = bytes([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0, 127, 0, 0, 1, 127, 0, 0, 9])
    message = bytes([3, 1, 0, 0, 0, 0, 0, 0]) + header + probe
    message = message[:2] + checksum(message).to_bytes(2, "big") + message[4:]
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.settimeout(PATIENT)
        for _ in range(count):
            sock.sendto(message, ("127.0.0.1", 0))
            sock.recv(100)  # it is there, also where the kernel is busy with other things


async def test_more_errors_than_one_turn_reads_put_a_probe_off_and_do_not_end_it(
    flooded: tuple[socket.socket, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_READS", 1)
    sock, identifier = flooded
    lane = Lane(sock, 4, identifier)
    group = EchoGroup(56, b"", int(PATIENT * 1e9))
    try:
        forge(identifier, 3 * READ // 2)

        assert (lane.send(group, [HOST], 0, 0), lane.blocked) == (0, True)
        assert not len(group)
        assert (lane.send(group, [HOST], 0, 0), lane.blocked) == (1, False)
        while not len(group):
            await lane.wait(group, time.monotonic() + PATIENT)
        assert [echo.ok for echo in group.take()] == [True]
    finally:
        lane.close()


async def test_mtu_is_looked_for_behind_some_errors_and_not_behind_any_number(
    flooded: tuple[socket.socket, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aioprocket.pinger.reports._QUEUED", 10)
    sock, identifier = flooded
    forge(identifier, 15)

    unknown = local_error(sock, errno.EMSGSIZE, "127.0.0.1", 2000)
    known = local_error(sock, errno.EMSGSIZE, "127.0.0.1", 2000)

    assert (unknown.kind, unknown.mtu) == ("frag-needed", None)
    assert (known.kind, known.mtu) == ("frag-needed", 1500)
