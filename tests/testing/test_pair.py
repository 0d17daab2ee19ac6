"""Two channels that are each other's other end, driven as those of doors are."""

import asyncio
from pathlib import Path
from typing import Any

import anyio
import pytest

import aioprocket
from aioprocket import pcapng, testing
from aioprocket.errors import SpecError


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["unix", "udp"])
async def test_what_one_sends_the_other_receives(kind: str) -> None:
    near, far = testing.pair(kind)  # type: ignore[arg-type]
    async with near, far:
        await near.send(b"there")
        await near.send(b"and there")
        first, second = await far.receive(), await far.receive()
        await far.sendto(b"back", first.addr)

        assert (first.data, second.data) == (b"there", b"and there")
        assert (await near.receive()).data == b"back"


@pytest.mark.anyio
async def test_end_of_one_is_the_end_of_the_other() -> None:
    near, far = testing.pair()
    async with far:
        async with near:
            assert await near.send_batch([b"one", b"two"]) == 2

        assert [packet.data async for packet in far] == [b"one", b"two"]
        with pytest.raises(anyio.EndOfStream):
            await far.receive()


@pytest.mark.anyio
async def test_batches_pass_whole() -> None:
    near, far = testing.pair()
    packets = [bytes([number]) * (number + 1) for number in range(200)]
    async with near, far:
        sent = await near.send_batch(packets)
        received: list[bytes] = []
        async for batch in far.batches():
            received += [packet.data for packet in batch]
            if len(received) == len(packets):
                break

    assert sent == len(packets)
    assert received == packets


@pytest.mark.anyio
async def test_handler_is_served() -> None:
    near, far = testing.pair()
    seen: list[bytes] = []
    async with near, far:
        for number in range(3):
            await far.send(b"%d" % number)
        await near.serve(lambda packet: seen.append(packet.data), active=2)

    assert seen == [b"0", b"1"]


@pytest.mark.anyio
async def test_datagrams_of_udp_have_addresses_and_may_be_empty() -> None:
    near, far = testing.pair("udp")
    async with near, far:
        await near.send(b"")
        packet = await far.receive()

        assert (packet.data, packet.addr) == (b"", near.address)
        assert near.address[0] == "127.0.0.1"


class Shouting(aioprocket.RawProtocol):
    """A protocol under test."""

    def __init__(self) -> None:
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, aioprocket.RawTransport)
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._transport.sendto(data.upper(), addr)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set_result(error)


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["unix", "udp"])
async def test_protocol_is_driven(kind: str) -> None:
    near, far = testing.pair(kind)  # type: ignore[arg-type]
    transport, protocol = await aioprocket.create_endpoint(Shouting, near)
    async with far:
        await far.send(b"quiet")
        answer = await far.receive()
        if kind == "udp":
            transport.close()

    assert answer.data == b"QUIET"
    # With the other end, too, where there is an end.
    assert await protocol.lost is None


@pytest.mark.asyncio
async def test_capture_file_is_fed_to_a_protocol(tmp_path: Path) -> None:
    path = tmp_path / "three.pcapng"
    async with pcapng.Writer(path) as writer:
        for number in range(3):
            frame = b"\xff" * 12 + b"\x88\xb5" + bytes([number]) * 46
            writer.write([aioprocket.Packet(frame)])
    near, far = testing.pair()
    received: list[bytes] = []

    class Keeping(aioprocket.RawProtocol):
        def packet_received(self, packet: aioprocket.Packet) -> None:
            received.append(packet.data)

        def connection_lost(self, error: Exception | None) -> None:
            ended.set()

    ended = asyncio.Event()
    await aioprocket.create_endpoint(Keeping, near)
    async with far:
        sent = await pcapng.replay(path, far, speed=None)
    await ended.wait()

    assert sent.packets == 3
    assert [data[14] for data in received] == [0, 1, 2]


def test_kind_that_there_is_not() -> None:
    with pytest.raises(SpecError, match="'tcp'"):
        testing.pair("tcp")  # type: ignore[arg-type]
