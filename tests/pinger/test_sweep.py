"""Many hosts: iterables of every kind, names, rates, and what is refused."""

import ipaddress
import itertools
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any, Literal

import anyio
import anyio.lowlevel
import pytest

from aioprocket import ClosedError, Pinger, ResolutionError, SpecError

pytestmark = [pytest.mark.anyio, pytest.mark.netns]

PATIENT = 30.0


async def answered(pinger: Pinger, hosts: Any, **arguments: Any) -> list[str]:
    return [
        echo.host async for echo in pinger.sweep(hosts, timeout=PATIENT, **arguments) if echo.ok
    ]


async def test_network_is_asked_address_by_address() -> None:
    network = ipaddress.ip_network("127.3.0.0/22")
    async with Pinger(type="raw") as pinger:
        found = await answered(pinger, network)

    assert sorted(map(ipaddress.ip_address, found)) == list(network)


async def test_hosts_of_all_kinds_in_one_sweep() -> None:
    hosts = [
        "127.0.0.1",
        "::1",
        ipaddress.ip_address("127.0.0.2"),
        ipaddress.ip_network("127.0.0.8/30"),
        "localhost",
        "127.0.0.3",
        ipaddress.ip_address("::1"),
    ]
    async with Pinger(type="raw") as pinger:
        found = await answered(pinger, hosts)

    assert sorted(found) == sorted(
        ["127.0.0.1", "::1", "127.0.0.2", "localhost", "127.0.0.3", "::1"]
        + [f"127.0.0.{number}" for number in range(8, 12)]
    )


async def test_endless_hosts_are_taken_as_they_are_needed() -> None:
    taken = itertools.count()
    hosts = (f"127.0.{number // 250 % 250}.{number % 250 + 1}" for number in taken)
    async with Pinger(type="raw") as pinger:
        sweep = pinger.sweep(hosts, window=16, timeout=PATIENT)
        seen = [echo async for echo in _first(sweep, 1000)]
        await sweep.aclose()

    assert all(echo.ok for echo in seen)
    assert next(taken) <= 1000 + 2 * 64


async def _first(echoes: Any, count: int) -> AsyncGenerator[Any, None]:
    async for echo in echoes:
        yield echo
        count -= 1
        if not count:
            return


async def test_asynchronous_hosts() -> None:
    async def hosts() -> AsyncGenerator[str, None]:
        for number in range(1, 20):
            yield f"127.0.0.{number}"
            await anyio.lowlevel.checkpoint()

    async with Pinger(type="raw") as pinger:
        found = await answered(pinger, hosts())

    assert len(set(found)) == 19


async def test_probes_are_lost_in_time_while_the_next_host_is_waited_for(
    address_without_host: str,
) -> None:
    async def hosts() -> AsyncGenerator[str, None]:
        yield address_without_host
        await anyio.sleep_forever()

    async with Pinger(type="raw") as pinger, aclosing(hosts()) as source:
        async with aclosing(pinger.sweep(source, timeout=0.05)) as echoes:
            with anyio.fail_after(PATIENT):
                echo = await anext(echoes)
        assert (echo.host, echo.rtt, echo.error) == (address_without_host, None, None)
        # The hosts are the caller's again.
        with pytest.raises(StopAsyncIteration):
            await anext(source)


async def test_what_asynchronous_hosts_raise_is_raised_after_the_replies() -> None:
    told = anyio.Event()

    async def hosts() -> AsyncGenerator[str, None]:
        yield "127.0.0.1"
        await told.wait()
        raise LookupError("no more names")

    async with Pinger(type="raw") as pinger:
        echoes = pinger.sweep(hosts(), timeout=PATIENT)
        assert (await anext(echoes)).ok
        told.set()
        with pytest.raises(LookupError, match="no more names"):
            await anext(echoes)


