import errno
import os
import resource
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from aioprocket.errors import (
    ClosedError,
    HelperDiedError,
    HelperProtocolError,
    HelperTimeoutError,
    NotPermittedError,
    OpenError,
    SpecError,
)
from aioprocket.helper.session import Session
from aioprocket.spec import DeviceSpec, SocketSpec
from aioprocket.wire.message import Op
from aioprocket.wire.reply import Mode, Reason, Reply, Stage, encode_reply
from aioprocket.wire.request import Request
from fakes import PATIENCE, Conversation, FakePeer, Script, fake_helper, serve, silent
from lab.leaks import descriptors

pytestmark = pytest.mark.anyio

UDP = SocketSpec(family=socket.AF_INET, type=socket.SOCK_DGRAM, protocol=socket.IPPROTO_UDP)
LONG = 10.0
SHORT = 0.05


@asynccontextmanager
async def session_with(script: Script, peer: FakePeer | None = None) -> AsyncIterator[Session]:
    with fake_helper(script) as sock:
        session = Session(sock, peer or FakePeer())
        try:
            yield session
        finally:
            await session.aclose()


async def take(session: Session, timeout: float = LONG) -> None:
    descriptor, _ = await session.open(UDP, None, timeout)
    descriptor.close()


@pytest.mark.hostile(33)
async def test_descriptor_is_nonblocking_and_close_on_exec() -> None:
    async with session_with(serve) as session:
        descriptor, _ = await session.open(UDP, None, LONG)

        assert not os.get_blocking(descriptor.fileno())
        assert not os.get_inheritable(descriptor.fileno())
        descriptor.close()


async def test_hello_and_first_open_are_sent_before_anything_is_answered() -> None:
    def script(conversation: Conversation) -> None:
        hello, request = conversation.request(), conversation.request()
        assert hello is not None
        assert request is not None
        assert (hello.op, request.op) == (Op.HELLO, Op.OPEN)
        conversation.reply(Reply(op=Op.HELLO, id=hello.id, mode=Mode.PLAIN))
        conversation.give(request)

    async with session_with(script) as session:
        await take(session)


async def test_helper_is_told_that_nothing_else_will_be_asked() -> None:
    told = threading.Event()

    def script(conversation: Conversation) -> None:
        conversation.greet()
        request = conversation.request()
        assert request is not None
        assert conversation.request() is None
        told.set()
        conversation.give(request)

    async with session_with(script) as session:
        descriptor, _ = await session.open(UDP, None, LONG, last=True)
        descriptor.close()

        assert told.is_set()


async def test_facts_are_those_of_hello() -> None:
    async with session_with(serve) as session:
        facts = await session.greet(LONG)

        assert facts.mode is Mode.SETUID


async def test_many_tasks_share_one_session() -> None:
    async with session_with(serve) as session, anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(take, session)


async def test_loop_gets_its_turn_between_requests_that_are_answered_at_once() -> None:
    async with session_with(serve) as session:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(count)
            for _ in range(64):
                await take(session)
            tasks.cancel_scope.cancel()

        assert turns >= 4


@pytest.mark.parametrize("closed", ["before HELLO", "after HELLO"])
async def test_helper_that_dies_is_reported_with_what_is_known(closed: str) -> None:
    def script(conversation: Conversation) -> None:
        if closed == "after HELLO":
            conversation.greet()

    async with session_with(script, FakePeer("it exited with status 9")) as session:
        with pytest.raises(HelperDiedError, match="it exited with status 9") as caught:
            await session.open(UDP, None, LONG)

        assert caught.value.errno == errno.ECONNRESET


async def test_request_after_the_death_says_that_the_session_is_over() -> None:
    async with session_with(Conversation.close) as session:
        with pytest.raises(HelperDiedError):
            await session.open(UDP, None, LONG)

        with pytest.raises(HelperDiedError, match="is over") as caught:
            await session.open(UDP, None, LONG)
    assert "begin a new one" in caught.value.hint


async def test_silent_helper_times_out_and_is_killed() -> None:
    peer = FakePeer()
    async with session_with(silent, peer) as session:
        with pytest.raises(HelperTimeoutError, match=r"within 0\.05 s"):
            await session.open(UDP, None, SHORT)

        assert peer.killed
        assert session.over


async def test_tasks_in_line_behind_a_timeout_do_not_wait_for_their_own() -> None:
    async with session_with(silent) as session:

        async def second() -> None:
            with pytest.raises(HelperDiedError, match="is over"):
                await session.open(UDP, None, LONG)

        async with anyio.create_task_group() as tasks:
            with anyio.fail_after(LONG / 2):
                tasks.start_soon(second)
                with pytest.raises(HelperTimeoutError):
                    await session.open(UDP, None, SHORT)


