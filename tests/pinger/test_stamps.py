"""When a request left, by the kernel's timestamp: taken, and of the right probe."""

import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any, Literal

import anyio
import pytest

from aioprocket import Echo, Pinger
from aioprocket._system._native import EchoGroup, EchoTable
from aioprocket.pinger.lane import READ, Lane
from aioprocket.pinger.opening import open_socket
from aioprocket.pinger.settings import Settings
from aioprocket.pinger.single import Plan, Single
from aioprocket.pinger.targets import Target, one_target

from .responder import PATIENT, Request, Responder, host, running
from .test_trouble import shape

pytestmark = [pytest.mark.anyio, pytest.mark.netns]

LOCAL = {4: "127.0.0.1", 6: "::1"}
KEY = bytes(range(16))
versions = pytest.mark.parametrize("version", [4, 6])
types = pytest.mark.parametrize("type", ["raw", "dgram"])
# As from Linux 6.13 on, and as before.
numbers = pytest.mark.parametrize("counted", [False, True], ids=["chosen", "counted"])


def clocks(echoes: Any) -> Counter[str]:
    return Counter(echo.clock if echo.ok else "lost" for echo in echoes)


async def faithfully(responder: Responder, request: Request) -> None:
    await responder.send(request.reply())


@asynccontextmanager
async def a_lane(
    version: Literal[4, 6], *, counted: bool = False, first: int = 0, type: Any = "raw"
) -> AsyncIterator[Lane]:
    settings = Settings(type=type)
    sock, identifier = await open_socket(version, settings, 5.0)
    lane = Lane(sock, version, identifier, first=first)
    raw = type == "raw"
    lane.table = EchoTable(
        version, identifier, KEY, first=first, unchecked=raw and version == 4,
        reporting=not raw, counted=counted,
    )  # fmt: skip
    try:
        yield lane
    finally:
        lane.close()


def new_group() -> EchoGroup:
    return EchoGroup(56, b"", int(PATIENT * 1e9), False, True)


async def target_of(version: int, number: int) -> Target:
    return await one_target(host(version, number), Settings())


async def send_and_wait(lane: Lane, target: Target) -> tuple[int, Echo, int]:
    """A probe's end, between the moments right before and after it was sent."""
    group = new_group()
    before = time.time_ns()
    assert lane.send(group, [target], 0, 0) == 1
    after = time.time_ns()
    while not len(group):
        await lane.wait(group, time.monotonic() + PATIENT)
    (echo,) = group.take()
    return before, echo, after


@versions
@types
async def test_pings_are_measured_by_the_kernel_at_both_ends(
    ping_sockets: None, tun_device: None, version: int, type: Any
) -> None:
    name = host(version, 7)
    async with running(faithfully), Pinger(type=type) as pinger:
        many = await pinger.ping(name, count=3, interval=0.001, timeout=PATIENT)
        each = [e async for e in pinger.echoes(name, count=3, interval=0.001, timeout=PATIENT)]
        async with aclosing(aiter(pinger.monitor([name], interval=0.001))) as watched:
            seen = [await anext(watched) for _ in range(3)]
        swept = [echo async for echo in pinger.sweep([name], timeout=PATIENT)]
        stamped = [echo async for echo in pinger.sweep([name], timeout=PATIENT, stamps=True)]

    for echoes in (many.echoes, each, seen):
        assert clocks(echoes) == {"kernel": 3}
    assert clocks(swept) == {"receive": 1}
    assert clocks(stamped) == {"kernel": 1}


@versions
@types
async def test_ping_of_this_machine_is_measured_by_the_kernel(
    namespace: Any, ping_sockets: None, version: int, type: Any
) -> None:
    async with Pinger(type=type) as pinger:
        result = await pinger.ping(LOCAL[version], count=5, interval=0.001, timeout=PATIENT)

    assert clocks(result.echoes) == {"kernel": 5}


@versions
@numbers
async def test_timestamp_lies_within_the_system_call(
    tun_device: None, version: Any, counted: bool
) -> None:
    async with running(faithfully), a_lane(version, counted=counted) as lane:
        found = [await send_and_wait(lane, await target_of(version, n)) for n in range(2, 12)]

    for before, echo, after in found:
        assert echo.clock == "kernel"
        assert before <= echo.sent_ns <= after


