"""Numbers that cannot be: refused in one way wherever one is asked for, and nothing has changed."""

import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Any, TypeAlias

import anyio
import pytest

import aioprocket
from aioprocket import Channel, create_endpoint
from channels.rig import cable, number, pair
from contract import Recorder, until

HUGE = 2**64
VALUES: list[Any] = [HUGE, 2**63, 2**31, -1, -HUGE, True, 1.5, "1", b"1", None]

# What of these means something in a place: it is not tried there.
Good: TypeAlias = tuple[Any, ...]
Use: TypeAlias = Callable[[Channel, Any], Any]
COUNT: Good = (2**31,)

RECEIVES: dict[str, tuple[Use, Good]] = {
    "receive_batch": (lambda channel, value: channel.receive_batch(value), COUNT),
    "batches": (lambda channel, value: channel.batches(value), (*COUNT, None)),
    "recv": (lambda channel, value: channel.recv(value), ()),
    "recvfrom": (lambda channel, value: channel.recvfrom(value), ()),
    "recv_into": (lambda channel, value: channel.recv_into(value), ()),
    "recvmsg": (lambda channel, value: channel.recvmsg(value), ()),
    "recvmsg ancbufsize": (lambda channel, value: channel.recvmsg(9, value), ()),
    "recvmsg flags": (lambda channel, value: channel.recvmsg(9, 0, value), ()),
    "serve": (lambda channel, value: channel.serve(print, value), (-1, -HUGE, True)),
}


def _to(port: Any) -> tuple[str, Any]:
    return ("127.0.0.1", port)


OTHERS: dict[str, tuple[Use, Good]] = {
    "send": (lambda channel, value: channel.send(value), (b"1",)),
    "send_nowait": (lambda channel, value: channel.send_nowait(value), (b"1",)),
    "send_batch": (lambda channel, value: channel.send_batch(value), ()),
    "an item": (lambda channel, value: channel.send_batch([value]), (b"1",)),
    "a port": (lambda channel, value: channel.sendto(b"x", _to(value)), (True,)),
    "the port of an item": (
        lambda channel, value: channel.send_batch([(b"x", _to(value))]),
        (True,),
    ),
    "the port of a message": (
        lambda channel, value: channel.sendmsg([b"x"], [], 0, _to(value)),
        (True,),
    ),
    "flags of a message": (lambda channel, value: channel.sendmsg([b"x"], [], value), (-1, True)),
    "listen": (lambda channel, value: channel.listen(value), ()),
    "a filter": (lambda channel, value: channel.set_filter(value), (None,)),
    "an instruction": (
        lambda channel, value: channel.set_filter([(6, 0, 0, value)]),
        (2**31, True),
    ),
    "read_packets": (
        lambda channel, value: Channel.from_fd(channel.fileno(), read_packets=value),
        COUNT,
    ),
}

# Of each door the options that are numbers.
SHARED: dict[str, Good] = {"timeout": (HUGE, 2**63, 2**31, 1.5), "read_packets": COUNT}
OF_SOCKETS: dict[str, Good] = {
    "receive_buffer": (None,),
    "send_buffer": (None,),
    "mark": (2**31, None),
    "priority": (None,),
    **SHARED,
}
DOORS: list[tuple[Any, dict[str, Any], dict[str, Good]]] = [
    (aioprocket.open, {"ip": "127.0.0.1"}, {"port": (), "backlog": (None,), **OF_SOCKETS}),
    (aioprocket.open_icmp, {}, {"family": (), **OF_SOCKETS}),
    (
        aioprocket.open_packet,
        {"interface": "lo"},
        {"snaplen": (), "fanout": (None,), **OF_SOCKETS},
    ),
    (aioprocket.open_tun, {}, {"queues": (), "mtu": (None,), "addresses": (), **SHARED}),
    (aioprocket.open_device, {"name": "null"}, SHARED),
]


