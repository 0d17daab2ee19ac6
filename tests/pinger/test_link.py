"""Sweeps by the link, on a cable to another network whose kernel answers."""

import ipaddress
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest

import aioprocket
from aioprocket import ClosedError, Echo, Pinger, SpecError
from lab.must import require
from sandbox import links
from sandbox.namespaces import Namespace, new_network

pytestmark = [pytest.mark.anyio, pytest.mark.netns]

PATIENT = 30.0
IMPATIENT = 0.2
NEAR = {4: "198.18.0.1/24", 6: "2001:db8:77::1/64"}
FAR = {4: "198.18.0.2", 6: "2001:db8:77::2"}
BEHIND = {4: "198.19.0.0/16", 6: "2001:db8:78::/64"}
# Neighbours: the far kernel answers questions for its addresses.
ON_LINK = {
    4: [f"198.18.0.{number}" for number in range(10, 30)],
    6: [f"2001:db8:77::{number}" for number in range(10, 30)],
}
VERSIONS: tuple[Literal[4, 6], ...] = (4, 6)


def ip(command: str) -> None:
    """In this thread's network."""
    subprocess.run([require("ip"), *command.split()], check=True)


@pytest.fixture
def cable(namespace: Namespace) -> Iterator[str]:
    """The near end of a cable, from which all that is behind the other end can be reached."""
    links.add_veth("near0", "far0", peer_namespace=namespace.fd)
    try:
        links.set_up("near0")
        with namespace.entered():
            links.set_up("far0")
            for version in VERSIONS:
                length = NEAR[version].partition("/")[2]
                for address in (FAR[version], *ON_LINK[version]):
                    links.add_address("far0", f"{address}/{length}")
                ip(f"-{version} route add local {BEHIND[version]} dev lo")
        for version in VERSIONS:
            links.add_address("near0", NEAR[version])
        lead_behind()
        yield "near0"
    finally:
        links.delete_link("near0")


def lead_behind(versions: tuple[Literal[4, 6], ...] = VERSIONS) -> None:
    for version in versions:
        ip(f"-{version} route replace {BEHIND[version]} via {FAR[version]}")


@contextmanager
def refusing(*routes: str) -> Iterator[None]:
    """Routes that lead nowhere, which no interface takes with it."""
    for route in routes:
        ip(f"route add {route}")
    try:
        yield
    finally:
        for route in routes:
            ip(f"route delete {route}")


async def until_answered(host: str) -> None:
    """Until the cable carries packets: the kernel takes a while after it has come up."""
    while not (await aioprocket.ping(host, count=1, timeout=IMPATIENT, type="raw")).ok:
        pass


def behind(version: int, count: int) -> list[str]:
    network = ipaddress.ip_network(BEHIND[version])
    return [str(network[number]) for number in range(1, count + 1)]


def kinds(echoes: list[Echo]) -> Counter[str]:
    return Counter(
        echo.error.kind if echo.error else "ok" if echo.ok else "lost" for echo in echoes
    )


async def swept(pinger: Pinger, hosts: Any, **arguments: Any) -> list[Echo]:
    arguments = {"timeout": PATIENT, "path": "link", **arguments}
    return [echo async for echo in pinger.sweep(hosts, **arguments)]


@pytest.mark.parametrize("version", VERSIONS)
async def test_hosts_behind_a_router(cable: str, version: Literal[4, 6]) -> None:
    hosts = behind(version, 500)
    await until_answered(FAR[version])
    async with Pinger() as pinger:
        echoes = await swept(pinger, hosts)

        assert pinger.stats() == (0, 0, 0, 0, 0, 0)

    assert sorted(echo.host for echo in echoes) == sorted(hosts)
    assert all(echo.rtt is not None and 0 <= echo.rtt < PATIENT for echo in echoes)
    assert {(echo.ttl, echo.size, echo.sequence) for echo in echoes} == {(64, 56, 0)}


@pytest.mark.parametrize("version", VERSIONS)
async def test_neighbours_are_each_asked_for(cable: str, version: Literal[4, 6]) -> None:
    hosts = [FAR[version], *ON_LINK[version]]
    await until_answered(FAR[version])
    async with Pinger() as pinger:
        echoes = await swept(pinger, hosts, count=2)

    assert sorted((echo.host, echo.sequence) for echo in echoes if echo.ok) == sorted(
        (host, sequence) for host in hosts for sequence in (0, 1)
    )


@pytest.mark.parametrize("version", VERSIONS)
async def test_neighbours_that_are_not_there_are_unreachable(
    cable: str, version: Literal[4, 6]
) -> None:
    network = ipaddress.ip_interface(NEAR[version]).network
    hosts = [str(network[number]) for number in range(200, 240)]
    async with Pinger() as pinger:
        echoes = await swept(pinger, hosts, timeout=IMPATIENT)

        assert pinger.stats().in_flight == 0

    assert Counter(echo.host for echo in echoes) == Counter(hosts)
    assert kinds(echoes) == {"host-unreachable": 40}


