"""Neighbours at the other end of a cable: real hosts, asked by real frames."""

import ipaddress
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import aioprocket
from aioprocket import LinkDownError, Neighbour, OpenError, SpecError
from lab.chain import wait_for_answers
from sandbox import links
from sandbox.namespaces import Namespace, new_network
from sandbox.routes import add_route

pytestmark = [pytest.mark.netns, pytest.mark.anyio]

NEAR_MAC, FAR_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
NEAR, FAR = "10.66.0.1", "10.66.0.2"
OTHERS = ["10.66.0.9", "10.66.0.14"]
NOBODY = "10.66.0.5"
NEAR6, FAR6, NOBODY6 = "fd66::1", "fd66::2", "fd66::5"
LINK_LOCAL = "fe80::66"
PATIENT: dict[str, Any] = {"timeout": 5.0, "retries": 3}
HASTY: dict[str, Any] = {"timeout": 0.05, "retries": 1}


@pytest.fixture(scope="module")
def far() -> Iterator[Namespace]:
    """A host at the other end of ``near``, with several addresses."""
    with new_network() as network:
        links.add_veth("near", "far", peer_namespace=network.fd)
        try:
            _plug("near", NEAR_MAC, f"{NEAR}/28", f"{NEAR6}/64", "fe80::1/64")
            with network.entered():
                _plug("far", FAR_MAC, f"{FAR}/28", f"{FAR6}/64", f"{LINK_LOCAL}/64")
                for other in OTHERS:
                    links.add_address("far", f"{other}/28")
            add_route("198.51.100.0/24", FAR)
            for address in (FAR, FAR6):
                wait_for_answers(address)
            yield network
        finally:
            links.delete_link("near")


def _plug(ifname: str, hwaddr: str, *addresses: str) -> None:
    links.set_address(ifname, hwaddr)
    settings = Path("/proc/sys/net/ipv6/conf", ifname)
    (settings / "accept_dad").write_text("0")
    (settings / "router_solicitations").write_text("0")
    # No address of the link that the kernel chooses: each is one that the test knows.
    (settings / "addr_gen_mode").write_text("1")
    links.set_up(ifname)
    for address in addresses:
        links.add_address(ifname, address)


def check(found: Neighbour | None, ip: str) -> None:
    assert found is not None
    assert (str(found.ip), found.hwaddr, found.interface) == (ip, FAR_MAC, "near")
    assert 0 < found.rtt < 20


@pytest.mark.parametrize("interface", [None, "near"])
async def test_arp_finds_the_hardware_address(far: Namespace, interface: str | None) -> None:
    check(await aioprocket.arp(FAR, interface=interface, **PATIENT), FAR)
    check(await aioprocket.arp(OTHERS[0], interface=interface, **PATIENT), OTHERS[0])


@pytest.mark.parametrize("ip", [FAR6, LINK_LOCAL])
async def test_ndp_finds_the_hardware_address(far: Namespace, ip: str) -> None:
    check(await aioprocket.ndp(ip, interface="near", **PATIENT), ip)


async def test_ndp_goes_where_the_address_says(far: Namespace) -> None:
    check(await aioprocket.ndp(FAR6, **PATIENT), FAR6)
    check(await aioprocket.ndp(f"{LINK_LOCAL}%near", **PATIENT), LINK_LOCAL)


async def test_nobody_is_none(far: Namespace) -> None:
    assert await aioprocket.arp(NOBODY, **HASTY) is None
    assert await aioprocket.ndp(NOBODY6, **HASTY) is None


async def test_the_kernel_finds_the_same(far: Namespace) -> None:
    known = _kernel_finds(FAR)

    found = await aioprocket.arp(FAR, **PATIENT)

    assert found is not None
    assert found.hwaddr == known


