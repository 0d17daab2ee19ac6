"""A network that does not answer all that it is asked at once."""

import time

import pytest

from aioprocket import Pinger

from .responder import Request, Responder, running

pytestmark = [pytest.mark.anyio, pytest.mark.netns, pytest.mark.usefixtures("tun_device")]


class Limiter:
    """A network that answers 200 requests a second, and 50 of them at once."""

    def __init__(self) -> None:
        self.tokens = 50.0
        self.seen = time.monotonic()

    async def __call__(self, responder: Responder, request: Request) -> None:
        now = time.monotonic()
        self.tokens = min(50.0, self.tokens + 200 * (now - self.seen))
        self.seen = now
        if self.tokens >= 1:
            self.tokens -= 1
            await responder.send(request.reply())


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the clock is what it takes
async def test_network_that_answers_so_many_a_second_is_asked_more_slowly() -> None:
    hosts = [f"198.18.{number // 200}.{number % 200 + 2}" for number in range(1200)]
    lost = {}
    for window in (512, None):
        async with running(Limiter()), Pinger(type="raw") as pinger:
            echoes = [echo async for echo in pinger.sweep(hosts, window=window, timeout=0.5)]

        assert len(echoes) == len(hosts)
        lost[window] = sum(not echo.ok for echo in echoes)

    assert lost[None] < 0.85 * lost[512]
