"""One host: what comes back, and what is refused before anything is sent."""

import ipaddress
from typing import Any

import pytest

import aioprocket
from aioprocket import PingResult, ResolutionError, SpecError

pytestmark = [pytest.mark.anyio, pytest.mark.netns]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("interval", [0, 0.01])
async def test_every_probe_to_a_host_that_answers_has_a_reply(host: str, interval: float) -> None:
    result = await aioprocket.ping(host, count=5, interval=interval, timeout=20)

    assert (result.sent, result.received, result.loss) == (5, 5, 0.0)
    assert result.address == ipaddress.ip_address(host)
    assert [echo.sequence for echo in result.echoes] == [0, 1, 2, 3, 4]
    assert all(echo.ok and echo.size == 56 and echo.ttl == 64 for echo in result.echoes)
    assert result.min is not None
    assert result.avg is not None
    assert result.max is not None
    assert 0 < result.min <= result.avg <= result.max < 20
    assert all(echo.received_ns > echo.sent_ns for echo in result.echoes)


async def test_loss_is_data(veth: tuple[str, str], address_without_host: str) -> None:
    result = await aioprocket.ping(address_without_host, count=2, interval=0, timeout=0.01)

    assert (result.sent, result.received, result.loss, result.avg) == (2, 0, 1.0, None)


async def test_name_is_looked_up() -> None:
    result = await aioprocket.ping("localhost", count=1, family=4, timeout=20)

    assert result.host == "localhost"
    assert result.address == ipaddress.ip_address("127.0.0.1")
    assert result.ok


@pytest.mark.parametrize("size", [0, 1, 7, 8, 12, 15, 16, 17, 1400, 20000])
async def test_replies_match_whatever_the_size(size: int) -> None:
    result = await aioprocket.ping(
        "127.0.0.1", count=2, interval=0, size=size, pattern=b"xyz", timeout=20
    )

    assert [echo.size for echo in result.echoes] == [size, size]


@pytest.mark.parametrize(
    ("host", "arguments", "error"),
    [
        ("224.0.0.1", {}, SpecError),
        ("255.255.255.255", {}, SpecError),
        ("ff02::1", {}, SpecError),
        ("127.0.0.1", {"size": 65508}, SpecError),
        ("127.0.0.1", {"size": -1}, SpecError),
        ("127.0.0.1", {"count": 0}, SpecError),
        ("127.0.0.1", {"interval": -1}, SpecError),
        ("127.0.0.1", {"timeout": 0}, SpecError),
        ("127.0.0.1", {"ttl": 0}, SpecError),
        ("127.0.0.1", {"ttl": 256}, SpecError),
        ("127.0.0.1", {"jitter": 1.5}, SpecError),
        ("127.0.0.1", {"deadline": 0}, SpecError),
        ("127.0.0.1", {"type": "tcp"}, SpecError),
        ("127.0.0.1", {"source": "nowhere"}, SpecError),
        ("127.0.0.1", {"source": "::1", "family": 4}, SpecError),
        ("127.0.0.1", {"family": 6}, ResolutionError),
        ("::1", {"source": "127.0.0.1"}, ResolutionError),
        ("no such host", {}, ResolutionError),
    ],
)
async def test_bad_input_is_refused(
    host: str, arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await aioprocket.ping(host, **arguments)


async def test_deadline_ends_it() -> None:
    result = await aioprocket.ping("127.0.0.1", count=1000, interval=30, deadline=0.05)

    assert isinstance(result, PingResult)
    assert result.sent == 1


async def test_what_is_on_its_way_at_the_deadline_is_lost(
    veth: tuple[str, str], address_without_host: str
) -> None:
    result = await aioprocket.ping(
        address_without_host, count=3, interval=0.01, timeout=60, deadline=2.5
    )  # of the three seconds after which the kernel says that there is nobody

    assert (result.sent, result.received, result.loss) == (3, 0, 1.0)


async def test_probe_larger_than_the_link_takes_says_what_it_takes(
    veth: tuple[str, str], address_without_host: str
) -> None:
    result = await aioprocket.ping(address_without_host, count=1, size=1473, df=True, type="raw")

    error = result.echoes[0].error
    assert error is not None
    assert (error.kind, error.mtu, error.router) == ("frag-needed", 1500, None)


async def test_host_without_a_route_is_data() -> None:
    result = await aioprocket.ping("192.0.2.1", count=2, interval=0, timeout=5)

    assert [echo.error and echo.error.kind for echo in result.echoes] == ["net-unreachable"] * 2
    assert result.loss == 1.0


async def test_a_thousand_back_to_back_are_in_order() -> None:
    result = await aioprocket.ping("127.0.0.1", count=1000, interval=0, timeout=30, type="raw")

    assert result.received == 1000
    assert [echo.sequence for echo in result.echoes] == list(range(1000))
