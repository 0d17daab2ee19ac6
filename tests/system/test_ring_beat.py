"""When a ring is made: those of one latency run out together."""

import mmap
import socket
import time

import pytest

from aioprocket._system.ring import Geometry, make_ring

pytestmark = pytest.mark.netns

MS = 1_000_000  # nanoseconds


@pytest.mark.parametrize(("retire_ms", "beat"), [(50, 10 * MS), (10, 10 * MS), (1, MS)])
def test_a_ring_is_begun_at_a_whole_beat(retire_ms: int, beat: int) -> None:
    for _ in range(12):
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            before = time.monotonic_ns()
            make_ring(sock, Geometry(mmap.PAGESIZE, 2, retire_ms))
            after = time.monotonic_ns()
        # However late this process was: such a moment lies between them, each time.
        assert before // beat < after // beat
