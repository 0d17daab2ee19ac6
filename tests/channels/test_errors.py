"""The error queue: what ICMP says arrives as an error, and nothing spins on it."""

import asyncio
import errno
import gc
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress

import anyio
import pytest

from aioprocket import Channel, Packet, ReportedError, create_endpoint
from aioprocket._system import options
from aioprocket._system.numbers import SocketOption, Timestamping
from contract import Recorder, until

pytestmark = [pytest.mark.netns]


def closed_port(family: int, host: str) -> tuple[str, int]:
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        port: int = sock.getsockname()[1]
    return host, port


@pytest.fixture(params=[(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["4", "6"])
def reporting(request: pytest.FixtureRequest) -> Iterator[tuple[Channel, tuple[str, int]]]:
    """A channel that hears of ICMP errors, and a port where nobody listens."""
    family, host = request.param
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    options.enable_receive_errors(sock, family)
    channel = Channel.from_fd(sock)
    yield channel, closed_port(family, host)
    channel.close()


@pytest.mark.anyio
async def test_a_receive_survives_icmp_errors_and_does_not_spin(
    reporting: tuple[Channel, tuple[str, int]],
) -> None:
    channel, nobody = reporting
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            got: list[bytes] = []

            async def receiving() -> None:
                got.append(await channel.recv())

            tasks.start_soon(receiving)
            await anyio.wait_all_tasks_blocked()
            for _ in range(3):
                await channel.sendto(b"anybody?", nobody)
                await anyio.sleep(0.01)
            gc.collect()  # else it may come meanwhile, and takes its time where many tests have run
            before = time.process_time()
            await anyio.sleep(0.2)
            busy = time.process_time() - before
            await channel.sendto(b"to myself", channel.address)

    assert got == [b"to myself"]
    assert busy < 0.1
    assert channel.stats().errors == 3
    assert channel.stats().wakeups <= 3 * 2 + 2


@pytest.mark.asyncio
async def test_a_transport_tells_each_error_once_with_who_said_so(
    reporting: tuple[Channel, tuple[str, int]],
) -> None:
    channel, nobody = reporting
    transport, protocol = await create_endpoint(Recorder, channel)

    for count in (1, 2):
        transport.sendto(b"anybody?", nobody)
        await until(lambda: len(protocol.errors) >= count)  # noqa: B023
    transport.sendto(b"to myself", channel.address)
    await until(lambda: protocol.packets)
    await asyncio.sleep(0.01)
    transport.abort()
    await until(lambda: protocol.lost)

    assert [error.errno for error in protocol.errors] == [errno.ECONNREFUSED] * 2  # type: ignore[attr-defined]
    for error in protocol.errors:
        assert isinstance(error, ReportedError)
        assert isinstance(error, ConnectionRefusedError)
        assert error.reporter == ("ICMP" if "." in nobody[0] else "ICMPv6")
        assert error.addr[:2] == nobody
        assert str(nobody[1]) in str(error)
        assert error.timestamp_ns == 0  # nobody has switched timestamps on


@pytest.mark.asyncio
async def test_an_error_says_when_it_came_and_not_when_it_was_read(
    reporting: tuple[Channel, tuple[str, int]],
) -> None:
    channel, nobody = reporting
    options.enable_timestamps(channel._port.sock)  # type: ignore[arg-type]
    transport, protocol = await create_endpoint(Recorder, channel)
    while True:  # packets are stamped on arrival some time after that was wanted
        seen = len(protocol.errors)
        before = time.time_ns()
        transport.sendto(b"anybody?", nobody)
        after = time.time_ns()
        time.sleep(0.001)  # noqa: ASYNC251 (the error has to wait)
        await until(lambda: len(protocol.errors) > seen)  # noqa: B023
        error = protocol.errors[-1]
        assert isinstance(error, ReportedError)
        if before <= error.timestamp_ns <= after:
            break
    transport.abort()
    await until(lambda: protocol.lost)


@pytest.mark.asyncio
async def test_data_and_errors_together_are_both_delivered(
    reporting: tuple[Channel, tuple[str, int]],
) -> None:
    channel, nobody = reporting
    transport, protocol = await create_endpoint(Recorder, channel)
    for each in range(5):
        transport.sendto(b"anybody?", nobody)
        transport.sendto(each.to_bytes(1, "big"), channel.address)

    await until(lambda: len(protocol.packets) == 5 and len(protocol.errors) == 5)
    await asyncio.sleep(0.02)
    wakeups = transport.stats().wakeups
    await asyncio.sleep(0.05)

    assert transport.stats().wakeups == wakeups
    transport.abort()
    await until(lambda: protocol.lost)


@pytest.mark.asyncio
async def test_the_error_queue_is_emptied_while_packets_never_stop() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    # Of each packet that is sent, something is in the error queue.
    stamps = Timestamping.TX_SOFTWARE | Timestamping.SOFTWARE | Timestamping.OPT_TSONLY
    sock.setsockopt(socket.SOL_SOCKET, SocketOption.TIMESTAMPING, stamps)
    own: tuple[str, int] = sock.getsockname()
    rounds = 200
    left = 0

    def answer(packet: Packet) -> None:
        nonlocal left
        if len(protocol.packets) < rounds:
            transport.sendto(packet.data, own)
            return
        with suppress(BlockingIOError):
            while True:
                sock.recvmsg(0, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
                left += 1

    transport, protocol = await create_endpoint(Recorder, Channel.from_fd(os.dup(sock.fileno())))
    protocol.on_packet = answer
    with sock:
        transport.sendto(b"again", own)
        await until(lambda: len(protocol.packets) == rounds)

    assert 0 < left < rounds / 2
    transport.abort()
    await until(lambda: protocol.lost)


@pytest.mark.anyio
async def test_polling_without_waiting_empties_the_error_queue_as_well(
    reporting: tuple[Channel, tuple[str, int]],
) -> None:
    channel, nobody = reporting
    await channel.sendto(b"anybody?", nobody)
    with anyio.fail_after(5):
        while not channel.stats().errors:
            with pytest.raises(BlockingIOError):
                channel.receive_nowait()
            await anyio.sleep(0.001)

    assert channel.stats().errors == 1


@pytest.mark.anyio
async def test_a_connected_socket_without_an_error_queue_goes_on() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect(closed_port(socket.AF_INET, "127.0.0.1"))
    async with Channel.from_fd(sock) as channel:
        await channel.send(b"anybody?")
        with anyio.move_on_after(0.05) as scope:
            await channel.receive()

        assert scope.cancelled_caught
        assert channel.stats().errors == 1


@pytest.mark.anyio
async def test_an_overrun_of_netlink_is_counted_and_reading_goes_on() -> None:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    sock.bind((0, 0))
    async with Channel.from_fd(sock) as channel:
        # RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP: the answers have no room.
        dump = struct.pack("=IHHII", 32, 18, 0x301, 1, 0) + bytes(16)
        for _ in range(50):
            with suppress(OSError):  # EBUSY: the last dump is still going on
                await channel.sendto(dump, (0, 0))

        channel.receive_nowait()

        stats = channel.stats()
        assert (stats.rx_packets, stats.errors) == (1, 1)
        assert stats.rx_dropped > 0
