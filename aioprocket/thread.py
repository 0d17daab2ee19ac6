"""Calls in a thread that leave none behind."""

import asyncio
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import TypeVar

import anyio
import anyio.to_thread

__all__ = ("call_in_thread",)

_T = TypeVar("_T")


async def call_in_thread(call: Callable[[], _T]) -> _T:
    """Make a call in a thread; when this returns or raises, that is over or never begins.

    anyio sees to it behind a shield, which asyncio's own cancel does not know (`asyncio.wait_for`,
    `asyncio.timeout`, the end of `asyncio.run`). Here that waits, too: for what the call does to
    a descriptor or a file would be done to somebody else's by then.
    """
    over: Future[None] = Future()

    def run() -> _T:
        if not over.set_running_or_notify_cancel():
            raise CancelledError  # nobody hears of it
        try:
            return call()
        finally:
            over.set_result(None)

    try:
        return await anyio.to_thread.run_sync(run)
    except asyncio.CancelledError:
        if not over.cancel():  # too late, it has begun
            await _wait_for(over)
        raise


async def _wait_for(over: Future[None]) -> None:
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    over.add_done_callback(lambda _: loop.call_soon_threadsafe(event.set))
    with anyio.CancelScope(shield=True):  # else anyio cancels anew in each turn of the loop
        while not event.is_set():
            with suppress(asyncio.CancelledError):
                await event.wait()
