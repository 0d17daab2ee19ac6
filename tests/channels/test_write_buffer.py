"""What a transport keeps that finds no room, and what becomes of it."""

import asyncio
import contextlib
import errno
import os
import socket
import struct
from typing import Any

import pytest

from aioprocket import (
    Channel,
    InetChannel,
    Packet,
    RawProtocol,
    SpecError,
    TunChannel,
    create_endpoint,
)
from aioprocket._system.descriptor import Descriptor
from aioprocket.channels.offload import OffloadPort
from aioprocket.channels.port import SocketPort
from aioprocket.errors import ChannelError
from channels.protocols import Typed, ended
from channels.rig import cable, drained, frame, pair
from contract import Recorder, until

pytestmark = [pytest.mark.netns]


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
