"""Batches of a ring: views of its packets that stay valid, in columns."""

import asyncio
from typing import Any

import anyio
import pytest

from aioprocket import (
    Batch,
    RawProtocol,
    create_endpoint,
)
from channels.rig import (
    ETH_P_LOCAL_NUMBER,
    cable,
    frame,
    number,
)
from channels.ring_rig import send
from contract import until

pytestmark = pytest.mark.netns


@pytest.mark.anyio
async def test_batches_are_sequences_with_columns(veth: tuple[str, str]) -> None:
    with cable(veth, ring=True) as wire, anyio.fail_after(20):
        wire.send(*range(300))
        got: list[int] = []
        async for batch in wire.channel.batches():
            assert isinstance(batch, Batch)
            assert batch.field(14, 4).tolist() == [number(packet) for packet in batch]
            assert set(batch.lens) == {64}
            assert all(batch.timestamps_ns)
            got += batch.field(14, 4)
            if len(got) == 300:
                break

        assert got == list(range(300))
        assert wire.channel.stats().rx_bytes == 300 * 64


@pytest.mark.anyio
async def test_batches_are_no_larger_than_asked_for(veth: tuple[str, str]) -> None:
    with cable(veth, ring=True) as wire, anyio.fail_after(20):
        send(wire, *range(100))
        got: list[Batch] = []
        async for batch in wire.channel.batches(7):
            got.append(batch)
            if sum(map(len, got)) == 100:
                break

        assert max(map(len, got)) == 7
        assert [number(packet) for batch in got for packet in batch] == list(range(100))


@pytest.mark.anyio
async def test_batches_that_are_kept_stay_valid(veth: tuple[str, str]) -> None:
    with cable(veth, ring=True, receive_buffer=1 << 17, snaplen=2000) as wire, anyio.fail_after(30):
        kept: list[Batch] = []
        sent = 0
        for _ in range(200):
            wire.send(*range(sent, sent + 10))
            sent += 10
            kept.append(await anext(wire.channel.batches()))
        while (have := sum(map(len, kept))) < sent:
            kept.append(await anext(wire.channel.batches()))

        assert have == sent
        assert [each for batch in kept for each in batch.field(14, 4)] == list(range(sent))
        assert [number(packet) for batch in kept for packet in batch] == list(range(sent))


@pytest.mark.anyio
@pytest.mark.parametrize("ring", [True, False])
async def test_batches_of_all_channels_are_alike(veth: tuple[str, str], ring: bool) -> None:
    with cable(veth, ring=ring) as wire, anyio.fail_after(20):
        wire.send(0)
        batch = await anext(wire.channel.batches())

        [packet] = batch
        assert packet.data == frame(0)
        assert batch.buffer[batch.offsets[0] :][:64] == frame(0)
        assert batch.timestamps_ns.tolist() == [packet.timestamp_ns]
        assert (batch.lens.tolist(), batch.wire_lens.tolist(), batch.vlan_tcis.tolist()) == (
            [64], [64], [-1],
        )  # fmt: skip
        assert batch.field(12, 2).tolist() == [ETH_P_LOCAL_NUMBER]
        assert bytes(batch.field(0, 6)) == frame(0)[:6]
        assert batch.index(packet) == 0


class Whole(RawProtocol):
    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.passives = 0
        self.sizes: list[int] = []

    def packets_received(self, batch: Batch) -> None:
        self.sizes.append(len(batch))
        self.numbers += batch.field(14, 4)

    def passive(self) -> None:
        self.passives += 1


@pytest.mark.asyncio
async def test_a_protocol_gets_batches(veth: tuple[str, str]) -> None:
    with cable(veth, ring=True) as wire:
        transport, protocol = await create_endpoint(Whole, wire.channel)
        for start in range(0, 1000, 100):
            wire.send(*range(start, start + 100))
            await asyncio.sleep(0)
        await until(lambda: len(protocol.numbers) == 1000)
        transport.abort()

        assert protocol.numbers == list(range(1000))


@pytest.mark.asyncio
async def test_a_count_of_packets_cuts_batches(veth: tuple[str, str]) -> None:
    with cable(veth, ring=True) as wire:
        send(wire, *range(10))
        transport, protocol = await create_endpoint(Whole, wire.channel, active=4)
        await until(lambda: protocol.passives)

        assert protocol.numbers == [0, 1, 2, 3]
        assert number(await transport.receive()) == 4
        transport.abort()


@pytest.mark.asyncio
async def test_datagrams_come_with_their_sender(veth: tuple[str, str]) -> None:
    class Plain(asyncio.DatagramProtocol):
        got: list[tuple[int, str]]

        def __init__(self) -> None:
            self.got = []

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.got.append((number(data), addr[0]))

    with cable(veth, ring=True) as wire:
        transport, protocol = await create_endpoint(Plain, wire.channel)
        wire.send(1, 2, 3)
        await until(lambda: len(protocol.got) == 3)
        transport.abort()

        assert protocol.got == [(1, wire.ifname), (2, wire.ifname), (3, wire.ifname)]
