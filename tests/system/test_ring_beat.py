"""When a ring is made: those whose packets may wait for long run out together."""

import mmap
import socket
import time

import pytest

from aioprocket._system.ring import Geometry, make_ring

pytestmark = pytest.mark.netns

BEAT = 10_000_000  # nanoseconds


def test_a_ring_that_waits_for_long_is_begun_at_a_whole_hundredth_of_a_second() -> None:
    geometry = Geometry(mmap.PAGESIZE, 2, 50)
    for _ in range(12):
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            before = time.monotonic_ns()
            make_ring(sock, geometry)
            after = time.monotonic_ns()
        # However late this process was: such a moment lies between them, each time.
        assert before // BEAT < after // BEAT
