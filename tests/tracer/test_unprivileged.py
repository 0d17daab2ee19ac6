"""Traces of a process without privilege, and with the helper: what it gets, and how."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import aioprocket
from aioprocket import NotPermittedError
from lab.accounts import Unprivileged
from lab.chain import Chain, chain

pytestmark = [pytest.mark.netns]
# Ping sockets are closed at first; a user namespace cannot close them again, where a test before
# has opened them.
without_ping_sockets = pytest.mark.realroot

HOPS = 4
PATIENT = 20.0


@pytest.fixture(scope="module")
def way() -> Iterator[Chain]:
    with chain(HOPS) as made:
        yield made


def traced(host: str, **arguments: Any) -> tuple[str | None, str | None, list[str]]:
    """Method, type and addresses of a trace."""

    async def trace() -> tuple[str | None, str | None, list[str]]:
        found = aioprocket.traceroute(host, timeout=PATIENT, **arguments)
        addresses = [str(hop.address) async for hop in found]
        return found.method, found.type, addresses

    return anyio.run(trace)


@pytest.fixture(autouse=True)
def no_helper_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOPROCKET_HELPER", "unix:/nowhere/broker.sock")


@without_ping_sockets
@pytest.mark.parametrize("version", [4, 6])
def test_without_a_helper_it_is_datagrams_and_the_error_queue(
    way: Chain, version: int, as_nobody: Unprivileged
) -> None:
    found = as_nobody(lambda: traced(way.destination(version)))

    assert found == ("udp", "dgram", way.addresses(version))


def test_tcp_without_a_helper_is_connects(way: Chain, as_nobody: Unprivileged) -> None:
    found = as_nobody(lambda: traced(way.destination(), method="tcp"))

    assert found == ("tcp", "dgram", way.addresses())


@without_ping_sockets
def test_icmp_that_is_not_permitted_says_what_is(way: Chain, as_nobody: Unprivileged) -> None:
    with pytest.raises(NotPermittedError) as caught:
        as_nobody(lambda: traced(way.destination(), method="icmp", type="dgram"))

    assert "ping_group_range" in f"{caught.value} {caught.value.hint}"


def test_a_helper_that_is_named_has_to_be_there(way: Chain, as_nobody: Unprivileged) -> None:
    with pytest.raises(aioprocket.AioprocketError):
        as_nobody(lambda: traced(way.destination(), helper="/nowhere/helper"))


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("method", ["icmp", "udp"])
def test_with_the_helper_answers_come_by_a_raw_socket(
    way: Chain, version: int, method: Any, as_nobody: Unprivileged, unprivileged_helper: Path
) -> None:
    found = as_nobody(
        lambda: traced(way.destination(version), method=method, helper=str(unprivileged_helper))
    )

    assert found == (method, "raw", way.addresses(version))


@pytest.mark.parametrize("version", [4, 6])
def test_where_ping_sockets_are_open_it_is_icmp(
    way: Chain, version: int, as_nobody: Unprivileged, is_root: bool
) -> None:
    # In the first router's network: what the kernel starts with cannot be written back everywhere.
    with way.networks[0].entered():
        open_to = "0 65534" if is_root else "0 0"
        Path("/proc/sys/net/ipv4/ping_group_range").write_text(open_to)
        found = as_nobody(lambda: traced(way.destination(version)))

    assert found == ("icmp", "dgram", way.addresses(version)[1:])


@pytest.mark.realroot  # in a user namespace every program is its root, and is refused nothing
def test_a_helper_that_is_named_and_refuses_is_not_passed_over(
    way: Chain, as_nobody: Unprivileged, helper_binary: Path
) -> None:
    with pytest.raises(NotPermittedError) as caught:
        as_nobody(lambda: traced(way.destination(), method="udp", helper=str(helper_binary)))

    assert "raw icmp socket" in str(caught.value)
    assert "type='dgram'" in caught.value.hint
    found = as_nobody(
        lambda: traced(way.destination(), method="udp", type="dgram", helper=str(helper_binary))
    )
    assert found == ("udp", "dgram", way.addresses())
