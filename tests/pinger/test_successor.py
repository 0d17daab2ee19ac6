"""An interface that goes away, and another that gets its name: as with ppp, a VPN or USB."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
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
                lost = await until(echoes, ok=False)
                while lost.error is None:
                    lost = await until(echoes, ok=False)
                assert lost.error.router is None
        window = monitor.window(FAR)

    assert window.last_error is not None
    assert 2 <= window.received < window.sent
    assert pinger.stats().spoofed == 0


async def test_new_calls_go_by_it_too_and_what_was_under_way_ends() -> None:
    async with Pinger(interface="near0", type="raw") as pinger:
        with cable():
            stream = pinger.echoes(FAR, interval=0.02, timeout=PATIENT)
            assert await until(stream, ok=True)
        with cable():
            with anyio.fail_after(PATIENT):
                while not (await pinger.ping(FAR, count=1, timeout=0.5)).ok:
                    pass
            with pytest.raises(LinkDownError, match="near0 was removed") as caught:
                await until(stream, ok=True)
    assert caught.value.interface == "near0"
