"""Waiting until one descriptor can be read or written, on asyncio, uvloop and trio alike.

The loop never sees the descriptor itself. Raw descriptors get ``EPOLLERR`` in normal life (link
down, ICMP errors, a filled error queue); uvloop drops a reader for ever at the first one, silently,
and asyncio spins on it. So each direction has a private, level-triggered epoll that contains the
descriptor, and the loop watches that: it only ever becomes readable. The price is one more
descriptor per direction that was waited for. And an epoll within an epoll is
searched twice for each wakeup, which is a part of what a packet costs where each has one: a
subscriber that takes errors away may let asyncio's own loop see the descriptor (``bare``).

On asyncio the epoll stays registered with the loop between waits, because the next wait usually
follows at once; it is taken out when it fires and nobody waits. Readiness says nothing about
packets: the caller does its system call after the wait, so a cancelled wait loses nothing.

A `Moderator`, where there is one, has a timer in the epoll that reading waits by. While packets
come densely it is the timer that wakes, and the descriptor does so only for errors.

A forked child shares the epolls with its parent. It leaves the registrations that it finds alone,
and waits, if it does, with an epoll of its own.
"""

import asyncio
import os
import select
import sys
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final

from ._system._native import Moderator, Waiter
from .errors import BusyError

__all__ = ("Readiness", "checkpoint")

_asyncio_loop: Final = asyncio._get_running_loop  # None: none


def _trio() -> ModuleType:
    trio = sys.modules.get("trio")
    if trio is None:
        raise RuntimeError("neither an asyncio loop nor trio is running here")
    return trio


async def checkpoint() -> None:
    """Give the other tasks their turn, and whoever wants to cancel this one a chance."""
    if _asyncio_loop() is not None:
        await asyncio.sleep(0)
    else:
        await _trio().lowlevel.checkpoint()


class _Waiter(Waiter):
    """What a task of asyncio awaits: what is not for each packet is here.

    A future would have the loop ask for events once more before it goes on with the task; both
    cost more than what is then done with a packet. That asyncio awaits any object that has these
    methods is what `asyncio.isfuture` is about.
    """

    __slots__ = ()

    def __await__(self) -> Generator["_Waiter", None, None]:
        yield self

    def wake(self) -> None:
        """Let the task go on in the loop's next turn; one whose loop is closed never does."""
        loop, waiting = self.get_loop(), self.take_step()
        # None: another has found out already that it is closed.
        if waiting is not None and loop is not None and not loop.is_closed():
            step, context = waiting
            loop.call_soon(step, self, context=context)

    def cancel(self, msg: object = None) -> bool:
        """As a future's, called by the task."""
        if self.done():
            return False
        self.cancelled = asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)
        self.wake()
        return True


