"""The largest packet on a way with a narrow link, and on one with a black hole."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aioprocket
from aioprocket import SpecError
from aioprocket.tracer.search import MtuSearch
from lab.chain import Chain, chain
from sandbox import links

NARROW = 1300
PATIENT = 20.0


@pytest.fixture(scope="module")
def way() -> Iterator[Chain]:
    """Four hops; what router 2 sends to router 3 is 1,300 bytes at most."""
    with chain(4) as made:
        with made.networks[1].entered():
            links.set_mtu("far", NARROW)
        with made.networks[2].entered():
            links.set_mtu("near", NARROW)
        yield made


@pytest.mark.netns
@pytest.mark.anyio
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("method", "flavour"), [("icmp", "raw"), ("udp", "raw"), ("udp", "dgram")])
async def test_a_narrow_link_is_found_by_what_its_router_says(
    way: Chain, version: Literal[4, 6], method: Any, flavour: Any
) -> None:
    found = await aioprocket.path_mtu(
        way.destination(version), method=method, type=flavour, timeout=PATIENT
    )

    assert found.mtu == NARROW
    assert not found.black_hole
    (limit,) = found.limits
    assert (str(limit.address), limit.mtu) == (way.address(2, version), NARROW)
    assert found.probes < 10


@pytest.mark.netns
@pytest.mark.anyio
async def test_before_the_narrow_link_the_interface_is_the_limit(way: Chain) -> None:
    found = await aioprocket.path_mtu(way.address(1), type="raw", timeout=PATIENT)

    assert (found.mtu, found.limits, found.black_hole) == (1500, (), False)


@pytest.fixture
def silent_way() -> Iterator[Chain]:
    """Another, where router 2 does not know that its next link is narrow."""
    with chain(3, block=78) as made:
        with made.networks[2].entered():
            links.set_mtu("near", NARROW)
        yield made


@pytest.mark.netns
@pytest.mark.anyio
async def test_a_black_hole_is_told_from_a_limit(silent_way: Chain) -> None:
    found = await aioprocket.path_mtu(
        silent_way.destination(), method="udp", most=1500, timeout=0.15, retries=1
    )

    assert found.black_hole
    assert found.limits == ()
    # The end of a cable takes frames with a VLAN tag more: is_skb_forwardable() of the kernel.
    assert found.mtu == NARROW + 4


@pytest.fixture
def deaf(way: Chain) -> Iterator[Chain]:
    """The same, and the destination answers no echo."""
    _ignore_echoes(way, "1")
    yield way
    _ignore_echoes(way, "0")


def _ignore_echoes(way: Chain, value: str) -> None:
    with way.networks[-1].entered():
        Path("/proc/sys/net/ipv4/icmp_echo_ignore_all").write_text(value)


@pytest.mark.netns
@pytest.mark.anyio
async def test_a_host_that_does_not_answer_has_no_path_mtu(deaf: Chain) -> None:
    found = await aioprocket.path_mtu(deaf.destination(), method="icmp", type="raw", timeout=0.05)

    assert (found.mtu, found.limits, found.black_hole) == (None, (), False)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"retries": -1}, "retries -1"),
        ({"most": 1279}, "most 1279"),
        ({"most": 65_536}, "most 65536"),
        ({"timeout": 0}, "timeout 0"),
        ({"method": "tcp"}, "SYN"),
    ],
)
async def test_what_cannot_be_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        await aioprocket.path_mtu("127.0.0.1", **arguments)


@given(
    st.integers(68, 9000),
    st.integers(68, 9000),
    st.lists(st.sampled_from(["hint", "wrong", "mute", "silent"]), min_size=1, max_size=4),
)
def test_the_search_finds_the_size_whatever_routers_say(
    truth: int, most: int, manners: list[str]
) -> None:
    search = MtuSearch(68, most)
    tries = 0
    while (size := search.size()) is not None:
        manner = manners[tries % len(manners)]
        tries += 1
        if size <= truth:
            search.arrived(size)
        elif manner == "silent":
            search.lost(size)
        else:
            search.too_big(size, {"hint": truth, "wrong": size + 1, "mute": None}[manner])
        assert tries < 40

    assert search.mtu == min(truth, most)
