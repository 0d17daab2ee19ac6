"""Traces through chains of router namespaces: real packets, real routers."""

import ipaddress
from collections.abc import Iterator
from typing import Any, Literal

import pytest

import aioprocket
from aioprocket import ClosedError, Hop, ResolutionError, SpecError
from lab.chain import Chain, chain
from sandbox.routes import add_route

pytestmark = [pytest.mark.netns]

HOPS = 5
NOWHERE = "10.99.0.0/24"
PATIENT = 20.0  # seconds: for answers that do come, on a machine with much else to do
METHODS = ("icmp", "udp", "tcp")


@pytest.fixture(scope="module")
def way() -> Iterator[Chain]:
    with chain(HOPS) as made:
        # A network that router 1 knows the way to, and router 2 does not.
        add_route(NOWHERE, made.address(1))
        with made.networks[0].entered():
            add_route(NOWHERE, made.address(2))
        yield made


async def traced(host: str, **arguments: Any) -> list[Hop]:
    arguments.setdefault("timeout", PATIENT)
    return [hop async for hop in aioprocket.traceroute(host, **arguments)]


@pytest.mark.anyio
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("method", "flavour"),
    # Ping sockets are closed to root here: test_unprivileged.py.
    [("icmp", "raw"), ("udp", "raw"), ("udp", "dgram"), ("tcp", "raw"), ("tcp", "dgram")],
)
async def test_every_hop_is_found_in_its_order(
    way: Chain, version: Literal[4, 6], method: Any, flavour: Any
) -> None:
    hops = await traced(way.destination(version), method=method, type=flavour)

    assert [str(hop.address) for hop in hops] == way.addresses(version)
    assert [hop.ttl for hop in hops] == list(range(1, HOPS + 1))
    assert [hop.reached for hop in hops] == [False] * (HOPS - 1) + [True]
    assert all(hop.received == 3 and hop.loss == 0 for hop in hops)
    assert all(0 < rtt < PATIENT for hop in hops for rtt in hop.rtts)


@pytest.mark.anyio
async def test_a_trace_knows_how_it_goes(way: Chain) -> None:
    async with aioprocket.traceroute(way.destination(), type="raw") as trace:
        assert (trace.address, trace.method, trace.type) == (None, None, None)

        await anext(trace)

        assert str(trace.address) == way.destination()
        assert (trace.method, trace.type) == ("icmp", "raw")


@pytest.mark.anyio
async def test_a_trace_that_is_started_knows_its_address_before_the_first_hop(way: Chain) -> None:
    async with aioprocket.traceroute(way.destination(), type="raw", timeout=PATIENT) as trace:
        await trace.start()
        await trace.start()

        assert (str(trace.address), trace.method) == (way.destination(), "icmp")
        assert [str(hop.address) async for hop in trace] == way.addresses()
    with pytest.raises(ClosedError):
        await trace.start()


@pytest.mark.anyio
async def test_first_and_last_hop_and_number_of_probes_are_as_asked_for(way: Chain) -> None:
    hops = await traced(way.destination(), first_hop=2, max_hops=3, probes=1)

    assert [(hop.ttl, str(hop.address), hop.sent) for hop in hops] == [
        (2, way.address(2), 1),
        (3, way.address(3), 1),
    ]


@pytest.mark.anyio
async def test_one_probe_at_a_time_finds_the_same(way: Chain) -> None:
    hops = await traced(way.destination(), parallel=1)

    assert [str(hop.address) for hop in hops] == way.addresses()


@pytest.mark.anyio
@pytest.mark.parametrize("method", METHODS)
async def test_where_there_is_no_route_the_trace_says_so(way: Chain, method: Any) -> None:
    with pytest.raises(OSError, match="unreachable") as caught:
        await traced("198.51.100.1", method=method)

    assert isinstance(caught.value, aioprocket.AioprocketError)


@pytest.mark.anyio
async def test_a_router_without_a_route_ends_the_trace(way: Chain) -> None:
    # Of this error five at once, and one a second: error_burst of /proc/sys/net/ipv4/route.
    hops = await traced(NOWHERE.replace("0/24", "1"), probes=1, parallel=1)

    assert [str(hop.address) for hop in hops] == [way.address(1), way.address(2)]
    assert hops[-1].error is not None
    assert hops[-1].error.text == "network unreachable"
    assert not hops[-1].reached


