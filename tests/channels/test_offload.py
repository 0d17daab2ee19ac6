"""TUN and TAP devices with offload: packets of up to 64 KiB, from one network to another."""

import asyncio
import ipaddress
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

import aioprocket
from aioprocket import (
    Channel,
    LinkDownError,
    Packet,
    SpecError,
    TunChannel,
    create_endpoint,
)
from aioprocket._system import tun
from aioprocket._system.numbers import TunFlag
from aioprocket.opening import Door
from aioprocket.wire.checksum import checksum, pseudo_header
from contract import Recorder, until
from sandbox import links
from sandbox.namespaces import Namespace, new_network

pytestmark = [pytest.mark.netns, pytest.mark.anyio]

Networks = tuple[Namespace, Namespace]
Pass = Callable[[TunChannel, Sequence[Packet]], Awaitable[None]]

SECONDS = 30
NEAR = {socket.AF_INET: "198.18.0.1", socket.AF_INET6: "2001:db8::1"}
FAR = {socket.AF_INET: "198.18.0.2", socket.AF_INET6: "2001:db8::2"}
SOL_UDP, UDP_SEGMENT = 17, 103  # linux/udp.h
SOL_PACKET, PACKET_VNET_HDR = 263, 15  # linux/if_packet.h


@pytest.fixture
def networks(tun_device: Path) -> Iterator[Networks]:
    with new_network() as near, new_network() as far:
        yield near, far


def open_end(network: Namespace, addresses: dict[Any, str], **options: Any) -> Door[TunChannel]:
    prefixed = [f"{addresses[socket.AF_INET]}/24", f"{addresses[socket.AF_INET6]}/64"]
    return aioprocket.open_tun(addresses=prefixed, namespace=network.path, **options)


@asynccontextmanager
async def joined(near: TunChannel, far: TunChannel, pass_on: Pass) -> AsyncIterator[list[int]]:
    """What comes out of one device goes into the other; the ``gso_size`` of all that did."""
    sizes: list[int] = []

    async def pump(source: TunChannel, target: TunChannel) -> None:
        async for batch in source.batches():
            sizes.extend(packet.gso_size for packet in batch)
            await pass_on(target, batch)

    async with anyio.create_task_group() as tasks:
        for queue in near.queues:
            tasks.start_soon(pump, queue, far)
        tasks.start_soon(pump, far, near)
        yield sizes
        tasks.cancel_scope.cancel()


async def pass_batch(target: TunChannel, batch: Sequence[Packet]) -> None:
    await target.send_batch(batch)


async def pass_one_by_one(target: TunChannel, batch: Sequence[Packet]) -> None:
    for packet in batch:
        await target.send(packet)


async def pass_segments(target: TunChannel, batch: Sequence[Packet]) -> None:
    for packet in batch:
        for segment in packet.segments():
            await target.send(segment.data)


async def carried(networks: Networks, family: socket.AddressFamily, data: bytes) -> bytes:
    """What a TCP connection from the first network to the second brings there."""
    near, far = networks
    with far.entered():
        listener = socket.socket(family, socket.SOCK_STREAM)
    listener.settimeout(SECONDS)
    listener.bind((FAR[family], 0))
    listener.listen()
    with near.entered():
        source = socket.socket(family, socket.SOCK_STREAM)
    source.settimeout(SECONDS)
    received = bytearray()

    def send() -> None:
        with source:
            source.connect(listener.getsockname())
            source.sendall(data)

    def receive() -> None:
        with listener, listener.accept()[0] as sock:
            sock.settimeout(SECONDS)
            while part := sock.recv(1 << 16):
                received.extend(part)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, send)
        tasks.start_soon(anyio.to_thread.run_sync, receive)
    return bytes(received)


