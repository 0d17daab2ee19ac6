"""What is asked of a network is asked there, and not in the caller's, whatever is called alike."""

import asyncio
import ipaddress
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

import aioprocket
from aioprocket import NotPermittedError, route_socket, testing
from aioprocket.pinger import targets
from sandbox import links

pytestmark = [pytest.mark.netns, pytest.mark.anyio]

NEAR, FAR, NOBODY = "192.0.2.1", "192.0.2.2", "192.0.2.9"
NEAR6, FAR6 = "2001:db8::1", "2001:db8::2"
PATIENT: dict[str, Any] = {"timeout": 5.0, "retries": 3}


@pytest.fixture(scope="module")
def alike() -> Iterator[None]:
    """Here, too, is an eth0, and there it is ourselves that have the address that is asked for."""
    links.add_veth("eth0", "other")
    try:
        for name in ("eth0", "other"):
            links.disable_ipv6(name)
        links.add_address("eth0", f"{FAR}/24")
        links.set_up("eth0")  # and the cable ends at an interface that is down
        yield
    finally:
        with suppress(OSError):
            links.delete_link("eth0")


@pytest.fixture(scope="module")
def hosts(alike: None) -> Iterator[testing.Network]:
    with testing.network([f"{NEAR}/30", f"{NEAR6}/64"], [f"{FAR}/30", f"{FAR6}/64"]) as network:
        yield network


@pytest.mark.parametrize("interface", ["eth0", None])
async def test_a_neighbour_of_the_helpers_network_is_found(
    hosts: testing.Network, interface: str | None
) -> None:
    where: dict[str, Any] = {"interface": interface, "helper": hosts.near.helper, **PATIENT}

    found = [await aioprocket.arp(FAR, **where), await aioprocket.ndp(FAR6, **where)]

    far = "02:00:00:00:00:02"
    assert [each and (each.hwaddr, each.interface) for each in found] == [(far, "eth0")] * 2


async def test_a_scan_is_of_the_helpers_network(hosts: testing.Network) -> None:
    async with (
        aioprocket.Helper(hosts.near.helper) as helper,
        aioprocket.scan("eth0", helper=helper, family=4, rate=1e5, **PATIENT) as scan,
    ):
        found = {str(each.ip) async for each in scan}

    assert found == {FAR}
    assert scan.total == 1  # of a /30: two, and one is us


async def test_a_sweep_by_the_link_takes_the_ways_of_the_helpers_network(
    hosts: testing.Network,
) -> None:
    async with aioprocket.Pinger(helper=hosts.near.helper) as pinger:
        sweep = pinger.sweep([FAR, FAR6, NEAR], path="link", timeout=20)
        found = [echo async for echo in sweep]

    said = {echo.host: echo.error and echo.error.kind for echo in found}
    assert said == {FAR: None, FAR6: None, NEAR: "own-address"}


async def test_the_address_with_a_route_is_one_with_a_route_there(
    hosts: testing.Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a resolver answers: of the two only the second can be reached, and only there.
    addresses = tuple(map(ipaddress.ip_address, ("198.51.100.1", FAR6)))

    async def answer(*_: object) -> Any:
        return addresses

    monkeypatch.setattr(targets, "resolve_host", answer)
    async with aioprocket.Pinger(helper=hosts.near.helper, addresses="happy") as pinger:
        result = await pinger.ping("host.example", count=1, timeout=20)

    assert (str(result.address), result.received) == (FAR6, 1)


async def test_without_a_named_helper_nothing_is_asked_of_one(
    alike: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The packet socket may come from anywhere: here it is of this network, and so is the answer.
    async def refuse(*_: object, **__: object) -> Any:
        raise AssertionError("a helper was asked")

    monkeypatch.setattr(route_socket, "obtain_route", refuse)

    assert await aioprocket.arp(NOBODY, interface="eth0", timeout=0.01, retries=0) is None


def test_a_namespace_that_may_not_be_entered_is_an_error_with_words(
    hosts: testing.Network, as_nobody: Callable[[Callable[[], Any]], Any]
) -> None:
    async def ask() -> str:
        try:
            await aioprocket.arp(FAR, interface="eth0", namespace=hosts.far.namespace)
        except NotPermittedError as error:
            return f"{error} {error.hint}"
        return ""

    assert "namespace" in as_nobody(lambda: asyncio.run(ask()))


@pytest.mark.parametrize("words", [("scan", "eth0"), ("sweep", FAR, "--path", "link")])
def test_the_command_asks_there_too(hosts: testing.Network, words: tuple[str, ...]) -> None:
    command = [sys.executable, "-P", "-m", "aioprocket.cli", *words]

    run = subprocess.run(
        [*command, "--helper", hosts.near.helper], capture_output=True, text=True, check=False
    )

    assert run.returncode == 0, run.stderr
    assert FAR in run.stdout
    assert "Traceback" not in run.stderr
