"""Counts and times, against hosts of which the test knows what they answered, and when."""

import ipaddress
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import anyio
import pytest

import aioprocket
from aioprocket import Echo, Pinger

from .responder import PATIENT, Request, Responder, host, reached, running

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.netns,
    pytest.mark.usefixtures("tun_device"),
]

ROUTERS = {4: ipaddress.ip_address("198.18.255.254"), 6: ipaddress.ip_address("2001:db8:77::ffff")}
versions = pytest.mark.parametrize("version", [4, 6])


async def faithfully(responder: Responder, request: Request) -> None:
    await responder.send(request.reply())


@versions
async def test_reply_that_is_late_by_a_known_time_has_that_round_trip(version: int) -> None:
    held: dict[int, float] = {}

    async def slowly(responder: Responder, request: Request) -> None:
        await anyio.sleep(0.02 * (request.number - 1))
        await responder.send(request.reply())
        held[request.number] = time.monotonic() - request.read_at

    async with running(slowly), Pinger(type="raw") as pinger:
        hosts = [host(version, number) for number in range(2, 6)]
        began = time.monotonic()
        echoes = [echo async for echo in pinger.sweep(hosts, timeout=PATIENT)]
        took = time.monotonic() - began

    assert {echo.host for echo in echoes if echo.ok} == set(hosts)
    for echo in echoes:
        number = int(echo.address) & 0xFFFF
        assert echo.rtt is not None
        assert 0.02 * (number - 1) <= echo.rtt <= took
        assert echo.ttl == 61
        assert echo.clock in ("receive", "kernel")
    ordered = sorted(echoes, key=lambda echo: echo.received_ns)
    assert [echo.host for echo in ordered] == [echo.host for echo in echoes]


@versions
@pytest.mark.parametrize("count", [1, 3])
async def test_second_replies_are_told_of_by_their_probe(version: int, count: int) -> None:
    async def twice(responder: Responder, request: Request) -> None:
        await responder.send(request.reply())
        await responder.send(request.reply())

    async with running(twice), Pinger(type="raw") as pinger:
        # A last probe that nobody answers leaves the time in which second replies come.
        result = await pinger.ping(host(version, 9), count=count, interval=0.05, timeout=PATIENT)

    assert result.received == count
    assert result.duplicates == sum(echo.duplicates for echo in result.echoes) >= count - 1


@versions
async def test_late_reply_is_no_reply(version: int) -> None:
    async def too_late(responder: Responder, request: Request) -> None:
        if request.number == 2:
            await anyio.sleep(0.2)
        await responder.send(request.reply())

    async with running(too_late), Pinger(type="raw") as pinger:
        lost = await pinger.ping(host(version, 2), count=1, timeout=0.05)
        while not pinger.stats().late:
            await pinger.ping(host(version, 3), count=1, timeout=PATIENT)

    assert (lost.received, lost.loss) == (0, 1.0)


Wrong = Callable[[Request], bytes]


def flip(at: int) -> Callable[[bytearray], None]:
    def change(message: bytearray) -> None:
        message[at] ^= 0x40

    return change


@versions
@pytest.mark.parametrize(
    ("wrong", "counter"),
    [
        pytest.param(lambda it: it.reply(change=flip(8)), "spoofed", id="cookie"),
        pytest.param(lambda it: it.reply(change=flip(20)), "spoofed", id="serial number"),
        pytest.param(lambda it: it.reply(change=flip(7)), "spoofed", id="sequence"),
        pytest.param(lambda it: it.reply(sender=ROUTERS[it.version]), "spoofed", id="address"),
        pytest.param(lambda it: it.reply(change=flip(40)), "corrupted", id="contents"),
        pytest.param(lambda it: it.reply(change=lambda m: m.extend(b"x")), "corrupted", id="more"),
    ],
)
async def test_wrong_reply_changes_no_result(version: int, wrong: Wrong, counter: str) -> None:
    async def wrongly_first(responder: Responder, request: Request) -> None:
        for _ in range(20):
            await responder.send(wrong(request))
        await anyio.sleep(0.02)
        await responder.send(request.reply())

    async with running(wrongly_first), Pinger(type="raw") as pinger:
        result = await pinger.ping(host(version, 5), count=2, interval=0, timeout=PATIENT)
        stats = await reached(pinger, version, counter, 40)

    assert (result.received, result.duplicates) == (2, 0)
    assert result.min is not None
    assert result.min >= 0.02
    assert getattr(stats, counter) == 40
    assert sum(stats) == 40


async def test_flood_of_forged_replies_costs_a_monitor_no_probe() -> None:
    async def forging(responder: Responder, request: Request) -> None:
        for _ in range(10):
            await responder.send(request.reply(change=flip(8)))
        await responder.send(request.reply())

    hosts = [host(4, number) for number in range(2, 12)]
    async with running(forging), Pinger(type="raw") as pinger:
        # What a busy machine is too slow to read is lost: a queue has room for some 200 replies.
        monitor = pinger.monitor(hosts, interval=0.5, timeout=PATIENT)
        async with aclosing(aiter(monitor)) as echoes:
            seen = [await anext(echoes) for _ in range(30)]
        stats = pinger.stats()

    assert [echo.error for echo in seen if not echo.ok] == []
    assert {echo.host for echo in seen} == set(hosts)
    # A probe's true reply comes behind its forged ones.
    assert stats.spoofed >= 30 * 10
    assert (stats.duplicate, stats.corrupted) == (0, 0)


