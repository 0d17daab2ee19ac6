"""Closing what another task waits in: that wait ends with ClosedError, whatever it waits for."""

import fcntl
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import aioprocket
from aioprocket import ClosedError
from sandbox import links

pytestmark = [pytest.mark.netns, pytest.mark.anyio]

SIOCSIFFLAGS = 0x8914  # linux/sockios.h
IFF_UP, IFF_NOARP = 0x1, 0x80  # linux/if.h
NOBODY = "198.51.100.9"
FOR_EVER = 3600.0


@pytest.fixture
def void(veth: tuple[str, str]) -> str:
    """An interface whose packets nobody answers, nor does the kernel say so."""
    near, _ = veth
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        # With ARP the kernel gives up after three seconds, and says that the host is unreachable.
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh14x", near.encode(), IFF_UP | IFF_NOARP))
    links.add_address(near, "198.51.100.1/24")
    return near


async def closed_while_it_waits(
    wait: Callable[[], Awaitable[Any]], close: Callable[[], Any]
) -> None:
    """Close what ``wait`` waits in, and check how that ends."""
    ended = []

    async def waiting() -> None:
        with pytest.raises(ClosedError):
            await wait()
        ended.append(True)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(waiting)
        await anyio.wait_all_tasks_blocked()
        assert not ended
        closing = close()
        if closing is not None:
            await closing
    assert ended


async def all_of(stream: AsyncIterator[Any]) -> None:
    async for _ in stream:
        pass


@pytest.mark.parametrize("tool", [aioprocket.traceroute, aioprocket.mtr])
@pytest.mark.parametrize(
    ("method", "flavour"),
    [("icmp", "raw"), ("udp", "raw"), ("udp", "dgram"), ("tcp", "raw"), ("tcp", "dgram")],
)
async def test_a_trace_and_a_watch(void: str, tool: Any, method: str, flavour: str) -> None:
    pace = {"interval": FOR_EVER} if tool is aioprocket.mtr else {}
    journey = tool(NOBODY, method=method, type=flavour, timeout=FOR_EVER, **pace)

    await closed_while_it_waits(lambda: anext(journey), journey.close)

    with pytest.raises(StopAsyncIteration):
        await anext(journey)


@pytest.mark.parametrize("tool", [aioprocket.traceroute, aioprocket.mtr])
@pytest.mark.parametrize("method", ["icmp", "udp", "tcp"])
async def test_a_trace_and_a_watch_between_two_probes(void: str, tool: Any, method: str) -> None:
    # Closed at each of the first points where it gives others their turn.
    for turns in range(12):
        ended = await _closed_after(turns, tool(NOBODY, method=method, timeout=FOR_EVER))

        assert isinstance(ended, ClosedError | StopAsyncIteration)


async def _closed_after(turns: int, journey: Any) -> BaseException | None:
    ended: BaseException | None = None

    async def asking() -> None:
        nonlocal ended
        try:
            await anext(journey)
        except Exception as failure:
            ended = failure

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(asking)
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        journey.close()
    return ended


async def test_a_scan(void: str) -> None:
    scan = aioprocket.scan(void, family=4, timeout=FOR_EVER)

    await closed_while_it_waits(lambda: anext(scan), scan.aclose)

    with pytest.raises(StopAsyncIteration):
        await anext(scan)


async def test_a_scan_while_it_opens(void: str) -> None:
    scan = aioprocket.scan(void, family=4, timeout=FOR_EVER)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(scan.aclose)
        with pytest.raises(ClosedError):
            await anext(scan)


@pytest.mark.parametrize(
    "wait",
    [
        lambda pinger: pinger.ping(NOBODY, timeout=FOR_EVER, count=1),
        lambda pinger: all_of(pinger.echoes(NOBODY, timeout=FOR_EVER, count=1)),
        lambda pinger: all_of(pinger.sweep([NOBODY], timeout=FOR_EVER)),
        lambda pinger: all_of(pinger.sweep([NOBODY, "::1"], timeout=FOR_EVER)),
        lambda pinger: all_of(aiter(pinger.monitor([NOBODY], timeout=FOR_EVER, interval=FOR_EVER))),
    ],
    ids=["ping", "echoes", "sweep", "sweep of both versions", "monitor"],
)
async def test_a_pinger(void: str, wait: Callable[[Any], Awaitable[Any]]) -> None:
    async with aioprocket.Pinger(type="raw") as pinger:
        await closed_while_it_waits(lambda: wait(pinger), pinger.close)


RECEIVING: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "receive": lambda channel: channel.receive(),
    "receive_batch": lambda channel: channel.receive_batch(),
    "recv": lambda channel: channel.recv(),
    "recvfrom": lambda channel: channel.recvfrom(),
    "recv_into": lambda channel: channel.recv_into(bytearray(9)),
    "recvmsg": lambda channel: channel.recvmsg(9),
    "iteration": all_of,
    "batches": lambda channel: all_of(channel.batches()),
    "serve": lambda channel: channel.serve(lambda packet: None),
}
CHANNELS: dict[str, Callable[[str], Any]] = {
    "ring": lambda ifname: aioprocket.open_packet(ifname),
    "ring of frames": lambda ifname: aioprocket.open_packet(ifname, latency="low"),
    "queue": lambda ifname: aioprocket.open_packet(ifname, ring=False),
    "icmp": lambda ifname: aioprocket.open_icmp(interface=ifname),
    "udp": lambda ifname: aioprocket.open(0, protocol="udp", ip="127.0.0.1"),
}


@pytest.mark.parametrize("receive", RECEIVING.values(), ids=RECEIVING)
@pytest.mark.parametrize("door", CHANNELS.values(), ids=CHANNELS)
async def test_a_channel(
    void: str, door: Callable[[str], Any], receive: Callable[[Any], Awaitable[Any]]
) -> None:
    channel = await door(void)

    await closed_while_it_waits(lambda: receive(channel), channel.close)


async def test_a_channel_that_is_closed_by_aclose(void: str) -> None:
    channel = await aioprocket.open_packet(void)

    await closed_while_it_waits(channel.receive, channel.aclose)


async def test_a_channel_on_whose_link_nothing_moves(veth: tuple[str, str]) -> None:
    links.set_down(veth[0])
    channel = await aioprocket.open_packet(veth[0])

    await closed_while_it_waits(channel.receive, channel.close)
