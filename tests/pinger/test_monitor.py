"""The same hosts all the time: each in its turn, many of them, some of which answer."""

import socket
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from ipaddress import ip_address, ip_network
from itertools import repeat
from pathlib import Path
from typing import Any

import anyio
import pytest

from aioprocket import ClosedError, Echo, Pinger, ResolutionError, SpecError
from aioprocket.pinger import monitor as monitor_module
from aioprocket.pinger.monitor import Monitor
from aioprocket.readiness import checkpoint

from .responder import PATIENT, Request, Responder, running

pytestmark = [pytest.mark.anyio, pytest.mark.netns]

# More than leave in one turn, so that there are several, and the last of them is not full.
MANY = 700
LOCAL = [f"127.9.{number >> 8}.{number & 255}" for number in range(1, 1 + MANY)]


async def until_each(monitor: Monitor, count: int) -> dict[str, list[Echo]]:
    """What was told until each host has had so many ends, by host."""
    told: dict[str, list[Echo]] = defaultdict(list)
    waiting: set[str] = set()
    async with aclosing(aiter(monitor)) as echoes:
        async for echo in echoes:
            told[echo.host].append(echo)
            waiting = waiting or {window.host for window in monitor.windows()}
            if len(told[echo.host]) == count:
                waiting.remove(echo.host)
                if not waiting:
                    break
    return told


async def first(echoes: Any, count: int) -> AsyncIterator[Echo]:
    for _ in range(count):
        yield await anext(echoes)


def assert_in_turn(told: dict[str, list[Echo]]) -> None:
    """Each host gets its probes one after another, and as many as the others, but for a turn."""
    for echoes in told.values():
        assert [echo.sequence for echo in echoes] == list(range(len(echoes)))
    counts = [len(echoes) for echoes in told.values()]
    assert max(counts) <= min(counts) + 1


async def test_monitor_keeps_a_window_of_each_host() -> None:
    hosts = [f"127.0.0.{number}" for number in range(1, 101)]
    async with Pinger(type="raw") as pinger:
        monitor = pinger.monitor(hosts, interval=0.05, window=3, timeout=PATIENT)
        async with aclosing(aiter(monitor)) as echoes:
            seen = [echo async for echo in first(echoes, 500)]

    assert len(seen) == 500
    assert [window.host for window in monitor.windows()] == hosts
    for window in monitor.windows():
        assert window.received == window.sent >= 3
        assert window.loss == 0.0
        assert window.min is not None
        assert window.avg is not None
        assert window.max is not None
        assert 0 < window.min <= window.avg <= window.max
    with pytest.raises(KeyError):
        monitor.window("127.0.0.101")


async def test_window_is_what_was_told_of_its_host() -> None:
    async with Pinger(type="raw") as pinger:
        monitor = pinger.monitor(["127.0.0.1"], interval=0.005, window=4, timeout=PATIENT)
        async with aclosing(aiter(monitor)) as echoes:
            seen = [echo async for echo in first(echoes, 7)]
            window = monitor.window("127.0.0.1")

    # On this machine a reply is there when its request has left: there is no other end yet.
    rtts = [echo.rtt for echo in seen[-4:] if echo.rtt is not None]
    assert (window.sent, window.received, window.last) == (7, 7, rtts[-1])
    assert (window.min, window.max) == (min(rtts), max(rtts))
    assert window.avg == pytest.approx(sum(rtts) / 4)


async def test_monitor_reports_hosts_that_do_not_answer(
    veth: tuple[str, str], address_without_host: str
) -> None:
    async with Pinger(type="raw") as pinger:
        monitor = pinger.monitor([address_without_host], interval=0.02, timeout=0.02)
        async with aclosing(aiter(monitor)) as echoes:
            lost = [echo async for echo in first(echoes, 3)]

    assert not any(echo.ok for echo in lost)
    assert monitor.window(address_without_host).loss == 1.0


