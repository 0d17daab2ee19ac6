import asyncio
import os
import select
import socket
from collections.abc import Callable, Iterator

import anyio
import pytest
import uvloop

from aioprocket import BusyError
from aioprocket.readiness import Readiness, checkpoint
from contract import until
from lab.forks import in_child


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.setblocking(False)
    far.setblocking(False)
    with near, far:
        yield near, far


@pytest.fixture
def readiness(pair: tuple[socket.socket, socket.socket]) -> Iterator[Readiness]:
    readiness = Readiness(pair[0].fileno())
    yield readiness
    readiness.close()


def fill(sock: socket.socket) -> None:
    try:
        while True:
            sock.send(b"x" * 1000)
    except BlockingIOError:
        pass


def drain(sock: socket.socket) -> None:
    try:
        while True:
            sock.recv(1000)
    except BlockingIOError:
        pass


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.anyio
async def test_a_wait_returns_when_there_is_something(
    pair: tuple[socket.socket, socket.socket], readiness: Readiness
) -> None:
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(readiness.wait_readable)
            await anyio.wait_all_tasks_blocked()
            pair[1].send(b"x")

    assert readiness.events() == select.EPOLLIN


@pytest.mark.anyio
async def test_readiness_is_level_triggered(
    pair: tuple[socket.socket, socket.socket], readiness: Readiness
) -> None:
    pair[1].send(b"one")
    pair[1].send(b"two")

    with anyio.fail_after(5):
        for _ in range(2):
            await readiness.wait_readable()
            pair[0].recv(10)

    assert readiness.events() == 0
    with anyio.move_on_after(0.02) as scope:
        await readiness.wait_readable()
    assert scope.cancelled_caught


@pytest.mark.anyio
async def test_the_second_waiter_of_a_direction_is_refused(readiness: Readiness) -> None:
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(readiness.wait_readable)
            await anyio.wait_all_tasks_blocked()

            with pytest.raises(BusyError):
                await readiness.wait_readable()
            await readiness.wait_writable()

            readiness.wake()


@pytest.mark.anyio
async def test_a_cancelled_wait_leaves_room_for_the_next(
    pair: tuple[socket.socket, socket.socket], readiness: Readiness
) -> None:
    with anyio.move_on_after(0.001):
        await readiness.wait_readable()
    pair[1].send(b"x")

    with anyio.fail_after(5):
        await readiness.wait_readable()


@pytest.mark.anyio
@pytest.mark.parametrize("end", ["wake", "close"])
async def test_both_waiters_return_when_woken(
    pair: tuple[socket.socket, socket.socket], readiness: Readiness, end: str
) -> None:
    fill(pair[0])
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(readiness.wait_readable)
            tasks.start_soon(readiness.wait_writable)
            await anyio.wait_all_tasks_blocked()

            getattr(readiness, end)()


@pytest.mark.anyio
async def test_a_full_socket_becomes_writable_when_it_is_read(
    pair: tuple[socket.socket, socket.socket], readiness: Readiness
) -> None:
    fill(pair[0])
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(readiness.wait_writable)
            await anyio.wait_all_tasks_blocked()
            drain(pair[1])

    pair[0].send(b"x")


@pytest.mark.anyio
async def test_a_wait_survives_errors_of_the_descriptor() -> None:
    # Each send to a closed port brings EPOLLERR, at which uvloop would drop the raw descriptor.
    with refused_udp() as sock:
        readiness = Readiness(sock.fileno())
        for _ in range(3):
            sock.send(b"anybody?")
            with anyio.fail_after(5):
                await readiness.wait_readable()
            assert readiness.events() & select.EPOLLERR
            with pytest.raises(ConnectionRefusedError):
                sock.recv(10)
        readiness.close()


def refused_udp() -> socket.socket:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        address = closed.getsockname()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.connect(address)
    return sock


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null"])
async def test_what_cannot_be_polled_is_always_ready(path: str) -> None:
    fd = os.open(path, os.O_RDWR)
    readiness = Readiness(fd)

    with anyio.fail_after(5):
        await readiness.wait_readable()
        await readiness.wait_writable()

    assert readiness.events() == select.EPOLLIN
    readiness.close()
    os.close(fd)


