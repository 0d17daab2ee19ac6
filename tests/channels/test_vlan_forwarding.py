"""Frames that are sent on: the VLAN tag that the kernel took out of them is there again."""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from aioprocket import Batch, Channel, Packet, create_endpoint
from channels.rig import cable, frame, open_packet, tap

pytestmark = [pytest.mark.netns]

ALL = 3  # ETH_P_ALL: linux/if_ether.h
TAGS = [(0x2005, 0x8100), (None, None), (0x6007, 0x88A8), (0x0000, 0x8100)]


def on_the_wire(each: int) -> bytes:
    tci, tpid = TAGS[each]
    tag = b"" if tci is None else struct.pack("!HH", tpid, tci)
    return frame(each)[:12] + tag + frame(each)[12:]


WIRE = [on_the_wire(each) for each in range(len(TAGS))]
KINDS: dict[str, dict[str, Any]] = {
    "ring": {"ring": True},
    "frames": {"ring": True, "latency": "low"},
    "queue": {},
}


async def one_by_one(channel: Channel, packets: list[Packet]) -> None:
    for packet in packets:
        await channel.send(packet)


async def at_once(channel: Channel, packets: list[Packet]) -> None:
    for packet in packets:
        channel.send_nowait(packet)


async def to_an_address(channel: Channel, packets: list[Packet]) -> None:
    for packet in packets:
        await channel.sendto(packet, (channel.interface, 0))


async def as_messages(channel: Channel, packets: list[Packet]) -> None:
    for packet in packets:
        await channel.sendmsg([packet])


async def by_transport(channel: Channel, packets: list[Packet]) -> None:
    transport, _ = await create_endpoint(asyncio.DatagramProtocol, channel, active=False)
    for packet in packets[:2]:
        transport.sendto(packet)
    transport.send_batch(packets[2:])


async def stamped(channel: Channel, packets: list[Packet]) -> None:
    for packet in packets:
        await channel.send_stamped(packet)


SENDS: dict[str, Callable[[Channel, list[Packet]], Awaitable[Any]]] = {
    "send": one_by_one,
    "send_nowait": at_once,
    "sendto": to_an_address,
    "send_batch": lambda channel, packets: channel.send_batch(packets),
    "a batch of packets": lambda channel, packets: channel.send_batch(Batch(packets)),
    "sendmsg": as_messages,
    "a transport": by_transport,
    "send_stamped": stamped,
    "send_batch_stamped": lambda channel, packets: channel.send_batch_stamped(packets),
}


async def arrived(channel: Channel) -> list[bytes]:
    with anyio.fail_after(20):
        return [(await channel.receive()).tagged() for _ in WIRE]


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", SENDS)
async def test_packets_leave_with_their_tags(veth: tuple[str, str], kind: str, how: str) -> None:
    with cable(veth, protocol=ALL, **KINDS[kind]) as wire:
        for data in WIRE:
            wire.far.send(data)
        packets = [await wire.channel.receive() for _ in WIRE]
        async with open_packet(veth[0], protocol=ALL) as back:
            await SENDS[how](wire.channel, packets)

            assert await arrived(back) == WIRE
        assert [(packet.vlan_tci, packet.vlan_tpid) for packet in packets] == TAGS


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", KINDS)
async def test_batches_leave_with_their_tags(veth: tuple[str, str], kind: str) -> None:
    with cable(veth, protocol=ALL, **KINDS[kind]) as wire:
        for data in WIRE:
            wire.far.send(data)
        sent = 0
        async with open_packet(veth[0], protocol=ALL) as back:
            async for batch in wire.channel.batches():
                sent += len([each for each in batch if each.direction != "out"])
                await wire.channel.send_batch(batch)
                if sent == len(WIRE):
                    break

            assert await arrived(back) == WIRE


@pytest.mark.asyncio
async def test_a_tap_device_gets_tags(veth: tuple[str, str]) -> None:
    with tap() as device, cable(veth, protocol=ALL, ring=True) as wire:
        for data in WIRE:
            wire.far.send(data)
        batch = await anext(wire.channel.batches())
        packets = [*batch]
        while len(packets) < len(WIRE):
            packets += await wire.channel.receive_batch()
        async with open_packet("tap0", protocol=ALL) as inside:
            await device.channel.send_batch(batch)
            await device.channel.send_batch(packets[len(batch) :])
            assert await arrived(inside) == WIRE

            await device.channel.send_batch(packets[:2])
            for packet in packets[2:]:
                await device.channel.send(packet)
            assert await arrived(inside) == WIRE


@pytest.mark.asyncio
async def test_a_tag_is_put_back_behind_the_addresses_that_a_message_begins_with(
    veth: tuple[str, str],
) -> None:
    with cable(veth, protocol=ALL) as wire:
        wire.far.send(WIRE[0])
        packet = await wire.channel.receive()
        async with open_packet(veth[0], protocol=ALL) as back:
            await wire.channel.sendmsg([packet, b"tail"])
            # A frame within another is what that one carries, and has no tag of its own to show.
            await wire.channel.sendmsg([WIRE[1][:14], packet])
            with anyio.fail_after(20):
                assert (await back.receive()).tagged() == WIRE[0] + b"tail"
                assert (await back.receive()).tagged() == WIRE[1][:14] + packet.data
