import errno
import gc
import time
from typing import Any

import anyio
import pytest

from aioprocket import LinkDownError, create_endpoint
from aioprocket.readiness import checkpoint
from channels.rig import Cable, cable, frame, number, tap
from contract import Recorder, until
from sandbox import links

pytestmark = [pytest.mark.netns]


async def delivered(wire: Cable, veth: tuple[str, str], each: int) -> None:
    """Send until the link, which has just come up, lets a frame through."""
    for ifname in veth:
        links.set_up(ifname)
    while not wire.channel.stats().rx_packets:
        wire.send(each)
        await anyio.sleep(0.001)


@pytest.mark.anyio
async def test_a_receive_goes_on_when_the_link_is_up_again(veth: tuple[str, str]) -> None:
    with cable(veth) as wire, anyio.fail_after(10):
        got: list[int] = []
        async with anyio.create_task_group() as tasks:

            async def receiving() -> None:
                got.append(number(await wire.channel.receive()))

            tasks.start_soon(receiving)
            await anyio.wait_all_tasks_blocked()
            for _ in range(2):
                links.set_down(wire.ifname)
                await anyio.wait_all_tasks_blocked()
                await anyio.sleep(0.01)
                links.set_up(wire.ifname)
            assert not got
            await delivered(wire, veth, 7)

        assert got == [7]
        stats = wire.channel.stats()
        assert (stats.errors, stats.link_down) == (2, 2)


@pytest.mark.anyio
async def test_a_removed_interface_ends_the_receive(veth: tuple[str, str]) -> None:
    with cable(veth) as wire, anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:

            async def receiving() -> None:
                with pytest.raises(LinkDownError) as raised:
                    await wire.channel.receive()
                assert raised.value.errno == errno.ENODEV
                assert raised.value.interface == wire.ifname
                assert raised.value.hint

            tasks.start_soon(receiving)
            await anyio.wait_all_tasks_blocked()
            links.delete_link(veth[0])

        with pytest.raises(LinkDownError):
            await wire.channel.receive()
        with pytest.raises(LinkDownError):
            wire.channel.receive_nowait()
        with pytest.raises(LinkDownError):
            await wire.channel.send(b"x" * 60)
        assert wire.channel.mtu == 1500
        assert wire.channel.interface == wire.ifname


@pytest.mark.anyio
async def test_an_interface_that_is_removed_while_it_is_down_ends_the_receive(
    veth: tuple[str, str],
) -> None:
    with cable(veth) as wire, anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:

            async def receiving() -> None:
                with pytest.raises(LinkDownError, match="removed"):
                    await wire.channel.receive()

            tasks.start_soon(receiving)
            await anyio.wait_all_tasks_blocked()
            links.set_down(wire.ifname)
            await anyio.sleep(0.02)
            links.delete_link(veth[0])


@pytest.mark.anyio
async def test_waiting_for_a_link_that_is_down_takes_no_time(veth: tuple[str, str]) -> None:
    with cable(veth) as wire, anyio.fail_after(10):
        links.set_down(wire.ifname)
        gc.collect()  # which takes its time where many tests have run, is not to come meanwhile
        before = time.process_time()
        with anyio.move_on_after(0.3):
            await wire.channel.receive()

        assert time.process_time() - before < 0.1
        assert wire.channel.stats().wakeups <= 3


@pytest.mark.anyio
async def test_a_removed_tun_device_ends_the_receive() -> None:
    with tap() as wire, anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:

            async def receiving() -> None:
                with pytest.raises(LinkDownError) as raised:
                    await wire.channel.receive()
                assert raised.value.errno == errno.EBADFD
                assert raised.value.interface == "tap0"

            tasks.start_soon(receiving)
            await anyio.wait_all_tasks_blocked()
            links.delete_link("tap0")


@pytest.mark.anyio
async def test_a_tun_device_that_is_down_takes_nothing() -> None:
    with tap() as wire:
        links.set_down("tap0")

        with pytest.raises(LinkDownError):
            await wire.channel.send(b"x" * 60)


@pytest.mark.asyncio
async def test_a_transport_tells_of_the_link_and_goes_on(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        transport, protocol = await create_endpoint(Recorder, wire.channel)
        for round in (1, 2):
            links.set_down(wire.ifname)
            await until(lambda: len(protocol.errors) == round)  # noqa: B023
            links.set_up(wire.ifname)
        await delivered(wire, veth, 5)
        await until(lambda: protocol.packets)

        assert {type(error) for error in protocol.errors} == {LinkDownError}
        assert {number(packet) for packet in protocol.packets} == {5}
        transport.abort()
        await until(lambda: protocol.lost)


@pytest.mark.asyncio
@pytest.mark.parametrize("down_first", [False, True])
async def test_a_transport_ends_with_its_interface(veth: tuple[str, str], down_first: bool) -> None:
    with cable(veth) as wire:
        transport, protocol = await create_endpoint(Recorder, wire.channel)
        if down_first:
            links.set_down(wire.ifname)
            await until(lambda: protocol.errors)
        links.delete_link(veth[0])

        await until(lambda: protocol.lost)
        await checkpoint()

        assert isinstance(protocol.lost[0], LinkDownError)
        assert transport.is_closing()


def make_anew(veth: tuple[str, str], mtu: int) -> None:
    """Other interfaces under the names of the fixture's."""
    links.delete_link(veth[0])
    links.add_veth(*veth)
    for ifname in veth:
        links.disable_ipv6(ifname)
        links.set_mtu(ifname, mtu)
        links.set_up(ifname)


KINDS = pytest.mark.parametrize(
    "options",
    [{}, {"ring": True}, {"ring": True, "latency": "low"}],
    ids=["queue", "ring", "frames"],
)


@KINDS
@pytest.mark.anyio
async def test_another_interface_of_the_same_name_is_not_believed(
    veth: tuple[str, str], options: dict[str, Any]
) -> None:
    with cable(veth, **options) as wire, anyio.fail_after(20):
        channel = wire.channel
        before = (channel.interface, channel.ifindex, channel.mtu, channel.hwaddr)
        wire.send(*range(3))
        make_anew(veth, 9000)

        assert (channel.interface, channel.ifindex, channel.mtu, channel.hwaddr) == before
        assert [number(await channel.receive()) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(LinkDownError, match="removed"):
            await channel.receive()


@KINDS
@pytest.mark.asyncio
async def test_a_transport_ends_with_its_interface_whoever_has_the_name(
    veth: tuple[str, str], options: dict[str, Any]
) -> None:
    with cable(veth, **options) as wire:
        transport, protocol = await create_endpoint(Recorder, wire.channel, active=False)
        wire.send(*range(3))
        make_anew(veth, 1400)
        transport.set_active(True)

        await until(lambda: protocol.lost)

        assert [number(packet) for packet in protocol.packets] == [0, 1, 2]
        assert isinstance(protocol.lost[0], LinkDownError)


@pytest.mark.anyio
async def test_an_interface_that_was_renamed_is_the_same(veth: tuple[str, str]) -> None:
    with cable(veth) as wire, anyio.fail_after(20):
        links.set_down(wire.ifname)
        links.rename(wire.ifname, "other0")
        links.set_mtu("other0", 1300)

        assert (wire.channel.interface, wire.channel.mtu) == ("other0", 1300)
        with pytest.raises(LinkDownError) as raised:
            await wire.channel.send(frame(0))
        assert raised.value.interface == "other0"
        links.set_up("other0")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(delivered, wire, (veth[0], "other0"), 7)
            assert number(await wire.channel.receive()) == 7
        await until(lambda: not wire.channel._intake.link_is_down)
