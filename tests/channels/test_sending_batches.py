import errno
import socket
import subprocess
from collections.abc import Iterator
from itertools import count
from typing import Any

import anyio
import pytest

from aioprocket import Channel, ClosedError, LinkDownError, Packet, Sent, SpecError
from channels.rig import cable, frame, number, open_packet, pair, tap
from lab import traffic
from lab.must import require, unavailable
from sandbox import links

pytestmark = [pytest.mark.netns, pytest.mark.anyio]


@pytest.fixture
def udp() -> Iterator[tuple[Channel, socket.socket]]:
    """A channel that is not connected, and somebody to send to."""
    near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        far.bind(("127.0.0.1", 0))
        far.settimeout(5)
        channel = Channel.from_fd(near)
        yield channel, far
        channel.close()


def numbers(far: socket.socket, how_many: int) -> list[int]:
    return [number(far.recv(2000)) for _ in range(how_many)]


@pytest.mark.parametrize("options", [{}, {"qdisc_bypass": True}, {"type": socket.SOCK_DGRAM}])
async def test_a_batch_of_any_size_arrives_in_order(
    veth: tuple[str, str], options: dict[str, Any]
) -> None:
    with cable(veth, **options) as wire:
        wire.far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        sent = 0
        for size in (0, 1, 130, 600):
            frames = [frame(each) for each in range(sent, sent + size)]
            if options.get("type") == socket.SOCK_DGRAM:
                address = (wire.ifname, 0x88B5, 0, 0, traffic.NOWHERE)
                taken = await wire.channel.send_batch([(each[14:], address) for each in frames])
            else:
                taken = await wire.channel.send_batch(frames)

            assert taken == size
            assert taken.error is None
            assert numbers(wire.far, size) == list(range(sent, sent + size))
            sent += size

        stats = wire.channel.stats()
        assert (stats.tx_packets, stats.tx_refused) == (sent, 0)


async def test_a_batch_may_come_from_anything_that_gives_packets(
    udp: tuple[Channel, socket.socket],
) -> None:
    channel, far = udp
    to = far.getsockname()

    assert await channel.send_batch((frame(each), to) for each in range(3)) == 3
    assert await channel.send_batch({frame(3): None, frame(4): None} and [(frame(3), to)]) == 1
    assert await channel.send_batch(iter(((bytearray(frame(4)), to),))) == 1

    assert numbers(far, 5) == list(range(5))


async def test_each_packet_goes_to_its_address(udp: tuple[Channel, socket.socket]) -> None:
    channel, far = udp
    port = far.getsockname()[1]
    items: list[Any] = [
        (frame(0), ("127.0.0.1", port)),
        (frame(1), ("127.1", port)),  # what only the socket module understands
        (frame(2), (b"127.0.0.1", port)),
        Packet(frame(3), ("127.0.0.1", port)),
        (frame(4), ("127.0.0.1", port)),
    ]

    assert await channel.send_batch(items) == 5

    assert numbers(far, 5) == list(range(5))
    stats = channel.stats()
    assert (stats.tx_packets, stats.tx_bytes) == (5, 5 * 64)


async def test_replies_to_a_batch_go_to_where_each_came_from() -> None:
    near = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    near.bind(("::1", 0))
    with (
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as other,
    ):
        for far in (one, other):
            far.bind(("::1", 0))
            far.settimeout(5)
        for each, far in enumerate((one, other, one)):
            far.sendto(frame(each), near.getsockname())
        async with Channel.from_fd(near) as channel:
            assert await channel.send_batch(await channel.receive_batch(3)) == 3

        assert numbers(one, 2) == [0, 2]
        assert numbers(other, 1) == [1]


