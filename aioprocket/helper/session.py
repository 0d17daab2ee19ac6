"""One conversation with a helper: who asks when, whose the next reply is, and when it is over.

Replies come in the order of the requests, so what is still to be answered is a queue. A caller that
was cancelled leaves its place in it, and the descriptor that comes for it is closed. HELLO is sent
ahead of the first OPEN without waiting, so that a helper started for one descriptor costs one round
trip.

Any fault of the other side ends the session for good: after an unreadable message nobody can say
whose the next descriptor is.
"""

import os
import socket
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

import anyio

from .._system.descriptor import Descriptor
from ..errors import (
    AioprocketError,
    ClosedError,
    HelperDiedError,
    HelperError,
    HelperProtocolError,
    HelperTimeoutError,
    NotPermittedError,
    OpenError,
)
from ..readiness import Readiness, checkpoint
from ..spec import Spec, describe
from ..wire.message import Op
from ..wire.reply import Mode, Reply, Stage, State
from ..wire.request import encode_hello, encode_open
from .explain import hello_refused, open_refused
from .line import Answer, Line
from .received import check_received
from .turns import Turns

__all__ = ("Facts", "Peer", "Session")

# PROTOCOL.md: so many unanswered requests may be sent ahead.
_AHEAD: Final = 16
# Seconds that a cancelled caller stays to receive, and close, what it had asked for. A helper
# answers in microseconds; one that hangs must not hold up the cancellation.
_GRACE: Final = 0.1
# A helper that answered its last request within this is waited for in the kernel, as long at most:
# that takes the loop less time than a turn through its selector. A slow one is not.
_PROMPT_MS: Final = 1
# Most answers are there before the loop is asked for anything. Every so often it gets its turn.
_BETWEEN_CHECKPOINTS: Final = 16

_NO_HELPER: Final = (
    "is it the helper? The one that came with this package: python3 -P -m aioprocket.helper"
)
_NEW_SESSION: Final = "this session is over: begin a new one"
_NO_ANSWER: Final = "the helper was stopped, or the machine is busy: timeout= gives it longer"
_NO_ANSWER_EVER: Final = f"it has not even said HELLO: {_NO_HELPER}; or timeout= is too short"

_HELLO_ID: Final = 0
_HELLO: Final = encode_hello(_HELLO_ID)
_LAST_ID: Final = 0xFFFFFFFF
_ID: Final = slice(12, 16)  # in a request, PROTOCOL.md


class Peer(Protocol):
    """Who is at the other end; its name is its ``str()``."""

    @property
    def pid(self) -> int | None:
        """Its process, where that is known."""

    def wait_briefly(self) -> None:
        """Block until it has ended, some milliseconds at most, if its end can be waited for."""

    def kill(self) -> None:
        """End it at once, if it is ours to end."""

    async def obituary(self) -> str:
        """What is known of its end; empty: nothing."""

    async def end(self) -> None:
        """Wait for it to end, as it does when the session has. Not cancellable, bounded."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a helper says of itself in HELLO.

    ``mode``: how it got its rights. ``uid``: who it thinks is calling. ``capabilities``: its
    permitted set, one bit each (linux/capability.h). ``state``: what it found at its start.
    """

    mode: Mode | None
    uid: int
    capabilities: int
    state: State


@lru_cache(maxsize=64)
def _template(spec: Spec) -> bytes:
    # Programs ask for the same thing again and again, and encoding takes longer than the helper.
    return encode_open(spec)


