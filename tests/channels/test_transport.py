import asyncio
import gc
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from aioprocket import (
    Batch,
    BusyError,
    Channel,
    Packet,
    SpecError,
    create_endpoint,
)
from aioprocket.channels.port import SocketPort
from channels.protocols import Batches, Typed, ended
from channels.rig import CableLine, cable, drained, number, pair, tap
from contract import Recorder, TransportContract, until

pytestmark = [pytest.mark.netns]


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
