"""What a protocol sends while packets are delivered, which goes with one system call."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aioprocket import Channel, RawTransport, SpecError, create_endpoint
from contract import until

pytestmark = [pytest.mark.netns, pytest.mark.asyncio]


class Replying(asyncio.DatagramProtocol):
    """Calls back for each datagram, and writes down what went wrong."""

    def __init__(self) -> None:
        self.reply: Callable[[bytes, Any], None] = lambda data, addr: None
        self.errors: list[Exception] = []
        self.raised: list[Exception] = []
        self.calls: list[str] = []
        self.count = 0

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.count += 1
        try:
            self.reply(data, addr)
        except Exception as error:
            self.raised.append(error)

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)

    def pause_writing(self) -> None:
        self.calls.append("pause_writing")

    def resume_writing(self) -> None:
        self.calls.append("resume_writing")

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("connection_lost")


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two UDP sockets of this host: the channel's, and the one that asks it."""
    near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with near, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        near.bind(("127.0.0.1", 0))
        far.bind(("127.0.0.1", 0))
        far.connect(near.getsockname())
        far.settimeout(10)
        yield near, far


async def opened(near: socket.socket) -> tuple[RawTransport, Replying]:
    return await create_endpoint(Replying, Channel.from_fd(near), active=False)


async def closed(transport: RawTransport, protocol: Replying) -> None:
    transport.abort()
    await until(lambda: "connection_lost" in protocol.calls)


def ask(far: socket.socket, count: int) -> None:
    for each in range(count):
        far.send(each.to_bytes(2, "big"))


def answers(far: socket.socket, count: int) -> list[int]:
    return [int.from_bytes(far.recv(100)[:2], "big") for _ in range(count)]


def emptied(sock: socket.socket) -> bool:
    with contextlib.suppress(BlockingIOError):
        while sock.recv(2000):
            pass
    return True