@versions
@pytest.mark.parametrize("first", [2**16 - 3, 2**32 - 3, 2**48 - 3])
async def test_numbers_that_wrap_are_of_the_right_probe(
    tun_device: None, version: Any, first: int
) -> None:
    async with running(faithfully), a_lane(version, first=first) as lane:
        found = [await send_and_wait(lane, await target_of(version, n)) for n in range(2, 10)]

    assert clocks(echo for _, echo, _ in found) == {"kernel": 8}
    assert all(before <= echo.sent_ns <= after for before, echo, after in found)


@numbers
@pytest.mark.parametrize("refused", ["192.0.2.1", "a full queue"])
async def test_refused_probes_do_not_shift_the_timestamps_of_others(
    tun_device: None, counted: bool, refused: str
) -> None:
    """One is refused before the kernel counts it, the other after."""
    async with running(faithfully) as responder, a_lane(4, counted=counted) as lane:
        group, large = new_group(), EchoGroup(1400, b"", int(PATIENT * 1e9), False, True)
        if refused == "a full queue":
            shape(responder.channel.name, "3k")
        good = await target_of(4, 2)
        found = []
        for number in range(8):
            if refused == "a full queue":
                while lane.send(large, [good], 0, number) == 1:
                    pass
                assert lane.blocked
                with anyio.fail_after(PATIENT):
                    while large.in_flight:
                        await lane.wait(large, time.monotonic() + PATIENT)
            else:
                lane.send(group, [await one_target(refused, Settings())], 0, number)
                assert group.take()[0].error is not None
            found.append(await send_and_wait(lane, good))

    assert clocks(echo for _, echo, _ in found) == {"kernel": 8}
    assert all(before <= echo.sent_ns <= after for before, echo, after in found)


@versions
async def test_a_hundred_pings_at_once_have_their_own_timestamps(
    tun_device: None, version: int
) -> None:
    async def slowly(responder: Responder, request: Request) -> None:
        await anyio.sleep(0.001 * (request.number % 10))
        await responder.send(request.reply())

    results = []

    async def one(pinger: Pinger, number: int) -> None:
        name = host(version, number)
        results.append(await pinger.ping(name, count=3, interval=0.01, timeout=PATIENT))

    async with running(slowly), Pinger(type="raw") as pinger:
        async with anyio.create_task_group() as group:
            for number in range(2, 102):
                group.start_soon(one, pinger, number)
        stats = pinger.stats()

    assert clocks(echo for result in results for echo in result.echoes) == {"kernel": 300}
    for result in results:
        assert result.min is not None
        assert result.min >= 0.001 * ((int(result.address) & 0xFFFF) % 10)
    assert stats.in_flight == 0


async def test_timestamp_that_never_comes_keeps_nobody(address_without_host: str) -> None:
    async with a_lane(4) as lane:
        target = await one_target(address_without_host, Settings())
        plan = Plan(count=2, interval=0.01)
        short = partial(EchoGroup, 56, b"", 50_000_000, False, True)
        echoes = [echo async for echo in Single(target, lane, plan, None, short).run()]

        assert clocks(echoes) == {"lost": 2}
        assert lane.table.awaited == 0


@versions
async def test_back_to_back_times_begin_at_the_clock(version: Any) -> None:
    async with a_lane(version) as lane:
        target = await one_target(LOCAL[version], Settings())
        plan = Plan(count=600, interval=0)
        echoes = [echo async for echo in Single(target, lane, plan, None, new_group).run()]

    # One whose reply was not there at once was sent by itself, and has a timestamp.
    assert clocks(echoes)["receive"] + clocks(echoes)["kernel"] == 600
    moments = [moment for echo in echoes for moment in (echo.sent_ns, echo.received_ns)]
    assert moments == sorted(moments)


async def test_what_one_turn_reads_is_bounded() -> None:
    async with a_lane(4) as lane:
        target = await one_target(LOCAL[4], Settings())
        group = new_group()
        assert lane.send(group, [target] * 1500, 0, 0) == 1500
        assert lane.table.awaited == 0
        with anyio.fail_after(PATIENT):
            while group.in_flight == 1500:
                await anyio.sleep(0.01)
                lane.drain()
        # The kernel had all replies, or had only begun: no call takes more than it may.
        assert 1500 - group.in_flight <= 16 * READ
        while group.in_flight:
            await lane.wait(group, time.monotonic() + PATIENT)

    assert clocks(group.take()) == {"kernel": 1500}