@pytest.mark.anyio
async def test_this_machine_is_one_hop_away() -> None:
    for host in ("127.0.0.1", "::1"):
        for method in METHODS:
            (hop,) = await traced(host, method=method)

            assert hop.reached
            assert hop.address == ipaddress.ip_address(host)


@pytest.mark.anyio
async def test_a_loop_that_is_left_lets_go_of_its_sockets(way: Chain) -> None:
    async for hop in aioprocket.traceroute(way.destination()):
        assert hop.ttl == 1
        break  # leaks are found by the fixture of all tests


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"max_hops": 0}, "max_hops 0"),
        ({"max_hops": 256}, "max_hops 256"),
        ({"max_hops": True}, "max_hops True"),
        ({"first_hop": 0}, "first_hop 0"),
        ({"first_hop": 9, "max_hops": 8}, "beyond"),
        ({"probes": 0}, "probes 0"),
        ({"parallel": 0}, "parallel 0"),
        ({"timeout": 0}, "timeout 0"),
        ({"timeout": float("nan")}, "timeout nan"),
        ({"timeout": float("inf")}, "timeout inf"),
        ({"method": "sctp"}, "method 'sctp'"),
        ({"type": "stream"}, "type 'stream'"),
        ({"family": 5}, "family 5"),
        ({"port": 80}, "for method udp or tcp"),
        ({"method": "icmp", "port": 80}, "for method udp or tcp"),
        ({"method": "udp", "port": 65_536}, "port 65536"),
        ({"method": "tcp", "port": 0}, "port 0"),
        ({"size": 27}, "size 27"),
        ({"method": "udp", "size": 65_536}, "size 65536"),
        ({"method": "udp", "size": 40, "family": 6}, "size 40"),
        ({"method": "tcp", "size": 60}, "SYN"),
    ],
)
async def test_what_cannot_be_is_refused_at_the_call(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        aioprocket.traceroute("127.0.0.1", **arguments)


@pytest.mark.anyio
async def test_a_size_too_small_for_the_version_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(SpecError, match="size 40"):
        await traced("::1", method="udp", size=40)


@pytest.mark.anyio
async def test_a_host_without_an_address_is_refused() -> None:
    with pytest.raises(ResolutionError):
        await traced("no host.invalid")
    with pytest.raises(ResolutionError):
        await traced("::1", family=4)


@pytest.mark.anyio
@pytest.mark.parametrize("method", METHODS)
async def test_a_watch_counts_round_by_round(way: Chain, method: Any) -> None:
    snapshots = [
        snapshot
        async for snapshot in aioprocket.mtr(
            way.destination(), method=method, interval=0.01, rounds=4, timeout=PATIENT
        )
    ]

    assert [snapshot.round for snapshot in snapshots] == [1, 2, 3, 4]
    last = snapshots[-1]
    assert [str(hop.address) for hop in last.hops] == way.addresses()
    assert [(hop.sent, hop.received, hop.loss) for hop in last.hops] == [(4, 4, 0)] * HOPS
    assert [hop.reached for hop in last.hops] == [False] * (HOPS - 1) + [True]
    for hop in last.hops:
        assert hop.best is not None
        assert hop.average is not None
        assert hop.worst is not None
        assert 0 < hop.best <= hop.average <= hop.worst < PATIENT


@pytest.mark.anyio
async def test_a_watch_can_be_left(way: Chain) -> None:
    async with aioprocket.mtr(way.destination(), interval=0.01) as watch:
        async for snapshot in watch:
            if snapshot.round == 3:
                break

    assert snapshot.reached
    with pytest.raises(StopAsyncIteration):
        await anext(watch)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [({"interval": 0}, "interval 0"), ({"rounds": 0}, "rounds 0"), ({"max_hops": 0}, "max_hops")],
)
def test_a_watch_that_cannot_be_is_refused_at_the_call(
    arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(SpecError, match=said):
        aioprocket.mtr("127.0.0.1", **arguments)
