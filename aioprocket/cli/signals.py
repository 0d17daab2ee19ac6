"""Ctrl-C as the end of the work, not of the program: what was found so far is told after it."""

import signal
from collections.abc import Awaitable, Callable

import anyio

__all__ = ("until_signalled",)


async def until_signalled(
    work: Callable[[], Awaitable[None]], at_signal: Callable[[], object] = lambda: None
) -> None:
    """Do the work until it is done, or until the first SIGINT or SIGTERM cancels it.

    What it raises is raised as it is, in no group. ``at_signal`` is called just before it is
    cancelled.
    """
    failure: Exception | None = None
    before = signal.getsignal(signal.SIGINT)
    try:
        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                await group.start(_cancel_at_signals, scope, at_signal)
                try:
                    await work()
                except Exception as error:
                    failure = error
            group.cancel_scope.cancel()
    finally:
        signal.signal(signal.SIGINT, before)  # asyncio makes it the one of Python
    if failure is not None:
        raise failure


async def _cancel_at_signals(
    scope: anyio.CancelScope,
    at_signal: Callable[[], object],
    *,
    task_status: anyio.abc.TaskStatus[None],
) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            at_signal()
            scope.cancel()
            return
