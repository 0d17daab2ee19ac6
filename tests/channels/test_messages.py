"""Errors say what was tried, on what channel, what the system said, and what to do about it."""

import errno
import os
import pickle
import socket

import pytest

from aioprocket import (
    AioprocketError,
    BusyError,
    Channel,
    ClosedError,
    LinkDownError,
    SpecError,
    channels,
)
from aioprocket._system.descriptor import Descriptor, Opened
from aioprocket.errors import ChannelError
from aioprocket.spec import DeviceSpec
from channels.rig import cable, frame, open_packet, pair, parked, tap
from sandbox import links

pytestmark = [pytest.mark.netns]


@pytest.mark.anyio
async def test_a_packet_that_is_too_long_is_told_its_size_and_the_mtu(
    veth: tuple[str, str],
) -> None:
    with cable(veth) as wire:
        for send in (
            wire.channel.send(bytes(2000)),
            wire.channel.sendmsg([bytes(1500), bytes(500)]),
        ):
            with pytest.raises(ChannelError) as raised:
                await send

            assert str(raised.value) == (
                "send 2000 bytes on packet socket on v1: Message too long (EMSGSIZE)"
            )
            assert raised.value.errno == errno.EMSGSIZE
            assert raised.value.hint == "the MTU of v1 is 1500"


@pytest.mark.anyio
async def test_a_packet_without_a_destination_is_told_to_have_one() -> None:
    async with open_packet(None) as channel:
        with pytest.raises(ChannelError, match=r"send on packet socket: .*ENXIO") as raised:
            await channel.send(frame(1))
        assert "sendto" in raised.value.hint
    async with Channel.from_fd(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as channel:
        with pytest.raises(ChannelError, match="EDESTADDRREQ") as raised:
            await channel.send(b"x")
        assert "sendto" in raised.value.hint


@pytest.mark.anyio
async def test_an_unknown_interface_in_an_address_is_no_matter_of_the_channels_link() -> None:
    async with open_packet("lo") as channel:
        with pytest.raises(
            ChannelError, match="send to 'nope0' on packet socket on lo: "
        ) as raised:
            await channel.sendto(frame(1), ("nope0", 0))

        assert raised.value.errno == errno.ENODEV
        assert not isinstance(raised.value, LinkDownError)


@pytest.mark.anyio
async def test_only_the_channels_own_link_is_down(veth: tuple[str, str]) -> None:
    links.set_down(veth[0])
    async with open_packet("lo") as bystander, open_packet(veth[0]) as channel:
        with pytest.raises(ChannelError, match=f"send to {veth[0]!r} on .* on lo: .*ENETDOWN"):
            await bystander.sendto(frame(1), (veth[0], 0))
        with pytest.raises(LinkDownError):
            await channel.sendto(frame(1), (veth[0], 0))


@pytest.mark.anyio
async def test_a_listener_says_how_it_is_used() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    async with Channel.from_fd(listener) as channel:
        with pytest.raises(ChannelError, match=r"receive on .*ENOTCONN") as raised:
            await channel.recv(10)

        assert "to_socket()" in raised.value.hint


@pytest.mark.anyio
async def test_what_cannot_listen_says_so() -> None:
    with pair() as (channel, _), pytest.raises(ChannelError, match="listen on") as raised:
        channel.listen()

    assert raised.value.errno == errno.EOPNOTSUPP


@pytest.mark.anyio
async def test_a_device_has_no_addresses() -> None:
    opened = Opened(Descriptor(os.open("/dev/null", os.O_RDWR)), DeviceSpec(name="null"))
    async with channels.build(opened) as channel:
        with pytest.raises(ChannelError, match=r"on device /dev/null: .*ENOTSOCK") as raised:
            await channel.sendto(b"x", ("127.0.0.1", 9))

        assert "without an address" in raised.value.hint


@pytest.mark.anyio
async def test_an_error_is_the_builtin_that_it_was_as_well() -> None:
    with pair(socket.SOCK_STREAM) as (channel, far):
        far.close()
        with pytest.raises(BrokenPipeError) as raised:
            await channel.send(b"x")
    with pair() as (channel, _), pytest.raises(FileNotFoundError) as missing:
        await channel.sendto(b"x", "/nowhere")

    for error in (raised.value, missing.value):
        assert isinstance(error, ChannelError)
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), copy.errno) == (type(error), str(error), error.errno)