class Session:
    """Owns the socket to one helper, and asks for descriptors over it.

    Any number of tasks may ask at once; they take turns, as the helper does one thing at a time.
    """

    def __init__(self, sock: socket.socket, peer: Peer) -> None:
        self.peer = peer
        self.facts: Facts | None = None
        self._line = Line(sock, str(peer))
        self._readiness = Readiness(sock.fileno())
        self._turns = Turns()
        self._unanswered: deque[int] = deque()
        self._greeting = False
        self._prompt = False
        self._last_id = _HELLO_ID
        self._last_spec: Spec | None = None
        self._last_template = b""
        self._over: AioprocketError | None = None

    @property
    def over(self) -> bool:
        """Whether it has ended, by `aclose` or by a fault."""
        return self._over is not None

    async def greet(self, timeout: float) -> Facts:
        """Wait for the answer to HELLO.

        Raises:
            NotPermittedError: The helper does not know who is calling.
            HelperError: It did not answer, or not so that it could be understood.
        """
        async with self._turns:
            self._say_hello()
            if self.facts is None:
                await self._answer(_HELLO_ID, timeout, None)
        assert self.facts is not None
        return self.facts

    async def open(
        self, spec: Spec, namespace: Descriptor | None, timeout: float, *, last: bool = False
    ) -> tuple[Descriptor, Reply]:
        """Ask for one descriptor; the caller owns it. Cancelled, it leaves none behind.

        Args:
            spec: What to open.
            namespace: Where: goes along with the request, and stays the caller's.
            timeout: Seconds for the answer, from the moment it is this task's turn.
            last: Nothing else will be asked: the helper need not wait for that, and ends while
                its answer is on the way.

        Raises:
            SpecError: The helper does not open such a thing.
            NotPermittedError: Refused, by policy or by the kernel.
            OpenError: A system call of the helper failed.
            HelperError: No answer, or one that cannot be understood; the session is over.
        """
        id = self._next_id()
        message = self._open_message(spec, id)
        if id % _BETWEEN_CHECKPOINTS == 0:
            await checkpoint()
        async with self._turns:
            self._say_hello()
            while len(self._unanswered) >= _AHEAD or not self._line.send(message, namespace):
                await self._make_room(timeout)
            self._unanswered.append(id)
            if last:
                self._line.finish()
                # When it has ended, its answers are there: that wakes this process once, not for
                # each of them, and takes no turn of the loop. A slow one is waited for as any.
                self.peer.wait_briefly()
            _, reply, descriptor = await self._answer(id, timeout, spec)
        if descriptor is None:
            uid = os.getuid() if self.facts is None else self.facts.uid
            raise open_refused(spec, reply, str(self.peer), uid)
        try:
            check_received(descriptor, spec, str(self.peer))
        except HelperProtocolError as error:
            descriptor.close()
            self._end(error)
            raise
        return descriptor, reply

    async def _make_room(self, timeout: float) -> None:
        """Wait for the answers to cancelled requests, which are in the way."""
        if not self._unanswered:
            raise HelperError(f"{self.peer} takes no request, though it has answered all")
        # That one of them failed is nobody's concern any more.
        with suppress(OpenError):
            _discard(await self._answer(self._unanswered[-1], timeout, None))

    def close(self) -> None:
        """End it now; a task that waits for an answer gets `ClosedError`."""
        self._end(ClosedError(f"the session with {self.peer} is closed"))

    async def aclose(self, because: BaseException | None = None) -> None:
        """End it, and wait for the other end to go, which is bounded and not cancellable.

        Args:
            because: The error that ends it. One that is not of this package, as a cancellation,
                must not be held up: the other end is killed, if it is ours to kill.
        """
        self.close()
        if because is not None and not isinstance(because, AioprocketError):
            self.peer.kill()
        await self.peer.end()

    def _end(self, why: AioprocketError) -> None:
        if self._over is None:
            self._over = why
            self._readiness.close()
            self._line.close()

    def _check_not_over(self) -> None:
        if isinstance(self._over, ClosedError):
            raise ClosedError(str(self._over))
        if self._over is not None:
            raise HelperDiedError(
                f"the session with {self.peer} is over: {self._over}", hint=_NEW_SESSION
            )

    def _next_id(self) -> int:
        self._last_id = self._last_id % _LAST_ID + 1
        return self._last_id

    def _open_message(self, spec: Spec, id: int) -> bytes:
        if spec is not self._last_spec:  # to hash one takes microseconds
            self._last_spec, self._last_template = spec, _template(spec)
        template = self._last_template
        return template[: _ID.start] + id.to_bytes(4, "little") + template[_ID.stop :]

    def _say_hello(self) -> None:
        self._check_not_over()
        if not self._greeting:
            self._greeting = True
            self._line.send(_HELLO)
            self._unanswered.append(_HELLO_ID)

    async def _answer(self, id: int, timeout: float, spec: Spec | None) -> Answer:
        try:
            answer = self._take(id, _PROMPT_MS if self._prompt else 0)
            return answer or await self._wait_for(id, timeout, spec)
        except (HelperProtocolError, NotPermittedError) as error:
            self._end(error)
            raise
        except ConnectionResetError as gone:
            if isinstance(gone, HelperDiedError):
                raise
            raise await self._died(spec) from gone

    def _take(self, wanted: int, wait_ms: int = 0) -> Answer | None:
        """The answer to one request, if it has come; descriptors that nobody wants are closed."""
        while True:
            try:
                answer = self._line.receive(wait_ms)
            except OpenError:
                if self._unanswered.popleft() == wanted:
                    raise
                continue
            if answer is None:
                return None
            try:
                self._check_turn(answer)
            except BaseException:
                _discard(answer)
                raise
            if answer.id == wanted:
                return answer
            _discard(answer)

    def _check_turn(self, answer: Answer) -> None:
        id, reply, _ = answer
        expected = self._unanswered.popleft() if self._unanswered else None
        if id != expected or (reply.op is Op.HELLO) != (id == _HELLO_ID):
            raise HelperProtocolError(
                f"{self.peer} answered {reply.op.name} {id}, and {expected} was its turn"
            )
        if reply.op is Op.HELLO:
            if reply.stage is not Stage.OK:
                raise hello_refused(reply, str(self.peer))
            self.facts = Facts(reply.mode, reply.uid, reply.capabilities, reply.state)

    async def _wait_for(self, id: int, timeout: float, spec: Spec | None) -> Answer:
        began = time.monotonic()
        try:
            with anyio.move_on_after(timeout):
                return await self._wait(id)
        except anyio.get_cancelled_exc_class():
            await self._abandon(id)
            raise
        finally:
            self._prompt = not self._prompt and time.monotonic() - began < _PROMPT_MS / 1000
        error = HelperTimeoutError(
            f"{self.peer} did not answer within {timeout:g} s: {_request(spec)}",
            hint=_NO_ANSWER_EVER if self.facts is None else _NO_ANSWER,
        )
        self._end(error)
        self.peer.kill()
        raise error

    async def _wait(self, id: int) -> Answer:
        while True:
            await self._readiness.wait_readable()
            self._check_not_over()
            answer = self._take(id)
            if answer is not None:
                return answer

    async def _abandon(self, id: int) -> None:
        """Close what still comes for a caller that was cancelled, if it comes soon."""
        with anyio.move_on_after(_GRACE, shield=True):
            try:
                answer = await self._wait(id)
            except OpenError:
                pass  # no room in this process for what came: it is gone, and the session goes on
            except AioprocketError as error:
                self._end(error)
            except ConnectionResetError:
                await self._died(None)
            else:
                _discard(answer)

    async def _died(self, spec: Spec | None) -> HelperDiedError:
        obituary = await self.peer.obituary()
        message = f"{self.peer} ended before it answered: {_request(spec)}"
        error = HelperDiedError(
            f"{message}; {obituary}" if obituary else message,
            hint=_NO_HELPER if self.facts is None else _NEW_SESSION,
        )
        self._end(error)
        return error


def _request(spec: Spec | None) -> str:
    return "HELLO" if spec is None else describe(spec)


def _discard(answer: Answer) -> None:
    if answer.descriptor is not None:
        answer.descriptor.close()
