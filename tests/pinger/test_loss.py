"""A network that loses, doubles and reorders, and what is counted of it."""

import anyio
import pytest

from aioprocket import Pinger

from .responder import Request, Responder, host, reached, running

pytestmark = [pytest.mark.anyio, pytest.mark.netns, pytest.mark.usefixtures("tun_device")]


@pytest.mark.parametrize("version", [4, 6])
async def test_lossy_network_is_counted_exactly(version: int) -> None:
    async def by_number(responder: Responder, request: Request) -> None:
        match request.number % 4:
            case 0:
                return  # lost
            case 1:
                await responder.send(request.reply())
                await responder.send(request.reply())
                await responder.send(request.reply())
            case 2:
                await responder.send(request.reply())
            case 3:
                await anyio.sleep(0.005 * (16 - request.number % 16))  # out of order
                await responder.send(request.reply())

    hosts = [host(version, number) for number in range(2, 82)]
    async with running(by_number) as responder, Pinger(type="raw") as pinger:
        echoes = [echo async for echo in pinger.sweep(hosts, timeout=3)]
        stats = await reached(pinger, version, "duplicate", 40)

    assert sum(responder.requests.values()) == len(hosts)
    answered = [echo for echo in echoes if echo.ok]
    assert len(echoes) == 80
    assert len(answered) == 60
    assert {int(echo.address) % 4 for echo in echoes if not echo.ok} == {0}
    assert stats == (0, 0, 40, 0, 0, 0)
