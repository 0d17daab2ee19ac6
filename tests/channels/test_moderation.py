"""``latency="balanced"`` by system call: while packets come densely, a timer wakes who reads them.

Most tests have a stream that was dense before they begin, and a first rest that lasts a second: so
what happens while nobody is woken does not depend on how fast this machine is.
"""

import asyncio
import select
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import anyio
import pytest
import uvloop

from aioprocket import Channel, ClosedError, Packet, create_endpoint
from aioprocket._system import options
from aioprocket._system._native import Moderation
from aioprocket.channels import moderation
from aioprocket.readiness import checkpoint
from channels.rig import cable, number
from lab.forks import in_child

pytestmark = pytest.mark.netns

HOST = "127.0.0.1"
SECOND = 1_000_000_000
IN_TIME = 0.6  # seconds: before the first rest ends
# The number of `frame` is at offset 14: keep the even ones.
EVEN = [(0x20, 0, 0, 14), (0x45, 1, 0, 1), (0x06, 0, 0, 0xFFFF), (0x06, 0, 0, 0)]
MANY = 20
# Wakeups of the rest, and of those that find that nothing more comes: more where others compute.
FEW = MANY // 2

FORMS: dict[str, Callable[[Channel], Awaitable[Any]]] = {
    "receive": lambda channel: channel.receive(),
    "async for": lambda channel: anext(aiter(channel)),
    "receive_batch": lambda channel: channel.receive_batch(),
    "batches": lambda channel: anext(channel.batches()),
    "recvfrom": lambda channel: channel.recvfrom(),
}


class Line:
    """A channel at one end of UDP, and a plain socket at the other."""

    def __init__(self, channel: Channel, far: socket.socket) -> None:
        self.channel = channel
        self.far = far
        self.sent = 0
        self.got: list[int] = []

    def send(self, count: int = 1) -> None:
        for _ in range(count):
            self.far.send(self.sent.to_bytes(4, "big"))
            self.sent += 1

    @property
    def resting(self) -> bool:
        return self.channel._readiness.resting

    def note(self, taken: Any) -> None:
        """What any of the forms has returned, or a callback was called with."""
        if isinstance(taken, tuple):  # of recvfrom
            taken = [taken[0]]
        elif isinstance(taken, bytes | Packet):
            taken = [taken]
        self.got += [int.from_bytes(bytes(packet), "big") for packet in taken]

    def all_came(self) -> bool:
        return self.got == list(range(self.sent))


@contextmanager
def line(latency: Literal["low", "balanced"] = "balanced", **how: Any) -> Iterator[Line]:
    near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    near.bind((HOST, 0))
    channel = Channel.from_fd(near, latency=latency, **how)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.connect(channel.address)
        try:
            yield Line(channel, far)
        finally:
            channel.close()


def dense(longest: int) -> Moderation:
    """What is known of a stream that has been dense until now: the next look begins a rest."""
    known = Moderation(SECOND)
    now = time.monotonic_ns() - 3 * SECOND
    for _ in range(20):
        now += SECOND // 10
        known.next(now, 10, 0, 0)
    for _ in range(10):
        now += SECOND // 20
        known.next(now, 2, 0, 0)
    assert known.delay > SECOND // 2
    return known


@pytest.fixture
def long_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moderation, "Moderation", dense)


def left_place() -> Any:
    """Where nobody is any more, and an ICMP error comes from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind((HOST, 0))
        return nobody.getsockname()


async def rested(line: Line) -> None:
    """The first packets have come, and now nobody is woken for a while."""
    while not line.resting:
        if line.all_came():  # who did not have to wait for the last one was not woken
            line.send()
        await checkpoint()
    assert line.all_came()


async def until(condition: Callable[[], object]) -> None:
    """On any loop; the test's own timeout is the limit."""
    while not condition():  # noqa: ASYNC110 (nobody could set an event)
        await anyio.sleep(0.001)


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await checkpoint()


@pytest.mark.anyio
@pytest.mark.usefixtures("long_rest")
@pytest.mark.parametrize("take", FORMS.values(), ids=FORMS)
async def test_packets_of_a_rest_are_handed_over_by_one_wakeup(
    take: Callable[[Channel], Awaitable[Any]],
) -> None:
    async def reading() -> None:
        while True:
            line_.note(await take(line_.channel))

    with line() as line_, anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reading)
            await rested(line_)
            before, began = line_.channel.stats().wakeups, time.monotonic()
            for _ in range(MANY):
                line_.send()
                await turns(2)
            came, in_time = len(line_.got), time.monotonic() < began + IN_TIME
            await until(line_.all_came)

            if in_time:  # nothing held this process up for as long as the rest
                assert came == line_.sent - MANY
                assert line_.channel.stats().wakeups <= before + FEW
            tasks.cancel_scope.cancel()


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, line: Line) -> None:
        self.line = line

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.line.note(data)


