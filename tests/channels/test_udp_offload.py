"""UDP channels with offload=True: several datagrams in one, of which nobody sees anything."""

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import anyio
import pytest

import aioprocket
from aioprocket import (
    Channel,
    ClosedError,
    InetChannel,
    OpenError,
    Packet,
    SpecError,
    create_endpoint,
)
from aioprocket.channels.udp import prepare
from channels.test_storms import PACKETS, Storm
from channels.test_transport import PairLine
from contract import Recorder, TransportContract, until
from lab.udp import UDP_GRO, numbered, receive_in_one, send_in_one, settled

pytestmark = [pytest.mark.netns]

ANY = socket.AF_INET, socket.SOCK_DGRAM


@contextmanager
def offloaded(**options: Any) -> Iterator[tuple[InetChannel, socket.socket]]:
    """A channel, and who is connected to it and it to whom."""
    near = socket.socket(*ANY)
    with settled(socket.socket(*ANY)) as far:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        near.bind(("127.0.0.1", 0))
        far.bind(("127.0.0.1", 0))
        far.connect(near.getsockname())
        near.connect(far.getsockname())
        channel = Channel.from_fd(near, offload=True, **options)
        assert isinstance(channel, InetChannel)
        assert channel.offload
        try:
            yield channel, far
        finally:
            channel.close()


# ---------------------------------------------------------------------- opening


@pytest.mark.anyio
async def test_the_door_opens_such_a_channel() -> None:
    async with aioprocket.open(protocol="udp", ip="127.0.0.1", offload=True) as channel:
        assert isinstance(channel, InetChannel)
        assert channel.offload
        assert channel.get_extra_info("socket").getsockopt(socket.IPPROTO_UDP, UDP_GRO) == 1
    async with aioprocket.open(protocol="udp", ip="127.0.0.1") as channel:
        assert isinstance(channel, InetChannel)
        assert not channel.offload
        assert channel.get_extra_info("socket").getsockopt(socket.IPPROTO_UDP, UDP_GRO) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"protocol": "udp", "type": "raw"},
        {"protocol": "icmp", "type": "dgram"},
        {"family": "unix", "type": "dgram"},
        {"family": "netlink", "protocol": "route"},
        {"family": "packet", "protocol": "ip"},
        {"device": "null"},
        {"protocol": "udp", "offload": 1},
    ],
    ids=str,
)
def test_what_has_no_offload_is_told_so_at_once(arguments: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="offload"):
        aioprocket.open(**({"offload": True} | arguments))


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["tcp", "unix", "device"])
async def test_what_has_no_offload_stays_the_callers(kind: str) -> None:
    ends = socket.socketpair()
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    device = os.open("/dev/null", os.O_RDWR)
    try:
        fds: dict[str, Any] = {"tcp": tcp, "unix": ends[0], "device": device}
        with pytest.raises(SpecError, match="no UDP socket"):
            Channel.from_fd(fds[kind], offload=True)
        assert tcp.fileno() >= 0
        assert ends[0].fileno() >= 0
        os.fstat(device)
    finally:
        os.close(device)
        for sock in (tcp, *ends):
            sock.close()


