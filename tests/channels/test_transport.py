import asyncio
import contextlib
import errno
import gc
import os
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from aioprocket import (
    Batch,
    BusyError,
    Channel,
    InetChannel,
    Packet,
    RawProtocol,
    RawTransport,
    SpecError,
    TunChannel,
    create_endpoint,
)
from aioprocket._system.descriptor import Descriptor
from aioprocket.channels.offload import OffloadPort
from aioprocket.channels.port import SocketPort
from aioprocket.errors import ChannelError
from channels.rig import Cable, cable, frame, number, pair, tap
from contract import Recorder, TransportContract, until

pytestmark = [pytest.mark.netns]


def drained(sock: socket.socket) -> int:
    count = 0
    try:
        while sock.recv(70_000, socket.MSG_DONTWAIT):
            count += 1
    except BlockingIOError:
        pass
    return count


class PairLine:
    """A UNIX socket pair."""

    def __init__(self, channel: Channel, far: socket.socket) -> None:
        self.channel = channel
        self.far = far

    def feed(self, number: int) -> None:
        self.far.send(number.to_bytes(4, "big"))

    def number(self, packet: Packet) -> int:
        return int.from_bytes(packet.data, "big")

    def outgoing(self) -> bytes:
        return b"out"

    def arrived(self) -> int:
        return drained(self.far)


class CableLine:
    """Frames on a veth pair or a tap device."""

    def __init__(self, wire: Cable) -> None:
        self.channel = wire.channel
        self.wire = wire

    def feed(self, number: int) -> None:
        self.wire.send(number)

    def number(self, packet: Packet) -> int:
        return number(packet)

    def outgoing(self) -> bytes:
        return frame(99)

    def arrived(self) -> int:
        return drained(self.wire.far)


