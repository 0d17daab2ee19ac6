"""One socket's queue: a reply that nobody has read yet is not lost."""

import socket
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from aioprocket._system._native import EchoGroup
from aioprocket.pinger import lane as module
from aioprocket.pinger.lane import READ, Lane
from aioprocket.pinger.targets import Target

pytestmark = pytest.mark.netns

HOST = Target("127.0.0.1", bytes([127, 0, 0, 1]))
TIMEOUT_NS = 60 * 10**9
# An echo reply that is somebody else's, with its checksum.
STRANGER = bytes([0, 0, 0xFF, 0xFF]) + bytes(4)


@pytest.fixture
def lane(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lane]:
    """A lane that reads 64 messages in one turn: any receive buffer has room for more."""
    monkeypatch.setattr(module, "_READS", 1)
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    lane = Lane(sock, 4, 0x1234)
    yield lane
    lane.close()


@pytest.fixture
def flying_behind_a_flood(lane: Lane) -> EchoGroup:
    """A probe whose reply lies in the queue behind two turns of somebody else's messages."""
    group = EchoGroup(56, b"", TIMEOUT_NS)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as other:
        for _ in range(2 * READ):
            other.sendto(STRANGER, ("127.0.0.1", 0))
    assert lane.send(group, [HOST], 0, 0) == 1
    return group


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Says what the lane takes for the time."""

    def set_to(moment_ns: int) -> None:
        monkeypatch.setattr(
            module,
            "time",
            SimpleNamespace(monotonic_ns=lambda: moment_ns, monotonic=lambda: moment_ns / 1e9),
        )

    return set_to


def test_reply_behind_a_flood_is_read_before_its_probe_is_lost(
    lane: Lane, flying_behind_a_flood: EchoGroup, set_clock: Callable[[int], None]
) -> None:
    set_clock(time.monotonic_ns() + TIMEOUT_NS)

    turns = []
    for _ in range(3):
        lane.expire(flying_behind_a_flood)
        turns.append([echo.ok for echo in flying_behind_a_flood.take()])

    assert turns == [[], [], [True]]


def test_flood_without_end_keeps_no_probe_for_longer_than_its_time_once_more(
    lane: Lane, flying_behind_a_flood: EchoGroup, set_clock: Callable[[int], None]
) -> None:
    set_clock(time.monotonic_ns() + 2 * TIMEOUT_NS)

    lane.expire(flying_behind_a_flood)

    assert [echo.ok for echo in flying_behind_a_flood.take()] == [False]
