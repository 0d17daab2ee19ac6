import errno
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioprocket import Channel, ChannelError, ClosedError, Packet, SpecError, Stamp, create_endpoint
from aioprocket._system.options import enable_receive_errors
from aioprocket.channels.stamping import Numbering
from channels.rig import ETH_P_LOCAL_NUMBER, cable, frame, number, open_packet, pair, tap
from contract import Recorder, until
from lab import traffic
from lab.must import require, unavailable
from sandbox import links

pytestmark = [pytest.mark.netns]

# From Linux 6.13 on the sender numbers its packets, before, the kernel does. Both ways work here.
ways = pytest.mark.parametrize("numbered_by", ["sender", "kernel"])


def choose(channel: Channel, numbered_by: str) -> None:
    if numbered_by == "kernel":
        channel._stamper._names_packets = False


@contextmanager
def witness(ifname: str, protocol: int = ETH_P_LOCAL_NUMBER) -> Iterator[Channel]:
    """A second packet socket."""
    channel = open_packet(ifname, protocol=protocol)
    try:
        yield channel
    finally:
        channel.close()


async def until_stamped(sender: Channel, *receivers: Channel) -> None:
    """Wait until packets are stamped on arrival.

    That begins some time after the first socket wanted it; earlier ones are stamped when read.
    """
    for receiver in receivers:
        while True:
            await sender.send(frame(0))
            await receiver._readiness.wait_readable()
            now = time.time_ns()
            if (await receiver.receive()).timestamp_ns <= now:
                break


async def sighting(channel: Channel, which: int) -> Packet:
    """The packet with this number, whatever else comes."""
    while True:
        packet = await channel.receive()
        if packet.data[12:14] == traffic.ETH_P_LOCAL and number(packet) == which:
            return packet


@ways
@pytest.mark.anyio
async def test_the_stamp_lies_between_what_both_ends_of_the_cable_saw(
    veth: tuple[str, str], numbered_by: str
) -> None:
    with cable(veth) as wire, witness(veth[1], 3) as near, witness(veth[0]) as far:
        choose(wire.channel, numbered_by)
        with anyio.fail_after(20):
            await until_stamped(wire.channel, near, far)
            before = wire.channel.stats().tx_packets
            for each in range(1, 6):
                stamp = await wire.channel.send_stamped(frame(each))

                assert isinstance(stamp, Stamp)
                assert (stamp.source, stamp.clock) == ("software", "realtime")
                queued = await sighting(near, each)
                arrived = await sighting(far, each)
                assert queued.direction == "out"
                assert queued.timestamp_ns <= stamp.timestamp_ns <= arrived.timestamp_ns

        assert wire.channel.stats().tx_packets == before + 5


@ways
@pytest.mark.anyio
async def test_each_stamp_of_a_batch_is_that_of_its_packet(
    veth: tuple[str, str], numbered_by: str
) -> None:
    with cable(veth) as wire, witness(veth[1], 3) as near, witness(veth[0]) as far:
        choose(wire.channel, numbered_by)
        with anyio.fail_after(30):
            await until_stamped(wire.channel, near, far)
            count = 150  # more than wait at once
            sent, stamps = await wire.channel.send_batch_stamped(map(frame, range(1, count + 1)))

            assert (sent, sent.error, len(stamps)) == (count, None, count)
            last = 0
            for each, stamp in enumerate(stamps, 1):
                queued, arrived = await sighting(near, each), await sighting(far, each)
                assert stamp is not None
                assert last < stamp.timestamp_ns
                assert queued.timestamp_ns <= stamp.timestamp_ns <= arrived.timestamp_ns
                last = stamp.timestamp_ns


@ways
@pytest.mark.anyio
async def test_a_batch_that_ends_early_has_the_stamps_of_what_was_sent(
    veth: tuple[str, str], numbered_by: str
) -> None:
    with cable(veth) as wire, anyio.fail_after(20):
        choose(wire.channel, numbered_by)
        frames = [frame(1), frame(2), frame(3), bytes(2000), frame(5)]
        sent, stamps = await wire.channel.send_batch_stamped(frames)

        assert sent == 3
        assert isinstance(sent.error, OSError)
        assert sent.error.errno == errno.EMSGSIZE
        assert len(stamps) == 3
        assert all(stamps)
        with pytest.raises(OSError, match="Message too long"):
            await wire.channel.send_batch_stamped([bytes(2000)])
        assert await wire.channel.send_batch_stamped([]) == (0, [])
        assert (await wire.channel.send_stamped(frame(6))).timestamp_ns > 0


