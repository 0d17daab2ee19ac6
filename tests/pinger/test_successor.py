"""An interface that goes away, and another that gets its name: as with ppp, a VPN or USB."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from itertools import repeat
from typing import Literal

import anyio
import pytest

from aioprocket import Echo, LinkDownError, Pinger
from sandbox import links
from sandbox.namespaces import new_network

from .responder import PATIENT

pytestmark = [pytest.mark.anyio, pytest.mark.netns]

NEAR, FAR = "198.18.0.1", "198.18.0.2"


@contextmanager
def cable() -> Iterator[None]:
    """To another network, where the kernel answers. It is there as long as the block runs."""
    with new_network() as far:
        links.add_veth("near0", "far0", peer_namespace=far.fd)
        try:
            links.set_up("near0")
            links.add_address("near0", f"{NEAR}/30")
            with far.entered():
                links.set_up("far0")
                links.add_address("far0", f"{FAR}/30")
            yield
        finally:
            links.delete_link("near0")


async def until(echoes: AsyncGenerator[Echo, None], *, ok: bool) -> Echo:
    with anyio.fail_after(PATIENT):
        while (echo := await anext(echoes)).ok is not ok:
            pass
    return echo


@pytest.mark.usefixtures("ping_sockets")
@pytest.mark.parametrize("kind", ["raw", "dgram"])
async def test_monitor_goes_on_by_the_interface_that_has_the_name_now(
    kind: Literal["raw", "dgram"],
) -> None:
    async with Pinger(interface="near0", type=kind) as pinger:
        monitor = pinger.monitor([FAR], interval=0.05, timeout=0.5)
        async with aclosing(aiter(monitor)) as echoes:
            for _ in range(3):
                with cable():
                    await until(echoes, ok=True)
                await until_refused(echoes)
        window = monitor.window(FAR)

    assert window.last_error is not None
    assert 2 <= window.received < window.sent
    assert pinger.stats().spoofed == 0


@pytest.mark.usefixtures("ping_sockets")
@pytest.mark.parametrize("kind", ["raw", "dgram"])
async def test_the_echoes_of_one_host_go_on_by_it(kind: Literal["raw", "dgram"]) -> None:
    sequences: list[int] = []
    async with (
        Pinger(interface="near0", type=kind) as pinger,
        aclosing(pinger.echoes(FAR, interval=0.05, timeout=0.5)) as echoes,
    ):
        for _ in range(2):
            with cable():
                sequences.append((await until(echoes, ok=True)).sequence)
            await until_refused(echoes)

    assert sequences == sorted(set(sequences))
    assert pinger.stats().in_flight == 0


async def until_refused(echoes: AsyncGenerator[Echo, None]) -> None:
    while (echo := await until(echoes, ok=False)).error is None:
        pass
    assert echo.error.router is None


@pytest.mark.parametrize("asked", ["echoes", "monitor"])
async def test_new_calls_go_by_it_and_so_does_what_is_under_way(asked: str) -> None:
    async with Pinger(interface="near0", type="raw") as pinger:
        if asked == "echoes":
            stream = pinger.echoes(FAR, interval=0.02, timeout=0.5)
        else:
            stream = aiter(pinger.monitor([FAR], interval=0.02, timeout=0.5))
        async with aclosing(stream):
            with cable():
                assert await until(stream, ok=True)
            with cable():
                # Nobody asks the stream meanwhile: it is the call that finds the new interface.
                await until_answered(pinger)
                assert (await until(stream, ok=True)).host == FAR
        assert pinger.stats().in_flight == 0


async def test_a_sweep_that_is_under_way_ends() -> None:
    async with Pinger(interface="near0", type="raw") as pinger:
        stream = pinger.sweep(repeat(FAR), rate=100, timeout=0.5)
        with cable():
            assert await until(stream, ok=True)
        with cable():
            await until_answered(pinger)
            with anyio.fail_after(PATIENT), pytest.raises(LinkDownError, match="near0") as caught:
                await exhausted(stream)  # it has some echoes already
    assert caught.value.interface == "near0"


async def exhausted(stream: AsyncGenerator[Echo, None]) -> None:
    async for _ in stream:
        pass


async def test_sweeps_by_the_link_go_by_the_interface_that_has_the_name_now() -> None:
    async with Pinger(interface="near0", type="raw") as pinger:
        for _ in range(3):
            with cable(), anyio.fail_after(PATIENT):
                while not await answered_by_the_link(pinger):
                    pass
            assert not await answered_by_the_link(pinger)
        stats = pinger.stats()

    assert (stats.in_flight, stats.spoofed, stats.corrupted) == (0, 0, 0)


async def answered_by_the_link(pinger: Pinger) -> bool:
    return all([echo.ok async for echo in pinger.sweep([FAR], timeout=0.5, path="link")])


async def until_answered(pinger: Pinger) -> None:
    with anyio.fail_after(PATIENT):
        while not (await pinger.ping(FAR, count=1, timeout=0.5)).ok:
            pass
