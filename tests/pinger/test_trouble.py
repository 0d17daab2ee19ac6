"""Links that go down, addresses that go away, and queues that are full, in the middle of it all."""

import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import aioprocket
from aioprocket import Echo, NotPermittedError, Pinger
from lab.must import require, unavailable
from sandbox import links
from sandbox.namespaces import Namespace, new_network

from .responder import PATIENT, Request, Responder, host, running

pytestmark = [pytest.mark.anyio, pytest.mark.netns]

NEAR, FAR = "198.18.0.1", "198.18.0.2"
HOSTS = [f"198.19.0.{number}" for number in range(1, 201)]


@pytest.fixture
def answering() -> Iterator[str]:
    """The near end of a cable, at whose other end the kernel answers for every address."""
    with new_network() as far:
        links.add_veth("near0", "far0", peer_namespace=far.fd)
        try:
            links.set_up("near0")
            links.add_address("near0", f"{NEAR}/15")
            with far.entered():
                links.set_up("lo")
                links.set_up("far0")
                links.add_address("far0", f"{FAR}/15")
                links.add_address("lo", "198.19.0.1/16")  # on this interface all of it is local
            yield "near0"
        finally:
            links.delete_link("near0")


async def until_answered(name: str) -> None:
    """Until a link carries packets: the kernel takes a while after it has come up."""
    while not (await aioprocket.ping(name, count=1, timeout=0.2, type="raw")).ok:
        pass


def remove_address(address: str, ifname: str) -> None:
    """In this thread's network."""
    subprocess.run([require("ip"), "address", "delete", address, "dev", ifname], check=True)


def kinds(echoes: list[Echo]) -> Counter[str]:
    """How many replies, losses and errors of each kind."""
    return Counter(
        echo.error.kind if echo.error else "ok" if echo.ok else "lost" for echo in echoes
    )


@pytest.mark.parametrize("type", ["raw", "dgram"])
async def test_link_that_goes_down_and_comes_back_costs_what_was_sent_meanwhile(
    ping_sockets: None, answering: str, type: Any
) -> None:
    echoes: list[Echo] = []
    await until_answered(FAR)
    async with Pinger(type=type) as pinger:
        async for echo in pinger.sweep(HOSTS, window=4, timeout=3):
            echoes.append(echo)
            if len(echoes) == 50:
                links.set_down(answering)
            elif len(echoes) == 100:
                links.set_up(answering)
                await until_answered(FAR)

        assert pinger.stats().in_flight == 0

    assert Counter(echo.host for echo in echoes) == Counter(HOSTS)
    before, meanwhile, after = kinds(echoes[:50]), kinds(echoes[50:104]), kinds(echoes[104:])
    assert before == {"ok": 50}
    # At most a window's probes were on their way.
    assert meanwhile["net-unreachable"] >= 54 - 2 * 4
    assert set(meanwhile) <= {"ok", "lost", "net-unreachable"}
    assert after == {"ok": 96}


async def test_link_that_goes_down_between_probes_to_one_host(answering: str) -> None:
    echoes: list[Echo] = []
    await until_answered(FAR)
    async with Pinger(type="raw") as pinger:
        async for echo in pinger.echoes(FAR, count=9, interval=0.01, timeout=PATIENT):
            echoes.append(echo)
            if len(echoes) == 3:
                links.set_down(answering)
            elif len(echoes) == 6:
                links.set_up(answering)
                await until_answered(FAR)

    assert sorted(echo.sequence for echo in echoes) == list(range(9))
    assert kinds(echoes[:3]) == {"ok": 3}
    assert kinds(echoes[-2:]) == {"ok": 2}


@pytest.mark.parametrize("type", ["raw", "dgram"])
async def test_source_address_that_goes_away_is_told_of(
    ping_sockets: None, answering: str, type: Any
) -> None:
    links.add_address(answering, "198.18.0.9/15")
    await until_answered(FAR)
    async with Pinger(type=type, source="198.18.0.9") as pinger:
        before = await pinger.ping(FAR, count=2, interval=0, timeout=PATIENT)
        remove_address("198.18.0.9/15", answering)
        after = await pinger.ping(FAR, count=2, interval=0, timeout=0.2)
        links.add_address(answering, "198.18.0.9/15")
        again = await pinger.ping(FAR, count=2, interval=0, timeout=PATIENT)

    assert before.received == 2
    assert (after.sent, after.received) == (2, 0)
    assert again.received == 2


async def faithfully(responder: Responder, request: Request) -> None:
    await responder.send(request.reply())


def shape(ifname: str, limit: str) -> None:
    """Let an interface send a probe or so in a millisecond, and queue others up to a limit."""
    command = [require("tc"), "qdisc", "add", "dev", ifname, "root", "tbf"]
    command += ["rate", "4mbit", "burst", "2k", "limit", limit]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:  # not every kernel has it
        unavailable("tbf", done.stderr.strip())


# A queue of a few probes, and one with room for all of them, of which the socket's buffer has not.
QUEUES = {"full queue": "3k", "full buffer": "1m"}


@pytest.mark.usefixtures("tun_device")
@pytest.mark.parametrize(
    ("version", "type", "limit"),
    [
        pytest.param(version, type, limit, id=f"{name}, {type}, {version}")
        for name, limit in QUEUES.items()
        for type in ("raw", "dgram")
        for version in (4, 6)
        # A ping socket of IPv6 is not told what a full queue threw away: ping_v6_sendmsg() in
        # net/ipv6/ping.c.
        if (name, type, version) != ("full queue", "dgram", 6)
    ],
)
async def test_full_queue_is_met_by_slowing_down(
    ping_sockets: None, version: int, type: Any, limit: str
) -> None:
    hosts = [host(version, number) for number in range(2, 252)]
    async with running(faithfully) as responder, Pinger(type=type, size=600) as pinger:
        shape(responder.channel.name, limit)
        echoes = [echo async for echo in pinger.sweep(hosts, timeout=PATIENT)]

    assert kinds(echoes) == {"ok": len(hosts)}
    assert set(responder.requests.values()) == {1}


@pytest.mark.realroot  # a user namespace cannot close ping sockets again
def test_helper_that_may_open_no_ping_socket_says_that_no_privilege_helps(
    namespace: Namespace, helper_binary: Path, as_nobody: Callable[[Callable[[], Any]], Any]
) -> None:
    def ping() -> None:
        anyio.run(lambda: aioprocket.ping(NEAR, count=1, type="dgram", helper=str(helper_binary)))

    with namespace.entered(), pytest.raises(NotPermittedError) as caught:
        as_nobody(ping)

    assert "groups of net.ipv4.ping_group_range, and no privilege" in str(caught.value)
    assert "setuid" not in str(caught.value)
    assert "sysctl" in caught.value.hint
    assert 'type="raw"' in caught.value.hint