async def test_more_absent_neighbours_than_are_asked_for_at_once(cable: str) -> None:
    ip("route add 198.51.0.0/16 dev near0")
    network = ipaddress.ip_network("198.51.0.0/23")
    async with Pinger() as pinger:
        echoes = await swept(pinger, network, timeout=IMPATIENT, window=1000)

    assert kinds(echoes) == {"host-unreachable": 512}


async def test_what_is_not_sent_is_told_of_as_by_the_ip_path(cable: str) -> None:
    hosts = ["203.0.113.1", "203.0.114.1", "203.0.115.1", "192.0.2.1", "198.18.0.255"]
    routes = ("unreachable 203.0.113.0/24", "blackhole 203.0.114.0/24", "prohibit 203.0.115.0/24")
    with refusing(*routes):
        async with Pinger(type="raw") as pinger:
            by_link = await swept(pinger, hosts)
            by_ip = await swept(pinger, hosts, path="ip")

    assert {echo.host: echo.error for echo in by_link} == {echo.host: echo.error for echo in by_ip}
    assert kinds(by_link)["net-unreachable"] == 1


async def test_route_that_goes_leaves_the_wider_one(cable: str) -> None:
    host = "198.19.1.7"
    ip(f"route add 198.19.1.0/24 via {ON_LINK[4][0]}")
    await until_answered(FAR[4])
    async with Pinger() as pinger:
        assert kinds(await swept(pinger, [host])) == {"ok": 1}
        ip("route delete 198.19.1.0/24")
        known = time.monotonic()
        while time.monotonic() < known + 1.5:  # what was known has become old
            assert kinds(await swept(pinger, [host])) == {"ok": 1}


async def test_own_addresses_are_no_links(cable: str) -> None:
    async with Pinger() as pinger:
        echoes = await swept(pinger, ["127.0.0.1", "::1", "198.18.0.1"])

    assert kinds(echoes) == {"own-address": 3}


async def test_more_specific_route_within_another(cable: str) -> None:
    hosts = ["198.19.0.255", "198.19.1.0", "198.19.1.255", "198.19.2.0"] * 2
    await until_answered(FAR[4])
    with refusing("unreachable 198.19.1.0/24"):
        async with Pinger() as pinger:
            echoes = await swept(pinger, hosts)

    assert {echo.host: echo.ok for echo in echoes} == {
        "198.19.0.255": True, "198.19.1.0": False, "198.19.1.255": False, "198.19.2.0": True,
    }  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
async def test_probe_that_is_too_large_for_the_link_is_not_sent(
    cable: str, version: Literal[4, 6]
) -> None:
    header = 28 if version == 4 else 48
    await until_answered(FAR[version])
    async with Pinger() as pinger:
        fitting = await swept(pinger, behind(version, 20), size=1500 - header)
        larger = await swept(pinger, behind(version, 20), size=1501 - header)
        empty = await swept(pinger, behind(version, 20), size=0)

    assert kinds(fitting) == kinds(empty) == {"ok": 20}
    assert {echo.size for echo in fitting} == {1500 - header}
    assert {echo.error and (echo.error.kind, echo.error.mtu) for echo in larger} == {
        ("frag-needed", 1500)
    }


async def test_settings_of_the_pinger_hold(cable: str) -> None:
    links.add_address("near0", "198.18.0.9/24")
    await until_answered(FAR[4])
    async with Pinger(source="198.18.0.9", interface="near0", tos=8, df=False) as pinger:
        assert kinds(await swept(pinger, behind(4, 5))) == {"ok": 5}
    async with Pinger(ttl=1) as pinger:  # the far end is the last host, and no router
        assert kinds(await swept(pinger, [*behind(4, 2), *behind(6, 2)])) == {"ok": 4}


async def test_link_that_goes_down_and_comes_back(cable: str) -> None:
    hosts = behind(4, 200)
    echoes: list[Echo] = []
    await until_answered(FAR[4])
    async with Pinger() as pinger:
        async for echo in pinger.sweep(hosts, window=4, timeout=3, path="link"):
            echoes.append(echo)
            if len(echoes) == 50:
                links.set_down("near0")
            elif len(echoes) == 100:
                links.set_up("near0")
                lead_behind((4,))  # with IPv6, the address went, too
                await until_answered(FAR[4])

        assert pinger.stats().in_flight == 0

    assert Counter(echo.host for echo in echoes) == Counter(hosts)
    # A batch that has begun is told of before or after: at most a window's probes.
    assert kinds(echoes[:50]) == {"ok": 50}
    assert kinds(echoes[50:104])["net-unreachable"] >= 54 - 2 * 4
    assert kinds(echoes[108:]) == {"ok": 92}


