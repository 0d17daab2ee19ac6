"""Counters for Prometheus, read by Prometheus's own parser."""

import gc
import os
import socket
from contextlib import ExitStack

import pytest
from prometheus_client.parser import text_string_to_metric_families

import aioprocket
from aioprocket import Channel, Stats
from aioprocket.channels import metrics
from channels.rig import cable, frame, pair, tap
from sandbox import links

pytestmark = [pytest.mark.netns, pytest.mark.anyio]

Sample = tuple[dict[str, str], float]


def samples() -> dict[str, list[Sample]]:
    return {
        sample.name: [(each.labels, each.value) for each in family.samples]
        for family in text_string_to_metric_families(aioprocket.prometheus())
        for sample in family.samples
    }


def of(number: str, found: dict[str, list[Sample]]) -> dict[str, float]:
    return {
        name: value
        for name, each in found.items()
        for labels, value in each
        if labels["channel"] == number
    }


def labels() -> list[dict[str, str]]:
    return [labels for labels, _ in samples().get("aioprocket_rx_packets_total", [])]


async def test_every_counter_of_a_channel_is_there(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        wire.send(*range(5))
        for _ in range(3):
            await wire.channel.receive()
        await wire.channel.send(frame(7))
        [mine] = labels()
        stats = wire.channel.stats()
        values = of(mine["channel"], samples())

        assert (mine["kind"], mine["interface"], mine["protocol"]) == ("packet", veth[1], "0x88b5")
        assert values == {
            "aioprocket_rx_packets_total": 3,
            "aioprocket_rx_bytes_total": 3 * 64,
            "aioprocket_rx_dropped_total": 0,
            "aioprocket_rx_truncated_total": 0,
            "aioprocket_rx_queued_bytes": stats.rx_queued,
            "aioprocket_rx_held_packets": 0,
            "aioprocket_tx_packets_total": 1,
            "aioprocket_tx_bytes_total": 64,
            "aioprocket_tx_refused_total": 0,
            "aioprocket_wakeups_total": stats.wakeups,
            "aioprocket_errors_total": 0,
            "aioprocket_link_down_total": 0,
            "aioprocket_rx_freezes_total": 0,
        }
        assert len(values) == len(Stats._fields)
        assert stats.rx_queued > 0


async def test_each_metric_says_what_it_is() -> None:
    families = list(text_string_to_metric_families(aioprocket.prometheus()))

    assert len(families) == len(Stats._fields)
    assert all(family.documentation.endswith(".") for family in families)
    gauges = {family.name for family in families if family.type == "gauge"}
    assert gauges == {"aioprocket_rx_queued_bytes", "aioprocket_rx_held_packets"}
    assert {family.type for family in families} == {"counter", "gauge"}


async def test_each_kind_of_channel_is_told_apart() -> None:
    links.set_up("lo")
    sockets = [
        (socket.AF_INET, socket.SOCK_DGRAM, 0, ("inet", "", "udp")),
        (socket.AF_INET6, socket.SOCK_RAW, 58, ("inet", "", "ipv6-icmp")),
        (socket.AF_NETLINK, socket.SOCK_RAW, 0, ("netlink", "", "route")),
        (socket.AF_PACKET, socket.SOCK_RAW, 0, ("packet", "", "0x0000")),
    ]
    with tap() as wire, ExitStack() as opened:
        for each in sockets:
            opened.callback(Channel.from_fd(socket.socket(*each[:3])).close)
        device = Channel.from_fd(os.open("/dev/null", os.O_RDWR | os.O_NONBLOCK))
        opened.callback(device.close)
        with pair():
            found = [(one["kind"], one["interface"], one["protocol"]) for one in labels()]
        name = wire.ifname

    expected = [*(each[3] for each in sockets), ("device", "", ""), ("socket", "", "")]
    assert found == [("tun", name, ""), *expected]


async def test_servers_are_told_apart_by_their_addresses() -> None:
    links.set_up("lo")
    four = aioprocket.open(6053, protocol="udp", ip="127.0.0.1")
    six = aioprocket.open(6054, protocol="udp", ip="::1")
    raw = aioprocket.open(protocol=253, ip="127.0.0.1")
    async with four, six, raw:
        found = [each["address"] for each in labels()]

    assert found == ["127.0.0.1:6053", "[::1]:6054", "127.0.0.1"]


async def test_closed_and_forgotten_channels_are_gone() -> None:
    with pair() as (channel, _), pair():
        assert len(labels()) == 2
        channel.close()
        assert len(labels()) == 1
    before = len(metrics._channels)
    del channel
    gc.collect()

    assert labels() == []
    assert len(metrics._channels) < before


async def test_numbers_are_not_used_again() -> None:
    seen: list[str] = []
    for _ in range(3):
        with pair():
            seen.append(labels()[0]["channel"])

    assert len(set(seen)) == 3


async def test_names_that_need_quoting_are_quoted() -> None:
    odd = 'a\\"b'
    links.add_veth(odd, "v9")
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            sock.bind((odd, 3))
            async with Channel.from_fd(sock):
                [mine] = labels()
    finally:
        links.delete_link("v9")

    assert mine["interface"] == odd


async def test_sums_go_on_from_one_reading_to_the_next(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        wire.channel._port.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # type: ignore[union-attr]
        wire.send(*range(500))
        number = labels()[0]["channel"]
        first, second = (of(number, samples()) for _ in range(2))

        assert first == second
        assert first["aioprocket_rx_dropped_total"] == wire.channel.stats().rx_dropped > 0