async def test_close_wakes_a_waiting_request() -> None:
    async with session_with(silent) as session:

        async def wait() -> None:
            with pytest.raises(ClosedError):
                await session.open(UDP, None, LONG)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            session.close()


def replies(*answers: Callable[[int], tuple[bytes, int]]) -> Script:
    """Greet, take one OPEN, then send bytes with so many descriptors, once for each answer."""

    def script(conversation: Conversation) -> None:
        conversation.greet()
        request = conversation.request()
        assert request is not None
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
            for answer in answers:
                data, count = answer(request.id)
                conversation.send(data, [found.fileno()] * count)
        silent(conversation)

    return script


def good(id: int) -> bytes:
    return encode_reply(Reply(op=Op.OPEN, id=id))


def bad(id: int) -> bytes:
    return encode_reply(Reply(op=Op.OPEN, id=id, stage=Stage.SOCKET, errno=errno.ENOMEM))


MISBEHAVIOUR: dict[str, Callable[[int], tuple[bytes, int]]] = {
    "no descriptor": lambda id: (good(id), 0),
    "two descriptors": lambda id: (good(id), 2),
    "many descriptors": lambda id: (good(id), 100),
    "a descriptor with a refusal": lambda id: (bad(id), 1),
    "another id": lambda id: (good(id + 1), 1),
    "an answer to HELLO": lambda id: (encode_reply(Reply(op=Op.HELLO, id=id)), 0),
    "short": lambda id: (good(id)[:-1], 1),
    "long": lambda id: (good(id) + b"\0", 1),
    "huge": lambda id: (good(id) * 100, 1),
    "another magic": lambda id: (b"APK2" + good(id)[4:], 1),
    "another version": lambda id: (good(id)[:4] + b"\2" + good(id)[5:], 1),
    "unknown stage": lambda id: (good(id)[:10] + b"\x63" + good(id)[11:], 1),
}


@pytest.mark.parametrize("answer", MISBEHAVIOUR.values(), ids=MISBEHAVIOUR)
@pytest.mark.hostile(35)
async def test_misbehaving_helper_is_left_and_nothing_of_it_kept(
    answer: Callable[[int], tuple[bytes, int]],
) -> None:
    async with session_with(replies(answer)) as session:
        with pytest.raises(HelperProtocolError):
            await session.open(UDP, None, LONG)

        assert session.over


async def test_answer_that_nobody_asked_for_ends_the_session() -> None:
    def twice(id: int) -> tuple[bytes, int]:
        return good(id), 1

    async with session_with(replies(twice, twice)) as session:
        await take(session)

        with pytest.raises(HelperProtocolError, match="was its turn"):
            await session.open(UDP, None, LONG)


async def test_something_else_than_what_was_asked_for_is_refused() -> None:
    def script(conversation: Conversation) -> None:
        conversation.greet()
        request = conversation.request()
        assert request is not None
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as found:
            conversation.reply(Reply(op=Op.OPEN, id=request.id), found.fileno())

    async with session_with(script) as session:
        with pytest.raises(HelperProtocolError, match="something else"):
            await session.open(UDP, None, LONG)


async def test_file_in_the_place_of_a_device_is_refused() -> None:
    def script(conversation: Conversation) -> None:
        conversation.greet()
        request = conversation.request()
        assert request is not None
        with open(__file__, "rb") as found:
            conversation.reply(Reply(op=Op.OPEN, id=request.id), found.fileno())

    async with session_with(script) as session:
        with pytest.raises(HelperProtocolError, match="no device"):
            await session.open(DeviceSpec(name="net/tun"), None, LONG)


async def test_hello_of_other_versions_names_them() -> None:
    def script(conversation: Conversation) -> None:
        conversation.request()
        conversation.reply(
            Reply(op=Op.HELLO, stage=Stage.VERSION, errno=errno.EPROTO, lowest=2, highest=3)
        )

    async with session_with(script) as session:
        with pytest.raises(HelperProtocolError, match="speaks versions 2 to 3"):
            await session.open(UDP, None, LONG)


async def test_refused_identity_is_told_although_the_helper_is_gone() -> None:
    def script(conversation: Conversation) -> None:
        conversation.request()
        conversation.reply(Reply(op=Op.HELLO, stage=Stage.IDENTITY, errno=errno.EPERM))
        conversation.close()  # with OPEN unread, or still to come

    async with session_with(script) as session:
        with pytest.raises(NotPermittedError, match="who is calling") as caught:
            await session.open(UDP, None, LONG)

        assert caught.value.step == "identity"