async def test_replies_arrive_once_and_in_order(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    transport, protocol = await opened(near)
    protocol.reply = transport.sendto
    ask(far, 100)

    transport.set_active(True)
    await until(lambda: protocol.count == 100)
    got = answers(far, 100)
    stats = transport.stats()
    await closed(transport, protocol)

    assert got == list(range(100))
    assert (stats.tx_packets, stats.tx_bytes) == (100, 200)


async def test_many_packets_for_one_arrive_in_order(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    near, far = ends
    far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    transport, protocol = await opened(near)

    def many(data: bytes, addr: Any) -> None:
        for each in range(150):
            transport.sendto(each.to_bytes(2, "big"), addr)

    protocol.reply = many
    ask(far, 1)
    transport.set_active(True)
    await until(lambda: protocol.count)
    got = answers(far, 150)
    await closed(transport, protocol)

    assert got == list(range(150))


async def test_no_other_way_to_send_overtakes_them(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    near, far = ends
    transport, protocol = await opened(near)

    def mixed(data: bytes, addr: Any) -> None:
        transport.sendto(b"\0\0", addr)
        transport.channel.send_nowait(b"\0\1", addr)
        transport.sendto(b"\0\2", addr)
        transport.sendto(bytearray(b"\0\3"), addr)
        transport.sendto(b"\0\4", addr)
        transport.send_batch([(b"\0\5", addr)])
        transport.sendto(b"\0\6", addr)

    protocol.reply = mixed
    ask(far, 1)
    transport.set_active(True)
    await until(lambda: protocol.count)
    got = answers(far, 7)
    await closed(transport, protocol)

    assert got == list(range(7))
    assert protocol.raised == []


async def test_what_was_sent_before_a_close_arrives(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    near, far = ends
    transport, protocol = await opened(near)

    def last(data: bytes, addr: Any) -> None:
        transport.sendto(data, addr)
        transport.close()
        transport.sendto(b"\xff\xff", addr)

    protocol.reply = last
    ask(far, 3)
    transport.set_active(True)
    await until(lambda: "connection_lost" in protocol.calls)

    assert answers(far, 1) == [0]
    assert protocol.count == 1
    far.setblocking(False)
    with pytest.raises(BlockingIOError):
        far.recv(100)


@pytest.mark.parametrize("addr", ["localhost", 5, ("localhost", 5), ("127.0.0.1", "5"), ()])
async def test_a_wrong_address_raises_where_it_is_given(
    ends: tuple[socket.socket, socket.socket], addr: Any
) -> None:
    near, far = ends
    transport, protocol = await opened(near)
    protocol.reply = lambda data, _: transport.sendto(data, addr)
    ask(far, 1)

    transport.set_active(True)
    await until(lambda: protocol.count)
    raised = protocol.raised
    await closed(transport, protocol)

    assert isinstance(raised[0], SpecError | TypeError)


async def test_one_that_cannot_be_sent_is_told_of_and_the_others_arrive(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    near, far = ends
    transport, protocol = await opened(near)

    def too_long_between(data: bytes, addr: Any) -> None:
        transport.sendto(data, addr)
        transport.sendto(bytes(66_000), addr)

    protocol.reply = too_long_between
    ask(far, 5)
    transport.set_active(True)
    await until(lambda: len(protocol.errors) == 5)
    got = answers(far, 5)
    await closed(transport, protocol)

    assert got == list(range(5))
    assert all("Message too long" in str(error) for error in protocol.errors)


async def test_the_size_of_the_buffer_counts_only_what_found_no_room() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with far:
        transport, protocol = await opened(near)
        sizes: list[int] = []

        def send(data: bytes, addr: Any) -> None:
            transport.sendto(b"one")
            sizes.append(transport.get_write_buffer_size())
            transport.set_write_buffer_limits(high=1000)
            while "pause_writing" not in protocol.calls:
                transport.sendto(bytes(1000))
            sizes.append(transport.get_write_buffer_size())

        protocol.reply = send
        far.send(b"?")
        transport.set_active(True)
        await until(lambda: "pause_writing" in protocol.calls)
        far.setblocking(False)
        await until(lambda: emptied(far) and "resume_writing" in protocol.calls)
        await closed(transport, protocol)

    assert sizes[0] == 0
    assert sizes[1] > 1000


async def test_what_finds_no_room_is_kept_and_nothing_overtakes_it() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with far:
        transport, protocol = await opened(near)
        left = iter(range(1000))

        def answer(data: bytes, addr: Any) -> None:
            for _ in range(50):
                transport.sendto(next(left).to_bytes(2, "big"))

        protocol.reply = answer
        for _ in range(20):
            far.send(b"?")
        transport.set_active(True)
        far.settimeout(10)
        await until(lambda: transport.get_write_buffer_size() > 0)
        got = await asyncio.to_thread(answers, far, 1000)
        await until(lambda: transport.get_write_buffer_size() == 0)
        stats = transport.stats()
        await closed(transport, protocol)

    assert got == list(range(1000))
    assert (stats.tx_packets, stats.tx_bytes) == (1000, 2000)
    assert stats.tx_refused > 0
    assert protocol.errors == []


async def test_the_answer_to_an_earlier_reply_costs_no_other(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    near, far = ends
    near.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR: the next call says what ICMP said
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        nobody = gone.getsockname()
    transport, protocol = await opened(near)

    def answer(data: bytes, addr: Any) -> None:
        transport.sendto(data, nobody)
        transport.sendto(data, addr)

    protocol.reply = answer
    ask(far, 20)
    transport.set_active(True)
    await until(lambda: protocol.count == 20)
    got = answers(far, 20)
    await until(lambda: protocol.errors)
    stats = transport.stats()
    await closed(transport, protocol)

    assert got == list(range(20))
    assert stats.tx_packets == 40
    assert all(isinstance(error, ConnectionRefusedError) for error in protocol.errors)


async def test_replies_gathered_before_the_protocol_raises_are_sent(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    near, far = ends
    transport, protocol = await opened(near)
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))

    class Wrong(Replying):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            transport.sendto(data, addr)
            raise ValueError("wrong")

    transport.set_protocol(Wrong())
    ask(far, 3)
    transport.set_active(True)
    got = await asyncio.to_thread(answers, far, 3)
    transport.set_protocol(protocol)
    await closed(transport, protocol)

    assert got == [0, 1, 2]
    assert [str(context["exception"]) for context in told] == ["wrong"] * 3
