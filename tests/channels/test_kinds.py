import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

import aioprocket
from aioprocket import (
    Channel,
    ClosedError,
    DeviceChannel,
    IcmpChannel,
    InetChannel,
    NetlinkChannel,
    OpenError,
    PacketChannel,
    SpecError,
    TunChannel,
    channels,
)
from aioprocket._system.descriptor import Descriptor, Opened
from aioprocket.channels import ChannelAttribute
from aioprocket.channels.port import DevicePort
from aioprocket.spec import DeviceSpec, PacketSpec, SocketSpec, TunSpec
from channels.rig import ETH_P_LOCAL_NUMBER, cable, frame, number, open_packet, tap
from sandbox import links

# linux/if_link.h
IFLA_PROMISCUITY = 30
IFLA_ALLMULTI = 61

pytestmark = [pytest.mark.netns, pytest.mark.anyio]


def opened_socket(family: int, kind: int, protocol: int, **more: Any) -> Opened:
    sock = socket.socket(family, kind, protocol)
    spec = SocketSpec(family=family, type=kind, protocol=protocol, **more)
    return Opened(Descriptor(sock.detach()), spec, helper_pid=77)


# ---------------------------------------------------------------------- packet sockets


async def test_a_packet_channel_knows_its_interface(veth: tuple[str, str]) -> None:
    links.set_address(veth[1], "02:00:00:00:00:07")
    with cable(veth) as wire:
        channel = wire.channel

        assert isinstance(channel, PacketChannel)
        assert channel.interface == veth[1]
        assert channel.ifindex == socket.if_nametoindex(veth[1])
        assert channel.hwaddr == bytes.fromhex("020000000007")
        assert channel.mtu == 1500
        links.set_mtu(veth[1], 1400)
        assert channel.mtu == 1400
        assert (channel.family, channel.protocol) == (socket.AF_PACKET, ETH_P_LOCAL_NUMBER)
        assert channel.address[:2] == (veth[1], ETH_P_LOCAL_NUMBER)
        assert channel.linktype == 1
        assert channel.name == ""