def test_a_kernel_without_it_is_named_as_what_is_in_the_way() -> None:
    """It says ENOPROTOOPT, as this one does of a socket that is not of UDP."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock,
        pytest.raises(OpenError, match="udp socket at ::1: Protocol not available") as caught,
    ):
        prepare(sock, "udp socket at ::1")

    assert (caught.value.errno, caught.value.step) == (errno.ENOPROTOOPT, "option")
    assert "leave out offload=True" in caught.value.hint


# ---------------------------------------------------------------------- receiving


async def into(channel: Channel) -> bytes:
    buffer = bytearray(100)
    return bytes(buffer[: await channel.recv_into(buffer)])


async def message(channel: Channel) -> bytes:
    data, ancdata, flags, addr = await channel.recvmsg(100, 100)
    assert (ancdata, flags) == ([], 0)
    assert addr == channel.get_extra_info("peername")
    return data


async def addressed(channel: Channel) -> bytes:
    data, addr = await channel.recvfrom()
    assert addr == channel.get_extra_info("peername")
    return data


async def now(channel: Channel) -> Packet:
    return channel.receive_nowait()


async def first(channel: Channel) -> Packet:
    async for packet in channel:
        return packet
    raise AssertionError


WAYS: dict[str, Callable[[Channel], Awaitable[Any]]] = {
    "receive": lambda channel: channel.receive(),
    "recv": lambda channel: channel.recv(),
    "recvfrom": addressed,
    "recv_into": into,
    "recvmsg": message,
    "receive_nowait": now,
    "receive_batch": lambda channel: channel.receive_batch(7),
    "batches": lambda channel: anext(channel.batches(7)),
    "async for": first,
}


def data(got: Any) -> list[bytes]:
    packets = [got] if isinstance(got, bytes | Packet) else list(got)
    return [packet if isinstance(packet, bytes) else packet.data for packet in packets]


@pytest.mark.anyio
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_every_receive_gives_single_datagrams(way: Callable[[Channel], Any]) -> None:
    with offloaded() as (channel, far):
        sent = [*numbered(0, 20, 50), b"shorter", b"", *numbered(21, 30, 60)]
        send_in_one(far, sent[:21])
        far.send(b"")
        send_in_one(far, sent[22:])
        received: list[bytes] = []
        while len(received) < len(sent):
            received += data(await way(channel))
            stats = channel.stats()
            assert stats.rx_packets == len(received) + stats.rx_held

        assert received == sent
        assert (stats.rx_packets, stats.rx_bytes) == (len(sent), sum(map(len, sent)))
        assert (stats.rx_held, stats.rx_truncated) == (0, 0)


@pytest.mark.anyio
async def test_ways_may_alternate() -> None:
    with offloaded() as (channel, far):
        send_in_one(far, numbered(0, 60))
        send_in_one(far, numbered(60, 60))
        received: list[bytes] = []
        while len(received) < 120:
            for way in WAYS.values():
                if len(received) < 120:
                    received += data(await way(channel))

        assert received == numbered(0, 120)


@pytest.mark.anyio
async def test_a_message_that_has_flags_of_its_own_is_refused() -> None:
    with offloaded() as (channel, far):
        send_in_one(far, numbered(0, 3))

        with pytest.raises(SpecError, match="flags 0x2"):
            await channel.recvmsg(100, 0, socket.MSG_PEEK)

        assert await channel.recv() == numbered(0, 1)[0]


@pytest.mark.anyio
async def test_what_does_not_fit_is_cut_from_its_own_datagram() -> None:
    with offloaded() as (channel, far):
        send_in_one(far, numbered(0, 4, 100))
        buffer = bytearray(10)

        assert await channel.recv(10) == numbered(0, 1, 100)[0][:10]
        assert await channel.recv_into(buffer) == 10
        assert buffer == numbered(1, 1, 100)[0][:10]
        assert (await channel.recvmsg(10))[::2] == (numbered(2, 1, 100)[0][:10], socket.MSG_TRUNC)
        assert await channel.recv() == numbered(3, 1, 100)[0]


@pytest.mark.anyio
async def test_what_a_detach_loses_is_still_counted() -> None:
    with offloaded() as (channel, far):
        send_in_one(far, numbered(0, 10))
        await channel.receive()

        os.close(channel.detach())

        assert (channel.stats().rx_packets, channel.stats().rx_held) == (10, 9)


@pytest.mark.anyio
@pytest.mark.parametrize("latency", ["low", "balanced"])
async def test_what_is_read_ahead_stays_in_order(latency: Any) -> None:
    # The last of the messages that one call reads has more in it than the call was to give.
    with offloaded(latency=latency) as (channel, far):
        for first in (*range(12), *range(12, 252, 60)):
            send_in_one(far, numbered(first, 1 if first < 12 else 60))
        with anyio.fail_after(20):
            assert [(await channel.receive()).data for _ in range(252)] == numbered(0, 252)


@pytest.mark.anyio
@pytest.mark.parametrize("hand_over", ["to_socket", "detach"])
async def test_whoever_gets_the_socket_gets_single_datagrams(
    hand_over: str,
) -> None:
    with offloaded() as (channel, far):
        send_in_one(far, numbered(0, 10))
        given = getattr(channel, hand_over)()
        with settled(given if hand_over == "to_socket" else socket.socket(fileno=given)) as sock:
            send_in_one(far, numbered(10, 3))

            assert [sock.recv(100) for _ in range(3)] == numbered(10, 3)
        with pytest.raises(ClosedError):
            channel.to_socket()


@pytest.mark.anyio
async def test_a_filter_is_asked_about_each_datagram() -> None:
    # The byte behind the header of UDP, which the filter of such a socket starts at.
    odd = [(0x30, 0, 0, 8), (0x15, 0, 1, 1), (0x06, 0, 0, 0xFFFF), (0x06, 0, 0, 0)]
    marked = [bytes([number % 2]) + each for number, each in enumerate(numbered(0, 10))]
    with settled(socket.socket(*ANY)) as far:
        async with aioprocket.open(
            protocol="udp", ip="127.0.0.1", offload=True, filter=odd
        ) as channel:
            far.connect(channel.address)
            send_in_one(far, marked)
            assert [await channel.recv() for _ in range(5)] == marked[1::2]

            channel.set_filter(None)
            send_in_one(far, marked)
            assert [await channel.recv() for _ in range(3)] == marked[:3]
            assert channel.stats().rx_held == 7

            channel.set_filter(odd)
            assert (channel.stats().rx_packets, channel.stats().rx_held) == (8, 0)
            send_in_one(far, marked)
            assert [await channel.recv() for _ in range(5)] == marked[1::2]
            assert channel.stats().rx_held == 0


@pytest.mark.anyio
async def test_what_is_dropped_is_counted_as_it_came() -> None:
    with offloaded() as (channel, far):
        sock = channel.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
        for number in range(10):
            send_in_one(far, numbered(30 * number, 30, 1000))
        whole = -(-len(data(channel_rest(channel))) // 30)

        assert channel.stats().rx_packets == 30 * whole
        assert 0 < whole < 10
        assert channel.stats().rx_dropped == 10 - whole


def channel_rest(channel: Channel) -> list[Packet]:
    packets = []
    with suppress(BlockingIOError):
        while True:
            packets.append(channel.receive_nowait())
    return packets


@pytest.mark.anyio
async def test_serve_gets_no_more_than_it_asks_for() -> None:
    with offloaded() as (channel, far):
        send_in_one(far, numbered(0, 20))
        send_in_one(far, numbered(20, 20))
        got: list[bytes] = []
        with anyio.fail_after(20):
            for count in (3, 19, 1, 10):
                await channel.serve(lambda packet: got.append(packet.data), count)

        assert got == numbered(0, 33)
        assert data(await channel.receive_batch(100)) == numbered(33, 7)


# ---------------------------------------------------------------------- protocols


class Whole(Recorder):
    """Takes batches."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def packets_received(self, batch: Any) -> None:
        self.sizes.append(len(batch))
        self.packets += batch