async def test_asynchronous_hosts_are_not_taken_ahead() -> None:
    taken = []

    async def hosts() -> AsyncGenerator[str, None]:
        for number in itertools.count(1):
            taken.append(number)
            yield f"127.0.{number // 250 % 250}.{number % 250 + 1}"

    async with (
        Pinger(type="raw") as pinger,
        aclosing(hosts()) as source,
        aclosing(pinger.sweep(source, window=16, timeout=PATIENT)) as echoes,
    ):
        seen = [echo async for echo in _first(echoes, 500)]

    assert all(echo.ok for echo in seen)
    assert len(taken) <= 500 + 2 * 64


async def test_each_host_gets_as_many_probes_as_asked_for() -> None:
    async with Pinger(type="raw") as pinger:
        hosts = [f"127.0.1.{number}" for number in range(100)]
        seen = [
            (echo.host, echo.sequence)
            async for echo in pinger.sweep(hosts, count=3, timeout=PATIENT)
            if echo.ok
        ]

    assert sorted(seen) == sorted(itertools.product(hosts, range(3)))


async def test_rate_is_kept() -> None:
    async with Pinger(type="raw") as pinger:
        began = time.monotonic()
        found = await answered(pinger, ["127.0.0.1"] * 41, rate=200)
        took = time.monotonic() - began

    assert len(found) == 41
    # The first two have their tokens at once: a hundredth of a second's.
    assert took >= 38 / 200


