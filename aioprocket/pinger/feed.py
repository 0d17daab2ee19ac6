"""Hosts that come by and by: a task of their own takes them, and no reply waits for the next."""

import asyncio
import contextvars
import sys
from collections.abc import AsyncIterable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio

__all__ = ("Feed",)


class Feed:
    """Takes hosts from an asynchronous iterable, no more than are asked for.

    The task begins with the first `take`, and ends with `aclose` or the hosts.
    """

    def __init__(self, hosts: AsyncIterable[Any]) -> None:
        self._hosts = hosts
        self._found: list[Any] = []
        self._wanted = 0
        self._demand: anyio.Event | None = None  # while enough was found
        self._over = False
        self._closed = False
        self._failure: BaseException | None = None
        self._cancel: Callable[[], object] | None = None
        self._ended: anyio.Event | None = None
        self._interrupted: anyio.CancelScope | None = None

    def take(self, count: int) -> list[Any] | None:
        """The next hosts, ``count`` at most; none: there are no more; None: not yet.

        Raises:
            What the iterable raised.
        """
        if self._found:
            items, self._found = self._found[:count], self._found[count:]
            return items
        if self._failure is not None:
            raise self._failure
        if self._over:
            return []
        self._wanted = count
        if self._ended is None:
            self._ended = anyio.Event()
            self._start()
        elif self._demand is not None:
            self._demand.set()
        return None

    @property
    def has_more(self) -> bool:
        """Whether `take` has something, be it the end."""
        return bool(self._found) or self._over

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """What is awaited within is over when `take` has something."""
        with anyio.CancelScope() as self._interrupted:
            if self.has_more:
                self._interrupted.cancel()
            try:
                yield
            finally:
                self._interrupted = None

    async def aclose(self) -> None:
        """Take no more; the iterable is the caller's again then. Idempotent."""
        self._closed = True
        if self._ended is None:
            return
        if self._cancel is not None:
            self._cancel()
        with anyio.CancelScope(shield=True):
            await self._ended.wait()

    def _start(self) -> None:
        # No task group: one cannot be open while an asynchronous generator yields.
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            trio = sys.modules["trio"]
            scope = trio.CancelScope()
            self._cancel = scope.cancel
            context = contextvars.copy_context()
            trio.lowlevel.spawn_system_task(self._run_on_trio, scope, context=context)
            return
        task = loop.create_task(self._run())
        self._cancel = task.cancel
        task.add_done_callback(lambda _: self._end())

    async def _run_on_trio(self, scope: Any) -> None:
        try:
            with scope:
                await self._run()
        finally:
            self._end()

    async def _run(self) -> None:
        try:
            async for host in self._hosts:
                self._found.append(host)
                self._tell()
                if len(self._found) >= self._wanted:
                    self._demand = anyio.Event()
                    await self._demand.wait()
        except BaseException as error:
            if not self._closed:  # else it is our own cancel, of which nobody is to hear
                self._failure = error
            if not isinstance(error, Exception):
                raise

    def _end(self) -> None:
        self._over = True
        assert self._ended is not None
        self._ended.set()
        self._tell()

    def _tell(self) -> None:
        if self._interrupted is not None:
            self._interrupted.cancel()
