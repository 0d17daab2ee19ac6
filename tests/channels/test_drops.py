"""What the kernel has no room for is counted to the last packet, on every kind of channel."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import anyio
import pytest

from aioprocket import Channel, RawProtocol, Stats, create_endpoint
from channels.rig import cable, frame, tap
from contract import until

pytestmark = pytest.mark.netns

# Sends as many packets; they have arrived, or were dropped, when it returns.
Flood = Callable[[int], None]
SMALL = 1  # bytes: the kernel makes the least of it that it knows


def shrink(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)


@contextmanager
def packet_ring(veth: tuple[str, str]) -> Iterator[tuple[Channel, Flood]]:
    with cable(veth, ring=True, receive_buffer=1 << 15, snaplen=2000) as wire:
        yield wire.channel, lambda count: wire.send(*range(count))


@contextmanager
def packet_queue(veth: tuple[str, str]) -> Iterator[tuple[Channel, Flood]]:
    with cable(veth, ring=False) as wire:
        shrink(wire.channel._port.sock)  # type: ignore[arg-type]
        yield wire.channel, lambda count: wire.send(*range(count))


@contextmanager
def inet(near: socket.socket, far: socket.socket) -> Iterator[tuple[Channel, Flood]]:
    shrink(near)
    address = near.getsockname()

    def flood(count: int) -> None:
        for each in range(count):
            far.sendto(each.to_bytes(4, "big"), address)

    with far:
        channel = Channel.from_fd(near)
        try:
            yield channel, flood
        finally:
            channel.close()


@contextmanager
def udp(veth: tuple[str, str]) -> Iterator[tuple[Channel, Flood]]:
    near, far = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    near.bind(("127.0.0.1", 0))
    with inet(near, far) as opened:
        yield opened


@contextmanager
def raw(veth: tuple[str, str]) -> Iterator[tuple[Channel, Flood]]:
    near, far = (socket.socket(socket.AF_INET, socket.SOCK_RAW, 253) for _ in range(2))
    near.bind(("127.0.0.1", 0))
    with inet(near, far) as opened:
        yield opened


@contextmanager
def device(veth: tuple[str, str]) -> Iterator[tuple[Channel, Flood]]:
    with tap() as wire:
        yield wire.channel, lambda count: wire.send(*range(count))


KINDS: list[Callable[[tuple[str, str]], Any]] = [packet_ring, packet_queue, udp, raw, device]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def balanced(stats: Stats, sent: int) -> bool:
    return stats.rx_packets + stats.rx_dropped == sent


@every_kind
@pytest.mark.anyio
async def test_received_and_dropped_are_what_was_sent(
    veth: tuple[str, str], kind: Callable[[tuple[str, str]], Any]
) -> None:
    with kind(veth) as (channel, flood), anyio.fail_after(40):
        last = channel.stats()
        for turn in range(1, 5):
            flood(1500)
            while not balanced(now := channel.stats(), turn * 1500):
                await channel.receive()

            assert now.rx_dropped > last.rx_dropped
            assert now.rx_packets > last.rx_packets
            assert channel.stats() == now
            last = now

    assert balanced(channel.stats(), 6000)  # also after the end


@every_kind
@pytest.mark.anyio
async def test_the_first_drop_is_told_once_to_who_awaits(
    veth: tuple[str, str], kind: Callable[[tuple[str, str]], Any]
) -> None:
    told: list[int] = []
    with kind(veth) as (channel, flood), anyio.fail_after(40):
        channel.on_drop = told.append
        flood(1)
        await channel.receive()
        assert told == []
        flood(1500)
        while not balanced(channel.stats(), 1501):
            await channel.receive()
        with anyio.move_on_after(0.01):
            await channel.receive()

        assert told == [channel.stats().rx_dropped]
        assert channel.on_drop is None
        channel.on_drop = told.append
        with anyio.move_on_after(0.01):
            await channel.receive()
        assert len(told) == 1
        flood(1500)
        while not balanced(channel.stats(), 3001):
            await channel.receive()
        with anyio.move_on_after(0.01):
            await channel.receive()

        assert told[1:] == [channel.stats().rx_dropped]


class Counting(RawProtocol):
    def __init__(self) -> None:
        self.packets = 0

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.packets += 1


@every_kind
@pytest.mark.asyncio
async def test_the_first_drop_is_told_with_a_transport(
    veth: tuple[str, str], kind: Callable[[tuple[str, str]], Any]
) -> None:
    told: list[int] = []
    with kind(veth) as (channel, flood):
        transport, protocol = await create_endpoint(Counting, channel)
        channel.on_drop = told.append
        flood(1500)
        await until(lambda: told)

        await until(lambda: balanced(transport.stats(), 1500))
        assert told == [transport.stats().rx_dropped]
        assert protocol.packets == transport.stats().rx_packets
        transport.abort()
        await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_what_on_drop_raises_is_reported_and_the_transport_goes_on(
    veth: tuple[str, str],
) -> None:
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, report: reports.append(report))
    with packet_queue(veth) as (channel, flood):
        transport, protocol = await create_endpoint(Counting, channel)

        def fail(dropped: int) -> None:
            raise ValueError("no matter")

        channel.on_drop = fail
        flood(1000)
        await until(lambda: reports)
        before = protocol.packets
        flood(1)
        await until(lambda: protocol.packets > before)

        assert "on_drop" in reports[0]["message"]
        transport.abort()
        await asyncio.sleep(0)


@pytest.mark.anyio
async def test_what_on_drop_raises_the_receive_raises_and_no_packet_is_lost(
    veth: tuple[str, str],
) -> None:
    with packet_queue(veth) as (channel, flood), anyio.fail_after(20):

        def fail(dropped: int) -> None:
            raise ValueError("no matter")

        channel.on_drop = fail
        flood(1000)
        with pytest.raises(ValueError, match="no matter"):
            async for _ in channel:
                pass

        assert balanced(channel.stats(), 1000)


@pytest.mark.anyio
async def test_who_polls_or_serves_is_told_as_well(veth: tuple[str, str]) -> None:
    told: list[int] = []
    with packet_queue(veth) as (channel, flood), anyio.fail_after(20):
        channel.on_drop = told.append
        flood(1000)
        with suppress(BlockingIOError):
            while True:
                channel.receive_nowait()
        assert told == [channel.stats().rx_dropped]

        flood(1000)
        with anyio.CancelScope() as serving:

            def tell(dropped: int) -> None:
                told.append(dropped)
                serving.cancel()

            channel.on_drop = tell
            await channel.serve(lambda packet: None)

    assert told[1] > told[0]


@pytest.mark.anyio
async def test_an_adopted_socket_counts_from_its_adoption_on(veth: tuple[str, str]) -> None:
    with packet_queue(veth) as (first, flood):
        flood(1000)
        assert first.stats().rx_dropped > 0
        second = Channel.from_fd(first.detach())
        try:
            assert second.stats().rx_dropped == 0
        finally:
            second.close()
    with udp(veth) as (first, flood):
        flood(1000)
        dropped = first.stats().rx_dropped
        second = Channel.from_fd(first.detach())
        try:
            assert second.stats().rx_dropped == 0
            flood(1000)
            assert second.stats().rx_dropped == 1000 > dropped > 0
        finally:
            second.close()


@pytest.mark.anyio
async def test_a_frame_that_a_buffer_has_no_room_for_counts_as_truncated() -> None:
    with tap() as wire, anyio.fail_after(20):
        wire.send(1, 2, 3)
        buffer = bytearray(64)

        assert await wire.channel.recv_into(memoryview(buffer)[:20]) == 20
        assert buffer[:20] == frame(1)[:20]
        assert wire.channel.stats().rx_truncated == 1
        assert await wire.channel.recv_into(buffer) == 64
        assert buffer == frame(2)
        assert (await wire.channel.receive()).data == frame(3)
        stats = wire.channel.stats()

    assert (stats.rx_packets, stats.rx_bytes, stats.rx_truncated) == (3, 20 + 64 + 64, 1)