class _Gate:
    """One direction of one descriptor: the private epoll, its waiter or its subscriber."""

    __slots__ = (
        "_bare", "_callback", "_called", "_doing", "_epoll", "_fd", "_loop", "_mask", "_pid",
        "_tick", "_trio_waits", "_unpollable", "_watched", "moderator", "unattended", "waiter",
    )  # fmt: skip

    def __init__(self, fd: int, mask: int, doing: str, moderator: Moderator | None = None) -> None:
        self._fd = fd
        self.moderator = moderator
        self._mask = mask
        self._doing = doing
        self._unpollable = False
        self.unattended: Callable[[], None] | None = None
        self.waiter = _Waiter(asyncio._get_running_loop)
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._epoll: select.epoll | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watched = -1  # by the loop
        self._bare = False  # the subscriber lets the loop watch the descriptor itself
        self._callback: Callable[[], None] | None = None
        self._called: Callable[[], None] | None = None  # by the loop, of which this is a handler
        self._tick: asyncio.Handle | None = None
        self.waiter.leave()
        self.waiter.disarm()
        self._trio_waits = False

    def _open(self) -> select.epoll | None:
        """The epoll, made at the first use; None where the kernel has nothing to wait for."""
        if self._epoll is not None and os.getpid() != self._pid:
            self._epoll.close()
            self._forget()
        if self._epoll is None and not self._unpollable:
            epoll = select.epoll()
            try:
                epoll.register(self._fd, self._mask)
            except BaseException as error:
                epoll.close()
                # EPERM: regular files, /dev/null, /dev/zero have no poll operation (epoll_ctl(2)).
                self._unpollable = isinstance(error, PermissionError)
                if not self._unpollable:
                    raise
            else:
                self._epoll = epoll
                if self.moderator is not None:
                    self.moderator.watch(epoll.fileno(), self.waiter)
        return self._epoll

    def leave(self) -> None:
        if self._epoll is not None and os.getpid() == self._pid:
            self._epoll.unregister(self._fd)

    def enter(self) -> None:
        if self._epoll is not None and os.getpid() == self._pid:
            self._epoll.register(self._fd, self._mask)

    def events(self) -> int:
        epoll = self._open()
        if epoll is None:
            return self._mask
        # A moderator's timer is in there as well.
        return dict(epoll.poll(0)).get(self._fd, 0)

    async def wait(self) -> None:
        epoll = self._open()
        if self.waiter.taken or self._trio_waits:
            raise BusyError(f"another task is already {self._doing} this channel")
        if epoll is None:
            await checkpoint()
            return
        loop = _asyncio_loop()
        if loop is None:
            await self._wait_trio(epoll)
            return
        if self.moderator is not None:
            self.moderator.end()
        self.watch(loop)
        self.waiter.take()
        try:
            await self.waiter
        finally:
            self.waiter.leave()
            if self._callback is not None and self._is_watched_here():
                self._arm(loop, self._subscriber(self._callback), self._bare)

    async def _wait_trio(self, epoll: select.epoll) -> None:
        trio, moderator = _trio(), self.moderator
        if moderator is not None:
            moderator.end()
        self._trio_waits = True
        try:
            await trio.lowlevel.wait_readable(epoll.fileno())
            if moderator is not None:
                moderator.begin()
        except trio.ClosedResourceError:
            pass  # wake(): the caller looks at its own state
        finally:
            self._trio_waits = False
            if self.unattended is not None:
                self.unattended()

    @property
    def attended(self) -> bool:
        return self._callback is not None or self.waiter.taken or self._trio_waits

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._open()
        self._arm(loop, self.waiter.fire if self._callback is None else self._call_both)
        self.waiter.arm(loop, self._abandon)

    def _abandon(self) -> None:
        """The loop called, and nobody waits."""
        self._disarm()
        if self.unattended is not None:
            self.unattended()

    def subscribe(self, callback: Callable[[], None], *, bare: bool = False) -> None:
        loop = asyncio.get_running_loop()
        self._open()
        self._callback = callback
        moderated = self.moderator is not None
        self._bare = bare and not moderated and isinstance(loop, asyncio.SelectorEventLoop)
        if self.waiter.taken:
            self._arm(loop, self._call_both)
        else:
            self.waiter.disarm()
            self._arm(loop, self._subscriber(callback), self._bare)

    def _subscriber(self, callback: Callable[[], None]) -> Callable[[], None]:
        # The loop calls a subscriber without anybody in between.
        return self._call_back if self._epoll is None else callback

    def unsubscribe(self) -> None:
        self._callback = None
        loop = self._loop if self._is_watched_here() else None
        if loop is not None and (self.waiter.taken or self.unattended is not None):
            self.watch(loop)
        else:
            self._disarm()

    def _arm(
        self, loop: asyncio.AbstractEventLoop, called: Callable[[], None], bare: bool = False
    ) -> None:
        if self._loop is loop and self._called == called:
            return
        watched = self._fd if bare or self._epoll is None else self._epoll.fileno()
        if self._loop is not loop or self._watched != watched:
            self._disarm()
            self._watched = watched
        if self._epoll is not None:
            through = called if self.moderator is None else self.moderator.around(called)
            loop.add_reader(watched, through)  # in place of what was called before
        elif self._tick is None:
            self._tick = loop.call_soon(self._fire_again)
        self._called = called
        self._loop = loop

    def _is_watched_here(self) -> bool:
        """Whether a loop of this process still calls."""
        loop = self._loop
        return loop is not None and not loop.is_closed() and os.getpid() == self._pid

    def _disarm(self) -> None:
        loop, self._loop = self._loop, None
        tick, self._tick = self._tick, None
        self.waiter.disarm()
        if tick is not None:
            tick.cancel()
        # A forked child shares the parent's epoll: removing there would deafen the parent.
        if loop is None or loop.is_closed() or self._epoll is None or os.getpid() != self._pid:
            return
        loop.remove_reader(self._watched)

    def _call_both(self) -> None:
        """A task waits for what somebody else is called back for, who as a rule was there first."""
        try:
            self._call_back()
        finally:
            self.waiter.fire()

    def _call_back(self) -> None:
        if self._callback is not None:
            self._callback()

    def _fire_again(self) -> None:
        """What a level-triggered registration does, for a descriptor that cannot have one."""
        assert self._loop is not None
        self._tick = self._loop.call_soon(self._fire_again)
        self._call_back()

    def wake(self) -> None:
        if os.getpid() != self._pid:
            return
        self.waiter.wake()
        if self._trio_waits and self._epoll is not None:
            _trio().lowlevel.notify_closing(self._epoll.fileno())

    def close(self) -> None:
        self.wake()
        self._callback = None
        self._disarm()
        if self.moderator is not None:
            self.moderator.close()
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None
        self._fd = -1  # a wait after this fails, and does not find the number's next owner


