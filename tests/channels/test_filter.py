import ctypes
import errno
import os
import socket
import struct
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from aioprocket import Channel, ClosedError, FilterError, NotPermittedError, SpecError
from aioprocket._system import options
from aioprocket.bpf import Program
from channels.rig import cable, frame, number, pair, tap
from lab.must import unavailable

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


async def test_what_is_in_force_is_known_whoever_attached_it(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        assert wire.channel.attached_filter is None
        sock = wire.channel.extra(anyio.abc.SocketAttribute.raw_socket)
        options.attach_filter(sock, EVEN)

        assert wire.channel.filter is None
        assert wire.channel.attached_filter == tuple(EVEN)
        assert not wire.channel.filter_locked
        assert "filter=" not in repr(wire.channel)

        options.lock_filter(sock)

        assert wire.channel.filter_locked
        assert "filter=locked" in repr(wire.channel)
    assert wire.channel.attached_filter is None
    assert not wire.channel.filter_locked


async def test_what_a_ring_keeps_of_a_packet_is_in_the_filter_that_is_in_force(
    veth: tuple[str, str],
) -> None:
    with cable(veth, ring=True, snaplen=96, filter=tuple(EVEN)) as wire:
        assert wire.channel.filter == tuple(EVEN)
        assert wire.channel.attached_filter == (*EVEN[:2], (0x06, 0, 0, 96), EVEN[3])


async def test_a_device_has_no_filter_in_force() -> None:
    with tap() as wire:
        assert wire.channel.attached_filter is None
        assert not wire.channel.filter_locked


@pytest.mark.realroot
async def test_of_ebpf_it_is_said_that_nobody_can_see_it(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        sock = wire.channel.extra(anyio.abc.SocketAttribute.raw_socket)
        attach_ebpf(sock)

        with pytest.raises(NotPermittedError, match="eBPF") as raised:
            _ = wire.channel.attached_filter
        assert raised.value.errno == errno.EACCES

        wire.channel.set_filter(EVEN)
        assert wire.channel.attached_filter == tuple(EVEN)


def attach_ebpf(sock: socket.socket) -> None:
    """A program that keeps everything: bpf(2), struct bpf_insn in linux/bpf.h."""
    number = {"x86_64": 321, "aarch64": 280}.get(os.uname().machine)
    if number is None:
        unavailable("bpf", "the number of bpf(2) is not known here")
    code = ctypes.create_string_buffer(struct.pack("<BBhiBBhi", 0xB7, 0, 0, 0xFFFF, 0x95, 0, 0, 0))
    text = ctypes.create_string_buffer(b"GPL")
    load = struct.pack("=IIQQ16x", 1, 2, ctypes.addressof(code), ctypes.addressof(text))
    fd = ctypes.CDLL(None, use_errno=True).syscall(number, 5, load, len(load))
    if fd < 0:
        unavailable("bpf", os.strerror(ctypes.get_errno()))
    sock.setsockopt(socket.SOL_SOCKET, 50, fd)  # SO_ATTACH_BPF
    os.close(fd)


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