class Packets(asyncio.DatagramProtocol):
    def __init__(self, line: Line) -> None:
        self.line = line

    def packet_received(self, packet: Packet) -> None:
        self.line.note(packet)


class Batches(asyncio.DatagramProtocol):
    def __init__(self, line: Line) -> None:
        self.line = line

    def packets_received(self, batch: Any) -> None:
        self.line.note(batch)


@pytest.mark.asyncio
@pytest.mark.usefixtures("long_rest")
@pytest.mark.parametrize("kind", [Datagrams, Packets, Batches])
async def test_a_protocol_gets_packets_of_a_rest_by_one_wakeup(kind: Any) -> None:
    with line() as line_:
        transport, _ = await create_endpoint(lambda: kind(line_), line_.channel)
        await rested(line_)
        before, began = transport.stats().wakeups, time.monotonic()
        line_.send(MANY)
        await turns()
        came, in_time = len(line_.got), time.monotonic() < began + IN_TIME
        await until(line_.all_came)

        if in_time:
            assert came == line_.sent - MANY
            assert transport.stats().wakeups <= before + FEW
        transport.abort()


@pytest.mark.asyncio
@pytest.mark.usefixtures("long_rest")
async def test_a_protocol_that_gets_one_packet_a_wakeup_gets_each_by_one() -> None:
    with line(read_packets=1) as line_:

        async def reading() -> None:
            while True:
                line_.note(await line_.channel.receive())

        task = asyncio.ensure_future(reading())
        await rested(line_)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        transport, _ = await create_endpoint(lambda: Packets(line_), line_.channel)
        before = transport.stats().wakeups
        line_.send(MANY)
        await until(line_.all_came)

        assert transport.stats().wakeups >= before + MANY
        transport.abort()


@pytest.mark.anyio
@pytest.mark.usefixtures("long_rest")
async def test_low_never_rests() -> None:
    with line("low") as line_, anyio.fail_after(30):
        for _ in range(100):
            line_.send()
            line_.note(await line_.channel.receive())
            assert not line_.resting


@pytest.mark.asyncio
async def test_a_dense_stream_rests_and_a_silent_one_wakes_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Dense is relative to how long a packet may wait: so a slow machine is quick enough here.
    monkeypatch.setattr(moderation, "_LONGEST_NS", 50_000_000)
    with line() as line_:
        transport, _ = await create_endpoint(lambda: Packets(line_), line_.channel)
        while not line_.resting:
            if line_.sent - len(line_.got) < 100:
                line_.send(10)
            await asyncio.sleep(0)
        # Nobody sends any more.
        await until(lambda: not line_.resting)
        await until(line_.all_came)
        before = transport.stats().wakeups
        await asyncio.sleep(0.1)

        assert transport.stats().wakeups == before
        line_.send()
        await until(line_.all_came)
        assert transport.stats().wakeups <= before + FEW
        transport.abort()


@pytest.mark.anyio
@pytest.mark.usefixtures("long_rest")
@pytest.mark.parametrize("end", ["close", "aclose", "detach"])
async def test_the_end_of_a_channel_wakes_who_rests(end: str) -> None:
    with line() as line_, anyio.fail_after(30):
        ends: list[BaseException] = []

        async def reading() -> None:
            try:
                while True:
                    line_.note(await line_.channel.receive())
            except ClosedError as error:
                ends.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reading)
            await rested(line_)
            line_.send()
            if end == "aclose":
                await line_.channel.aclose()
            elif end == "close":
                line_.channel.close()
            else:
                # What came meanwhile is still in the descriptor.
                with socket.socket(fileno=line_.channel.detach()) as sock:
                    assert int.from_bytes(sock.recv(10), "big") == line_.sent - 1

    assert len(ends) == 1
    assert len(line_.got) == line_.sent - 1


@pytest.mark.anyio
@pytest.mark.usefixtures("long_rest")
async def test_a_cancelled_receive_leaves_what_came_during_a_rest_to_the_next() -> None:
    with line() as line_, anyio.fail_after(30):

        async def reading() -> None:
            while True:
                line_.note(await line_.channel.receive())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reading)
            await rested(line_)
            line_.send(3)
            tasks.cancel_scope.cancel()

        while not line_.all_came():
            line_.note(await line_.channel.receive())


@pytest.mark.asyncio
@pytest.mark.usefixtures("long_rest")
async def test_pause_and_modes_hold_during_a_rest_and_after_it() -> None:
    with line() as line_:
        transport, _ = await create_endpoint(lambda: Packets(line_), line_.channel)
        await rested(line_)
        before = line_.sent
        transport.pause_reading()
        line_.send(6)
        await asyncio.sleep(1.2)  # longer than the rest
        assert len(line_.got) == before

        transport.set_active(False)
        transport.resume_reading()
        line_.note(await transport.receive())
        assert len(line_.got) == before + 1

        transport.set_active(2)
        await until(lambda: transport.active is False)
        assert len(line_.got) == before + 3

        transport.set_active("once")
        await until(lambda: transport.active is False)
        transport.set_active(True)
        await until(line_.all_came)
        transport.abort()


