import os
import time
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from aioprocket import ActiveModeError, BusyError, ClosedError, Packet, bpf
from aioprocket.channels.serve import TURN_SECONDS
from channels.rig import cable, frame, number, pair

pytestmark = [pytest.mark.netns, pytest.mark.anyio]


async def test_a_count_is_served_exactly_and_the_rest_stays(veth: tuple[str, str]) -> None:
    with cable(veth) as wire, anyio.fail_after(5):
        wire.send(*range(5))
        got: list[int] = []

        await wire.channel.serve(lambda packet: got.append(number(packet)), active=3)

        assert got == [0, 1, 2]
        assert number(await wire.channel.receive()) == 3


async def test_a_count_below_one_serves_none(veth: tuple[str, str]) -> None:
    with cable(veth) as wire, anyio.fail_after(5):
        wire.send(0)
        got: list[int] = []

        await wire.channel.serve(lambda packet: got.append(number(packet)), active=-1)

        assert got == []
        assert number(await wire.channel.receive()) == 0


async def test_once_serves_one(veth: tuple[str, str]) -> None:
    with cable(veth) as wire, anyio.fail_after(5):
        wire.send(*range(2))
        got: list[int] = []

        await wire.channel.serve(lambda packet: got.append(number(packet)), active="once")

        assert got == [0]


async def test_an_asynchronous_handler_is_awaited_packet_by_packet(veth: tuple[str, str]) -> None:
    with cable(veth) as wire, anyio.fail_after(5):
        wire.send(*range(4))
        running = 0
        got: list[int] = []

        async def handler(packet: Packet) -> None:
            nonlocal running
            running += 1
            assert running == 1
            await anyio.lowlevel.checkpoint()
            got.append(number(packet))
            running -= 1

        await wire.channel.serve(handler, active=4)

        assert got == [0, 1, 2, 3]


async def test_serving_for_ever_waits_for_packets_and_ends_by_cancellation(
    veth: tuple[str, str],
) -> None:
    with cable(veth) as wire, anyio.fail_after(5):
        arrived = [anyio.Event() for _ in range(3)]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wire.channel.serve, lambda packet: arrived[number(packet)].set())
            for each in range(3):
                await anyio.wait_all_tasks_blocked()
                wire.send(each)
                await arrived[each].wait()
            tasks.cancel_scope.cancel()
        wire.send(3)

        assert number(await wire.channel.receive()) == 3


async def test_a_cancelled_handler_loses_only_its_own_packet(veth: tuple[str, str]) -> None:
    with cable(veth) as wire, anyio.fail_after(5):
        wire.send(*range(5))

        async def handler(packet: Packet) -> None:
            if number(packet) == 1:
                await anyio.sleep_forever()

        with anyio.move_on_after(0.05):
            await wire.channel.serve(handler)

        assert [number(await wire.channel.receive()) for _ in range(3)] == [2, 3, 4]


async def test_what_a_handler_raises_ends_it_and_the_rest_stays(veth: tuple[str, str]) -> None:
    with cable(veth) as wire, anyio.fail_after(5):
        wire.send(*range(3))

        def handler(packet: Packet) -> None:
            raise LookupError(number(packet))

        with pytest.raises(LookupError):
            await wire.channel.serve(handler)

        assert [number(await wire.channel.receive()) for _ in range(2)] == [1, 2]


async def test_others_can_neither_receive_nor_serve(veth: tuple[str, str]) -> None:
    with cable(veth) as wire, anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wire.channel.serve, print)
            await anyio.wait_all_tasks_blocked()

            with pytest.raises(ActiveModeError):
                await wire.channel.receive()
            with pytest.raises(BusyError):
                await wire.channel.serve(print)

            tasks.cancel_scope.cancel()


async def test_serving_beside_a_waiting_receive_is_refused(veth: tuple[str, str]) -> None:
    with cable(veth) as wire, anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wire.channel.receive)
            await anyio.wait_all_tasks_blocked()

            with pytest.raises(BusyError):
                await wire.channel.serve(print)

            wire.send(1)


async def test_close_ends_it(veth: tuple[str, str]) -> None:
    with cable(veth) as wire, anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:

            async def serving() -> None:
                with pytest.raises(ClosedError):
                    await wire.channel.serve(print)

            tasks.start_soon(serving)
            await anyio.wait_all_tasks_blocked()
            wire.channel.close()


