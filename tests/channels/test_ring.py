"""Channels with a ring: what they do as all others do, and what only a ring can."""

import asyncio
import errno
import mmap
import resource
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

import aioprocket
from aioprocket import (
    OpenError,
    SpecError,
    create_endpoint,
)
from aioprocket._system import ring
from aioprocket.channels.ring import cut_by_filter
from channels.rig import (
    ETH_P_LOCAL_NUMBER,
    CableLine,
    cable,
    frame,
    in_child,
    number,
    open_packet,
)
from channels.ring_rig import arrived, receive, send
from contract import Line, Recorder, TransportContract, until
from lab.traffic import flood
from sandbox import kernel, links

pytestmark = pytest.mark.netns

# The number of `frame` is at offset 14: keep the even ones.
EVEN = [(0x20, 0, 0, 14), (0x45, 1, 0, 1), (0x06, 0, 0, 0xFFFF), (0x06, 0, 0, 0)]


class RingLine(CableLine):
    def feed(self, number: int) -> None:
        send(self.wire, number)


class TestRingTransport(TransportContract):
    @pytest.fixture
    def line(self, veth: tuple[str, str]) -> Iterator[Line]:
        with cable(veth, ring=True) as wire:
            yield RingLine(wire)


@pytest.mark.anyio
async def test_packets_are_received_one_by_one(veth: tuple[str, str]) -> None:
    with cable(veth, ring=True) as wire, anyio.fail_after(20):
        wire.send(*range(500))

        assert await receive(wire, 500) == list(range(500))
        with pytest.raises(BlockingIOError):
            wire.channel.receive_nowait()
        assert wire.channel.stats().rx_packets == 500


@pytest.mark.anyio
async def test_every_way_to_receive_works(veth: tuple[str, str]) -> None:
    with cable(veth, ring=True) as wire, anyio.fail_after(20):
        channel = wire.channel
        send(wire, *range(8))
        buffer = bytearray(100)

        assert await channel.recv() == frame(0)
        assert await channel.recv(20) == frame(1)[:20]
        assert await channel.recvfrom() == (
            frame(2),
            (wire.ifname, ETH_P_LOCAL_NUMBER, 3, 1, frame(0)[6:12]),
        )
        assert await channel.recv_into(buffer) == 64
        assert buffer[:64] == frame(3)
        data, ancdata, flags, addr = await channel.recvmsg(2000)
        assert (data, ancdata, flags, addr[0]) == (frame(4), [], 0, wire.ifname)
        batch = await channel.receive_batch(2)
        if len(batch) == 1:  # the block ended there
            batch += await channel.receive_batch(1)
        assert [number(packet) for packet in batch] == [5, 6]
        assert number(channel.receive_nowait()) == 7
        with pytest.raises(SpecError, match="mean nothing to a ring"):
            await channel.recvmsg(2000, 0, socket.MSG_PEEK)


@pytest.mark.anyio
async def test_packets_of_a_ring_can_be_sent_on(veth: tuple[str, str]) -> None:
    with cable(veth, ring=True) as wire, anyio.fail_after(20):
        send(wire, *range(5))
        packets = [await wire.channel.receive() for _ in range(5)]

        assert await wire.channel.send_batch(packets) == 5
        await wire.channel.send(packets[0])
        assert [number(wire.far.recv(2000)) for _ in range(6)] == [0, 1, 2, 3, 4, 0]


@pytest.mark.anyio
async def test_a_waiting_receive_is_woken(veth: tuple[str, str]) -> None:
    with cable(veth, ring=True) as wire, anyio.fail_after(20):
        got: list[int] = []
        async with anyio.create_task_group() as tasks:

            async def receiving() -> None:
                got.extend(await receive(wire, 2))

            tasks.start_soon(receiving)
            await anyio.wait_all_tasks_blocked()
            wire.send(1)
            await until(lambda: wire.channel.stats().rx_packets)
            wire.send(2)

        assert got == [1, 2]


@pytest.mark.anyio
async def test_a_cancelled_receive_loses_nothing(veth: tuple[str, str]) -> None:
    with cable(veth, ring=True) as wire, anyio.fail_after(30):
        got: list[int] = []
        for each in range(200):
            wire.send(each)
            with anyio.move_on_after(0.0007):
                got.append(number(await wire.channel.receive()))
        got += await receive(wire, 200 - len(got))

        assert got == list(range(200))


