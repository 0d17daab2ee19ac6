"""A capture from its first packet to its last: many sources, one count, one end."""

import math
from collections.abc import Sequence
from typing import Final, Protocol

import anyio
import anyio.lowlevel

import aioprocket

from .source import Source
from .tally import Tally

__all__ = ("Recorder", "Session", "View")


class View(Protocol):
    """What packets are shown by. It counts their protocols, for it may know them better."""

    async def show(self, source: Source, batch: aioprocket.Batch) -> None:
        """Show a batch, which is not empty.

        Raises:
            BrokenPipeError: Nobody is looking any more.
            OSError: It could not be written.
        """
        ...

    def refresh(self) -> None:
        """Called several times a second."""
        ...

    @property
    def hidden(self) -> int:
        """Packets that were to be shown, and were not."""
        ...


class Recorder(Protocol):
    """What packets are kept by."""

    async def keep(self, source: Source, batch: aioprocket.Batch) -> None:
        """Keep a batch.

        Raises:
            AioprocketError: It cannot.
        """
        ...


class Session:
    """Takes packets from all sources, until there were enough, or all have ended.

    Args:
        tally: Counts everything that is taken.
        view: Shows it.
        recorder: Keeps it.
        limit: How many packets to take; None: all.
        interval: Seconds between refreshs of the view.
    """

    def __init__(
        self,
        tally: Tally,
        view: View,
        recorder: Recorder | None = None,
        limit: int | None = None,
        interval: float = 0.25,
    ) -> None:
        self._tally = tally
        self._view = view
        self._recorder = recorder
        self._limit = math.inf if limit is None else limit
        self._interval: Final = interval
        self._showing = 0
        self._enough = anyio.Event()
        # What ended a source or the view before its time.
        self.failures: list[Exception] = []

    async def run(self, sources: Sequence[Source]) -> None:
        """Return at the end of all; a view that nobody looks at ends it, too."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._refresh)
            group.start_soon(self._follow_all, sources)
            await self._enough.wait()
            group.cancel_scope.cancel()

    async def _refresh(self) -> None:
        while True:
            self._view.refresh()
            await anyio.sleep(self._interval)

    async def _follow_all(self, sources: Sequence[Source]) -> None:
        async with anyio.create_task_group() as group:
            for source in sources:
                group.start_soon(self._follow, source)
        self._enough.set()

    async def _follow(self, source: Source) -> None:
        try:
            async for batch in source.batches():
                await self._take(source, batch)
                # Under a flood there is always a next batch, and others want to run as well.
                await anyio.lowlevel.checkpoint()
        except BrokenPipeError:
            self._enough.set()
        except aioprocket.LinkDownError as error:
            self.failures.append(error)  # of this source alone
        except (aioprocket.AioprocketError, OSError) as error:
            self.failures.append(error)
            self._enough.set()

    async def _take(self, source: Source, batch: aioprocket.Batch) -> None:
        # No await between these two: another source must not count what is left, too.
        left = self._limit - self._tally.packets
        if len(batch) > left:
            batch = aioprocket.Batch(batch[: int(left)])
        if len(batch):
            self._tally.add(batch)
            self._showing += 1
            try:
                if self._recorder is not None:
                    await self._recorder.keep(source, batch)
            finally:
                await self._view.show(source, batch)  # what cannot be kept has come all the same
            self._showing -= 1
        if self._tally.packets >= self._limit and not self._showing:
            self._enough.set()
