import errno
import socket
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from aioprocket import Channel, ClosedError, FilterError, NotPermittedError, SpecError
from aioprocket._system import options
from aioprocket.bpf import Program
from channels.rig import cable, frame, number, pair, tap

pytestmark = [pytest.mark.netns, pytest.mark.anyio]

# The number of `frame` is at offset 14: keep the even ones.
EVEN = [(0x20, 0, 0, 14), (0x45, 1, 0, 1), (0x06, 0, 0, 0xFFFF), (0x06, 0, 0, 0)]
NOTHING = [(0x06, 0, 0, 0)]


async def test_nothing_from_before_the_filter_is_received_after_it(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        wire.send(0, 1, 2, 3)

        wire.channel.set_filter(EVEN)
        wire.send(4, 5, 6)

        assert [number(await wire.channel.receive()) for _ in range(2)] == [4, 6]
        with pytest.raises(BlockingIOError):
            wire.channel.receive_nowait()
        assert wire.channel.filter == tuple(EVEN)


async def test_taking_the_filter_off_lets_all_in_and_the_old_out(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        wire.channel.set_filter(Program(EVEN))
        wire.send(0)

        wire.channel.set_filter(None)
        wire.send(1)

        assert number(await wire.channel.receive()) == 1
        assert wire.channel.filter is None


async def test_what_is_thrown_away_counts_neither_as_received_nor_as_dropped(
    veth: tuple[str, str],
) -> None:
    with cable(veth) as wire:
        wire.send(*range(10))

        wire.channel.set_filter(NOTHING)

        stats = wire.channel.stats()
        assert (stats.rx_packets, stats.rx_dropped, stats.rx_queued) == (0, 0, 0)


async def test_a_waiting_receive_gets_the_first_packet_of_the_new_filter(
    veth: tuple[str, str],
) -> None:
    with cable(veth) as wire, anyio.fail_after(5):
        got: list[int] = []
        async with anyio.create_task_group() as tasks:

            async def receiving() -> None:
                got.append(number(await wire.channel.receive()))

            tasks.start_soon(receiving)
            await anyio.wait_all_tasks_blocked()
            wire.send(1)
            wire.channel.set_filter(EVEN)
            wire.send(3, 4)

        assert got == [4]


@pytest.mark.parametrize(
    "program", [[], [(0x00, 0, 0, 0)], b"tcp", [(0x05, 0, 0, 99)]],
    ids=["empty", "no return", "text", "jump out"],
)  # fmt: skip
async def test_what_is_no_program_changes_nothing(veth: tuple[str, str], program: Any) -> None:
    with cable(veth) as wire:
        wire.channel.set_filter(EVEN)
        wire.send(2)

        with pytest.raises(FilterError):
            wire.channel.set_filter(program)

        wire.send(3, 4)
        assert [number(await wire.channel.receive()) for _ in range(2)] == [2, 4]
        assert wire.channel.filter == tuple(EVEN)


async def test_a_locked_filter_stays(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        wire.channel.set_filter(EVEN, lock=True)
        wire.send(2)

        for program in (NOTHING, None):
            with pytest.raises(NotPermittedError) as raised:
                wire.channel.set_filter(program)
            assert (raised.value.errno, raised.value.step) == (errno.EPERM, "filter")

        assert number(await wire.channel.receive()) == 2
        with pytest.raises(PermissionError):
            wire.channel.extra(anyio.abc.SocketAttribute.raw_socket).setsockopt(
                socket.SOL_SOCKET, 27, 0
            )


async def test_a_lock_needs_a_filter(veth: tuple[str, str]) -> None:
    with cable(veth) as wire, pytest.raises(SpecError):
        wire.channel.set_filter(None, lock=True)


async def test_only_an_open_socket_has_filters() -> None:
    with tap() as wire, pytest.raises(SpecError, match="sockets"):
        wire.channel.set_filter(NOTHING)
    with pair() as (channel, _):
        channel.close()
        with pytest.raises(ClosedError):
            channel.set_filter(NOTHING)


async def test_the_filter_it_was_opened_with_is_known(veth: tuple[str, str]) -> None:
    with cable(veth, filter=tuple(EVEN)) as wire:
        assert wire.channel.filter == tuple(EVEN)
        assert frame(0)


def shut_by_its_peer() -> socket.socket:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with far:
        for data in (b"one", b"", b"two"):
            far.send(data)
    return near


def shut_for_reading() -> socket.socket:
    near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    near.bind(("127.0.0.1", 0))
    near.connect(near.getsockname())
    for data in (b"", b"", b"one", b"", b"two"):
        near.send(data)
    near.shutdown(socket.SHUT_RD)
    return near


@pytest.mark.parametrize("shut", [shut_by_its_peer, shut_for_reading])
async def test_a_socket_that_gives_nothing_but_its_end_gets_a_filter(
    shut: Callable[[], socket.socket],
) -> None:
    async with Channel.from_fd(shut()) as channel:
        channel.set_filter(NOTHING)

        assert channel.stats().rx_queued == 0
        assert channel.filter == tuple(NOTHING)


async def test_empty_packets_are_thrown_away_with_the_others() -> None:
    with pair(socket.SOCK_SEQPACKET) as (channel, far):
        for data in (b"", b"", b"one", b""):
            far.send(data)

        channel.set_filter(NOTHING)

        with pytest.raises(BlockingIOError):
            channel.receive_nowait()


@pytest.mark.parametrize("before", [None, tuple(EVEN)])
async def test_where_the_queue_cannot_be_emptied_the_filter_stays(
    before: tuple[tuple[int, int, int, int], ...] | None,
) -> None:
    sock = socket.socket()  # of TCP, and not connected: it cannot be read
    if before is not None:
        options.attach_filter(sock, before)
    async with Channel.from_fd(sock.detach()) as channel:
        with pytest.raises(FilterError):
            channel.set_filter(NOTHING)

        sock = channel.extra(anyio.abc.SocketAttribute.raw_socket)
        assert options.attached_filter(sock) == before