@pytest.mark.anyio
async def test_nothing_from_before_a_filter_is_received_after_it(veth: tuple[str, str]) -> None:
    with cable(veth, ring=True) as wire, anyio.fail_after(20):
        wire.send(0, 1, 2, 3)
        wire.channel.set_filter(EVEN)
        stats = wire.channel.stats()
        assert (stats.rx_packets, stats.rx_dropped, stats.rx_queued) == (0, 0, 0)
        wire.send(4, 5, 6)

        assert await receive(wire, 2) == [4, 6]
        send(wire, 7)
        with pytest.raises(BlockingIOError):
            wire.channel.receive_nowait()


@pytest.mark.anyio
async def test_a_filter_that_changes_under_a_flood_is_sharp(veth: tuple[str, str]) -> None:
    odd = [(0x20, 0, 0, 14), (0x45, 0, 1, 1), (0x06, 0, 0, 0xFFFF), (0x06, 0, 0, 0)]
    with cable(veth, ring=True) as wire, flood(veth[0], 10_000_000), anyio.fail_after(30):
        last = -1
        for program, rest in ((EVEN, 0), (odd, 1)) * 5:
            wire.channel.set_filter(program)
            for _ in range(200):
                each = number(await wire.channel.receive())
                assert each % 2 == rest
                assert each > last
                last = each


@pytest.mark.asyncio
async def test_a_callback_that_sets_a_filter_gets_nothing_from_before(
    veth: tuple[str, str],
) -> None:
    with cable(veth, ring=True) as wire:
        transport, protocol = await create_endpoint(Recorder, wire.channel, active=False)
        protocol.on_packet = lambda packet: wire.channel.set_filter(EVEN)
        send(wire, *range(10))
        transport.set_active(True)
        await until(lambda: protocol.packets)
        protocol.on_packet = lambda packet: None
        wire.send(11, 12)
        await until(lambda: len(protocol.packets) == 2)
        transport.abort()

        assert [number(packet) for packet in protocol.packets] == [0, 12]


@pytest.mark.anyio
async def test_snaplen_is_cut_in_the_kernel_and_here(veth: tuple[str, str]) -> None:
    with cable(veth, ring=True, snaplen=20) as wire, anyio.fail_after(20):
        wire.far.send(frame(0, 1000))
        packet = await wire.channel.receive()
        assert (len(packet), packet.wire_len, packet.truncated) == (20, 1000, True)

        wire.channel.set_filter([(0x00, 0, 0, 600), (0x16, 0, 0, 0)])  # ret A
        wire.far.send(frame(1, 1000))
        packet = await wire.channel.receive()
        assert (len(packet), packet.wire_len, packet.truncated) == (20, 1000, True)
        assert wire.channel.stats().rx_truncated == 2
        assert wire.channel.filter == ((0x00, 0, 0, 600), (0x16, 0, 0, 0))


def test_a_filter_keeps_what_it_refuses() -> None:
    assert cut_by_filter(None, 65535) is None
    assert cut_by_filter(None, 96) == ((0x06, 0, 0, 96),)
    assert cut_by_filter(tuple(EVEN), 96) == (*EVEN[:2], (0x06, 0, 0, 96), (0x06, 0, 0, 0))


@pytest.mark.anyio
async def test_all_interfaces_have_one_ring(veth: tuple[str, str]) -> None:
    with cable(veth, ring=True, interface=None, protocol=3) as wire, anyio.fail_after(20):
        wire.send(5)
        seen: dict[str, tuple[int, str]] = {}
        while len(seen) < 2:
            packet = await wire.channel.receive()
            if number(packet) == 5:
                seen[packet.addr[0]] = (packet.ifindex, packet.direction)

        assert seen == {
            veth[0]: (socket.if_nametoindex(veth[0]), "out"),
            veth[1]: (socket.if_nametoindex(veth[1]), "otherhost"),
        }


@pytest.mark.anyio
async def test_dgram_packets_start_behind_the_link_header(veth: tuple[str, str]) -> None:
    with cable(veth, ring=True, type=socket.SOCK_DGRAM) as wire, anyio.fail_after(20):
        wire.send(5)
        packet = await wire.channel.receive()

        assert packet.data == frame(5)[14:]
        assert packet.addr[4] == frame(5)[6:12]