@pytest.mark.asyncio
@pytest.mark.usefixtures("long_rest")
async def test_a_task_that_does_other_things_between_gets_all() -> None:
    with line() as line_:
        line_.send()
        while len(line_.got) < 3 * MANY:
            line_.note(await line_.channel.receive())
            for _ in range(len(line_.got) % 5):
                await asyncio.sleep(0)
            if line_.sent == len(line_.got):
                line_.send(MANY)


@pytest.mark.anyio
@pytest.mark.usefixtures("long_rest")
async def test_errors_are_seen_during_a_rest() -> None:
    place = left_place()
    with line() as line_, anyio.fail_after(30):
        options.enable_receive_errors(line_.channel._port.sock, socket.AF_INET)  # type: ignore[arg-type]

        async def reading() -> None:
            while True:
                line_.note(await line_.channel.receive())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reading)
            await rested(line_)
            line_.send()
            await line_.channel.sendto(b"anybody?", place)
            assert line_.channel._readiness.events() & select.EPOLLERR

            # An error wakes, and who reads then reads packets, too.
            await until(lambda: line_.channel.stats().errors and line_.all_came())
            tasks.cancel_scope.cancel()


@pytest.mark.asyncio
@pytest.mark.usefixtures("long_rest")
async def test_errors_are_seen_behind_a_rest_that_is_over() -> None:
    place = left_place()
    with line() as line_:
        options.enable_receive_errors(line_.channel._port.sock, socket.AF_INET)  # type: ignore[arg-type]
        transport, _ = await create_endpoint(lambda: Packets(line_), line_.channel)
        await rested(line_)
        transport.pause_reading()
        await asyncio.sleep(1.2)  # longer than the rest
        await line_.channel.sendto(b"anybody?", place)

        assert line_.channel._readiness.events() & select.EPOLLERR
        transport.abort()


@pytest.mark.anyio
@pytest.mark.usefixtures("long_rest")
async def test_the_end_of_a_connection_wakes_during_a_rest() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    async with Channel.from_fd(near, latency="balanced") as channel:
        line_ = Line(channel, far)

        async def hanging_up() -> None:
            with far:
                await rested(line_)
                line_.send(3)
            # At once, and not when the timer fires.
            assert channel._readiness.events() & select.EPOLLHUP

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hanging_up)
                try:
                    while True:
                        line_.note(await channel.receive())
                except anyio.EndOfStream:
                    pass
        assert line_.all_came()


@pytest.mark.asyncio
@pytest.mark.usefixtures("long_rest")
async def test_a_closing_child_leaves_the_timer_to_its_parent() -> None:
    with line() as line_:
        transport, _ = await create_endpoint(lambda: Packets(line_), line_.channel)
        await rested(line_)
        in_child(line_.channel.close)
        assert line_.resting
        line_.send(MANY)
        await until(line_.all_came)
        transport.abort()


@pytest.mark.usefixtures("long_rest")
def test_a_child_reads_by_a_timer_of_its_own() -> None:
    async def reading(line: Line, count: int) -> None:
        while len(line.got) < count:
            line.note(await line.channel.receive())

    with line() as line_:

        def child() -> None:
            line_.send(MANY)
            asyncio.run(reading(line_, 2 + MANY))

        line_.send()
        asyncio.run(reading(line_, 1))
        line_.send()
        in_child(child)


@pytest.mark.usefixtures("long_rest")
@pytest.mark.parametrize("new_loop", [asyncio.SelectorEventLoop, uvloop.new_event_loop])
def test_another_loop_goes_on_where_the_first_one_ended_in_a_rest(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def reading(line: Line, *, rests: bool) -> None:
        task = asyncio.ensure_future(take_all(line))
        if rests:
            await rested(line)
        else:
            line.send(MANY)
        await (turns() if rests else until(line.all_came))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def take_all(line: Line) -> None:
        while True:
            line.note(await line.channel.receive())

    with line() as line_:
        for rests in (True, False):
            with asyncio.Runner(loop_factory=new_loop) as runner:
                runner.run(asyncio.wait_for(reading(line_, rests=rests), 30))


@pytest.mark.anyio
@pytest.mark.usefixtures("long_rest")
async def test_a_filter_set_during_a_rest_is_in_force(veth: tuple[str, str]) -> None:
    with cable(veth, ring=False, latency="balanced") as wire, anyio.fail_after(30):
        got: list[int] = []

        async def reading() -> None:
            while True:
                got.append(number(await wire.channel.receive()))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reading)
            sent = 0
            while not wire.channel._readiness.resting:
                if len(got) == sent:
                    wire.send(0)
                    sent += 1
                await checkpoint()
            wire.send(1, 2)
            wire.channel.set_filter(EVEN)
            wire.send(3, 4, 5, 6)
            await until(lambda: len(got) == sent + 2)
            assert got == [0] * sent + [4, 6]
            tasks.cancel_scope.cancel()
