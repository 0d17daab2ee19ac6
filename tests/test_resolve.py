"""Addresses of hosts: names from /etc/hosts and addresses as they are written."""

import ipaddress
from typing import Literal

import pytest

from aioprocket import ResolutionError
from aioprocket.resolve import resolve_host
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
@pytest.mark.parametrize("host", ["", "a" * 64, "no host.invalid", "x..y"])
async def test_what_is_no_name_is_refused(host: str) -> None:
    with pytest.raises(ResolutionError) as caught:
        await resolve_host(host, 4)

    assert caught.value.host == host