@pytest.mark.anyio
async def test_an_idle_readiness_has_no_descriptor(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    before = open_descriptors()
    readiness = Readiness(pair[0].fileno())
    idle = open_descriptors()
    with anyio.move_on_after(0.001):
        await readiness.wait_readable()
    waited = open_descriptors()
    readiness.close()

    assert (idle, waited, open_descriptors()) == (before, before + 1, before)


@pytest.mark.anyio
async def test_after_close_the_numbers_next_owner_is_not_watched(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    readiness = Readiness(pair[0].fileno())
    with anyio.move_on_after(0.001):
        await readiness.wait_readable()
    readiness.close()
    readiness.close()

    with pytest.raises(ValueError, match="negative"):
        await readiness.wait_readable()


@pytest.mark.anyio
async def test_a_checkpoint_lets_others_run() -> None:
    ran: list[int] = []

    async def other() -> None:
        ran.append(1)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        for _ in range(3):
            await checkpoint()
        assert ran == [1]


@pytest.mark.asyncio
async def test_a_subscriber_is_called_while_there_is_something(
    pair: tuple[socket.socket, socket.socket], readiness: Readiness
) -> None:
    got: list[bytes] = []
    done = asyncio.get_running_loop().create_future()

    def read_one() -> None:
        got.append(pair[0].recv(10))
        if len(got) == 3:
            done.set_result(None)

    for each in (b"1", b"2", b"3"):
        pair[1].send(each)
    readiness.subscribe(read_one)
    await asyncio.wait_for(done, 5)
    readiness.unsubscribe()
    pair[1].send(b"4")
    await asyncio.sleep(0.01)

    assert got == [b"1", b"2", b"3"]


@pytest.mark.asyncio
@pytest.mark.parametrize("first", ["task", "subscriber"])
async def test_a_task_and_a_subscriber_wait_for_the_same(
    pair: tuple[socket.socket, socket.socket], readiness: Readiness, first: str
) -> None:
    calls: list[int] = []
    fill(pair[0])
    if first == "subscriber":
        readiness.subscribe_writable(lambda: calls.append(1))
    waiting = asyncio.ensure_future(readiness.wait_writable())
    await asyncio.sleep(0)
    if first == "task":
        readiness.subscribe_writable(lambda: calls.append(1))
    assert not calls
    drain(pair[1])

    await asyncio.wait_for(waiting, 5)
    assert calls
    calls.clear()
    await until(lambda: calls)
    readiness.unsubscribe_writable()


@pytest.mark.asyncio
@pytest.mark.parametrize("goes", ["subscriber", "task"])
async def test_whoever_of_both_goes_the_other_waits_on(
    pair: tuple[socket.socket, socket.socket], readiness: Readiness, goes: str
) -> None:
    calls: list[int] = []
    fill(pair[0])
    waiting = asyncio.ensure_future(readiness.wait_writable())
    await asyncio.sleep(0)
    readiness.subscribe_writable(lambda: calls.append(1))
    if goes == "subscriber":
        readiness.unsubscribe_writable()
    else:
        waiting.cancel()
    await asyncio.wait({waiting}, timeout=0 if goes == "subscriber" else 5)
    drain(pair[1])

    if goes == "subscriber":
        await asyncio.wait_for(waiting, 5)
        assert not calls
    else:
        await until(lambda: calls)
        readiness.unsubscribe_writable()


@pytest.mark.asyncio
async def test_only_asyncios_own_loop_watches_a_descriptor_itself(
    pair: tuple[socket.socket, socket.socket], readiness: Readiness
) -> None:
    loop, fd = asyncio.get_running_loop(), pair[0].fileno()
    called = asyncio.Event()

    readiness.subscribe(called.set, bare=True)
    pair[1].send(b"1")
    await asyncio.wait_for(called.wait(), 20)
    readiness.unsubscribe()
    left = loop.remove_reader(fd)
    readiness.subscribe(called.set, bare=True)
    watched = loop.remove_reader(fd)

    assert not left
    assert bool(watched) == isinstance(loop, asyncio.SelectorEventLoop)


@pytest.mark.asyncio
async def test_a_task_waits_beside_a_subscriber_to_the_bare_descriptor(
    pair: tuple[socket.socket, socket.socket], readiness: Readiness
) -> None:
    loop, fd = asyncio.get_running_loop(), pair[0].fileno()
    called = asyncio.Event()
    readiness.subscribe(called.set, bare=True)
    waiting = asyncio.ensure_future(readiness.wait_readable())
    await asyncio.sleep(0)

    pair[1].send(b"1")
    await asyncio.wait_for(waiting, 20)
    await asyncio.wait_for(called.wait(), 20)
    watched = loop.remove_reader(fd)

    assert bool(watched) == isinstance(loop, asyncio.SelectorEventLoop)


@pytest.mark.asyncio
async def test_a_subscriber_of_what_cannot_be_polled_is_called_every_turn() -> None:
    fd = os.open("/dev/zero", os.O_RDONLY)
    readiness = Readiness(fd)
    calls: list[int] = []

    readiness.subscribe(lambda: calls.append(1))
    for _ in range(10):
        await asyncio.sleep(0)
    called = len(calls)
    readiness.unsubscribe()
    for _ in range(10):
        await asyncio.sleep(0)

    assert 5 <= called == len(calls)
    readiness.close()
    os.close(fd)


@pytest.mark.asyncio
async def test_the_loop_forgets_a_readiness_that_nobody_waits_for(
    pair: tuple[socket.socket, socket.socket], readiness: Readiness
) -> None:
    pair[1].send(b"x")
    await readiness.wait_readable()
    fires = 0
    fire = readiness.reader.fire

    def counting() -> None:
        nonlocal fires
        fires += 1
        fire()

    asyncio.get_running_loop().add_reader(readiness._read._epoll.fileno(), counting)  # type: ignore[union-attr]
    for _ in range(20):
        await asyncio.sleep(0)

    assert fires <= 2


@pytest.mark.asyncio
async def test_a_closing_child_does_not_deafen_its_parent(
    pair: tuple[socket.socket, socket.socket], readiness: Readiness
) -> None:
    waiting = asyncio.ensure_future(readiness.wait_readable())
    await asyncio.sleep(0)
    in_child(readiness.close)

    pair[1].send(b"x")

    await asyncio.wait_for(waiting, 5)


def test_a_child_can_wait_with_a_loop_of_its_own(
    pair: tuple[socket.socket, socket.socket], readiness: Readiness
) -> None:
    async def wait_briefly() -> None:
        with anyio.move_on_after(0.001):
            await readiness.wait_readable()

    def wait_for_one() -> None:
        pair[1].send(b"x")
        asyncio.run(asyncio.wait_for(readiness.wait_readable(), 5))

    asyncio.run(wait_briefly())
    in_child(wait_for_one)


def test_one_readiness_serves_one_loop_after_the_other(
    pair: tuple[socket.socket, socket.socket], readiness: Readiness
) -> None:
    pair[1].send(b"x")

    for _ in range(3):
        asyncio.run(asyncio.wait_for(readiness.wait_readable(), 5))


@pytest.mark.parametrize("new_loop", [asyncio.SelectorEventLoop, uvloop.new_event_loop])
def test_a_wait_whose_loop_is_gone_does_not_stand_in_the_way_of_the_end(
    pair: tuple[socket.socket, socket.socket], new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    before = open_descriptors()
    mine = Readiness(pair[0].fileno())

    async def leave_one_waiting() -> "asyncio.Task[None]":
        task = asyncio.ensure_future(mine.wait_readable())
        await asyncio.sleep(0)
        return task

    loop = new_loop()
    task = loop.run_until_complete(leave_one_waiting())
    loop.close()
    mine.close()

    assert open_descriptors() == before
    task._log_destroy_pending = False  # type: ignore[attr-defined]


@pytest.mark.parametrize("new_loop", [asyncio.SelectorEventLoop, uvloop.new_event_loop])
def test_a_wait_beside_a_subscriber_whose_loop_is_gone_does_not_either(
    pair: tuple[socket.socket, socket.socket], new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    fill(pair[0])
    before = open_descriptors()
    mine = Readiness(pair[0].fileno())

    async def leave_both_waiting() -> "asyncio.Task[None]":
        task = asyncio.ensure_future(mine.wait_writable())
        await asyncio.sleep(0)
        mine.subscribe_writable(lambda: None)
        return task

    loop = new_loop()
    task = loop.run_until_complete(leave_both_waiting())
    loop.close()
    mine.unsubscribe_writable()
    mine.close()

    assert open_descriptors() == before
    task._log_destroy_pending = False  # type: ignore[attr-defined]