@ways
@pytest.mark.anyio
async def test_stamps_of_a_batch_that_do_not_come_are_none(
    veth: tuple[str, str], numbered_by: str
) -> None:
    with cable(veth) as wire, anyio.fail_after(20):
        choose(wire.channel, numbered_by)
        frames = [frame(each) for each in range(4)]
        sent, stamps = await wire.channel.send_batch_stamped(
            frames, source="hardware", timeout=0.01
        )

        assert (sent, sent.error, stamps) == (4, None, [None] * 4)
        assert [number(wire.far.recv(100)) for _ in range(4)] == [0, 1, 2, 3]
        assert all((await wire.channel.send_batch_stamped(frames))[1])


@ways
@pytest.mark.anyio
async def test_batches_and_packets_of_several_tasks_do_not_mix_their_stamps(
    veth: tuple[str, str], numbered_by: str
) -> None:
    with cable(veth) as wire, witness(veth[0]) as far, anyio.fail_after(30):
        choose(wire.channel, numbered_by)
        await until_stamped(wire.channel, far)
        stamps: dict[int, Stamp | None] = {}

        async def batch(first: int) -> None:
            numbers = range(first, first + 20)
            _, found = await wire.channel.send_batch_stamped(map(frame, numbers))
            stamps.update(zip(numbers, found, strict=True))

        async def single(which: int) -> None:
            stamps[which] = await wire.channel.send_stamped(frame(which))

        async with anyio.create_task_group() as tasks:
            for first in (100, 200, 300):
                tasks.start_soon(batch, first)
                tasks.start_soon(single, first + 50)
        before = 0
        for _ in range(63):
            packet = await far.receive()
            while not number(packet):
                packet = await far.receive()
            stamp = stamps[number(packet)]
            assert stamp is not None
            assert before < stamp.timestamp_ns <= packet.timestamp_ns
            before = stamp.timestamp_ns


@pytest.mark.anyio
async def test_a_cancelled_batch_leaves_the_channel_as_it_was(slow: tuple[str, str]) -> None:
    async with slow_channel(slow, "sender") as channel:
        with anyio.move_on_after(0.05) as scope:
            await channel.send_batch_stamped([frame(1, 1000)] * 30, timeout=60)
        assert scope.cancelled_caught
        with anyio.fail_after(30):
            assert (await channel.send_stamped(frame(2), timeout=25)).source == "software"


@ways
@pytest.mark.anyio
async def test_a_packet_enters_the_queue_before_it_leaves(
    veth: tuple[str, str], numbered_by: str
) -> None:
    with cable(veth) as wire, witness(veth[1], 3) as near:
        choose(wire.channel, numbered_by)
        with anyio.fail_after(20):
            stamp = await wire.channel.send_stamped(frame(1), source="sched")
            left = await sighting(near, 1)

        assert (stamp.source, stamp.clock) == ("sched", "realtime")
        assert stamp.timestamp_ns <= left.timestamp_ns


@contextmanager
def udp() -> Iterator[tuple[Channel, Any]]:
    near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    near.bind(("127.0.0.1", 0))
    address = near.getsockname()
    channel = Channel.from_fd(near)
    yield channel, address
    channel.close()


@contextmanager
def raw() -> Iterator[tuple[Channel, Any]]:
    channel = Channel.from_fd(socket.socket(socket.AF_INET6, socket.SOCK_RAW, 253))
    yield channel, ("::1", 0)
    channel.close()


@ways
@pytest.mark.parametrize("opened", [udp, raw])
@pytest.mark.anyio
async def test_internet_sockets_stamp_as_well(opened: Callable[[], Any], numbered_by: str) -> None:
    with opened() as (channel, address):
        channel._port.sock.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
        choose(channel, numbered_by)
        with anyio.fail_after(20):
            for each in range(3):
                stamp = await channel.send_stamped(bytes([each]), address)
                packet = await channel.receive()

                assert packet.data == bytes([each])
                assert packet.ancdata == ()
                assert stamp.timestamp_ns <= packet.timestamp_ns