async def test_name_in_a_list_is_looked_up_before_anything_is_sent() -> None:
    async with Pinger(type="raw") as pinger:
        sweep = pinger.sweep(["no such host"])
        with pytest.raises(ResolutionError, match="no such host"):
            await anext(sweep)

        assert pinger.stats() == (0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("kind", [list, iter])
@pytest.mark.parametrize("count", [1, 2])
async def test_name_without_an_address_does_not_keep_the_others_from_being_asked(
    kind: Any, count: int
) -> None:
    hosts = ["127.0.0.1", "no such host", "127.0.0.2", "nor this"]
    async with Pinger(type="raw") as pinger:
        echoes = [echo async for echo in pinger.sweep(kind(hosts), count=count, timeout=PATIENT)]

    refused = [echo for echo in echoes if echo.error is not None]
    assert sorted(echo.host for echo in refused) == ["no such host", "nor this"]
    for echo in refused:
        assert (str(echo.error), str(echo.address), echo.sent_ns) == ("unresolved", "0.0.0.0", 0)
    asked = Counter(echo.host for echo in echoes if echo.ok)
    assert asked == {"127.0.0.1": count, "127.0.0.2": count}


def requests_sent() -> int:
    """By this machine's counters, of both versions."""
    old, new = Path("/proc/net/snmp").read_text(), Path("/proc/net/snmp6").read_text()
    names, values = (line.split() for line in old.splitlines() if line.startswith("Icmp:"))
    echoes = next(line for line in new.splitlines() if line.startswith("Icmp6OutEchos "))
    return int(values[names.index("OutEchos")]) + int(echoes.split()[1])


@pytest.mark.parametrize(
    ("family", "hosts", "words"),
    [
        (4, ["127.0.0.1", "::1"], "::1 is an address of IPv6, not of IPv4"),
        (6, ["127.0.0.1", "127.0.0.2"], "127.0.0.1 is an address of IPv4, not of IPv6"),
        (6, ["::1", "127.0.0.2"], "127.0.0.2 is an address of IPv4, not of IPv6"),
        (4, (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")), "::1 is an address"),
        (4, ["127.0.0.1", ipaddress.ip_network("::/126")], "::/126 is a network of IPv6, not of"),
    ],
)
async def test_list_with_an_address_of_the_other_version_is_refused_before_anything_is_sent(
    family: Literal[4, 6], hosts: Any, words: str
) -> None:
    async with Pinger(type="raw", family=family) as pinger:
        before = requests_sent()
        with pytest.raises(ResolutionError, match=words):
            await anext(pinger.sweep(hosts))
        with pytest.raises(ResolutionError, match=words):
            await anext(aiter(pinger.monitor(hosts)))

        assert requests_sent() == before


@pytest.mark.parametrize(
    "hosts",
    [
        ["127.0.0.1", "::1"],
        [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")],
        [ipaddress.ip_address("127.0.0.1"), b"\0" * 15 + b"\1"],
        [ipaddress.ip_network("127.0.0.1/32"), ipaddress.ip_network("::1/128")],
    ],
)
async def test_address_of_the_other_version_ends_an_iterator(hosts: list[Any]) -> None:
    async with Pinger(type="raw", family=4) as pinger:
        with pytest.raises(ResolutionError, match=r"^::1.* of IPv6, not of IPv4"):
            await answered(pinger, iter(hosts))


def test_network_of_the_other_version_is_refused_at_the_call() -> None:
    with pytest.raises(ResolutionError, match="a network of IPv6"):
        Pinger(family=4).sweep(ipaddress.ip_network("::/64"))


@pytest.mark.parametrize(
    "arguments",
    [
        {"rate": 0},
        {"rate": -1.0},
        {"rate": float("inf")},
        {"count": 0},
        {"window": 0},
        {"window": 32769},
        {"timeout": 0},
        {"size": 65508},
    ],
)
async def test_bad_arguments_are_refused_at_the_call(arguments: dict[str, Any]) -> None:
    async with Pinger(type="raw") as pinger:
        with pytest.raises(SpecError):
            pinger.sweep(["127.0.0.1"], **arguments)


@pytest.mark.parametrize("hosts", ["127.0.0.1", b"127.0.0.1", ipaddress.ip_address("::1"), 5])
async def test_one_host_is_no_iterable_of_hosts(hosts: Any) -> None:
    async with Pinger(type="raw") as pinger:
        with pytest.raises(SpecError):
            pinger.sweep(hosts)


@pytest.mark.parametrize("host", ["224.0.0.1", "255.255.255.255", "ff02::1", 7, None])
async def test_what_is_no_host_is_refused(host: Any) -> None:
    async with Pinger(type="raw") as pinger:
        with pytest.raises(SpecError):
            await anext(pinger.sweep([host]))


@pytest.mark.parametrize(
    "hosts",
    [
        [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")],
        [ipaddress.ip_network("::/127")],
        ["127.0.0.1", "::1"],
    ],
    ids=["addresses", "a network", "texts"],
)
async def test_address_of_the_other_version_is_refused(hosts: Any) -> None:
    async with Pinger(type="raw", family=4) as pinger:
        with pytest.raises(ResolutionError, match="not of IPv4"):
            await answered(pinger, hosts)


async def test_addresses_of_many_hosts_in_a_network_are_told_of() -> None:
    async with Pinger(type="raw") as pinger:
        network = ipaddress.ip_network("224.0.0.0/30")
        echoes = [echo async for echo in pinger.sweep(network)]

    assert [echo.error and echo.error.kind for echo in echoes] == ["broadcast"] * 4


async def test_sweep_of_nothing_is_over_at_once() -> None:
    async with Pinger(type="raw") as pinger:
        assert [echo async for echo in pinger.sweep([])] == []


async def test_sweep_of_a_closed_pinger_says_so() -> None:
    async with Pinger(type="raw") as pinger:
        pass

    with pytest.raises(ClosedError):
        await anext(pinger.sweep(["127.0.0.1"]))


@pytest.mark.parametrize("kind", [list, iter])
async def test_network_may_be_text_as_for_the_command(kind: Any) -> None:
    async with Pinger(type="raw") as pinger:
        hosts = kind(["127.0.0.1", "127.1.0.9/30", "127.0.0.2"])
        found = await answered(pinger, hosts)

    assert sorted(found) == [
        "127.0.0.1", "127.0.0.2", "127.1.0.10", "127.1.0.11", "127.1.0.8", "127.1.0.9",
    ]  # fmt: skip
    with pytest.raises(SpecError, match=r"'127\.0\.0\.1/33' is no network"):
        pinger.sweep(["127.0.0.1/33"])