async def test_a_batch_that_stops_says_how_far_it_came_and_why(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        sent = await wire.channel.send_batch([frame(0), frame(1), bytes(2000), frame(2)])

        assert sent == 2
        assert isinstance(sent, Sent)
        assert sent.error is not None
        assert sent.error.errno == errno.EMSGSIZE
        assert "send 2000 bytes" in str(sent.error)
        assert "the MTU of v1 is 1500" in sent.error.__notes__
        assert numbers(wire.far, 2) == [0, 1]
        assert wire.channel.stats().tx_packets == 2


async def test_a_batch_to_a_link_that_is_down_fails_as_one_packet_does(
    veth: tuple[str, str],
) -> None:
    with cable(veth) as wire:
        links.set_down(wire.ifname)

        with pytest.raises(LinkDownError) as raised:
            await wire.channel.send_batch([frame(0), frame(1)])

        assert raised.value.errno == errno.ENETDOWN
        assert wire.channel.stats().tx_packets == 0


async def test_what_came_before_an_item_that_is_none_is_sent_and_counted(
    udp: tuple[Channel, socket.socket],
) -> None:
    channel, far = udp
    to = far.getsockname()
    wrong: list[Any] = ["text", 5, (frame(0), ("localhost", 9)), (frame(0), 9), (frame(0),)]

    for each in wrong:
        with pytest.raises((TypeError, ValueError)):
            await channel.send_batch([(frame(0), to), each])
    with pytest.raises(SpecError, match="not looked up"):
        await channel.send_batch([(frame(0), to), (frame(1), ("localhost", 9))])

    assert channel.stats().tx_packets == len(wrong) + 1
    assert numbers(far, len(wrong) + 1) == [0] * (len(wrong) + 1)


async def test_an_answer_to_an_earlier_packet_does_not_stop_a_batch() -> None:
    near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        near.connect(nobody.getsockname())
    async with Channel.from_fd(near) as channel:
        await channel.send(b"x")  # nobody is there, and the kernel says so at the next call

        assert await channel.send_batch([b"x", b"x"]) == 2
        assert channel.stats().errors >= 1


@pytest.fixture
def narrow() -> Iterator[tuple[Channel, socket.socket]]:
    with pair(socket.SOCK_SEQPACKET) as (channel, far):
        far.settimeout(5)
        yield channel, far


async def test_a_batch_waits_for_room_and_goes_on(narrow: tuple[Channel, socket.socket]) -> None:
    channel, far = narrow
    items = [each.to_bytes(4, "big") + bytes(2000) for each in range(1200)]
    got: list[int] = []

    async def draining() -> None:
        while len(got) < len(items):
            await anyio.wait_readable(far)
            got.append(int.from_bytes(far.recv(3000)[:4], "big"))

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(draining)
            assert await channel.send_batch(items) == 1200

    assert got == list(range(1200))
    stats = channel.stats()
    assert (stats.tx_packets, stats.tx_bytes) == (1200, 1200 * 2004)
    assert stats.tx_refused >= 1


async def test_a_cancelled_batch_has_counted_what_was_taken(
    narrow: tuple[Channel, socket.socket],
) -> None:
    channel, far = narrow
    items = (each.to_bytes(4, "big") + bytes(2000) for each in count())

    with anyio.move_on_after(0.01) as scope:
        await channel.send_batch(items)

    assert scope.cancelled_caught
    taken = channel.stats().tx_packets
    far.setblocking(False)
    for each in range(taken):
        assert int.from_bytes(far.recv(3000)[:4], "big") == each
    with pytest.raises(BlockingIOError):
        far.recv(3000)


async def test_close_ends_a_batch_that_waits(narrow: tuple[Channel, socket.socket]) -> None:
    channel, _ = narrow
    ended: list[Sent] = []

    async def sending() -> None:
        ended.append(await channel.send_batch([bytes(2000)] * 1000))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sending)
            await anyio.wait_all_tasks_blocked()
            channel.close()

    assert ended == [channel.stats().tx_packets]
    assert isinstance(ended[0].error, ClosedError)
    with pytest.raises(ClosedError):
        await channel.send_batch([b"x"])


async def test_batches_of_several_tasks_keep_their_own_order(
    narrow: tuple[Channel, socket.socket],
) -> None:
    channel, far = narrow
    got: list[tuple[int, int]] = []

    async def sending(who: int) -> None:
        items = [bytes([who]) + each.to_bytes(4, "big") + bytes(1000) for each in range(700)]
        assert await channel.send_batch(items) == 700

    async def draining() -> None:
        while len(got) < 2100:
            await anyio.wait_readable(far)
            data = far.recv(3000)
            got.append((data[0], int.from_bytes(data[1:5], "big")))

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(draining)
            for who in range(3):
                tasks.start_soon(sending, who)

    for who in range(3):
        assert [each for sender, each in got if sender == who] == list(range(700))


