"""Names with several addresses: which of them are asked."""

from collections.abc import Iterator
from contextlib import aclosing
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

import aioprocket
from aioprocket import Pinger, ResolutionError, SpecError
from sandbox import kernel, links
from sandbox.namespaces import Namespace

pytestmark = [pytest.mark.anyio, pytest.mark.netns]

PATIENT = 30.0
V4, OTHER_V4, V6 = map(ip_address, ("127.0.0.7", "127.0.0.8", "2001:db8::7"))


@pytest.fixture(scope="module")
def address_of_ipv6() -> Iterator[None]:
    """The loopback interface has the address: no link comes up, and no route moves."""
    links.add_address("lo", f"{V6}/128")
    yield
    links.delete_address("lo", f"{V6}/128")


@pytest.fixture
def name(address_of_ipv6: None, tmp_path: Path) -> Iterator[str]:
    """A name of three addresses, one of them twice, by a file that only this run sees."""
    hosts = tmp_path / "hosts"
    hosts.write_text(
        "".join(f"{each} many.test\n" for each in (V4, OTHER_V4, V6, V4))
        + "192.0.2.1 nowhere.test\n2001:db8:1::1 nowhere.test\n"
    )
    kernel.mount(str(hosts), "/etc/hosts", None, kernel.MS_BIND)
    try:
        yield "many.test"
    finally:
        kernel.unmount("/etc/hosts")


async def test_one_address_of_a_name_is_asked_unless_more_are_wanted(name: str) -> None:
    async with Pinger(type="raw") as pinger:
        seen = [echo.address async for echo in pinger.sweep([name], timeout=PATIENT)]

        assert len(seen) == 1
        assert tuple(seen) == await pinger.resolve(name)


@pytest.mark.parametrize(
    ("family", "expected"), [(None, {V4, OTHER_V4, V6}), (4, {V4, OTHER_V4}), (6, {V6})]
)
@pytest.mark.parametrize("kind", [list, iter])
async def test_sweep_asks_all_addresses_each_once(
    name: str, family: Any, expected: set[Any], kind: Any
) -> None:
    async with Pinger(type="raw", family=family, addresses="all") as pinger:
        seen = [
            (echo.host, echo.address, echo.sequence)
            async for echo in pinger.sweep(kind([name]), count=2, timeout=PATIENT)
            if echo.ok
        ]

    assert sorted(seen, key=str) == sorted(
        ((name, address, number) for address in expected for number in (0, 1)), key=str
    )


async def test_monitor_watches_all_addresses(name: str) -> None:
    async with Pinger(type="raw", addresses="all") as pinger:
        monitor = pinger.monitor([name, "127.0.0.9"], interval=0.02, timeout=PATIENT)
        async with aclosing(aiter(monitor)) as echoes:
            async for _ in echoes:
                if all(window.received > 1 for window in monitor.windows()):
                    break

    windows = monitor.windows()
    assert {window.address for window in windows} == {V4, OTHER_V4, V6, ip_address("127.0.0.9")}
    assert [window.host for window in windows] == [name] * 3 + ["127.0.0.9"]
    assert monitor.window(name, OTHER_V4).address == OTHER_V4
    assert monitor.window(name) == windows[0]
    with pytest.raises(KeyError):
        monitor.window(name, ip_address("127.0.0.1"))


async def test_ping_is_of_one_address(name: str) -> None:
    async with Pinger(type="raw", addresses="all") as pinger:
        with pytest.raises(SpecError, match=name) as raised:
            await pinger.ping(name)
        addresses = await pinger.resolve(name)
        results = [await pinger.ping(each, count=1, timeout=PATIENT) for each in addresses]

    assert "sweep" in raised.value.hint
    assert {result.address for result in results if result.ok} == {V4, OTHER_V4, V6}


@pytest.fixture
def without_ipv6(namespace: Namespace) -> str:
    """Another network, where there is no way to any address of IPv6."""
    with namespace.entered():
        links.disable_ipv6("lo")
        links.set_up("lo")
    return namespace.path


async def test_address_without_a_route_is_passed_over(name: str, without_ipv6: str) -> None:
    options: dict[str, Any] = {"count": 1, "timeout": PATIENT, "type": "raw"}

    here = await aioprocket.ping(name, addresses="happy", **options)
    there = await aioprocket.ping(name, addresses="happy", namespace=without_ipv6, **options)

    assert (here.ok, here.address, here.echoes[0].error) == (True, V6, None)  # as RFC 6724 prefers
    assert there.ok
    assert there.address in (V4, OTHER_V4)


async def test_first_address_is_the_answer_where_none_has_a_route(name: str) -> None:
    async with Pinger() as plain, Pinger(addresses="happy") as happy:
        assert await happy.resolve("nowhere.test") == await plain.resolve("nowhere.test")


async def test_namespace_that_is_not_there_is_told(name: str) -> None:
    async with Pinger(addresses="happy", namespace="/proc/self/ns/none") as pinger:
        with pytest.raises(ResolutionError, match=r"many\.test.*/proc/self/ns/none"):
            await pinger.resolve(name)


@pytest.mark.parametrize("wrong", ["every", "", None, 4])
async def test_unknown_choice_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=f"addresses {wrong!r}"):
        await aioprocket.ping("127.0.0.1", addresses=wrong)