async def test_interface_that_is_removed_ends_no_sweep() -> None:
    with new_network() as far:
        links.add_veth("gone0", "gone1", peer_namespace=far.fd)
        links.set_up("gone0")
        links.add_address("gone0", "198.18.7.1/24")
        with far.entered():
            links.set_up("gone1")
            links.add_address("gone1", "198.18.7.2/24")
        await until_answered("198.18.7.2")
        echoes = []
        async with Pinger() as pinger:
            hosts = ["198.18.7.2"] * 20
            async for echo in pinger.sweep(hosts, window=1, timeout=2, path="link"):
                echoes.append(echo)
                if len(echoes) == 10:
                    links.delete_link("gone0")

    assert kinds(echoes[:10]) == {"ok": 10}
    assert kinds(echoes[11:]) == {"net-unreachable": 9}


@pytest.mark.usefixtures("tun_device")
async def test_interface_without_frames_names_the_other_path() -> None:
    async with (
        aioprocket.open_tun(addresses=("198.18.9.1/24",)),
        Pinger() as pinger,
    ):
        with pytest.raises(SpecError, match="no Ethernet frames") as caught:
            await swept(pinger, ["198.18.9.2"])

    assert 'path="ip"' in caught.value.hint


async def test_bad_paths_are_refused_at_the_call() -> None:
    async with Pinger(type="raw") as pinger:
        with pytest.raises(SpecError, match="path 'wire'"):
            pinger.sweep(["127.0.0.1"], path="wire")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="dgram"):
        Pinger(type="dgram").sweep(["127.0.0.1"], path="link")
    with pytest.raises(SpecError, match="stamps=True"):
        Pinger().sweep(["127.0.0.1"], path="link", stamps=True)


async def test_address_of_many_hosts_is_refused(cable: str) -> None:
    async with Pinger() as pinger:
        with pytest.raises(SpecError):
            await swept(pinger, ["224.0.0.1"])


async def test_closed_pinger_says_so(cable: str) -> None:
    async with Pinger() as pinger:
        sweep = pinger.sweep(behind(4, 500), path="link", window=2)
        await anext(sweep)
    with pytest.raises(ClosedError):
        [echo async for echo in sweep]
    with pytest.raises(ClosedError):
        await swept(pinger, behind(4, 1))


@pytest.mark.parametrize("path", ["ip", "link"])
async def test_sweeps_that_are_left_at_any_moment_leave_nothing(
    cable: str, path: Literal["ip", "link"]
) -> None:
    """Cancelled, two at once, broken off after some echoes, or left before the first."""
    dice = random.Random(1)
    hosts = [*behind(4, 120), *ON_LINK[4], "198.18.0.60", "203.0.113.9"]
    await until_answered(FAR[4])
    async with Pinger() as pinger:

        async def until_cancelled(moment: float) -> None:
            with anyio.move_on_after(moment):
                await swept(pinger, hosts, timeout=0.01, path=path)

        for _ in range(50):
            moment = dice.choice((0, 1e-5, 1e-4, 1e-3, 5e-3))
            if dice.random() < 0.5:
                async with anyio.create_task_group() as group:
                    group.start_soon(until_cancelled, moment)
                    group.start_soon(until_cancelled, 2 * moment)
            else:
                async with aclosing(pinger.sweep(hosts, timeout=0.01, path=path)) as sweep:
                    for _ in range(dice.randint(0, 60)):
                        await anext(sweep)

            assert pinger.stats().in_flight == 0

        assert kinds(await swept(pinger, behind(4, 200), path=path)) == {"ok": 200}


async def test_both_paths_at_once(cable: str) -> None:
    await until_answered(FAR[4])
    found: dict[str, list[Echo]] = {}

    async def sweep(pinger: Pinger, path: Literal["ip", "link"], key: str) -> None:
        found[key] = await swept(pinger, behind(4, 200), path=path)

    async with Pinger(type="raw") as pinger, anyio.create_task_group() as group:
        group.start_soon(sweep, pinger, "link", "one")
        group.start_soon(sweep, pinger, "link", "other")
        group.start_soon(sweep, pinger, "ip", "plain")

    assert [kinds(found[key]) for key in ("one", "other", "plain")] == [{"ok": 200}] * 3


def test_process_without_privilege_gets_its_socket_from_the_helper(
    cable: str, unprivileged_helper: Path, as_nobody: Callable[[Callable[[], Any]], Any]
) -> None:
    async def sweep() -> list[tuple[str, bool]]:
        hosts = [*behind(4, 50), *ON_LINK[4]]
        async with Pinger(helper=str(unprivileged_helper)) as pinger:
            return [(echo.host, echo.ok) for echo in await swept(pinger, hosts)]

    anyio.run(until_answered, FAR[4])
    found = as_nobody(lambda: anyio.run(sweep))

    assert sorted(found) == sorted((host, True) for host in [*behind(4, 50), *ON_LINK[4]])