async def test_what_a_channel_knows_it_says_under_asyncios_names(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        info = wire.channel.get_extra_info

        assert info("socket").fileno() == info("fd") == wire.channel.fileno()
        assert info("sockname") == wire.channel.address
        assert info("spec").interface == info("interface") == veth[1]
        assert info("ifindex") == wire.channel.ifindex
        assert info("hwaddr") == wire.channel.hwaddr
        assert (info("mtu"), info("linktype")) == (1500, 1)
        assert info("peername") is info("helper_pid") is info("nonsense") is None
        assert info("nonsense", 5) == info("peername", 5) == 5


async def test_what_a_channel_knows_anyio_finds_by_type(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        channel = wire.channel

        assert channel.extra(anyio.abc.SocketAttribute.raw_socket).fileno() == channel.fileno()
        assert channel.extra(anyio.abc.SocketAttribute.family) == socket.AF_PACKET
        assert channel.extra(anyio.abc.SocketAttribute.local_address) == channel.address
        assert channel.extra(ChannelAttribute.interface) == veth[1]
        assert channel.extra(ChannelAttribute.ifindex) == channel.ifindex
        assert channel.extra(ChannelAttribute.hwaddr) == channel.hwaddr
        assert channel.extra(ChannelAttribute.mtu) == 1500
        assert channel.extra(ChannelAttribute.protocol) == ETH_P_LOCAL_NUMBER
        assert channel.extra(ChannelAttribute.stats) == channel.stats()
        with pytest.raises(anyio.TypedAttributeLookupError):
            channel.extra(anyio.abc.SocketAttribute.local_port)


@pytest.mark.parametrize(
    ("option", "counter"), [("promiscuous", IFLA_PROMISCUITY), ("allmulti", IFLA_ALLMULTI)]
)
async def test_memberships_last_as_long_as_the_channel(
    veth: tuple[str, str], option: str, counter: int
) -> None:
    before = link_counter(veth[1], counter)
    channel = open_packet(veth[1], **{option: True})
    during = link_counter(veth[1], counter)
    channel.close()

    assert (before, during, link_counter(veth[1], counter)) == (0, 1, 0)


def link_counter(ifname: str, attribute: int) -> int:
    """From rtnetlink, for the flags of the ioctl do not show what sockets asked for."""
    index = socket.if_nametoindex(ifname)
    question = struct.pack("=IHHII", 32, 18, 1, 1, 0) + struct.pack("=BxHiII", 0, 0, index, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.sendto(question, (0, 0))
        answer = netlink.recv(65536)
    offset = 32
    while offset < len(answer):
        length, kind = struct.unpack_from("=HH", answer, offset)
        if kind == attribute:
            count: int = struct.unpack_from("=I", answer, offset + 4)[0]
            return count
        offset += length + -length % 4
    raise AssertionError(f"{ifname} has no attribute {attribute}")


async def test_the_far_end_of_a_vlan_shows_the_tag(veth: tuple[str, str]) -> None:
    with cable(veth, protocol=3) as wire:
        tagged = frame(1)[:12] + b"\x81\x00\x00\x05" + frame(1)[12:]
        wire.far.send(tagged)

        packet = await wire.channel.receive()

        assert packet.vlan_tci == 5
        assert packet.vlan_tpid == 0x8100
        assert packet.data == frame(1)


async def test_cooked_packets_have_no_link_header(veth: tuple[str, str]) -> None:
    with cable(veth, type=socket.SOCK_DGRAM) as wire:
        wire.send(1)

        assert (await wire.channel.receive()).data == frame(1)[14:]
        assert wire.channel.linktype is None


async def test_no_packet_from_before_the_bind_is_received(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        wire.send(1)
        spec = PacketSpec(interface=veth[1], protocol=ETH_P_LOCAL_NUMBER)
        late = channels.build(Opened(Descriptor(sock.detach()), spec))
        try:
            wire.send(2)
            assert number(await late.receive()) == 2
        finally:
            late.close()


async def test_a_build_that_fails_leaves_the_descriptor_to_its_opener(
    veth: tuple[str, str],
) -> None:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    opened = Opened(Descriptor(sock.detach()), PacketSpec(interface="nowhere"))

    with pytest.raises(OpenError) as raised:
        channels.build(opened)

    assert raised.value.step == "interface"
    assert not opened.descriptor.closed
    opened.descriptor.close()


# ---------------------------------------------------------------------- inet sockets

ECHO_REQUEST = struct.pack("!BBHHH", 8, 0, 0, 0x1234, 1) + b"payload."
ECHO_REPLY = struct.pack("!BBHHH", 0, 0, 0, 0x1234, 1) + b"payload."


def checksummed(message: bytes) -> bytes:
    total = sum(struct.unpack(f"!{len(message) // 2}H", message))
    total = (total & 0xFFFF) + (total >> 16)
    return message[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + message[4:]


@pytest.fixture
def raw_icmp() -> Iterator[IcmpChannel]:
    opened = opened_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    channel = channels.build(opened, icmp=True)
    assert isinstance(channel, IcmpChannel)
    yield channel
    channel.close()


async def test_icmp_messages_start_with_their_header_on_a_raw_socket(raw_icmp: IcmpChannel) -> None:
    with anyio.fail_after(5):
        await raw_icmp.sendto(checksummed(ECHO_REQUEST), ("127.0.0.1", 0))

        request, reply = await raw_icmp.receive(), await raw_icmp.receive()

    assert request.data == checksummed(ECHO_REQUEST)
    assert reply.data == checksummed(ECHO_REPLY)
    assert reply.addr == ("127.0.0.1", 0)
    assert reply.timestamp_ns > 0
    assert reply.wire_len == len(ECHO_REPLY)
    assert (socket.IPPROTO_IP, 2, struct.pack("=i", 64)) in reply.ancdata  # IP_TTL
    assert 0 <= raw_icmp.identifier <= 0xFFFF


async def test_recvmsg_tells_the_time_to_live_and_so_do_receives_behind_it(
    raw_icmp: IcmpChannel,
) -> None:
    with anyio.fail_after(5):
        await raw_icmp.sendto(checksummed(ECHO_REQUEST), ("127.0.0.1", 0))

        data, ancdata, _, addr = await raw_icmp.recvmsg(100, 100)
        reply = await raw_icmp.receive()

    ttl = socket.IPPROTO_IP, socket.IP_TTL, struct.pack("=i", 64)
    assert data[20:] == checksummed(ECHO_REQUEST)  # behind the IP header, which a raw socket gives
    assert ttl in ancdata
    assert list(reply.ancdata) == [ttl]
    assert addr == reply.addr == ("127.0.0.1", 0)


async def test_icmp_messages_start_with_their_header_in_a_buffer(raw_icmp: IcmpChannel) -> None:
    buffer = bytearray(100)
    with anyio.fail_after(5):
        await raw_icmp.sendto(checksummed(ECHO_REQUEST), ("127.0.0.1", 0))

        length = await raw_icmp.recv_into(buffer)

    assert buffer[:length] == checksummed(ECHO_REQUEST)
    assert raw_icmp.stats().rx_packets == 1


async def test_memory_in_pieces_costs_no_icmp_message(raw_icmp: IcmpChannel) -> None:
    with anyio.fail_after(5):
        await raw_icmp.sendto(checksummed(ECHO_REQUEST), ("127.0.0.1", 0))
        with pytest.raises(TypeError):
            await raw_icmp.recv_into(memoryview(bytearray(200))[::2])

        assert (await raw_icmp.receive()).data == checksummed(ECHO_REQUEST)


@pytest.mark.usefixtures("ping_sockets")
async def test_a_ping_socket_knows_its_identifier() -> None:
    opened = opened_socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
    channel = channels.build(opened, icmp=True)
    assert isinstance(channel, IcmpChannel)
    async with channel:
        with anyio.fail_after(5):
            await channel.sendto(ECHO_REQUEST, ("127.0.0.1", 0))
            reply = await channel.receive()

        assert channel.identifier == struct.unpack_from("!H", reply.data, 4)[0] != 0
        assert reply.data[0] == 0


async def test_icmpv6_messages_tell_their_hop_limit() -> None:
    opened = opened_socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    async with channels.build(opened, icmp=True) as channel:
        with anyio.fail_after(5):
            await channel.sendto(struct.pack("!BBHHH", 128, 0, 0, 7, 1), ("::1", 0))
            await channel.receive()
            reply = await channel.receive()

        assert reply.data[0] == 129
        assert (socket.IPPROTO_IPV6, 52, struct.pack("=i", 64)) in reply.ancdata


async def test_a_raw_ip_channel_keeps_the_ip_header() -> None:
    opened = opened_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    async with channels.build(opened) as channel:
        await channel.sendto(checksummed(ECHO_REQUEST), ("127.0.0.1", 0))

        packet = await channel.receive()

        assert type(channel) is InetChannel
        assert packet.data[0] >> 4 == 4
        assert packet.data[20:] == checksummed(ECHO_REQUEST)


async def test_a_udp_channel_knows_its_address_and_who_opened_it() -> None:
    opened = opened_socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_UDP)
    async with channels.build(opened) as channel:
        assert channel.address == ("0.0.0.0", 0)
        assert (channel.interface, channel.ifindex, channel.hwaddr, channel.mtu) == (
            None, 0, None, None
        )  # fmt: skip
        assert channel.extra(anyio.abc.SocketAttribute.local_port) == 0
        assert channel.get_extra_info("helper_pid") == 77


async def test_a_channel_bound_to_an_interface_knows_it(veth: tuple[str, str]) -> None:
    opened = opened_socket(socket.AF_INET, socket.SOCK_DGRAM, 17, interface=veth[0])
    sock = socket.socket(fileno=os.dup(opened.descriptor.fileno()))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, veth[0].encode())
    sock.close()
    async with channels.build(opened) as channel:
        assert (channel.interface, channel.mtu) == (veth[0], 1500)


async def test_a_listening_channel_becomes_a_server() -> None:
    opened = opened_socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    channel = channels.build(opened)
    channel.listen(5)

    with channel.to_socket() as server, socket.create_connection(server.getsockname()) as client:
        client.send(b"hello")
        connection, _ = server.accept()
        with connection:
            assert connection.recv(10) == b"hello"
        assert server.gettimeout() == 0

    assert channel.fileno() == -1
    with pytest.raises(ClosedError):
        channel.to_socket()


# ---------------------------------------------------------------------- devices


async def test_a_tap_channel_is_the_other_end_of_its_interface() -> None:
    with tap() as wire:
        channel = wire.channel
        wire.send(1)

        assert number(await channel.receive()) == 1
        await channel.send(frame(2))
        assert number(wire.far.recv(2000)) == 2
        assert isinstance(channel, TunChannel)
        assert (channel.name, channel.mode, channel.interface) == ("tap0", "tap", "tap0")
        assert channel.ifindex == socket.if_nametoindex("tap0")
        assert channel.mtu == 1500
        assert channel.linktype == 1
        assert len(channel.hwaddr or b"") == 6
        assert channel.family is channel.protocol is channel.address is None
        assert channel.get_extra_info("socket") is None


async def test_closing_a_tun_channel_closes_all_its_queues() -> None:
    with tap() as wire:
        port = DevicePort(Descriptor(os.open("/dev/null", os.O_RDWR)))
        second = TunChannel(port, name="tap0", mode="tap")
        first = wire.channel
        assert isinstance(first, TunChannel)
        first.add_queue(second)

        first.close()

        assert first.queues == (first, second)
        assert second.fileno() == -1


async def test_a_device_that_is_always_ready_is_read_and_written() -> None:
    opened = Opened(Descriptor(os.open("/dev/zero", os.O_RDWR)), DeviceSpec(name="zero"))
    channel = channels.build(opened)
    async with channel:
        with anyio.fail_after(5):
            assert (await channel.receive()).data == bytes(65535)
            assert await channel.recv(10) == bytes(10)
            assert await channel.recv_into(bytearray(16)) == 16
            await channel.send(b"ignored")
        assert isinstance(channel, DeviceChannel)


async def test_the_end_of_a_device_ends_the_iteration() -> None:
    channel = Channel.from_fd(os.open("/dev/null", os.O_RDWR))
    async with channel:
        assert [packet async for packet in channel] == []


async def test_what_only_sockets_can_do_a_device_refuses() -> None:
    async with Channel.from_fd(os.open("/dev/null", os.O_RDWR)) as channel:
        with pytest.raises(OSError, match="Socket operation on non-socket"):
            await channel.recvmsg(100)
        with pytest.raises(OSError, match="Socket operation on non-socket"):
            await channel.sendto(b"x", ("127.0.0.1", 1))
        with pytest.raises(SpecError):
            channel.listen(1)
        with pytest.raises(SpecError):
            channel.to_socket()
        assert channel.fileno() >= 0


# ---------------------------------------------------------------------- netlink and adopted ones


async def test_a_netlink_channel_asks_and_is_answered() -> None:
    opened = opened_socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    async with channels.build(opened) as channel:
        question = struct.pack("=IHHII", 32, 18, 0x301, 1, 0) + bytes(16)  # RTM_GETLINK, dump
        with anyio.fail_after(5):
            await channel.sendto(question, (0, 0))
            answer, address = await channel.recvfrom()

        assert isinstance(channel, NetlinkChannel)
        assert struct.unpack_from("=IH", answer)[1] == 16  # RTM_NEWLINK
        assert address == (0, 0)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0), PacketChannel),
        (lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM), InetChannel),
        (lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0), NetlinkChannel),
        (lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), Channel),
        (lambda: os.open("/dev/null", os.O_RDWR), DeviceChannel),
    ],
    ids=["packet", "inet", "netlink", "unix", "device"],
)
async def test_an_adopted_descriptor_becomes_a_channel_of_its_kind(make: Any, kind: Any) -> None:
    given = make()

    async with Channel.from_fd(given) as channel:
        fd = channel.fileno()
        assert type(channel) is kind
        assert not os.get_blocking(fd)
        assert not os.get_inheritable(fd)

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    if isinstance(given, socket.socket):
        assert given.fileno() == -1