class Readiness:
    """Waits for one descriptor, which stays its owner's; `close` before that one is closed.

    One task may wait per direction, also beside a subscriber; a second gets `BusyError`. A wait
    returns when the descriptor is ready, in error, hung up, when `wake` was called, and now and
    then for nothing: look again, and wait again if need be. A device that cannot be polled
    (/dev/zero, a regular file) is always ready.
    """

    __slots__ = ("_error", "_read", "_write")

    def __init__(self, fd: int, moderator: Moderator | None = None) -> None:
        self._read = _Gate(fd, select.EPOLLIN, "reading from", moderator)
        self._write = _Gate(fd, select.EPOLLOUT, "writing to")
        self._error = _Gate(fd, 0, "waiting for a timestamp of")  # the kernel adds EPOLLERR

    @property
    def resting(self) -> bool:
        """Whether packets wait for a timer, and wake nobody by themselves."""
        moderator = self._read.moderator
        return moderator is not None and moderator.resting

    @property
    def reader(self) -> Waiter:
        """What a task that reads waits by, where `wait_readable` has been before it."""
        return self._read.waiter

    def tell_unattended(self, callback: Callable[[], None] | None) -> None:
        """Call back, once, where a wait, a subscription or a `watch` is over and nobody waits."""
        self._read.unattended = callback

    @property
    def attended(self) -> bool:
        """Whether a task waits for something to read, or somebody is called back for it."""
        return self._read.attended

    def watch(self) -> None:
        """Have the running asyncio loop tell where nobody waits, and nobody does before that."""
        self._read.watch(asyncio.get_running_loop())

    def events(self) -> int:
        """What holds now, without waiting: a mask of EPOLLIN, EPOLLERR, EPOLLHUP."""
        return self._read.events()

    @contextmanager
    def unwatched(self) -> Iterator[None]:
        """A block without a wait, in which the kernel tells nobody that there is something to read.

        To tell takes it a microsecond or two, between a packet's way to the interface and back.
        Who waits meanwhile finds out afterwards.
        """
        self._read.leave()
        try:
            yield
        finally:
            self._read.enter()

    def wait_readable(self) -> Coroutine[Any, Any, None]:
        """Wait for something to read; `BusyError` if another task does."""
        return self._read.wait()

    def wait_writable(self) -> Coroutine[Any, Any, None]:
        """Wait for room to write. It does not help with ``ENOBUFS``: POLLOUT stays set then."""
        return self._write.wait()

    def wait_error(self) -> Coroutine[Any, Any, None]:
        """Wait for an error, or something in the error queue; `BusyError` if another task does."""
        return self._error.wait()

    def wake_error(self) -> None:
        """Let `wait_error` return: somebody else read what it waits for."""
        self._error.wake()

    def subscribe(self, callback: Callable[[], None], *, bare: bool = False) -> None:
        """Call back in the running asyncio loop, again and again while there is something.

        ``bare``: asyncio's own loop may watch the descriptor itself. It calls for errors as well,
        and they have to be taken away by the callback, as here they have in any case.
        """
        self._read.subscribe(callback, bare=bare)

    def unsubscribe(self) -> None:
        """Stop calling back; what arrives waits in the kernel."""
        self._read.unsubscribe()

    def subscribe_writable(self, callback: Callable[[], None]) -> None:
        """Call back in the running asyncio loop, again and again while there is room to write."""
        self._write.subscribe(callback)

    def unsubscribe_writable(self) -> None:
        """Stop calling back for room to write."""
        self._write.unsubscribe()

    def wake(self) -> None:
        """Let waiting tasks return, so that they see that their channel was closed."""
        self._read.wake()
        self._write.wake()
        self._error.wake()

    def close(self) -> None:
        """Wake the waiters, leave the loop, close the private epolls. Idempotent."""
        self._read.close()
        self._write.close()
        self._error.close()
