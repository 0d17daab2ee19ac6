"""What a ring has received when its link goes down, its interface away or its channel ends."""

import errno
import select

import anyio
import pytest

from aioprocket import (
    LinkDownError,
    create_endpoint,
)
from channels.rig import (
    cable,
    frame,
    number,
)
from channels.ring_rig import receive
from contract import Recorder, until
from sandbox import links

pytestmark = pytest.mark.netns


@pytest.mark.anyio
async def test_a_link_that_comes_up_again_goes_on(veth: tuple[str, str]) -> None:
    with cable(veth, ring=True) as wire, anyio.fail_after(20):
        wire.send(*range(20))
        links.set_down(wire.ifname)
        got = await receive(wire, 20)
        async with anyio.create_task_group() as tasks:

            async def receiving() -> None:
                got.extend(await receive(wire, 1))

            tasks.start_soon(receiving)
            await until(lambda: wire.channel.stats().link_down)
            for ifname in veth:
                links.set_up(ifname)
            while len(got) == 20:
                wire.send(77)
                await anyio.sleep(0.001)

        assert got == [*range(20), 77]


@pytest.mark.anyio
async def test_nothing_from_before_a_removal_is_lost(veth: tuple[str, str]) -> None:
    with cable(veth, ring=True) as wire, anyio.fail_after(20):
        wire.send(*range(1000))
        links.delete_link(veth[0])
        got = await receive(wire, 1000)
        with pytest.raises(LinkDownError) as raised:
            await wire.channel.receive()

        assert got == list(range(1000))
        assert raised.value.errno == errno.ENODEV


@pytest.mark.asyncio
async def test_a_transport_delivers_all_from_before_a_removal(veth: tuple[str, str]) -> None:
    with cable(veth, ring=True) as wire:
        _, protocol = await create_endpoint(Recorder, wire.channel)
        wire.send(*range(1000))
        links.delete_link(veth[0])
        await until(lambda: protocol.lost)

        assert [number(packet) for packet in protocol.packets] == list(range(1000))
        assert isinstance(protocol.lost[0], LinkDownError)


@pytest.mark.anyio
async def test_a_view_that_is_kept_does_not_wake(veth: tuple[str, str]) -> None:
    with cable(veth, ring=True) as wire, anyio.fail_after(20):
        wire.send(0)
        view = memoryview(await wire.channel.receive())
        with anyio.move_on_after(0.1):
            await wire.channel.receive()

        assert wire.channel.stats().wakeups < 20
        assert bytes(view) == frame(0)


@pytest.mark.anyio
async def test_everything_is_valid_after_the_end(veth: tuple[str, str]) -> None:
    with cable(veth, ring=True) as wire, anyio.fail_after(20):
        wire.send(*range(30))
        batch = await anext(wire.channel.batches())
        packet = batch[0]
        view = memoryview(packet)
        await wire.channel.aclose()

        assert number(packet) == 0
        assert packet.addr[0] == wire.ifname
        assert bytes(view) == frame(0)
        assert [number(each) for each in batch] == list(range(len(batch)))
        assert wire.channel.stats().rx_packets == len(batch)


@pytest.mark.anyio
async def test_a_descriptor_that_is_given_away_has_no_ring(veth: tuple[str, str]) -> None:
    with cable(veth, ring=True) as wire:
        sock = wire.channel.to_socket()
        with sock:
            wire.send(3)
            select.select([sock], [], [], 10)
            assert number(sock.recv(2000)) == 3
