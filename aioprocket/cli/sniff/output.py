"""Writing to standard output without making the loop wait for who reads it."""

import os
import select
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import anyio
import anyio.lowlevel

import aioprocket

from ...errors import errno_text

__all__ = ("Output",)

# Where poll(2) calls a pipe writable it takes this much without blocking: pipe(7), PIPE_BUF.
_AT_ONCE: Final = 4096
_PATIENCE: Final = 0.5  # seconds


class Output:
    """A descriptor to write texts to. Whoever does not read it is waited for, cancellably.

    The descriptor's flags stay as they are: it is shared with other programs, a shell among them.

    Attributes:
        written: How many texts went out as a whole.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._one_at_a_time = anyio.Lock()
        self.written = 0

    async def write(self, texts: Sequence[str]) -> None:
        """Write all of them. One that was begun is ended, even if this is cancelled.

        Raises:
            BrokenPipeError: Nobody reads it any more.
            ChannelError: It cannot be written.
        """
        pieces = [text.encode("utf-8", "backslashreplace") for text in texts]
        async with self._one_at_a_time:
            try:
                await self._write(b"".join(pieces), list(accumulate(map(len, pieces))))
            except BrokenPipeError:
                raise
            except OSError as error:
                said = f"write to standard output: {errno_text(error.errno or 0)}"
                raise aioprocket.ChannelError(said, errno=error.errno or 0) from error

    async def _write(self, data: bytes, ends: list[int]) -> None:
        at = whole = 0
        while at < len(data):
            upto = at + _AT_ONCE
            try:
                await self._wait()
            except anyio.get_cancelled_exc_class():
                # Who reads gets no half of a text, unless they do not read at all.
                if at == (ends[whole - 1] if whole else 0) or not await self._wait_patiently():
                    raise
                upto = min(upto, ends[whole])
            at += os.write(self._fd, data[at:upto])
            now = bisect_right(ends, at)
            self.written += now - whole
            whole = now

    async def _wait(self) -> None:
        await anyio.lowlevel.checkpoint_if_cancelled()
        if not select.select((), (self._fd,), (), 0)[1]:
            await anyio.wait_writable(self._fd)

    async def _wait_patiently(self) -> bool:
        """Whether it can be written soon, although this task is cancelled."""
        with anyio.move_on_after(_PATIENCE, shield=True) as patience:
            await anyio.wait_writable(self._fd)
        return not patience.cancelled_caught