def wrong(good: Good) -> Iterator[Any]:
    """The values that mean nothing. True is 1 to ``in``, and so is each number its float."""
    for value in VALUES:
        if not any(type(value) is type(each) and value == each for each in good):
            yield value


async def assert_refused(value: Any, use: Callable[[], Any]) -> None:
    """At the call, where it is awaited, or at its first step."""
    try:
        with anyio.fail_after(20):
            found = use()
            if isinstance(found, Awaitable):
                await found
            elif isinstance(found, AsyncIterator):
                await anext(found)
    except (ValueError, TypeError):
        pass
    else:
        pytest.fail(f"{value!r} was taken")


@pytest.mark.anyio
@pytest.mark.parametrize("name", RECEIVES)
async def test_a_receive_that_is_refused_costs_no_packet(name: str) -> None:
    use, good = RECEIVES[name]
    with pair() as (channel, far):
        far.send(b"still there")
        for value in wrong(good):
            await assert_refused(value, partial(use, channel, value))

        with anyio.fail_after(20):
            assert await channel.recv() == b"still there"
        assert channel.stats().rx_packets == 1


@pytest.mark.netns
@pytest.mark.anyio
@pytest.mark.parametrize("name", RECEIVES)
async def test_a_receive_of_a_ring_that_is_refused_costs_no_packet(
    name: str, veth: tuple[str, str]
) -> None:
    use, good = RECEIVES[name]
    with cable(veth, ring=True) as wire:
        wire.send(1)
        for value in wrong(good):
            await assert_refused(value, partial(use, wire.channel, value))

        with anyio.fail_after(20):
            assert number(await wire.channel.receive()) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("name", OTHERS)
async def test_what_is_refused_leaves_a_socket_as_it_was(name: str) -> None:
    use, good = OTHERS[name]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.bind(_to(0))
        with closing(Channel.from_fd(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))) as channel:
            for value in wrong(good):
                await assert_refused(value, partial(use, channel, value))

            assert channel.stats().tx_packets == 0
            assert channel.filter is None
            with anyio.fail_after(20):
                await channel.sendto(b"alone", far.getsockname())
            assert far.recv(100) == b"alone"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("door", "given", "options"), DOORS, ids=[door.__name__ for door, *_ in DOORS]
)
async def test_a_door_stays_closed(
    door: Any, given: dict[str, Any], options: dict[str, Good]
) -> None:
    for name, good in options.items():
        for value in wrong(good):
            await assert_refused((name, value), partial(door, **given | {name: value}))


@pytest.mark.asyncio
async def test_a_count_that_is_refused_leaves_the_mode() -> None:
    with pair() as (channel, _):
        transport, protocol = await create_endpoint(Recorder, channel, active=5)

        for value in wrong((-1, -HUGE, True)):
            await assert_refused(value, partial(transport.set_active, value))
            assert transport.active == 5

        transport.abort()
        await until(lambda: protocol.lost)


@pytest.mark.parametrize("fd", [HUGE, 2**31, -HUGE])
def test_no_descriptor_has_such_a_number(fd: int) -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        Channel.from_fd(fd)


@pytest.mark.netns
@pytest.mark.anyio
@pytest.mark.parametrize("ring", [True, False], ids=["ring", "socket"])
async def test_as_many_as_there_can_be_is_as_many_as_there_are(
    veth: tuple[str, str], ring: bool
) -> None:
    with cable(veth, ring=ring) as wire, anyio.fail_after(20):
        wire.send(1)
        assert [number(each) for each in await wire.channel.receive_batch(sys.maxsize)] == [1]
        wire.send(2)
        batch = await anext(wire.channel.batches(sys.maxsize))
        assert [number(each) for each in batch] == [2]


@pytest.mark.asyncio
async def test_a_wakeup_may_read_as_much_as_there_can_be() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with far:
        channel = Channel.from_fd(near, read_packets=sys.maxsize)
        transport, protocol = await create_endpoint(Recorder, channel)
        far.send(b"x")
        await until(lambda: protocol.packets)
        transport.abort()
        await until(lambda: protocol.lost)