@contextmanager
def no_wrong_checksums(network: Namespace) -> Iterator[None]:
    """The network itself finds none in what it receives."""
    yield
    with network.entered():
        lines = Path("/proc/thread-self/net/snmp").read_text().splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        counters = dict(zip(names.split(), values.split(), strict=True))
        assert counters.get("InCsumErrors", "0") == "0", counters


@pytest.mark.parametrize(
    ("pass_on", "far_offload"),
    [(pass_batch, True), (pass_one_by_one, True), (pass_segments, True), (pass_segments, False)],
    ids=["batches", "one by one", "segments", "segments to a device without"],
)
@pytest.mark.parametrize("mode", ["tun", "tap"])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
async def test_a_stream_arrives_whole_through_large_packets(
    networks: Networks, family: socket.AddressFamily, mode: str, pass_on: Pass, far_offload: bool
) -> None:
    data = os.urandom(1 << 19)
    with no_wrong_checksums(networks[0]), no_wrong_checksums(networks[1]):
        async with (
            open_end(networks[0], NEAR, mode=mode, offload=True) as near,
            open_end(networks[1], FAR, mode=mode, offload=far_offload) as far,
            joined(near, far, pass_on) as sizes,
        ):
            received = await carried(networks, family, data)

    assert received == data
    assert max(sizes) > 1000
    assert (near.offload, far.offload) == (True, far_offload)


async def test_all_queues_of_a_device_have_offload(networks: Networks) -> None:
    data = os.urandom(1 << 18)
    async with (
        open_end(networks[0], NEAR, queues=2, offload=True) as near,
        open_end(networks[1], FAR, offload=True) as far,
        joined(near, far, pass_batch),
    ):
        assert [queue.offload for queue in near.queues] == [True, True]
        for _ in range(8):  # connections are spread over the queues
            assert await carried(networks, socket.AF_INET, data) == data


async def test_a_helper_opens_devices_with_offload(networks: Networks, helper_binary: Path) -> None:
    door = open_end(networks[0], NEAR, queues=2, offload=True, helper=str(helper_binary))
    async with door as channel:
        assert channel.get_extra_info("origin") == "helper"
        for queue in channel.queues:
            assert TunFlag.VNET_HDR in tun.device_flags(queue.fileno())
            assert queue.offload is True


def datagrams_from(network: Namespace, data: bytes, segment: int = 0) -> None:
    with network.entered():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        if segment:
            sock.setsockopt(SOL_UDP, UDP_SEGMENT, segment)
        sock.sendto(data, (FAR[socket.AF_INET], 9))


async def next_datagram(channel: TunChannel) -> Packet:
    """The kernel speaks IPv6 on its own."""
    with anyio.fail_after(SECONDS):
        while True:
            packet = await channel.receive()
            if packet.data[0] >> 4 == 4 and packet.data[9] == socket.IPPROTO_UDP:
                return packet


def sum_of_datagram(packet: Packet) -> int:
    """0 if it is right."""
    source, target = (ipaddress.IPv4Address(packet.data[at : at + 4]) for at in (12, 16))
    datagram = packet.data[20:]
    pseudo = pseudo_header(source, target, socket.IPPROTO_UDP, len(datagram))
    return checksum(pseudo + datagram)


async def test_a_packet_of_wire_size_has_its_checksum(networks: Networks) -> None:
    async with open_end(networks[0], NEAR, offload=True) as channel:
        datagrams_from(networks[0], b"one datagram")

        packet = await next_datagram(channel)

    assert packet.data.endswith(b"one datagram")
    assert sum_of_datagram(packet) == 0
    assert (packet.gso_size, packet.ancdata) == (0, ())


async def test_datagrams_sent_as_one_are_segments_or_come_apart(networks: Networks) -> None:
    parts = [bytes([number]) * 500 for number in range(5)] + [b"short"]
    async with open_end(networks[0], NEAR, offload=True) as channel:
        datagrams_from(networks[0], b"".join(parts), segment=500)

        found: list[Packet] = []
        while len(found) < len(parts):  # one packet from Linux 6.2 on, six before
            found += (await next_datagram(channel)).segments()

    assert [packet.data[28:] for packet in found] == parts
    assert [sum_of_datagram(packet) for packet in found] == [0] * len(parts)


