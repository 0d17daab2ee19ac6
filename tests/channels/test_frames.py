"""``latency="low"``: a ring of frames, in which each packet is seen at once."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import closing, suppress

import anyio
import pytest

from aioprocket import Packet, PacketChannel, SpecError, create_endpoint
from aioprocket._system.ring import frame_geometry
from channels.rig import Cable, CableLine, cable, frame, number, open_packet
from contract import Line, Recorder, TransportContract, until
from lab.forks import in_child
from sandbox import links

pytestmark = pytest.mark.netns

HEADER = frame(0)[:14]
LARGE = 60_000  # the largest MTU of a veth pair is 65,535


class TestFrameTransport(TransportContract):
    @pytest.fixture
    def line(self, veth: tuple[str, str]) -> Iterator[Line]:
        with cable(veth, ring=True, latency="low") as wire:
            yield CableLine(wire)


@pytest.fixture
def wire(veth: tuple[str, str]) -> Iterator[Cable]:
    with cable(veth, ring=True, latency="low") as wire:
        yield wire


@pytest.mark.anyio
async def test_every_way_to_receive_works_and_counts_once(wire: Cable) -> None:
    channel = wire.channel
    wire.send(*range(9))
    buffer = bytearray(100)

    assert number(channel.receive_nowait()) == 0
    assert await channel.recv() == frame(1)
    assert (await channel.recvfrom())[1][0] == wire.ifname
    assert await channel.recv_into(buffer) == 64
    assert buffer[:64] == frame(3)
    assert (await channel.recvmsg(2000))[0] == frame(4)
    assert [number(packet) for packet in await channel.receive_batch(2)] == [5, 6]
    assert number(await channel.receive()) == 7
    async for batch in channel.batches():
        assert [number(packet) for packet in batch] == [8]
        break
    stats = channel.stats()
    assert (stats.rx_packets, stats.rx_bytes, stats.rx_truncated) == (9, 9 * 64, 0)


@pytest.mark.anyio
async def test_recv_into_a_ring_of_blocks_counts_once_as_well(veth: tuple[str, str]) -> None:
    with cable(veth, ring=True) as wire, anyio.fail_after(20):
        wire.send(0)

        await wire.channel.recv_into(bytearray(100))

        assert wire.channel.stats().rx_packets == 1


@pytest.mark.anyio
async def test_packets_say_what_those_of_a_queue_say(veth: tuple[str, str]) -> None:
    with (
        cable(veth, ring=True, latency="low") as wire,
        closing(open_packet(wire.ifname, ring=False)) as queue,
        anyio.fail_after(20),
    ):
        wire.send(1)

        seen, expected = await wire.channel.receive(), await queue.receive()

        assert tuple(seen) == tuple(expected)
        assert seen.timestamp_ns > 0


def _raise_mtu(veth: tuple[str, str]) -> None:
    for ifname in veth:
        links.set_mtu(ifname, LARGE)


def _large(fill: int) -> bytes:
    return HEADER + bytes([fill]) * (LARGE - 100)


@pytest.mark.anyio
async def test_a_packet_that_no_frame_has_room_for_is_whole(veth: tuple[str, str]) -> None:
    _raise_mtu(veth)
    with cable(veth, ring=True, latency="low") as wire, anyio.fail_after(20):
        wire.send(1)
        wire.far.send(_large(7))
        wire.send(2)

        packets = [await wire.channel.receive() for _ in range(3)]

        assert [len(packet) for packet in packets] == [64, len(_large(7)), 64]
        assert packets[1].data == _large(7)
        assert not packets[1].truncated
        assert packets[1].timestamp_ns >= packets[0].timestamp_ns > 0


@pytest.mark.asyncio
async def test_a_protocol_gets_large_packets_between_small_ones(veth: tuple[str, str]) -> None:
    _raise_mtu(veth)
    with cable(veth, ring=True, latency="low") as wire, anyio.fail_after(20):
        transport, recorder = await create_endpoint(Recorder, wire.channel)
        for fill in range(4):
            wire.send(fill)
            wire.far.send(_large(fill))
            await until(lambda: len(recorder.packets) == 2 * fill + 2)  # noqa: B023
        assert [packet.data for packet in recorder.packets] == [
            data for fill in range(4) for data in (frame(fill), _large(fill))
        ]
        transport.close()


@pytest.mark.anyio
async def test_large_packets_without_room_are_cut_and_say_so(veth: tuple[str, str]) -> None:
    _raise_mtu(veth)
    with cable(veth, ring=True, latency="low") as wire, anyio.fail_after(20):
        sock = wire.channel._port.sock
        assert sock is not None
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)  # the least: room for one
        for fill in range(5):
            wire.far.send(_large(fill))

        packets = [await wire.channel.receive() for _ in range(5)]

        assert {packet.wire_len for packet in packets} == {len(_large(0))}
        for fill, packet in enumerate(packets):
            assert packet.data == _large(fill)[: len(packet)]
            assert packet.truncated == (len(packet) < packet.wire_len)
        assert packets[-1].truncated
        assert wire.channel.stats().rx_truncated == sum(packet.truncated for packet in packets)
        wire.far.send(_large(9))
        assert (await wire.channel.receive()).data[:1000] == _large(9)[:1000]


@pytest.mark.anyio
async def test_snaplen_makes_frames_small_and_many(veth: tuple[str, str]) -> None:
    with cable(veth, ring=True, latency="low", snaplen=40) as wire, anyio.fail_after(20):
        wire.send(1)

        packet = await wire.channel.receive()

        assert packet.data == frame(1)[:40]
        assert (packet.wire_len, packet.truncated) == (64, True)


@pytest.mark.anyio
async def test_received_and_dropped_are_what_was_sent(veth: tuple[str, str]) -> None:
    size = 64 << 10
    with cable(veth, ring=True, latency="low", receive_buffer=size) as wire, anyio.fail_after(20):
        assert isinstance(wire.channel, PacketChannel)
        assert wire.channel.ring_size == size
        wire.send(*range(200))

        assert wire.channel.stats().rx_queued == size
        received = []
        with suppress(BlockingIOError):
            while True:
                received.append(number(wire.channel.receive_nowait()))
        stats = wire.channel.stats()

        assert received == list(range(size // 2048))
        assert (stats.rx_packets, stats.rx_dropped) == (len(received), 200 - len(received))
        assert stats.rx_queued == 0
        wire.send(7)
        assert number(await wire.channel.receive()) == 7


@pytest.mark.anyio
async def test_nothing_from_before_a_filter_is_received_after_it(wire: Cable) -> None:
    wire.send(1, 2, 3)

    wire.channel.set_filter([(0x06, 0, 0, 0xFFFF)])
    wire.send(4)

    assert number(await wire.channel.receive()) == 4


@pytest.mark.asyncio
async def test_a_link_that_goes_down_is_told_of_once_and_frames_flow_again(wire: Cable) -> None:
    transport, recorder = await create_endpoint(Recorder, wire.channel)

    def arrived() -> bool:
        with suppress(OSError):
            wire.send(5)
        return bool(recorder.packets)

    with anyio.fail_after(20):
        links.set_down(wire.ifname)
        await until(lambda: transport.stats().link_down)
        wakeups = transport.stats().wakeups
        links.set_up(wire.ifname)
        await until(arrived)
    assert transport.stats().link_down == 1
    assert wakeups <= 3
    transport.close()


@pytest.mark.anyio
async def test_a_fork_leaves_the_ring_to_its_parent(wire: Cable) -> None:
    def child() -> None:
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
            wire.channel.receive_nowait()
        wire.channel.close()

    wire.send(1)

    in_child(child)

    assert number(await wire.channel.receive()) == 1


@pytest.mark.anyio
async def test_a_descriptor_that_is_given_away_has_no_ring(wire: Cable) -> None:
    wire.send(1)
    with socket.socket(fileno=wire.channel.detach()) as sock:
        wire.far.send(frame(2))

        assert number(sock.recv(2000)) == 2


@pytest.mark.anyio
async def test_packets_outlive_the_channel(wire: Cable) -> None:
    wire.send(1)
    packet: Packet = await wire.channel.receive()

    wire.channel.close()

    assert number(packet) == 1


def test_frames_are_as_large_as_what_is_kept() -> None:
    assert frame_geometry(65535, None).frame_size == 2048
    assert frame_geometry(65535, None).size == 2 << 20
    assert frame_geometry(96, 1 << 20).frame_size == 256
    assert frame_geometry(300, 1).frames == 64


def test_no_ring_and_a_latency_that_needs_one_is_an_error() -> None:
    with pytest.raises(SpecError, match="throughput"):
        open_packet("lo", ring=False, latency="throughput")
