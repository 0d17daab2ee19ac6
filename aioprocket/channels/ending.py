"""Closing descriptors where the loop need not wait for it."""

import os
from contextlib import suppress

import anyio
import anyio.to_thread

__all__ = ("close_elsewhere",)


async def close_elsewhere(fds: list[int]) -> None:
    """Close descriptors in a thread, and return when that is done, cancelled or not.

    Args:
        fds: Owned by this function from here on.
    """
    # Its own limiter: threads that the program keeps busy must not delay the end of a channel.
    limiter = anyio.CapacityLimiter(1)
    try:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(_close_all, fds, limiter=limiter)
    finally:
        # Only if no thread could be started, or asyncio's own cancel, which knows no shield, came
        # before it was.
        _close_all(fds)


def _close_all(fds: list[int]) -> None:
    # Each is taken out by one atomic step before it is closed: two threads may be here.
    with suppress(IndexError):
        while True:
            fd = fds.pop()
            with suppress(OSError):  # the number is free all the same: close(2)
                os.close(fd)
