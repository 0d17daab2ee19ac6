"""Several sockets that share the packets of one interface."""

import select
import socket
import time
from typing import Any

import pytest

from aioprocket import Fanout, OpenError, PacketChannel, SpecError
from aioprocket._system.ring import join_fanout
from channels.rig import bound, cable, frame, number, open_packet
from sandbox import links

pytestmark = pytest.mark.netns


def members(
    ifname: str, fanout: Fanout, count: int = 2, latency: str = "balanced"
) -> list[PacketChannel]:
    return [open_packet(ifname, ring=True, latency=latency, fanout=fanout) for _ in range(count)]


def shares(channels: list[PacketChannel], total: int) -> list[list[int]]:
    """What each member of a group has received of so many packets."""
    got: list[list[int]] = [[] for _ in channels]
    deadline = time.monotonic() + 10
    while sum(map(len, got)) < total:
        assert time.monotonic() < deadline
        for share, channel in zip(got, channels, strict=True):
            try:
                share.append(number(channel.receive_nowait()))
            except BlockingIOError:
                time.sleep(0.0005)
    return got


@pytest.mark.parametrize("mode", ["lb", "hash", "cpu", "rollover", "rnd", "qm", "cbpf"])
@pytest.mark.parametrize("latency", ["balanced", "low"])
def test_a_group_shares_packets_out(veth: tuple[str, str], mode: Any, latency: str) -> None:
    # The packet's number decides, at offset 0: a program of fanout sees what is behind the header.
    program = ((0x20, 0, 0, 0), (0x16, 0, 0, 0)) if mode == "cbpf" else None
    with cable(veth) as wire:
        channels = members(veth[1], Fanout(7, mode, program=program), latency=latency)
        try:
            wire.send(*range(100))
            got = shares(channels, 100)

            assert sorted(got[0] + got[1]) == list(range(100))
            if mode == "lb":
                assert len(got[0]) == len(got[1]) == 50
            if mode in ("hash", "cpu", "rollover", "qm"):
                assert min(map(len, got)) == 0
            if mode == "cbpf":
                assert {each % 2 for each in got[0]} | {1 - each % 2 for each in got[1]} in (
                    {0},
                    {1},
                )
        finally:
            for channel in channels:
                channel.close()


def test_a_group_can_be_new_and_be_joined(veth: tuple[str, str]) -> None:
    [first] = members(veth[1], Fanout(mode="lb"), 1)
    known = first.fanout
    assert known is not None
    assert known.group is not None
    second = members(veth[1], known, 1)
    first.close()
    second[0].close()


def test_a_group_of_another_mode_is_refused(veth: tuple[str, str]) -> None:
    [first] = members(veth[1], Fanout(9, "lb"), 1)
    try:
        with pytest.raises(OpenError, match="join fanout group 9") as raised:
            members(veth[1], Fanout(9, "hash"), 1)
        assert raised.value.step == "fanout"
    finally:
        first.close()


@pytest.mark.parametrize(
    "arguments",
    [(-1,), (70000,), (True,), (1, "fair"), (1, "cbpf"), (1, "lb", False, False, ((6, 0, 0, 0),))],
)
def test_a_group_that_cannot_be_is_refused(arguments: Any) -> None:
    with pytest.raises(SpecError):
        Fanout(*arguments)


def is_readable(channel: PacketChannel) -> bool:
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    return bool(poll.poll(0))


@pytest.mark.parametrize(
    "options", [{"ring": False}, *({"ring": True, "latency": each} for each in ("low", "balanced"))]
)
def test_what_came_before_the_join_is_gone_large_or_small(
    veth: tuple[str, str], monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    for ifname in veth:
        links.set_mtu(ifname, 9000)
    large = frame(0).ljust(9000, b"\1")  # no frame of a ring has room for that
    with bound(veth[0]) as far:

        def join_late(sock: socket.socket, fanout: Fanout) -> None:
            for data in (frame(1), large, frame(2), large):
                far.send(data)
            join_fanout(sock, fanout)

        monkeypatch.setattr("aioprocket.channels.packet.join_fanout", join_late)
        channel = open_packet(veth[1], fanout=Fanout(7, "lb"), **options)
        try:
            assert not is_readable(channel)
            far.send(large)
            far.send(frame(3))

            [[_, last]] = shares([channel], 2)

            assert last == 3
            assert channel.stats().rx_bytes == len(large) + len(frame(3))
            with pytest.raises(BlockingIOError):
                channel.receive_nowait()
            assert not is_readable(channel)
        finally:
            channel.close()