async def test_refusals_leave_the_session_usable() -> None:
    def script(conversation: Conversation) -> None:
        conversation.greet()
        for stage, number, detail in (
            (Stage.POLICY, errno.EPERM, Reason.PORT),
            (Stage.OPTION, errno.EPERM, 4),
            (Stage.BIND, errno.EADDRINUSE, 0),
        ):
            request = conversation.request()
            assert request is not None
            conversation.refuse(request, stage, number, detail)
        request = conversation.request()
        assert request is not None
        conversation.give(request)

    async with session_with(script) as session:
        with pytest.raises(NotPermittedError, match="ports 1 to 1023") as policy:
            await session.open(UDP, None, LONG)
        with pytest.raises(NotPermittedError, match="setting mark") as option:
            await session.open(UDP, None, LONG)
        with pytest.raises(OpenError, match="EADDRINUSE") as bind:
            await session.open(UDP, None, LONG)
        await take(session)

        assert (policy.value.step, option.value.step, bind.value.step) == (
            "policy",
            "option",
            "bind",
        )


async def test_what_the_helper_does_not_open_is_refused_before_anything_is_sent() -> None:
    netlink = SocketSpec(family=socket.AF_NETLINK, type=socket.SOCK_RAW, protocol=15)
    async with session_with(serve) as session:
        with pytest.raises(SpecError):
            await session.open(netlink, None, LONG)

        await take(session)


@contextmanager
def full_table() -> Iterator[None]:
    """No room for another descriptor in this process."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(descriptors()) + 10, limits[1]))
    held = []
    try:
        with suppress(OSError):
            while True:
                held.append(os.dup(0))
        yield
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.hostile(29)
async def test_full_table_of_descriptors_is_told_and_the_session_goes_on() -> None:
    def script(conversation: Conversation) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
            conversation.greet()
            while (request := conversation.request()) is not None:
                conversation.reply(Reply(op=Op.OPEN, id=request.id), found.fileno())

    async with session_with(script) as session:
        await session.greet(LONG)
        session._readiness.events()  # its descriptor is there from the first wait on
        with full_table(), pytest.raises(OpenError) as caught:
            await session.open(UDP, None, LONG)

        assert caught.value.errno == errno.EMFILE
        await take(session)


async def cancel_one(session: Session, when_cancelled: threading.Event | None = None) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take, session)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
        if when_cancelled is not None:
            when_cancelled.set()


def give_watched(conversation: Conversation, request: Request) -> None:
    """Answer with a descriptor, and return when the client has closed it."""
    watched, given = socket.socketpair()
    watched.settimeout(PATIENCE)
    with watched:
        with given:
            conversation.reply(Reply(op=Op.OPEN, id=request.id), given.fileno())
        assert watched.recv(1) == b""


async def test_descriptor_for_a_cancelled_request_is_closed_if_it_comes_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aioprocket.helper.session._GRACE", LONG)
    cancelled, closed = threading.Event(), threading.Event()

    def script(conversation: Conversation) -> None:
        conversation.greet()
        request = conversation.request()
        assert request is not None
        cancelled.wait()
        give_watched(conversation, request)
        closed.set()
        assert conversation.request() is None

    async with session_with(script) as session:
        await cancel_one(session, cancelled)

        assert await anyio.to_thread.run_sync(closed.wait, PATIENCE)


async def test_descriptor_for_a_cancelled_request_is_closed_by_the_next_if_it_comes_late() -> None:
    release = threading.Event()

    def script(conversation: Conversation) -> None:
        conversation.greet()
        first = conversation.request()
        assert first is not None
        release.wait()
        give_watched(conversation, first)
        while (request := conversation.request()) is not None:
            conversation.give(request)

    async with session_with(script) as session:
        try:
            await cancel_one(session)
        finally:
            release.set()

        await take(session)


async def cancel_many(session: Session, count: int, spec: SocketSpec) -> None:
    for _ in range(count):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.open, spec, None, LONG)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()


async def test_no_more_than_sixteen_requests_are_sent_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aioprocket.helper.session._GRACE", 0.01)

    release = threading.Event()

    def script(conversation: Conversation) -> None:
        conversation.greet()
        ahead = [conversation.request() for _ in range(16)]
        release.wait()
        assert not conversation.has_request()
        for request in ahead:
            assert request is not None
            give_watched(conversation, request)
        while (request := conversation.request()) is not None:
            conversation.give(request)

    async with session_with(script) as session:
        await session.greet(LONG)
        try:
            await cancel_many(session, 17, UDP)
        finally:
            release.set()
        await take(session)


async def test_large_requests_that_were_cancelled_leave_room_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aioprocket.helper.session._GRACE", 0.01)
    large = replace(UDP, filter=((0x06, 0, 0, 0),) * 4096)
    release = threading.Event()

    def script(conversation: Conversation) -> None:
        conversation.greet()
        release.wait()
        while (request := conversation.request()) is not None:
            conversation.give(request)

    async with session_with(script) as session:
        await session.greet(LONG)
        try:
            await cancel_many(session, 16, large)
        finally:
            release.set()
        descriptor, _ = await session.open(large, None, LONG)
        descriptor.close()
