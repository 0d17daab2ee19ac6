"""``latency=`` of the doors and of adopted sockets that are read by system calls."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

import aioprocket
from aioprocket import Channel, SpecError

pytestmark = pytest.mark.netns

HOST = "127.0.0.1"
RMEM_MAX = int(Path("/proc/sys/net/core/rmem_max").read_text())


def buffer_of(channel: Channel) -> int:
    sock = channel._port.sock
    assert sock is not None
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


@pytest.mark.anyio
async def test_a_buffer_that_nobody_asked_for_is_wider_where_packets_may_wait() -> None:
    async with (
        aioprocket.open(protocol="udp", ip=HOST) as low,
        aioprocket.open(protocol="udp", ip=HOST, latency="balanced") as balanced,
        aioprocket.open(
            protocol="udp", ip=HOST, latency="balanced", receive_buffer=50_000
        ) as asked,
    ):
        assert buffer_of(balanced) == max(buffer_of(low), 2 * min(RMEM_MAX, 1 << 20))
        assert buffer_of(asked) == 100_000


@pytest.mark.anyio
async def test_every_door_to_packets_takes_a_latency(veth: tuple[str, str]) -> None:
    async with (
        aioprocket.open(family="netlink", protocol=0, latency="balanced") as netlink,
        aioprocket.open_icmp(type="raw", latency="balanced") as icmp,
        aioprocket.open_packet(veth[0], ring=False, latency="balanced") as queue,
        aioprocket.open_packet(veth[0], latency="balanced") as ring,
        aioprocket.open_packet(veth[0], ring=False, latency="low") as low,
    ):
        moderated = [channel._readiness._read.moderator is not None for channel in (
            netlink, icmp, queue, ring, low,
        )]  # fmt: skip
        assert moderated == [True, True, True, False, False]
        assert icmp.get_extra_info("spec").latency == "balanced"


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: aioprocket.open(80, latency="balanced"), "stream"),
        (lambda: aioprocket.open(53, protocol="udp", latency="throughput"), "throughput"),  # type: ignore[arg-type]
        (lambda: aioprocket.open(53, protocol="udp", latency="none"), "none"),  # type: ignore[arg-type]
        (lambda: aioprocket.open_icmp(latency="throughput"), "throughput"),  # type: ignore[arg-type]
        (lambda: aioprocket.open(device="null", latency="balanced"), "stream"),
    ],
)
def test_a_latency_that_means_nothing_is_refused(call: Callable[[], object], names: str) -> None:
    with pytest.raises(SpecError, match=names):
        call()


def test_what_cannot_wait_is_not_adopted_and_stays_its_owners() -> None:
    fd = os.open("/dev/null", os.O_RDWR)
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with near, far:
        for it in (fd, near):
            with pytest.raises(SpecError, match="balanced"):
                Channel.from_fd(it, latency="balanced")
        with pytest.raises(SpecError, match="throughput"):
            Channel.from_fd(near, latency="throughput")  # type: ignore[arg-type]
        near.send(b"x")
        assert far.recv(1) == b"x"
    os.close(fd)
