"""Recording what comes over a cable, and sending it again."""

import socket
from pathlib import Path

import anyio
import pytest

from aioprocket.pcapng import Interface, InterfaceStatistics, Reader, Writer, replay
from aioprocket.wire.pcapng import EnhancedPacket
from channels.rig import cable, frame, number, open_packet
from pcapng.files import START, blocks, packet

pytestmark = [pytest.mark.netns, pytest.mark.anyio]


@pytest.mark.parametrize("ring", [False, True])
async def test_what_a_channel_receives_is_recorded(
    veth: tuple[str, str], tmp_path: Path, ring: bool
) -> None:
    path = tmp_path / "a.pcapng"
    with cable(veth, ring=ring) as line:
        line.send(0)
        await line.channel.receive()  # from before the recording: not of its statistics
        async with Writer(path, line.channel) as writer:
            line.send(*range(100))
            taken = 0
            async for batch in line.channel.batches():
                taken += writer.write(batch)
                if taken == 100:
                    break
    _, interface, *written, statistics = blocks(path)
    assert isinstance(interface, Interface)
    assert (interface.name, interface.linktype) == (veth[1], 1)
    assert interface.hwaddr == line.channel.hwaddr
    assert all(isinstance(each, EnhancedPacket) for each in written)
    assert {each.flags for each in written if isinstance(each, EnhancedPacket)} == {17}
    assert isinstance(statistics, InterfaceStatistics)
    assert (statistics.received, statistics.os_dropped, statistics.delivered) == (100, 0, 100)
    read = list(Reader(path))
    assert [number(each) for each in read] == list(range(100))
    assert {each.direction for each in read} == {"otherhost"}
    moments = [each.timestamp_ns for each in read]
    assert moments == sorted(moments)
    assert statistics.start is not None
    assert moments[-1] < statistics.timestamp


async def test_several_channels_go_into_one_file(veth: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    with cable(veth) as line:
        async with open_packet(veth[0], protocol=3) as near, Writer(path) as writer:
            sources = [near, line.channel]
            added = [writer.add_interface(each, description="a cable") for each in sources]
            assert added == [0, 1]
            line.send(5)
            for each, interface in zip(sources, added, strict=True):
                writer.write(await each.receive(), interface)
    with Reader(path) as reader:
        read = list(reader)
        assert [reader.interface_of(each).name for each in read] == list(veth)
        assert [each.direction for each in read] == ["out", "otherhost"]
        assert [each.description for each in reader.interfaces] == ["a cable"] * 2


async def test_drops_of_the_kernel_are_in_the_statistics(
    veth: tuple[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "a.pcapng"
    with cable(veth, receive_buffer=4096) as line:
        async with Writer(path, line.channel) as writer:
            line.send(*range(500))
            stats = line.channel.stats()
            while stats.rx_packets + stats.rx_dropped < 500:
                writer.write(await line.channel.receive_batch())
                stats = line.channel.stats()
    told = blocks(path)[-1]
    assert isinstance(told, InterfaceStatistics)
    assert told.os_dropped == told.dropped == stats.rx_dropped > 0
    assert told.received == 500
    with Reader(path) as reader:
        assert len(list(reader)) == stats.rx_packets
        assert reader.stats().rx_dropped == stats.rx_dropped


async def test_packets_without_a_link_header_get_a_cooked_one(
    veth: tuple[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "a.pcapng"
    with cable(veth, type=socket.SOCK_DGRAM) as line:
        async with Writer(path, line.channel) as writer:
            line.send(7)
            received = await line.channel.receive()
            writer.write(received)
    with Reader(path) as reader:
        (read,) = reader
        assert reader.linktype == 113
    # LINKTYPE_LINUX_SLL: packet type (to somebody else), ARPHRD_ETHER, the sender, the protocol.
    sender = frame(7)[6:12]
    assert read.data[:16] == bytes.fromhex("0003 0001 0006") + sender + bytes(2) + frame(7)[12:14]
    assert read.data[16:] == received.data == frame(7)[14:]


async def test_vlan_tag_that_the_kernel_took_is_in_the_file(
    veth: tuple[str, str], tmp_path: Path
) -> None:
    tagged = frame(1)[:12] + bytes.fromhex("81002005") + frame(1)[12:]
    for name, ring in (("a.pcapng", True), ("b.pcapng", False)):
        with cable(veth, ring=ring, protocol=3) as line:
            async with Writer(tmp_path / name, line.channel) as writer:
                line.far.send(tagged)
                async for batch in line.channel.batches():
                    if any(each.vlan_tci == 0x2005 for each in batch):
                        writer.write(batch)
                        break
        assert tagged in [each.data for each in Reader(tmp_path / name)]


async def test_file_is_sent_over_a_cable(veth: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    sums = Interface(fcslen=4)
    async with Writer(path, Interface(), sums) as writer:
        writer.write([packet(number) for number in range(100)])
        writer.write(packet(100, 64), 1)
        writer.write(packet(101, 200))
    with cable(veth) as line:
        async with open_packet(veth[0], protocol=3) as far:
            replayed = await replay(path, line.channel, speed=None)
            assert replayed[:3] == (102, 100 * 60 + 60 + 200, 0)
            received: list[bytes] = []
            while len(received) < 102:
                received += [each.data for each in await far.receive_batch()]
    assert received[:100] == [packet(number).data for number in range(100)]
    assert received[100] == packet(100, 64).data[:-4]  # without its frame check sequence

    with cable(veth) as line:
        async with Reader(path) as reader:
            assert (await replay(reader, line.channel, interface=2)).packets == 1


async def test_file_is_sent_in_the_time_that_it_took(veth: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    async with Writer(path) as writer:
        writer.write([packet(0), packet(50_000), packet(100_000)])  # 100 ms
    assert START % 1000  # so that nothing is rounded
    with cable(veth) as line:
        began = anyio.current_time()
        replayed = await replay(path, line.channel, speed=2)
        assert anyio.current_time() - began >= 0.048
    assert replayed.packets == 3
    assert replayed.seconds >= 0.048