def _kernel_finds(ip: str) -> str:
    """What ``ip neigh`` shows, from the file that has it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"", (ip, 9))  # makes the kernel ask
    while True:
        for line in Path("/proc/thread-self/net/arp").read_text().splitlines()[1:]:
            address, _, flags, hwaddr, *_ = line.split()
            if address == ip and flags != "0x0":
                return hwaddr
        time.sleep(0.001)


async def test_a_question_in_another_namespace(far: Namespace) -> None:
    found = await aioprocket.arp(NEAR, interface="far", namespace=far.path, **PATIENT)

    assert found is not None
    assert (found.hwaddr, found.interface) == (NEAR_MAC, "far")
    assert found == Neighbour(
        ip=ipaddress.ip_address(NEAR), hwaddr=NEAR_MAC, interface="far", rtt=found.rtt
    )
    by_route = await aioprocket.arp(NEAR, namespace=far.path, **PATIENT)
    assert by_route is not None
    assert by_route.interface == "far"


async def scanned(*arguments: Any, **more: Any) -> list[Neighbour]:
    return [neighbour async for neighbour in aioprocket.scan(*arguments, **more)]


async def test_a_scan_finds_everybody_once(far: Namespace) -> None:
    found = await scanned("near", rate=1000, timeout=0.3)

    assert {str(each.ip) for each in found} == {FAR, *OTHERS, FAR6, LINK_LOCAL}
    assert len(found) == 5
    assert {each.hwaddr for each in found} == {FAR_MAC}
    assert all(0 < each.rtt < 20 for each in found)


async def test_a_scan_of_one_family_leaves_out_the_other(far: Namespace) -> None:
    for family, expected in ((4, {FAR, *OTHERS}), (6, {FAR6, LINK_LOCAL})):
        found = await scanned("near", family=family, rate=1000, timeout=0.3)

        assert {str(each.ip) for each in found} == expected


@pytest.mark.parametrize(
    ("network", "expected"), [("10.66.0.8/29", set(OTHERS)), ("fd66::/124", {FAR6})]
)
async def test_a_scan_of_a_network_asks_for_its_addresses_only(
    far: Namespace, network: str, expected: set[str]
) -> None:
    found = await scanned(network=network, rate=1000, timeout=0.3)

    assert {str(each.ip) for each in found} == expected


async def test_a_scan_says_how_far_it_is(far: Namespace) -> None:
    scan = aioprocket.scan("near", family=4, rate=1000, retries=0, timeout=0.3)
    assert (scan.total, scan.sent, scan.interface) == (None, 0, "near")

    assert [neighbour async for neighbour in scan]

    assert scan.total == 13  # of a /28, without its edges and us
    assert scan.sent == 13


async def test_a_scan_that_is_left_lets_go_of_its_socket(far: Namespace) -> None:
    async with aioprocket.scan("near", rate=1000) as scan:
        async for _ in scan:
            break
    async for _ in aioprocket.scan("near", rate=1000):
        break


async def test_a_scan_keeps_its_rate(far: Namespace) -> None:
    started = anyio.current_time()

    await scanned("near", family=4, rate=50, retries=0, timeout=0.01)

    # The first at once: twelve gaps of 20 ms.
    assert anyio.current_time() - started >= 12 / 50


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: aioprocket.arp("fd66::2"), "IPv6, not of IPv4"),
        (lambda: aioprocket.ndp(FAR), "IPv4, not of IPv6"),
        (lambda: aioprocket.arp("localhost"), "no address"),
        (lambda: aioprocket.arp("224.0.0.1"), "one host"),
        (lambda: aioprocket.arp("0.0.0.0"), "one host"),
        (lambda: aioprocket.arp("127.0.0.1"), "one host"),
        (lambda: aioprocket.arp(FAR, timeout=0), "timeout 0"),
        (lambda: aioprocket.arp(FAR, retries=-1), "retries -1"),
        (lambda: aioprocket.arp("198.51.100.7"), "no neighbour: the way leads by 10.66.0.2"),
        (lambda: aioprocket.arp(FAR, interface="lo"), "lo is no Ethernet"),
        (lambda: scanned("near", rate=0), "rate 0"),
        (lambda: scanned("near", "10.0.0.0/8"), "16777216 addresses"),
        (lambda: scanned("near", "nonsense"), "no network"),
        (lambda: scanned("near", "10.0.0.0/24", family=6), "IPv4, not of IPv6"),
        (lambda: scanned("near", family=5), "family 5"),
        (lambda: scanned("lo"), "lo is no Ethernet"),
    ],
)
async def test_what_cannot_be_is_refused(far: Namespace, call: Any, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        await call()


async def test_where_no_way_leads_and_no_interface_is_the_error_says_so(far: Namespace) -> None:
    with pytest.raises(OpenError, match="unreachable"):
        await aioprocket.arp("203.0.113.7")
    with pytest.raises(OpenError, match="nowhere"):
        await aioprocket.arp(FAR, interface="nowhere")


async def test_an_interface_that_is_down_is_said_to_be(far: Namespace) -> None:
    links.add_veth("d0", "d1")
    try:
        with pytest.raises(LinkDownError):
            await aioprocket.arp("10.67.0.1", interface="d0")
        with pytest.raises(SpecError, match="no IPv6 address"):
            await aioprocket.ndp("fd67::1", interface="d0")
        with pytest.raises(SpecError, match="no address whose network"):
            await scanned("d0")
    finally:
        links.delete_link("d0")