async def test_reply_with_a_wrong_checksum_is_corrupted() -> None:
    # Of IPv6 the kernel looks at the checksum itself.
    async def damaged_first(responder: Responder, request: Request) -> None:
        await responder.send(request.reply(right=False))
        await responder.send(request.reply())

    async with running(damaged_first), Pinger(type="raw") as pinger:
        result = await pinger.ping(host(4, 5), count=1, timeout=PATIENT)
        stats = await reached(pinger, 4, "corrupted", 1)

    assert result.received == 1
    assert stats.corrupted == 1


# type, code, rest, and what it is called: RFC 792, RFC 1191, RFC 4443.
ERRORS: dict[int, list[tuple[int, int, int, str]]] = {
    4: [
        (3, 0, 0, "net-unreachable"),
        (3, 1, 0, "host-unreachable"),
        (3, 13, 0, "prohibited"),
        (3, 4, 1400, "frag-needed"),
        (11, 0, 0, "ttl-exceeded"),
        (12, 0, 0, "parameter-problem"),
    ],
    6: [
        (1, 0, 0, "no-route"),
        (1, 3, 0, "host-unreachable"),
        (2, 0, 1300, "frag-needed"),
        (3, 0, 0, "ttl-exceeded"),
        (4, 1, 0, "parameter-problem"),
    ],
}


@versions
@pytest.mark.parametrize("type", ["raw", "dgram"])
async def test_error_of_a_router_is_data(version: int, type: Any, ping_sockets: None) -> None:
    async def refuse(responder: Responder, request: Request) -> None:
        error = ERRORS[version][request.number - 2]
        await responder.send(request.error(*error[:3], ROUTERS[version]))

    hosts = [host(version, number) for number in range(2, 2 + len(ERRORS[version]))]
    async with running(refuse), Pinger(type=type) as pinger:
        # One by one: a ping socket's error comes by its address alone.
        results = [await pinger.ping(name, count=1, timeout=PATIENT) for name in hosts]

    for result, (number, code, rest, kind) in zip(results, ERRORS[version], strict=True):
        error = result.echoes[0].error
        assert error is not None, kind
        assert (error.kind, error.type, error.code) == (kind, number, code)
        assert error.router == ROUTERS[version]
        assert error.mtu == (rest or None)
        assert (result.received, result.loss) == (0, 1.0)
        assert result.echoes[0].received_ns >= result.echoes[0].sent_ns


async def test_error_that_quotes_8_bytes_is_matched() -> None:
    async def tersely(responder: Responder, request: Request) -> None:
        await responder.send(request.error(3, 1, 0, ROUTERS[4], quoted=28))

    async with running(tersely), Pinger(type="raw") as pinger:
        result = await pinger.ping(host(4, 7), count=1, timeout=PATIENT)

    assert result.echoes[0].error is not None


# Of IPv4, where some routers quote no more than the header, that has to be right: its checksum
# covers the cookie. Of IPv6 the cookie itself.
FORGED = {4: (2, 6), 6: (6, 8, 12)}


@versions
async def test_forged_error_changes_no_result(version: int) -> None:
    async def forged_first(responder: Responder, request: Request) -> None:
        real = request.packet
        for at in (request.header + offset for offset in FORGED[version]):
            request.packet = real[:at] + bytes([real[at] ^ 1]) + real[at + 1 :]
            await responder.send(request.error(*ERRORS[version][0][:3], ROUTERS[version]))
        request.packet = real
        await responder.send(request.reply())

    async with running(forged_first), Pinger(type="raw") as pinger:
        result = await pinger.ping(host(version, 7), count=1, timeout=PATIENT)
        stats = await reached(pinger, version, "spoofed", len(FORGED[version]))

    assert result.received == 1
    assert stats.spoofed == len(FORGED[version])


async def test_many_tasks_share_one_socket() -> None:
    results: dict[int, Echo] = {}

    async with running(faithfully), Pinger(type="raw") as pinger:

        async def one(number: int) -> None:
            result = await pinger.ping(host(4, number), count=3, interval=0, timeout=PATIENT)
            assert result.received == 3
            results[number] = result.echoes[0]

        async with anyio.create_task_group() as group:
            for number in range(2, 42):
                group.start_soon(one, number)

    assert {number: echo.host for number, echo in results.items()} == {
        number: host(4, number) for number in range(2, 42)
    }


async def test_nothing_is_left_of_a_sweep_that_is_left() -> None:
    async with aioprocket.Pinger(type="raw") as pinger:
        async with aclosing(pinger.sweep(ipaddress.ip_network("127.0.0.0/8"))) as sweep:
            await anext(sweep)

        assert pinger.stats().in_flight == 0