@pytest.mark.anyio
async def test_a_link_without_header_is_read_as_it_is() -> None:
    links.set_up("lo")
    async with open_packet("lo", ring=True, protocol=0x0800) as channel:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"hello", ("127.0.0.1", 9))
        with anyio.fail_after(20):
            packet = await channel.receive()

        assert packet.data[:14] == bytes(12) + b"\x08\x00"
        assert packet.data.endswith(b"hello")


@pytest.mark.anyio
async def test_received_and_dropped_are_what_was_sent(veth: tuple[str, str]) -> None:
    options: dict[str, Any] = {"ring": True, "receive_buffer": 1 << 15, "snaplen": 2000}
    with cable(veth, **options) as wire, anyio.fail_after(40):
        total = 0
        for _ in range(5):
            wire.send(*range(2000))
            total += 2000
            arrived(wire.channel)
            with suppress(BlockingIOError):
                for _ in range(50):
                    wire.channel.receive_nowait()
        while (stats := wire.channel.stats()).rx_packets + stats.rx_dropped < total:
            await wire.channel.receive()

        assert stats.rx_dropped > 0
        assert stats.rx_freezes > 0
        assert stats.rx_packets + stats.rx_dropped == total


def test_a_ring_is_divided_as_its_latency_wants() -> None:
    balanced = ring.ring_geometry("balanced", 65535, None)
    throughput = ring.ring_geometry("throughput", 65535, None)

    assert (balanced.size, balanced.blocks, balanced.retire_ms) == (8 << 20, 64, 1)
    assert (throughput.size, throughput.blocks, throughput.retire_ms) == (32 << 20, 8, 50)
    small = ring.ring_geometry("balanced", 1514, 1 << 16)
    assert (small.size, small.block_size) == (1 << 16, 4096)
    assert ring.ring_geometry("balanced", 65535, 1).blocks == 2


@pytest.mark.parametrize("size", [65000, 1 << 20])
def test_the_largest_packet_fits(veth: tuple[str, str], size: int) -> None:
    for ifname in veth:
        links.set_mtu(ifname, 65535)
    with cable(veth, ring=True, receive_buffer=size) as wire:
        wire.far.send(frame(1, 65000))
        arrived(wire.channel)
        packet = wire.channel.receive_nowait()

        assert (len(packet), packet.truncated) == (65000, False)


def test_no_room_for_a_ring_says_what_to_lower(veth: tuple[str, str]) -> None:
    def child() -> None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
        resource.setrlimit(resource.RLIMIT_AS, (used + (16 << 20),) * 2)
        with pytest.raises(OpenError, match="make a ring of 8 blocks of 4194304") as raised:
            open_packet(veth[1], ring=True, latency="throughput")
        assert (raised.value.errno, raised.value.step) == (errno.ENOMEM, "ring")
        assert "receive_buffer" in raised.value.hint
        open_packet(veth[1], ring=True, receive_buffer=1 << 20).close()

    in_child(child)


def test_the_size_of_a_ring_takes_no_privilege() -> None:
    # In a user namespace of one's own all of a network can be had, but for the machine's memory
    # (SO_RCVBUFFORCE in net/core/sock.c).
    async def size(**options: Any) -> int:
        async with aioprocket.open_packet("lo", receive_buffer=16 << 20, **options) as channel:
            return channel.ring_size

    def child() -> None:
        kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNET)
        assert asyncio.run(size()) == 16 << 20
        assert asyncio.run(size(latency="low")) >= 15 << 20
        with pytest.raises(aioprocket.NotPermittedError, match="EPERM"):
            asyncio.run(size(ring=False))

    in_child(child)


def test_vlan_tags_reach_packets_and_columns(veth: tuple[str, str]) -> None:
    with cable(veth, ring=True, protocol=3) as wire:
        tagged = frame(0)[:12] + struct.pack("!HH", 0x88A8, 0x6007) + frame(0)[12:]
        wire.far.send(tagged)
        arrived(wire.channel)
        packet = wire.channel.receive_nowait()

        assert (packet.vlan_tci, packet.vlan_tpid, packet.data) == (0x6007, 0x88A8, frame(0))
        assert packet.tagged() == tagged
