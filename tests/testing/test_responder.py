"""Hosts that answer as badly as they are told to."""

import asyncio
import ipaddress
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
import pytest

import aioprocket
from aioprocket import Pinger, testing
from aioprocket.errors import ClosedError
from aioprocket.testing import EchoRequest, Responder

HOSTS = [f"198.18.0.{number}" for number in range(2, 102)]
PATIENT = 30.0

pytestmark = [pytest.mark.anyio, pytest.mark.netns, pytest.mark.usefixtures("tun_device")]


async def lost(responder: Responder, hosts: list[str], helper: str) -> set[str]:
    async with Pinger(helper=helper) as pinger:
        return {echo.host async for echo in pinger.sweep(hosts, timeout=1) if not echo.ok}


async def test_every_address_answers() -> None:
    with testing.network() as (near, _):
        async with Responder(helper=near.helper) as responder, Pinger(helper=near.helper) as pinger:
            for address in ("198.18.7.9", "198.18.255.254", "2001:db8:77::1234"):
                result = await pinger.ping(address, count=2, interval=0, timeout=PATIENT)
                assert (result.received, result.duplicates) == (2, 0)

    assert responder.requests == Counter(
        {ipaddress.ip_address(each): 2 for each in (
            "198.18.7.9", "198.18.255.254", "2001:db8:77::1234"
        )}
    )  # fmt: skip


def test_user_without_any_privilege(as_nobody: Callable[[Callable[[], Any]], Any]) -> None:
    async def received() -> int:
        with testing.network() as (near, _):
            async with Responder(helper=near.helper):
                result = await aioprocket.ping(
                    HOSTS[0], helper=near.helper, count=1, timeout=PATIENT
                )
                return result.received

    assert as_nobody(lambda: asyncio.run(received())) == 1


async def test_losses_are_those_of_the_seed() -> None:
    seen = []
    for seed in (1, 1, 2):
        with testing.network() as (near, _):
            async with Responder(loss=0.3, seed=seed, helper=near.helper) as responder:
                seen.append(await lost(responder, HOSTS, near.helper))
        assert responder.requests.total() == len(HOSTS)

    assert seen[0] == seen[1] != seen[2]
    assert 15 <= len(seen[0]) <= 45


async def test_delay_is_kept_and_what_is_between_overtakes() -> None:
    with testing.network() as (near, _):
        async with (
            Responder(delay=(0.05, 0.2), helper=near.helper),
            Pinger(helper=near.helper) as pinger,
        ):
            echoes = [echo async for echo in pinger.sweep(HOSTS, timeout=PATIENT)]

    assert {echo.host for echo in echoes if echo.ok} == set(HOSTS)
    assert all(echo.rtt is not None and echo.rtt >= 0.05 for echo in echoes)
    assert [echo.host for echo in echoes] != HOSTS


async def test_duplicates_come() -> None:
    with testing.network() as (near, _):
        async with (
            Responder(duplicates=1, helper=near.helper),
            Pinger(helper=near.helper) as pinger,
        ):
            result = await pinger.ping(HOSTS[0], count=3, interval=0.01, timeout=PATIENT)

    assert result.received == 3
    assert result.duplicates >= 2


async def test_answer_of_ones_own() -> None:
    router = ipaddress.ip_address("198.18.0.254")

    async def unreachable(responder: Responder, request: EchoRequest) -> None:
        await responder.send(request.error(3, 1, 0, router))

    with testing.network() as (near, _):
        async with Responder(unreachable, helper=near.helper), Pinger(helper=near.helper) as pinger:
            result = await pinger.ping(HOSTS[0], count=1, timeout=PATIENT)

    (echo,) = result.echoes
    assert echo.error is not None
    assert echo.error.kind == "host-unreachable"
    assert result.received == 0


async def test_error_of_the_block_arrives_as_it_is() -> None:
    with testing.network() as (near, _), pytest.raises(LookupError, match="in the block"):
        async with Responder(helper=near.helper):
            raise LookupError("in the block")


async def test_answer_that_fails_ends_the_block() -> None:
    async def failing(responder: Responder, request: EchoRequest) -> None:
        raise LookupError("in the answer")

    began = time.monotonic()
    with testing.network() as (near, _), pytest.raises(BaseExceptionGroup) as caught:
        async with Responder(failing, helper=near.helper), Pinger(helper=near.helper) as pinger:
            await pinger.ping(HOSTS[0], count=1, timeout=PATIENT)

    assert caught.group_contains(LookupError, match="in the answer")
    assert time.monotonic() - began < PATIENT


async def test_block_is_cancelled_from_outside() -> None:
    with testing.network() as (near, _):
        with anyio.move_on_after(0.2) as scope:
            async with Responder(helper=near.helper):
                scope.deadline = anyio.current_time() + 0.05
                await anyio.sleep_forever()
        assert scope.cancelled_caught


async def test_device_goes_with_the_block() -> None:
    with testing.network() as (near, _):
        async with Responder(helper=near.helper) as responder:
            name = responder.channel.name
        with pytest.raises(aioprocket.OpenError, match=name):
            await aioprocket.open_packet(name, helper=near.helper)
        with pytest.raises(ClosedError):
            await responder.send(b"")