@pytest.mark.asyncio
async def test_closed_and_busy_channels_are_named() -> None:
    channel = open_packet("lo")
    waiting = await parked(channel.receive)

    with pytest.raises(BusyError, match="receive on packet socket on lo: "):
        await channel.receive()
    channel.close()

    with pytest.raises(ClosedError, match="receive on packet socket on lo: "):
        await waiting
    with pytest.raises(ClosedError, match="send on packet socket on lo: "):
        await channel.send(b"x")
    with pytest.raises(ClosedError, match="set_filter on packet socket on lo: "):
        channel.set_filter(None)


@pytest.mark.anyio
async def test_sizes_that_cannot_be_are_refused_and_nothing_is_lost() -> None:
    with pair() as (channel, far):
        far.send(b"whole")
        for call in (
            channel.recv(-1),
            channel.recvfrom(-1),
            channel.recv("5"),  # type: ignore[arg-type]
            channel.recvmsg(-1),
            channel.recvmsg(10, -1),
            channel.receive_batch(0),
        ):
            with pytest.raises(SpecError, match="whole number"):
                await call

        assert await channel.recv(5) == b"whole"


@pytest.mark.parametrize("count", [0, -1, True, "64", 1.0])
def test_read_packets_is_a_number_from_one_and_the_descriptor_stays_the_callers(
    count: int,
) -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    opened = Opened(Descriptor(os.open("/dev/null", os.O_RDWR)), DeviceSpec(name="null"))
    with near, far:
        with pytest.raises(SpecError, match="read_packets"):
            Channel.from_fd(near, read_packets=count)
        with pytest.raises(SpecError, match="read_packets"):
            channels.build(opened, read_packets=count)

        assert near.fileno() >= 0
        assert not opened.descriptor.closed
    opened.descriptor.close()


@pytest.mark.anyio
async def test_a_count_above_the_limit_is_one_of_our_errors() -> None:
    with pair() as (channel, _), pytest.raises(AioprocketError, match="32767"):
        await channel.serve(lambda packet: None, active=40_000)


@pytest.mark.anyio
async def test_a_tun_channel_is_named_by_the_kernels_name() -> None:
    with tap() as wire:
        assert "tap device 'tap0' fd=" in repr(wire.channel)


@pytest.mark.anyio
async def test_a_channel_says_who_gave_the_descriptor() -> None:
    opened = Opened(
        Descriptor(os.open("/dev/null", os.O_RDWR)), DeviceSpec(name="null"), origin="broker"
    )
    async with channels.build(opened) as channel:
        assert channel.get_extra_info("origin") == "broker"
    async with open_packet("lo") as channel:
        assert channel.get_extra_info("origin") == "direct"
    with pair() as (channel, _):
        assert channel.get_extra_info("origin") == "adopted"


@pytest.mark.anyio
async def test_what_is_no_packet_of_a_device_is_told_what_one_is() -> None:
    with tap() as wire:
        for data in (b"", b"x"):
            with pytest.raises(ChannelError, match=rf"send {len(data)} bytes .*EINVAL") as raised:
                await wire.channel.send(data)
            assert "whole frames" in raised.value.hint


@pytest.mark.anyio
async def test_an_ip_address_is_none_of_a_packet_socket(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        with pytest.raises(ChannelError, match="ENODEV") as raised:
            await wire.channel.sendto(frame(1), ("192.0.2.1", 80))
        assert "name of an interface" in raised.value.hint
