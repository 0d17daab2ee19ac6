"""A UDP socket with offload, step by step as it is opened."""

import socket

import pytest

from aioprocket._system import options
from aioprocket.channels.udp import UdpOffloadPort, prepare
from lab.udp import UDP_GRO

pytestmark = [pytest.mark.netns]

NOTHING = [(0x06, 0, 0, 0)]


@pytest.mark.parametrize("filtered", [False, True])
def test_what_is_filtered_is_coalesced_at_no_step(filtered: bool) -> None:
    # What came in one meanwhile would stay so, and the filter has seen the first of it only.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        if filtered:
            options.attach_filter(sock, NOTHING)
        prepare(sock, "a socket", filtered=filtered)
        assert sock.getsockopt(socket.IPPROTO_UDP, UDP_GRO) == (not filtered)

        UdpOffloadPort(sock, filtered=filtered)
        assert sock.getsockopt(socket.IPPROTO_UDP, UDP_GRO) == (not filtered)
