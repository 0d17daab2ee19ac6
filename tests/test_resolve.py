"""Addresses of hosts: names from /etc/hosts and addresses as they are written."""

import ipaddress
from typing import Literal

import pytest

from aioprocket import ResolutionError, SpecError
from aioprocket.resolve import check_link, resolve_host
from aioprocket.spec import IpAddress

V4, V6 = ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1")


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7", "fe80::1%lo", V4, V6])
async def test_an_address_is_itself(host: str | IpAddress) -> None:
    assert await resolve_host(host) == (ipaddress.ip_address(host),)


@pytest.mark.anyio
async def test_a_name_has_its_addresses_each_once() -> None:
    found = await resolve_host("localhost")

    assert V4 in found
    assert len(found) == len(set(found))


@pytest.mark.anyio
async def test_a_family_leaves_out_the_other() -> None:
    assert await resolve_host("localhost", 4) == (V4,)


@pytest.mark.anyio
@pytest.mark.parametrize(("host", "family"), [("::1", 4), ("127.0.0.1", 6)])
async def test_an_address_of_the_other_family_is_refused(host: str, family: Literal[4, 6]) -> None:
    with pytest.raises(ResolutionError, match="address of IPv") as caught:
        await resolve_host(host, family)

    assert caught.value.host == host


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["", " ", "a" * 64, "a" * 300, "no host.invalid", "x..y"])
async def test_what_is_no_name_is_refused(host: str) -> None:
    with pytest.raises(ResolutionError) as caught:
        await resolve_host(host, 4)

    assert caught.value.host == host


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("", "'' is blank"),
        ("256.1.1.1", "an address is like"),
        ("::%", "an address is like"),
        ("1.2.3.4.5", "an address is like"),
        ("..", "an address is like"),
        ("192.0.2.0/24", "a sweep takes networks"),
        ("a" * 300, "63 characters"),
    ],
)
async def test_error_says_what_is_wrong_with_a_name(host: str, words: str) -> None:
    with pytest.raises(ResolutionError) as caught:
        await resolve_host(host)

    said = f"{caught.value}\n{caught.value.hint}"
    assert words in said
    assert len(said) < 250


@pytest.mark.parametrize(
    ("address", "interface", "words"),
    [
        ("fe80::1", None, "does not say of which"),
        ("fe80::1%nothere0", None, "no interface 'nothere0'"),
        ("fe80::1%nothere0", "lo", "no interface 'nothere0'"),
        ("fe80::1%lo", None, ""),
        ("fe80::1%1", None, ""),
        ("fe80::1", "lo", ""),
        ("169.254.1.1", None, ""),
        ("::1", None, ""),
    ],
)
def test_address_of_a_link_says_of_which(address: str, interface: str | None, words: str) -> None:
    if not words:
        check_link(ipaddress.ip_address(address), interface)
        return
    with pytest.raises(SpecError, match=words):
        check_link(ipaddress.ip_address(address), interface)