async def test_where_there_is_never_room_for_all_each_is_asked_all_the_same(
    veth: tuple[str, str], address_without_host: str
) -> None:
    # Who is not there has his probes wait for him, in the send buffer, until that is known.
    neighbours = Path("/proc/sys/net/ipv4/neigh", veth[0])
    (neighbours / "retrans_time_ms").write_text("50")
    network = ip_network(f"{address_without_host}/26", strict=False)
    hosts = [str(address) for address in list(network)[2:50]]
    async with Pinger(type="raw") as pinger:
        lane = await pinger._lane(4)
        lane._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the least there is
        monitor = pinger.monitor(hosts, interval=0.02, timeout=0.02)
        with anyio.fail_after(PATIENT):
            told = await until_each(monitor, 1)

    assert sorted(told) == sorted(hosts)


async def test_many_hosts_of_both_versions_are_asked_in_turn() -> None:
    hosts = [*LOCAL[: MANY // 2], "::1", *LOCAL[MANY // 2 :]]
    async with Pinger(type="raw") as pinger:
        monitor = pinger.monitor(hosts, interval=0.1, timeout=PATIENT)
        told = await until_each(monitor, 3)

    assert sorted(told) == sorted(hosts)
    assert all(echo.ok for echoes in told.values() for echo in echoes)
    assert_in_turn(told)


@pytest.mark.parametrize("stamps", [True, False])
async def test_kernel_tells_when_each_request_left_unless_it_is_not_asked(stamps: bool) -> None:
    async with Pinger(type="raw") as pinger:
        monitor = pinger.monitor(LOCAL, interval=0.1, timeout=PATIENT, stamps=stamps)
        told = await until_each(monitor, 2)

    # A reply is never there before its request is reckoned to have left, however short the way.
    clocks = Counter(echo.clock for echoes in told.values() for echo in echoes)
    assert set(clocks) == {"kernel" if stamps else "receive"}


@pytest.mark.parametrize("type", ["raw", "dgram"])
@pytest.mark.parametrize("stamps", [True, False])
async def test_hosts_that_cannot_be_asked_do_not_hold_up_the_others(
    ping_sockets: None, type: Any, stamps: bool
) -> None:
    nowhere = [f"192.0.2.{number}" for number in range(1, 151)]
    hosts = [host for pair in zip(LOCAL, nowhere, strict=False) for host in pair]
    async with Pinger(type=type) as pinger:
        monitor = pinger.monitor(hosts, interval=0.1, timeout=PATIENT, stamps=stamps)
        told = await until_each(monitor, 2)

    assert_in_turn(told)
    for name, echoes in told.items():
        refused = [echo.error is not None and echo.error.errno != 0 for echo in echoes]
        assert refused == [name in nowhere] * len(echoes)
        assert monitor.window(name).loss == (name in nowhere)


@pytest.mark.parametrize("hosts", [("224.0.0.0/30", LOCAL[:9]), ("ff02::/126", ["::1"])])
async def test_addresses_of_many_hosts_in_a_network_do_not_hold_up_the_others(
    hosts: tuple[str, list[str]],
) -> None:
    many = ip_network(hosts[0])
    async with Pinger(type="raw") as pinger:
        monitor = pinger.monitor([many, *hosts[1]], interval=0.1, timeout=PATIENT)
        told = await until_each(monitor, 2)

    assert sorted(told) == sorted([*map(str, many), *hosts[1]])
    assert_in_turn(told)
    for name, echoes in told.items():
        kinds = {echo.error.kind if echo.error is not None else None for echo in echoes}
        assert kinds == ({None} if name in hosts[1] else {"broadcast"})


async def test_probe_larger_than_the_link_takes_says_what_it_takes(
    veth: tuple[str, str], address_without_host: str
) -> None:
    async with Pinger(type="raw", df=True) as pinger:
        monitor = pinger.monitor([address_without_host], interval=0.1, size=1473)
        told = await until_each(monitor, 1)

    [error] = [echo.error for echo in told[address_without_host][:1]]
    assert error is not None
    assert (error.kind, error.mtu) == ("frag-needed", 1500)


@pytest.mark.parametrize("version", [4, 6])
async def test_replies_that_take_a_while_are_told_apart(tun_device: None, version: int) -> None:
    network = ip_network("198.18.0.0/24" if version == 4 else "2001:db8:77::/120")
    hosts = [str(address) for address in list(network)[2:62]]
    silent = set(hosts[::3])
    answering = set(hosts) - silent

    async def now_and_then(responder: Responder, request: Request) -> None:
        if str(request.target) not in silent:
            await anyio.sleep(0.03)
            await responder.send(request.reply())

    async with running(now_and_then), Pinger(type="raw") as pinger:
        monitor = pinger.monitor(hosts, interval=1.5, timeout=1.5)
        answered, lost = set[str](), set[str]()
        async with aclosing(aiter(monitor)) as echoes:
            # Where a busy machine is too late with a reply, the next is in time.
            while not (answering <= answered and silent <= lost):
                echo = await anext(echoes)
                # Timers of some loops are a millisecond early.
                assert echo.rtt is None or echo.rtt > 0.025
                (answered if echo.ok else lost).add(echo.host)

    assert answered == answering
    for name in hosts:
        assert (monitor.window(name).received > 0) == (name not in silent)


async def test_monitor_of_more_than_there_is_time_for_leaves_the_others_their_turn() -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await checkpoint()
            turns += 1

    async with Pinger(type="raw") as pinger, anyio.create_task_group() as group:
        group.start_soon(count_turns)
        monitor = pinger.monitor(["127.0.0.1"], interval=1e-6, timeout=PATIENT)
        async with aclosing(aiter(monitor)) as echoes:
            await anext(echoes)
            before = turns
            assert len([echo async for echo in first(echoes, 100)]) == 100
        group.cancel_scope.cancel()

    assert turns - before >= 50


async def test_monitor_of_many_that_is_closed_says_so() -> None:
    async with (
        Pinger(type="raw") as pinger,
        aclosing(aiter(pinger.monitor(LOCAL, interval=PATIENT))) as echoes,
    ):
        await anext(echoes)
        pinger.close()
        with pytest.raises(ClosedError):
            async for _ in echoes:
                pass


async def test_monitor_that_is_left_forgets_its_probes(
    veth: tuple[str, str], address_without_host: str
) -> None:
    async with Pinger(type="raw") as pinger:
        async with pinger.monitor(
            ["127.0.0.1", address_without_host], interval=0.02, timeout=PATIENT
        ) as monitor:
            async for echo in monitor:
                if echo.sequence == 1:
                    break
            assert pinger.stats().in_flight > 0

        assert pinger.stats().in_flight == 0
        assert monitor.window("127.0.0.1").received >= 2
        assert (await pinger.ping("127.0.0.1", count=1, timeout=PATIENT)).received == 1
        with pytest.raises(ClosedError, match="monitor is closed"):
            aiter(monitor)
        await monitor.aclose()


async def test_closing_a_monitor_ends_the_wait_of_another_task() -> None:
    ended: list[str] = []

    async def watch(monitor: Monitor) -> None:
        with pytest.raises(ClosedError, match="monitor is closed"):
            async for _ in monitor:
                pass
        ended.append("watch")

    async with Pinger(type="raw") as pinger, anyio.create_task_group() as group:
        monitor = pinger.monitor(["127.0.0.1"], interval=PATIENT, timeout=PATIENT)
        group.start_soon(watch, monitor)
        while not monitor.windows() or not monitor.window("127.0.0.1").received:
            await checkpoint()
        await monitor.aclose()
        with anyio.fail_after(PATIENT):
            while not ended:
                await checkpoint()

    assert pinger.stats().in_flight == 0


async def test_monitor_that_nobody_has_begun_can_be_closed() -> None:
    async with Pinger(type="raw") as pinger, aclosing(pinger.monitor(["127.0.0.1"])) as monitor:
        assert monitor.windows() == []


async def endless() -> AsyncGenerator[str, None]:
    while True:
        yield "127.0.0.1"


@pytest.mark.parametrize(
    "hosts",
    [["::/0"], ip_network("::/0"), [ip_network("10.0.0.0/12"), "127.0.0.1"], repeat("127.0.0.1")],
    ids=["text", "network", "one-too-many", "endless"],
)
async def test_more_hosts_than_can_be_remembered_are_refused(hosts: Any) -> None:
    async with Pinger(type="raw") as pinger:
        with pytest.raises(ValueError, match="more than 1,048,576 hosts") as caught:
            pinger.monitor(hosts)
        pinger.monitor(["10.0.0.0/12"])

        assert isinstance(caught.value, SpecError)
        assert "sweep" in caught.value.hint
        assert not pinger._lanes


async def test_asynchronous_hosts_without_end_are_refused_before_anything_is_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(monitor_module, "MOST", 3000)  # as many as it takes are a minute
    async with Pinger(type="raw") as pinger, aclosing(endless()) as hosts:
        with pytest.raises(SpecError, match="more than 3,000 hosts"):
            await anext(aiter(pinger.monitor(hosts)))

        assert not pinger._lanes


async def test_monitor_goes_on_after_a_cancel_while_hosts_were_taken() -> None:
    async def hosts() -> AsyncGenerator[str, None]:
        yield "127.0.0.1"
        await anyio.sleep_forever()

    async with Pinger(type="raw") as pinger:
        monitor = pinger.monitor(hosts(), interval=0.05)
        with anyio.move_on_after(0.1):
            await anext(aiter(monitor))
        async with aclosing(aiter(monitor)) as echoes:
            assert (await anext(echoes)).ok


@pytest.mark.parametrize("good", [["127.0.0.1", "127.0.0.2"], []])
async def test_name_without_an_address_is_watched_beside_the_others(good: list[str]) -> None:
    names = ["no such host", "nor this"]
    async with Pinger(type="raw") as pinger:
        monitor = pinger.monitor([names[0], *good, names[1]], interval=0.02, timeout=PATIENT)
        told = await until_each(monitor, 3)

    assert {name for name in told if all(echo.ok for echo in told[name])} == set(good)
    for name in names:
        window = monitor.window(name)
        assert (str(window.last_error), window.received, window.loss) == ("unresolved", 0, 1.0)
        assert [echo.sequence for echo in told[name]] == [0, 1, 2]
    assert all(monitor.window(name).last_error is None for name in good)


async def test_only_name_without_an_address_is_an_exception() -> None:
    async with Pinger(type="raw") as pinger:
        with pytest.raises(ResolutionError, match="no such host"):
            await anext(aiter(pinger.monitor(["no such host"])))


@pytest.mark.parametrize(
    "hosts", [[ip_address("127.0.0.1")], ["127.0.0.1"], ip_network("127.0.0.1/32"), {"127.0.0.1"}]
)
async def test_window_can_be_asked_for_at_any_time_by_object_or_text(hosts: Any) -> None:
    async with Pinger(type="raw") as pinger:
        monitor = pinger.monitor(hosts, timeout=PATIENT)
        for host in ("127.0.0.1", ip_address("127.0.0.1")):
            window = monitor.window(host)
            assert (str(window.address), window.sent, window.last) == ("127.0.0.1", 0, None)
        with pytest.raises(KeyError):
            monitor.window("127.0.0.2")
        async with aclosing(aiter(monitor)) as echoes:
            await anext(echoes)
        for host in ("127.0.0.1", ip_address("127.0.0.1")):
            assert monitor.window(host).received == 1


async def test_last_error_is_kept_beside_the_numbers(veth: tuple[str, str]) -> None:
    async with Pinger(type="raw") as pinger:
        monitor = pinger.monitor(["127.0.0.1", "192.0.2.77"], interval=0.02, timeout=PATIENT)
        await until_each(monitor, 2)

    assert monitor.window("127.0.0.1").last_error is None
    window = monitor.window("192.0.2.77")
    assert window.last_error is not None
    assert str(window.last_error) == "net unreachable: Network is unreachable (ENETUNREACH)"
    assert window.sent >= 2  # as ping(8) counts what it could not send
    assert window.loss == 1.0