async def test_a_device_without_offload_takes_no_large_packet(networks: Networks) -> None:
    async with open_end(networks[0], NEAR) as channel:
        header = struct.pack("=BBHHHH", 1, 5, 28, 100, 20, 6)  # struct virtio_net_hdr
        large = Packet(bytes(1000), ancdata=[(SOL_PACKET, PACKET_VNET_HDR, header)])
        assert channel.offload is False
        with pytest.raises(SpecError, match="has yet to be cut to wire size") as refused:
            await channel.send(large)
        with pytest.raises(SpecError, match="has yet to be cut to wire size"):
            await channel.send_batch([large])

    assert "segments()" in refused.value.hint


async def test_memory_of_the_callers_takes_no_packet_of_a_device_with_offload(
    networks: Networks,
) -> None:
    async with open_end(networks[0], NEAR, offload=True) as channel:
        with pytest.raises(SpecError, match="has no place for"):
            await channel.recv_into(bytearray(2000))


async def test_a_device_that_persists_forgets_the_offload_of_its_last_holder(
    networks: Networks,
) -> None:
    async with open_end(networks[0], NEAR, name="aio7", persist=True, offload=True):
        pass
    async with open_end(networks[0], NEAR, name="aio7") as channel:
        tun.set_persistent(channel.fileno(), False)
        datagrams_from(networks[0], bytes(2000), segment=500)
        sizes = [len(await next_datagram(channel)) for _ in range(4)]

    assert sizes == [528] * 4


async def test_an_adopted_descriptor_with_headers_has_offload(networks: Networks) -> None:
    async with open_end(networks[0], NEAR, offload=True) as opened:
        tun.set_header_size(opened.fileno(), 12)
        async with Channel.from_fd(os.dup(opened.fileno())) as channel:
            assert isinstance(channel, TunChannel)
            datagrams_from(networks[0], b"one datagram")
            packet = await next_datagram(channel)
            await channel.send(packet)

    assert channel.offload is True
    assert packet.data.endswith(b"one datagram")
    assert channel.stats().tx_bytes == len(packet)


async def read_all(channel: TunChannel) -> None:
    async for _ in channel:
        pass


@pytest.mark.parametrize("offload", [False, True], ids=["plain", "offload"])
async def test_a_device_that_was_removed_says_so(networks: Networks, offload: bool) -> None:
    async with open_end(networks[0], NEAR, offload=offload) as channel:
        with networks[0].entered():
            links.delete_link(channel.name)

        with anyio.fail_after(SECONDS), pytest.raises(LinkDownError, match="was removed") as ended:
            await read_all(channel)
        with pytest.raises(LinkDownError, match="was removed"):
            await channel.send(bytes(20))

    assert "open_tun() makes another" in ended.value.hint
    assert ended.value.interface == channel.name


def test_a_protocol_gets_packets_without_their_header(networks: Networks) -> None:
    async def receive() -> list[Packet]:
        async with open_end(networks[0], NEAR, offload=True) as channel:
            transport, protocol = await create_endpoint(Recorder, channel)
            for count in range(1, 5):  # the first wakeups go another way than those after packets
                datagrams_from(networks[0], b"one datagram")
                await until(lambda: len(ours(protocol.packets)) == count)  # noqa: B023
            packets = ours(protocol.packets)
            assert transport.stats().rx_packets >= len(packets)
            transport.abort()
            await until(lambda: protocol.lost)
        return packets

    def ours(packets: list[Packet]) -> list[Packet]:
        return [packet for packet in packets if packet.data.endswith(b"one datagram")]

    assert {packet[0] for packet in asyncio.run(receive())} == {0x45}  # IPv4, five words of header