async def test_batches_without_pause_give_others_their_turn(veth: tuple[str, str]) -> None:
    with cable(veth) as wire, anyio.fail_after(20):
        turns = 0

        async def watching() -> None:
            nonlocal turns
            while True:
                turns += 1
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watching)
            await anyio.lowlevel.checkpoint()
            await wire.channel.send_batch([frame(0)] * 20_000)
            of_one = turns
            for _ in range(2000):
                await wire.channel.send_batch([frame(0)] * 10)
            of_many = turns - of_one
            tasks.cancel_scope.cancel()

        assert of_one >= 5
        assert of_many >= 5
        assert wire.channel.stats().tx_packets == 40_000


async def test_a_device_takes_batches(veth: tuple[str, str]) -> None:
    with tap() as wire:
        wire.far.settimeout(5)
        sent = await wire.channel.send_batch([frame(each) for each in range(200)])

        assert sent == 200
        assert numbers(wire.far, 200) == list(range(200))
        with pytest.raises(OSError, match="without an address"):
            await wire.channel.send_batch([(frame(0), (wire.ifname, 0))])


async def test_a_stream_takes_batches_too() -> None:
    with pair(socket.SOCK_STREAM) as (channel, far):
        far.settimeout(5)

        assert await channel.send_batch([b"abc", bytearray(b"def"), b""]) == 3

        assert far.recv(100) == b"abcdef"


def shape(ifname: str, **limits: str) -> None:
    """Let an interface send only so much, and queue the rest up to a limit: tc-tbf(8)."""
    command = [require("tc"), "qdisc", "add", "dev", ifname, "root", "tbf"]
    for name, value in limits.items():
        command += [name, value]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:  # not every kernel has it
        unavailable("tbf", done.stderr.strip())


@pytest.fixture
def shaped(veth: tuple[str, str]) -> tuple[str, str]:
    """A cable whose first end sends no more than a few frames in a millisecond, and queues them."""
    traffic.settle(veth)
    shape(veth[1], rate="8mbit", burst="4000", limit="400000")
    return veth


async def test_a_batch_on_a_shaped_link_waits_for_the_socket_s_buffer(
    shaped: tuple[str, str],
) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as far:
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        far.bind((shaped[0], 0x88B5))
        far.settimeout(20)
        channel = open_packet(shaped[1])
        try:
            with anyio.fail_after(30):
                # More than net.core.wmem_default lets one socket have on the way.
                assert await channel.send_batch(frame(each, 1000) for each in range(600)) == 600
            assert numbers(far, 600) == list(range(600))
            stats = channel.stats()
            assert stats.tx_packets == 600
            assert stats.tx_refused >= 1
        finally:
            channel.close()


@pytest.fixture
def choked(veth: tuple[str, str]) -> tuple[str, str]:
    """A cable whose first end queues next to nothing, and takes long to send that."""
    traffic.settle(veth)
    shape(veth[1], rate="8kbit", burst="1600", limit="3000")
    return veth


async def test_a_full_interface_queue_ends_a_batch_with_enobufs_in_the_end(
    choked: tuple[str, str],
) -> None:
    channel = open_packet(choked[1])
    try:
        with anyio.fail_after(10):
            sent = await channel.send_batch([frame(each, 1000) for each in range(20)])

        assert 1 <= sent < 20
        assert sent.error is not None
        assert sent.error.errno == errno.ENOBUFS
        assert channel.stats().tx_packets == sent
        assert channel.stats().tx_refused >= 1
    finally:
        channel.close()


@pytest.mark.parametrize("kind", [list, tuple, iter])
async def test_a_batch_larger_than_one_piece_is_sent_whole_whatever_holds_it(
    udp: tuple[Channel, socket.socket], kind: Any
) -> None:
    channel, far = udp
    pairs = [(frame(each), far.getsockname()) for each in range(1200)]

    assert await channel.send_batch(kind(pairs)) == 1200

    assert numbers(far, 1200) == list(range(1200))


async def test_what_is_appended_to_a_list_while_it_is_sent_is_sent_as_well() -> None:
    with pair() as (channel, far):
        items = [each.to_bytes(2, "big") for each in range(400)]  # more than there is room for
        got: list[int] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(channel.send_batch, items)
            await anyio.wait_all_tasks_blocked()
            assert channel.stats().tx_refused
            items.append((400).to_bytes(2, "big"))
            far.setblocking(False)
            while len(got) < 401:
                try:
                    got.append(int.from_bytes(far.recv(100), "big"))
                except BlockingIOError:
                    await anyio.sleep(0.001)

    assert got == list(range(401))