class Typed(RawProtocol):
    """Overrides with the types that are passed: a type checker accepts each of them."""

    def connection_made(self, transport: RawTransport) -> None:
        self.errors: list[OSError] = []
        self.lost: list[Exception | None] = []

    def packet_received(self, packet: Packet) -> None: ...

    def error_received(self, exc: OSError) -> None:
        self.errors.append(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


class Faulty(SocketPort):
    """A socket whose reads have a fault in them, and whose send buffer is full at first."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.dispatch = self._dispatch
        self.send = self._send

    def _dispatch(self, *arguments: object) -> None:
        raise ZeroDivisionError(arguments)

    def _send(self, data: Any) -> int:
        raise BlockingIOError

    def send_batch(
        self, items: tuple[Any, ...] | Batch, start: int, addressed: bool
    ) -> tuple[int, int]:
        raise ZeroDivisionError


class TestUnixDatagrams(TransportContract):
    @pytest.fixture
    def line(self) -> Iterator[PairLine]:
        with pair() as (channel, far):
            yield PairLine(channel, far)


class TestUnixSequencedPackets(TransportContract):
    @pytest.fixture
    def line(self) -> Iterator[PairLine]:
        with pair(socket.SOCK_SEQPACKET) as (channel, far):
            yield PairLine(channel, far)


class TestUdp(TransportContract):
    @pytest.fixture
    def line(self) -> Iterator[PairLine]:
        near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
            near.bind(("127.0.0.1", 0))
            far.bind(("127.0.0.1", 0))
            far.connect(near.getsockname())
            near.connect(far.getsockname())
            channel = Channel.from_fd(near)
            yield PairLine(channel, far)
            channel.close()


class TestPacketSockets(TransportContract):
    @pytest.fixture
    def line(self, veth: tuple[str, str]) -> Iterator[CableLine]:
        with cable(veth) as wire:
            yield CableLine(wire)


class TestTap(TransportContract):
    @pytest.fixture
    def line(self) -> Iterator[CableLine]:
        with tap() as wire:
            yield CableLine(wire)


class Plain(asyncio.DatagramProtocol):
    """Written for asyncio alone."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, Any]] = []
        self.lost = False

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.got.append((data, addr))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


class Batches(RawProtocol):
    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.seconds = 0.0

    def packets_received(self, batch: Batch) -> None:
        self.batches.append([number(packet) for packet in batch])
        time.sleep(self.seconds)

    def packet_received(self, packet: Packet) -> None:
        raise AssertionError("the batch method is overridden, too")


async def ended(transport: RawTransport) -> None:
    transport.abort()
    await until(lambda: transport.channel.fileno() < 0)


@pytest.mark.asyncio
async def test_a_protocol_written_for_asyncio_works_unchanged() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        near.bind(("127.0.0.1", 0))
        far.bind(("127.0.0.1", 0))
        transport, protocol = await create_endpoint(Plain, Channel.from_fd(near))
        far.sendto(b"question", transport.get_extra_info("sockname"))
        await until(lambda: protocol.got)

        transport.sendto(b"answer", protocol.got[0][1])
        answer = far.recvfrom(100)
        transport.close()
        await until(lambda: protocol.lost)

        assert protocol.got == [(b"question", far.getsockname())]
        assert answer[0] == b"answer"


@pytest.mark.asyncio
async def test_the_batch_method_comes_first_and_gets_whole_batches(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        wire.send(*range(100))

        transport, protocol = await create_endpoint(Batches, wire.channel)
        await until(lambda: sum(map(len, protocol.batches)) == 100)
        await ended(transport)

        assert len(protocol.batches[0]) == 64
        assert [each for batch in protocol.batches for each in batch] == list(range(100))


@pytest.mark.asyncio
async def test_the_packet_method_comes_before_the_datagram_method(veth: tuple[str, str]) -> None:
    class Both(Plain):
        packets: list[Packet]

        def packet_received(self, packet: Packet) -> None:
            self.packets.append(packet)

    Both.packets = []
    with cable(veth) as wire:
        wire.send(1)

        transport, protocol = await create_endpoint(Both, wire.channel)
        await until(lambda: protocol.packets)
        await ended(transport)

        assert protocol.got == []


@pytest.mark.asyncio
async def test_what_receives_no_packets_is_no_protocol() -> None:
    with pair() as (channel, far):
        with pytest.raises(TypeError, match="no method that receives"):
            await create_endpoint(object, channel)

        far.send(b"x")
        assert await channel.recv() == b"x"


@pytest.mark.asyncio
async def test_another_protocol_can_take_over(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        transport, first = await create_endpoint(Recorder, wire.channel)
        second = Batches()

        transport.set_protocol(second)
        wire.send(1)
        await until(lambda: second.batches)
        await ended(transport)

        assert transport.get_protocol() is second
        assert not first.packets


@pytest.mark.asyncio
async def test_no_wakeup_reads_more_than_read_packets(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        wire.send(*range(250))
        turns = 0
        seen: list[int] = []
        transport, protocol = await create_endpoint(Recorder, wire.channel, active=False)
        protocol.on_packet = lambda packet: seen.append(turns)

        transport.set_active(True)
        while len(seen) < 250:
            turns += 1
            await asyncio.sleep(0)
        await ended(transport)

        assert max(seen.count(turn) for turn in set(seen)) <= 64


@pytest.mark.asyncio
async def test_what_time_cut_short_and_new_packets_share_a_turn(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        wire.send(*range(250))
        turns = 0
        seen: list[int] = []
        transport, protocol = await create_endpoint(Recorder, wire.channel, active=False)

        def slow_once(packet: Packet) -> None:
            seen.append(turns)
            if len(seen) == 26:
                time.sleep(0.005)  # longer than a turn has

        protocol.on_packet = slow_once
        transport.set_active(True)
        while len(seen) < 250:
            turns += 1
            await asyncio.sleep(0)
        await ended(transport)

        assert max(seen.count(turn) for turn in set(seen)) <= 64


@pytest.mark.asyncio
async def test_a_backlog_and_new_packets_share_the_packets_of_a_turn(
    veth: tuple[str, str],
) -> None:
    with cable(veth) as wire:
        wire.send(*range(250))
        turns = 0
        seen: list[int] = []
        transport, protocol = await create_endpoint(Recorder, wire.channel, active=False)

        def broken_off(packet: Packet) -> None:
            seen.append(turns)
            if len(seen) % 50 == 0:
                transport.pause_reading()
                transport.resume_reading()

        protocol.on_packet = broken_off
        transport.set_active(True)
        while len(seen) < 250:
            turns += 1
            await asyncio.sleep(0)
        await ended(transport)

        assert [number(packet) for packet in protocol.packets] == list(range(250))
        assert max(seen.count(turn) for turn in set(seen)) <= 64


@pytest.mark.asyncio
async def test_a_receive_within_a_delivery_gets_the_next_packet(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        wire.send(*range(6))
        transport, protocol = await create_endpoint(Recorder, wire.channel, active=False)
        received: list[int] = []

        def take_the_next(packet: Packet) -> None:
            if number(packet) == 1:
                transport.set_active(False)
                received.append(number(transport.receive_nowait()))
                transport.set_active(True)

        protocol.on_packet = take_the_next
        transport.set_active(True)
        await until(lambda: len(protocol.packets) == 5)
        await ended(transport)

        assert received == [2]
        assert [number(packet) for packet in protocol.packets] == [0, 1, 3, 4, 5]


@pytest.mark.asyncio
async def test_a_slow_callback_hands_the_turn_over_and_loses_nothing(
    veth: tuple[str, str],
) -> None:
    with cable(veth) as wire:
        wire.send(*range(20))
        turns = 0
        seen: list[int] = []
        transport, protocol = await create_endpoint(Recorder, wire.channel, active=False)

        def slow(packet: Packet) -> None:
            seen.append(turns)
            time.sleep(0.0015)

        protocol.on_packet = slow
        transport.set_active(True)
        while len(seen) < 20:
            turns += 1
            await asyncio.sleep(0)
        await ended(transport)

        assert [number(packet) for packet in protocol.packets] == list(range(20))
        assert max(seen.count(turn) for turn in set(seen)) <= 3


@pytest.mark.asyncio
async def test_a_slow_batch_callback_gets_smaller_batches(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        wire.send(*range(200))
        transport, protocol = await create_endpoint(Batches, wire.channel, active=False)
        protocol.seconds = 0.003

        transport.set_active(True)
        await until(lambda: sum(map(len, protocol.batches)) >= 126)
        await ended(transport)

        assert [len(batch) for batch in protocol.batches[:4]] == [64, 32, 16, 8]


@pytest.mark.asyncio
async def test_packets_that_find_no_room_wait_in_order_and_the_protocol_is_paused() -> None:
    with pair(socket.SOCK_SEQPACKET) as (channel, far):
        transport, protocol = await create_endpoint(Recorder, channel)
        transport.set_write_buffer_limits(high=4000)
        sent = 0
        while "pause_writing" not in protocol.calls:
            transport.sendto(sent.to_bytes(4, "big") + bytes(996))
            sent += 1
        waiting = transport.get_write_buffer_size()

        got: list[int] = []
        while len(got) < sent:
            await asyncio.sleep(0)
            with contextlib.suppress(BlockingIOError):
                got.append(int.from_bytes(far.recv(2000, socket.MSG_DONTWAIT)[:4], "big"))

        assert got == list(range(sent))
        assert protocol.calls == ["connection_made", "pause_writing", "resume_writing"]
        assert waiting == 4 * 1008
        assert transport.get_write_buffer_size() == 0
        assert transport.stats().tx_refused >= 1
        await ended(transport)


@pytest.mark.asyncio
async def test_close_sends_what_waits_and_abort_does_not() -> None:
    for end, everything in (("close", True), ("abort", False)):
        with pair(socket.SOCK_SEQPACKET) as (channel, far):
            transport, protocol = await create_endpoint(Recorder, channel)
            sent = 0
            while transport.get_write_buffer_size() < 5000:
                transport.sendto(bytes(1000))
                sent += 1

            getattr(transport, end)()
            arrived = 0
            while not protocol.lost:
                arrived += drained(far)
                await asyncio.sleep(0)
            arrived += drained_to_the_end(far)

            assert (arrived == sent) is everything
            assert protocol.lost == [None]


def drained_to_the_end(sock: socket.socket) -> int:
    count = 0
    while sock.recv(70_000):
        count += 1
    return count


@pytest.mark.asyncio
async def test_write_limits_follow_asyncio() -> None:
    with pair() as (channel, _):
        transport, _ = await create_endpoint(Recorder, channel)
        assert transport.get_write_buffer_limits() == (16384, 65536)

        transport.set_write_buffer_limits(low=100)
        assert transport.get_write_buffer_limits() == (100, 400)
        transport.set_write_buffer_limits(high=0)
        assert transport.get_write_buffer_limits() == (0, 0)
        with pytest.raises(ValueError, match="low"):
            transport.set_write_buffer_limits(high=1, low=2)

        await ended(transport)


@pytest.mark.asyncio
async def test_a_packet_that_cannot_be_sent_is_an_error_and_the_next_is_sent(
    veth: tuple[str, str],
) -> None:
    with cable(veth) as wire:
        transport, protocol = await create_endpoint(Recorder, wire.channel)

        transport.sendto(bytes(5000))
        transport.sendto(frame(1))
        await until(lambda: drained(wire.far))

        (error,) = protocol.errors
        assert isinstance(error, ChannelError)
        assert error.hint == "the MTU of v1 is 1500"
        assert not transport.is_closing()
        await ended(transport)


@pytest.mark.asyncio
async def test_the_end_of_a_connection_is_the_end_of_the_transport() -> None:
    with pair(socket.SOCK_SEQPACKET) as (channel, far):
        transport, protocol = await create_endpoint(Recorder, channel)
        far.send(b"last")
        far.close()

        await until(lambda: protocol.lost)

        assert [packet.data for packet in protocol.packets] == [b"last"]
        assert protocol.lost == [None]
        assert transport.is_closing()


@pytest.mark.asyncio
async def test_a_read_that_fails_ends_the_transport_with_its_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    channel = Channel.from_fd(writing)
    transport, protocol = await create_endpoint(Recorder, channel)

    await until(lambda: protocol.lost)

    assert isinstance(protocol.lost[0], OSError)
    assert transport.is_closing()


@pytest.mark.asyncio
@pytest.mark.parametrize("doing", ["read", "write"])
async def test_an_unexpected_exception_ends_the_transport_once(doing: str) -> None:
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, report: reports.append(report))
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with far:
        transport, protocol = await create_endpoint(
            Typed, Channel(Faulty(near)), active=doing == "read"
        )
        if doing == "read":
            far.send(b"x")
        else:
            transport.sendto(b"x")
        await until(lambda: protocol.lost)

        assert [type(error) for error in protocol.lost] == [ZeroDivisionError]
        assert [type(report["exception"]) for report in reports] == [ZeroDivisionError]
        assert doing in reports[0]["message"]
        assert transport.channel.fileno() == -1


@pytest.mark.asyncio
async def test_a_packet_that_had_to_wait_goes_to_the_address_that_it_carries() -> None:
    class FullAtFirst(SocketPort):
        def sendto(self, data: Any, address: Any) -> int:
            raise BlockingIOError(errno.EAGAIN, "no room")

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.bind(("127.0.0.1", 0))
        far.settimeout(5)
        channel = InetChannel(FullAtFirst(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
        transport, protocol = await create_endpoint(Typed, channel, active=False)

        transport.sendto(Packet(b"reply", far.getsockname()))
        transport.sendto(b"behind", far.getsockname())
        await until(lambda: not transport.get_write_buffer_size())

        assert [far.recv(100), far.recv(100)] == [b"reply", b"behind"]
        assert transport.stats().tx_refused == 1
        transport.abort()
        await until(lambda: protocol.lost)


@pytest.mark.asyncio
async def test_a_host_name_is_refused_where_it_is_given_also_behind_a_full_buffer() -> None:
    class Full(SocketPort):
        def sendto(self, data: Any, address: Any) -> int:
            self.check(address)
            raise BlockingIOError

    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    transport, protocol = await create_endpoint(Typed, Channel(Full(sock)), active=False)
    for _ in range(2):
        with pytest.raises(SpecError, match="not looked up"):
            transport.sendto(b"x", ("localhost", 9))
        transport.sendto(b"x", ("127.0.0.1", 9))

    assert transport.get_write_buffer_size() == 2 * 9
    transport.abort()
    await until(lambda: protocol.lost)
    assert not protocol.errors


@pytest.mark.asyncio
async def test_a_channel_has_one_transport() -> None:
    with pair() as (channel, _):
        transport, _ = await create_endpoint(Recorder, channel)

        with pytest.raises(BusyError):
            await create_endpoint(Recorder, channel)

        await ended(transport)


@pytest.mark.asyncio
async def test_a_channel_whose_receive_waits_stays_its_owners() -> None:
    with pair() as (channel, far):
        waiting = asyncio.ensure_future(channel.receive())
        await asyncio.sleep(0.001)

        with pytest.raises(BusyError):
            await create_endpoint(Recorder, channel)

        far.send(b"still there")
        assert (await waiting).data == b"still there"


@pytest.mark.asyncio
async def test_a_stream_gets_no_transport() -> None:
    with pair(socket.SOCK_STREAM) as (channel, _), pytest.raises(SpecError, match="stream"):
        await create_endpoint(Recorder, channel)


@pytest.mark.asyncio
async def test_an_unclosed_transport_warns_and_closes_its_descriptor() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with far:
        transport, _ = await create_endpoint(Recorder, Channel.from_fd(near), active=False)
        fd = transport.channel.fileno()

        del transport, _
        # The socket in it warns as well, if the collector comes to it first.
        with pytest.warns(ResourceWarning) as warned:
            gc.collect()

        assert sum("unclosed <RawTransport" in str(each.message) for each in warned) == 1
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_trio_is_told_of_serve() -> None:
    with pair() as (channel, _), pytest.raises(RuntimeError, match=r"channel\.serve"):
        trio.run(create_endpoint, Recorder, channel)


@pytest.mark.asyncio
async def test_set_filter_in_a_callback_takes_the_rest_of_the_batch_with_it(
    veth: tuple[str, str],
) -> None:
    with cable(veth) as wire:
        transport, protocol = await create_endpoint(Recorder, wire.channel, active=False)
        protocol.on_packet = lambda packet: wire.channel.set_filter([(6, 0, 0, 0xFFFF)])
        wire.send(*range(10))

        transport.set_active(True)
        await until(lambda: protocol.packets)
        protocol.on_packet = lambda packet: None
        wire.send(10)
        await until(lambda: len(protocol.packets) == 2)
        await ended(transport)

        assert [number(packet) for packet in protocol.packets] == [0, 10]


@pytest.mark.asyncio
async def test_a_large_packet_that_waits_for_room_keeps_its_header() -> None:
    # In place of a device, which hardly ever has no room: a pipe that keeps packets apart.
    reader, writer = os.pipe2(os.O_DIRECT | os.O_NONBLOCK | os.O_CLOEXEC)
    header = struct.pack("=BBHHHH", 1, 5, 28, 100, 20, 6)  # struct virtio_net_hdr
    large = Packet(bytes(300), ancdata=[(263, 15, header)])  # SOL_PACKET, PACKET_VNET_HDR
    channel = TunChannel(OffloadPort(Descriptor(writer), header=10), name="tun0", mode="tun")
    transport, _ = await create_endpoint(RawProtocol, channel, active=False)
    try:
        sent = 0
        while sent < 1000 and not transport.get_write_buffer_size():
            transport.sendto(large)
            sent += 1
        assert transport.get_write_buffer_size()
        found: list[bytes] = []
        while len(found) < sent:
            with contextlib.suppress(BlockingIOError):
                found.append(os.read(reader, 4096))
            await asyncio.sleep(0)
    finally:
        transport.abort()
        os.close(reader)

    assert found == [header + large.data] * sent