@pytest.fixture
def slow(veth: tuple[str, str]) -> tuple[str, str]:
    """A cable on which frames wait: a large one takes 20 ms."""
    traffic.settle(veth)
    command = [require("tc"), "qdisc", "add", "dev", veth[1], "root", "tbf"]
    command += ["rate", "400kbit", "burst", "1600", "limit", "100000"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        unavailable("tbf", done.stderr.strip())
    return veth


@asynccontextmanager
async def slow_channel(slow: tuple[str, str], numbered_by: str) -> AsyncIterator[Channel]:
    channel = open_packet(slow[1])
    choose(channel, numbered_by)
    async with channel:
        yield channel


@ways
@pytest.mark.anyio
async def test_stamps_of_several_tasks_on_a_slow_link_are_each_its_own(
    slow: tuple[str, str], numbered_by: str
) -> None:
    stamps: dict[int, int] = {}
    async with slow_channel(slow, numbered_by) as channel:
        with witness(slow[0]) as far, anyio.fail_after(30):

            async def sending(which: int) -> None:
                stamps[which] = (await channel.send_stamped(frame(which, 500))).timestamp_ns
                await channel.send(frame(1000 + which, 500))

            await until_stamped(channel, far)
            async with anyio.create_task_group() as tasks:
                for each in range(1, 9):
                    tasks.start_soon(sending, each)
            order: list[Packet] = []
            while len(order) < 16:
                packet = await far.receive()
                order += [packet] if number(packet) else []

    before = 0
    for packet in order:
        if number(packet) in stamps:
            assert before < stamps[number(packet)] <= packet.timestamp_ns
        before = packet.timestamp_ns


@ways
@pytest.mark.parametrize("ending", ["timeout", "cancelled"])
@pytest.mark.anyio
async def test_a_stamp_that_comes_too_late_is_not_that_of_the_next_packet(
    slow: tuple[str, str], numbered_by: str, ending: str
) -> None:
    async with slow_channel(slow, numbered_by) as channel:
        with witness(slow[0]) as far, anyio.fail_after(30):
            await until_stamped(channel, far)
            late = 1
            while True:  # the link may have been idle for as long as this program was
                await channel.send_batch([frame(0, 1000)] * 10)
                before = channel.stats().tx_packets
                if ending == "timeout":
                    try:
                        await channel.send_stamped(frame(late), timeout=0.001)
                    except ChannelError as error:
                        if isinstance(error, TimeoutError):
                            break
                        raise
                else:
                    with anyio.move_on_after(0.001 * late) as scope:
                        await channel.send_stamped(frame(late))
                    if scope.cancelled_caught and channel.stats().tx_packets > before:
                        break
                late += 1

            stamp = await channel.send_stamped(frame(1000), timeout=20)

            lost = await sighting(far, late)
            mine = await sighting(far, 1000)
            assert lost.timestamp_ns < stamp.timestamp_ns <= mine.timestamp_ns


@pytest.mark.anyio
async def test_a_reader_that_waits_gets_packets_and_takes_no_stamp_away(
    veth: tuple[str, str],
) -> None:
    with cable(veth) as wire, anyio.fail_after(20):
        got: list[Packet] = []

        async def reading() -> None:
            while len(got) < 20:
                got.append(await wire.channel.receive())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reading)
            await anyio.wait_all_tasks_blocked()
            for each in range(20):
                await wire.channel.send_stamped(frame(each))
                wire.send(each)

        assert [number(packet) for packet in got] == list(range(20))
        assert all(packet.ancdata == () for packet in got)


@pytest.mark.asyncio
@pytest.mark.parametrize("active", [True, False])
async def test_a_channel_with_a_transport_stamps(veth: tuple[str, str], active: bool) -> None:
    with cable(veth) as wire:
        transport, protocol = await create_endpoint(Recorder, wire.channel, active=active)
        for each in range(5):
            assert (await transport.channel.send_stamped(frame(each))).timestamp_ns > 0
        transport.close()
        await until(lambda: protocol.lost)

        assert protocol.errors == []


@pytest.mark.anyio
async def test_a_link_without_hardware_stamps_gives_none_and_goes_on(
    veth: tuple[str, str],
) -> None:
    with cable(veth) as wire, anyio.fail_after(20):
        with pytest.raises(TimeoutError) as raised:
            await wire.channel.send_stamped(frame(0), source="hardware", timeout=0.01)

        assert isinstance(raised.value, ChannelError)
        assert raised.value.errno == errno.ETIMEDOUT
        assert "of a packet that was sent" in str(raised.value)
        assert "ethtool -T" in raised.value.hint
        assert number(wire.far.recv(100)) == 0
        assert (await wire.channel.send_stamped(frame(1))).source == "software"