async def test_the_end_of_a_connection_ends_it() -> None:
    with pair(5) as (channel, far), anyio.fail_after(5):
        got: list[bytes] = []
        far.send(b"last")
        far.close()

        await channel.serve(lambda packet: got.append(packet.data))

        assert got == [b"last"]


@pytest.mark.parametrize("active", [False, 0, -1])
async def test_what_is_passive_at_once_returns_at_once(active: Any) -> None:
    with pair() as (channel, far):
        far.send(b"x")

        await channel.serve(print, active=active)

        assert channel.receive_nowait().data == b"x"


async def test_a_slow_handler_gives_others_their_turn(veth: tuple[str, str]) -> None:
    with cable(veth) as wire, anyio.fail_after(5):
        wire.send(*range(30))
        turns = 0
        seen: list[int] = []

        async def watching() -> None:
            nonlocal turns
            while True:
                turns += 1
                await anyio.lowlevel.checkpoint()

        def handler(packet: Packet) -> None:
            seen.append(turns)
            time.sleep(0.0015)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watching)
            await anyio.lowlevel.checkpoint()
            await wire.channel.serve(handler, active=30)
            tasks.cancel_scope.cancel()

        assert len(seen) == 30
        assert len(set(seen)) >= 7


async def test_set_filter_in_the_handler_takes_the_rest_of_the_batch_with_it(
    veth: tuple[str, str],
) -> None:
    with cable(veth) as wire, anyio.fail_after(5):
        wire.send(*range(10))
        got: list[int] = []

        def handler(packet: Packet) -> None:
            got.append(number(packet))
            if len(got) == 1:
                wire.channel.set_filter(None)
                wire.send(10)

        await wire.channel.serve(handler, active=2)

        assert got == [0, 10]


@pytest.mark.parametrize("ends", ["set_filter", "close", "detach"])
async def test_nothing_is_delivered_after_another_task_ended_that(ends: str) -> None:
    with pair() as (channel, far), anyio.fail_after(5):
        for each in range(8):
            far.send(bytes([each]))
        over = False
        late: list[bytes] = []

        def handler(packet: Packet) -> None:
            if over:
                late.append(packet.data)
            if packet.data == b"last":
                channel.close()
            time.sleep(1.5 * TURN_SECONDS)  # so that the other task gets its turn

        async def ending() -> None:
            nonlocal over
            while channel.stats().rx_packets == 0:
                await anyio.lowlevel.checkpoint()
            if ends == "set_filter":
                channel.set_filter(bpf.accept_all)
                far.send(b"last")
            elif ends == "close":
                channel.close()
            else:
                os.close(channel.detach())
            over = True

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ending)
            with pytest.raises(ClosedError):
                await channel.serve(handler)

        assert late == ([b"last"] if ends == "set_filter" else [])


async def test_what_is_in_hand_is_held_until_it_is_delivered(veth: tuple[str, str]) -> None:
    with cable(veth, ring=False) as wire, anyio.fail_after(5):
        wire.send(*range(10))
        held: list[int] = []

        await wire.channel.serve(
            lambda packet: held.append(wire.channel.stats().rx_held), active=10
        )

        assert held == list(range(9, -1, -1))
        assert wire.channel.stats().rx_packets == 10


async def test_what_a_close_in_the_handler_leaves_stays_held(veth: tuple[str, str]) -> None:
    with cable(veth, ring=False) as wire, anyio.fail_after(5):
        wire.send(*range(10))

        with pytest.raises(ClosedError):
            await wire.channel.serve(lambda packet: wire.channel.close())

        stats = wire.channel.stats()
        assert (stats.rx_packets, stats.rx_held) == (10, 9)
        assert wire.channel.undelivered == []


async def test_what_a_filter_in_the_handler_throws_away_was_never_received(
    veth: tuple[str, str],
) -> None:
    with cable(veth, ring=False) as wire, anyio.fail_after(5):
        wire.send(*range(10))

        def handler(packet: Packet) -> None:
            if number(packet) == 0:
                wire.channel.set_filter(None)
                wire.send(10)

        await wire.channel.serve(handler, active=2)

        stats = wire.channel.stats()
        assert (stats.rx_packets, stats.rx_bytes, stats.rx_held) == (2, 2 * len(frame(0)), 0)