async def test_an_adopted_packet_socket_knows_its_interface(veth: tuple[str, str]) -> None:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.bind((veth[0], 0x0800))

    async with Channel.from_fd(sock.detach()) as channel:
        assert (channel.interface, channel.protocol) == (veth[0], 0x0800)
        assert channel.ifindex == socket.if_nametoindex(veth[0])


async def test_an_adopted_tun_descriptor_knows_its_device() -> None:
    with tap() as wire:
        async with Channel.from_fd(os.dup(wire.channel.fileno())) as channel:
            assert isinstance(channel, TunChannel)
            assert (channel.name, channel.mode) == ("tap0", "tap")
            assert channel.ifindex == wire.channel.ifindex
            assert channel.addresses == ()


async def test_a_number_that_is_not_open_is_not_adopted() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        Channel.from_fd(987)


async def test_a_tun_device_elsewhere_is_described_by_its_spec() -> None:
    with tap() as wire:
        spec = TunSpec(name="far0", mode="tun", mtu=1300, namespace="elsewhere")
        opened = Opened(Descriptor(os.dup(wire.channel.fileno())), spec, "far0", 99)
        async with channels.build(opened) as channel:
            assert (channel.name, channel.ifindex, channel.mtu) == ("far0", 99, 1300)
            assert channel.linktype == 101


async def test_what_a_raw_socket_receives_starts_with_its_ip_header() -> None:
    async with aioprocket.open(protocol=253, ip="127.0.0.1") as channel:
        assert channel.linktype == 228
    async with aioprocket.open(protocol=253, ip="::1") as channel:
        assert channel.linktype is None
    async with aioprocket.open_icmp(type="raw") as icmp:
        assert icmp.linktype is None