class Bare(asyncio.DatagramProtocol):
    """Takes bytes."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.calls: list[str] = []

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.packets.append(data)

    def passive(self) -> None:
        self.calls.append("passive")


Taking = Whole | Bare | Recorder


@pytest.mark.asyncio
@pytest.mark.parametrize("factory", [Recorder, Whole, Bare])
async def test_a_count_is_exact(factory: Callable[[], Taking]) -> None:
    with offloaded() as (channel, far):
        transport, protocol = await create_endpoint(factory, channel, active=5)
        sent = 0
        # The first turns go another way than those where packets came before.
        for credit in (5, 1, 30, 7, 41, 2):
            if sent:
                transport.set_active(credit)
            send_in_one(far, numbered(sent, 25))
            send_in_one(far, numbered(sent + 25, 25))
            sent += 50
            await until(lambda: protocol.calls.count("passive"))
            protocol.calls.clear()

            assert len(protocol.packets) == credit
            assert data(protocol.packets) == numbered(sent - 50, credit)
            assert transport.active is False
            rest = [await transport.recv() for _ in range(50 - credit)]
            assert rest == numbered(sent - 50 + credit, 50 - credit)
            protocol.packets.clear()
        transport.set_active("once")
        send_in_one(far, numbered(0, 10))
        await until(lambda: protocol.packets)

        assert data(protocol.packets) == numbered(0, 1)
        assert transport.stats().rx_held == 9
        transport.abort()
        await asyncio.sleep(0)


@pytest.mark.asyncio
@pytest.mark.parametrize("factory", [Recorder, Whole, Bare])
async def test_a_protocol_gets_all_in_order(factory: Callable[[], Taking]) -> None:
    with offloaded() as (channel, far):
        transport, protocol = await create_endpoint(factory, channel)
        for number in range(0, 3000, 30):
            send_in_one(far, numbered(number, 29))
            far.send(numbered(number + 29, 1, 30)[0])
            if number % 300 == 0:
                await until(lambda: len(protocol.packets) == number + 30)  # noqa: B023
        await until(lambda: len(protocol.packets) == 3000)

        assert [each[:4] for each in data(protocol.packets)] == [
            each[:4] for each in numbered(0, 3000)
        ]
        if isinstance(protocol, Whole):
            assert max(protocol.sizes) <= 64
        transport.abort()
        await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_who_pauses_in_the_midst_gets_the_others_later() -> None:
    with offloaded() as (channel, far):
        transport, protocol = await create_endpoint(Recorder, channel)

        def pause(packet: Packet) -> None:
            if len(protocol.packets) in (3, 4, 30):
                transport.pause_reading()

        protocol.on_packet = pause
        send_in_one(far, numbered(0, 20))
        send_in_one(far, numbered(20, 20))
        for count in (3, 4, 30):
            await until(lambda: len(protocol.packets) == count)  # noqa: B023
            await asyncio.sleep(0)
            assert len(protocol.packets) == count
            transport.resume_reading()
        await until(lambda: len(protocol.packets) == 40)

        assert data(protocol.packets) == numbered(0, 40)
        transport.abort()
        await until(lambda: protocol.lost)


@pytest.mark.asyncio
async def test_who_closes_in_the_midst_gets_no_more() -> None:
    with offloaded() as (channel, far):
        transport, protocol = await create_endpoint(Recorder, channel)
        protocol.on_packet = lambda packet: transport.close()
        send_in_one(far, numbered(0, 20))
        await until(lambda: protocol.lost)

        assert data(protocol.packets) == numbered(0, 1)
        assert (channel.stats().rx_packets, channel.stats().rx_held) == (20, 19)


@pytest.mark.asyncio
async def test_replies_of_a_turn_go_in_one() -> None:
    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.transport.sendto(data, addr)

    async with aioprocket.open(protocol="udp", ip="127.0.0.1", offload=True) as channel:
        with settled(socket.socket(*ANY)) as far:
            far.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
            far.connect(channel.address)
            transport, _ = await create_endpoint(Echo, channel)
            for number in range(3):
                send_in_one(far, numbered(number * 40, 40, 1000))
                await until(lambda: channel.stats().tx_packets == number * 40 + 40)  # noqa: B023

                assert receive_in_one(far) == (b"".join(numbered(number * 40, 40, 1000)), 1000)
            assert channel.stats().tx_bytes == 120_000
            transport.abort()
            await asyncio.sleep(0)


class TestOffloadedTransport(TransportContract):
    @pytest.fixture
    def line(self) -> Iterator[PairLine]:
        with offloaded() as (channel, far):
            far.settimeout(None)
            yield PairLine(channel, far)


class InOne(Storm):
    """Sends several at once."""

    def send(self) -> None:
        most = min(40 - (self.sent - len(self.received)), PACKETS - self.sent, 9)
        if most < 1:
            return
        count = self.dice.randint(1, most)
        # What `channels.rig.number` reads.
        send_in_one(self.far, [bytes(14) + each for each in numbered(self.sent, count)])
        self.sent += count


@pytest.mark.asyncio
async def test_no_cancelled_receive_loses_a_datagram() -> None:
    with offloaded() as (channel, far):
        weather = InOne(channel, far, seed=int(os.environ.get("AIOPROCKET_SEED", "1")))
        await weather.blow()

        assert weather.received == list(range(weather.sent))
        assert channel.stats().rx_held == 0
        assert channel.stats().rx_dropped == 0