@pytest.mark.anyio
async def test_close_ends_the_wait_for_a_stamp(veth: tuple[str, str]) -> None:
    with cable(veth) as wire, anyio.fail_after(20):

        async def sending() -> None:
            with pytest.raises(ClosedError):
                await wire.channel.send_stamped(frame(0), source="hardware", timeout=60)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sending)
            tasks.start_soon(sending)
            await anyio.wait_all_tasks_blocked()
            wire.channel.close()

        with pytest.raises(ClosedError):
            await wire.channel.send_stamped(frame(0))


@pytest.mark.anyio
async def test_a_link_that_goes_down_meanwhile_is_news_and_no_stamp(
    veth: tuple[str, str],
) -> None:
    with cable(veth) as wire, anyio.fail_after(20):

        async def sending() -> None:
            with pytest.raises(TimeoutError):
                await wire.channel.send_stamped(frame(0), source="hardware", timeout=0.2)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sending)
            await anyio.wait_all_tasks_blocked()
            links.set_down(wire.ifname)

        assert wire.channel.stats().link_down == 1


@ways
@pytest.mark.anyio
async def test_answers_of_the_network_and_stamps_share_the_error_queue(numbered_by: str) -> None:
    near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    enable_receive_errors(near, socket.AF_INET)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = nobody.getsockname()
    async with Channel.from_fd(near) as channel:
        choose(channel, numbered_by)
        with anyio.fail_after(20):
            stamps = [(await channel.send_stamped(b"x", address)).timestamp_ns for _ in range(5)]

        assert stamps == sorted(set(stamps))
        assert channel.stats().errors >= 4


@pytest.mark.anyio
async def test_a_refused_packet_is_an_error_as_ever_and_spoils_no_count(
    veth: tuple[str, str],
) -> None:
    for numbered_by in ("sender", "kernel"):
        with cable(veth) as wire, witness(veth[0]) as far, anyio.fail_after(20):
            choose(wire.channel, numbered_by)
            for each in range(1, 4):
                with pytest.raises(OSError, match="Message too long"):
                    await wire.channel.send_stamped(bytes(2000))
                stamp = await wire.channel.send_stamped(frame(each))
                assert stamp.timestamp_ns <= (await sighting(far, each)).timestamp_ns


@pytest.mark.anyio
async def test_what_has_no_stamps_says_so() -> None:
    with pair() as (channel, _), pytest.raises(SpecError, match="no transmit timestamps"):
        await channel.send_stamped(b"x")
    with tap() as wire, pytest.raises(SpecError, match="no transmit timestamps"):
        await wire.channel.send_stamped(frame(0))
    with udp() as (channel, address):
        wrong: Any = "sundial"
        with pytest.raises(SpecError, match="software, hardware, sched, not 'sundial'"):
            await channel.send_stamped(b"x", address, source=wrong)
        assert channel.stats().tx_packets == 0


events = st.lists(
    st.tuples(
        st.lists(st.booleans(), max_size=3),  # attempts that fail, and whether they are counted
        st.sampled_from(["seen", "late", "never"]),
    ),
    max_size=30,
)


@given(events, st.data())
def test_a_number_is_never_taken_for_that_of_another_packet(
    packets: list[tuple[list[bool], str]], data: st.DataObject
) -> None:
    numbering = Numbering()
    counted = data.draw(st.integers(0, 1)) and (1 << 32) - 3  # near the end of the count
    numbering._low = numbering._high = counted
    late: list[int] = []
    for failures, fate in packets:
        for is_counted in failures:
            numbering.fail()
            counted += is_counted
        mine, counted = counted, counted + 1
        for each in data.draw(st.permutations(late)):
            assert not numbering.is_last(each % (1 << 32))
        late = [] if data.draw(st.booleans()) else late
        if fate == "seen" and numbering.is_last(mine % (1 << 32)):
            continue
        numbering.lose()
        if fate == "late":
            late.append(mine)


def test_numbers_are_found_again_after_lost_packets_and_failures() -> None:
    numbering = Numbering()
    numbering.fail()
    numbering.lose()
    assert not numbering.is_last(1)  # the lost one's, if the failure was counted

    numbering.lose()
    numbering.give_up()
    assert numbering.is_last(2)
    assert numbering.is_last(3)
