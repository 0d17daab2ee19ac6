"""From options to a capture of interfaces, and to its exit status."""

import signal
import sys
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import anyio
from rich.console import Console

import aioprocket

from .lines import Detail, JsonLines, Paint, TextLines
from .options import Wanted
from .output import Output
from .report import report
from .scapy import scapy_detail
from .session import Session, View
from .source import LiveSource, Source
from .status import INTERVAL, Status
from .tally import Tally
from .top import Top
from .views import Printing

__all__ = ("run",)

_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class Run:
    """One call of the command."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._out = Console(highlight=False)
        self._err = Console(stderr=True, highlight=False, soft_wrap=True)
        self._tally = Tally()
        self._status = Status(
            self._err,
            shares_terminal=self._out.is_terminal,
            enabled=not wanted.quiet and not wanted.top,
        )
        self._sources: list[Source] = []
        self._failures: list[Exception] = []
        self._hidden = 0
        self._refused: aioprocket.AioprocketError | None = None

    async def run(self) -> int:
        """The exit status.

        Raises:
            AioprocketError: It could not begin.
        """
        detail = scapy_detail() if self._wanted.dissect else None
        async with AsyncExitStack() as stack:
            async with anyio.create_task_group() as group:
                with anyio.CancelScope() as scope:
                    await group.start(self._end_at_signals, scope)
                    await self._begin(stack, detail)
                group.cancel_scope.cancel()
            if self._refused is not None:
                raise self._refused
            # With the channels still open: what they have counted is known to the end.
            status = self._finish()
        return status

    async def _begin(self, stack: AsyncExitStack, detail: Detail | None) -> None:
        try:
            await self._open(stack)
        except aioprocket.AioprocketError as error:
            self._refused = error  # out of here: a task group would wrap it
        else:
            await self._capture(detail)

    async def _end_at_signals(
        self, scope: anyio.CancelScope, *, task_status: anyio.abc.TaskStatus[None]
    ) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                scope.cancel()
                return

    async def _open(self, stack: AsyncExitStack) -> None:
        wanted = self._wanted
        more: dict[str, Any] = {"filter": wanted.expression} if wanted.expression else {}
        for name in wanted.interfaces:
            channel = await stack.enter_async_context(
                aioprocket.open_packet(
                    None if name == "any" else name,
                    promiscuous=wanted.promiscuous,
                    snaplen=wanted.snaplen,
                    namespace=wanted.namespace,
                    latency="throughput" if wanted.top else "balanced",
                    helper=wanted.helper,
                    **more,
                )
            )
            self._sources.append(LiveSource(channel))

    async def _capture(self, detail: Detail | None) -> None:
        self._say(f"listening on {', '.join(source.name for source in self._sources)}")
        with ExitStack() as stack:
            view = self._view(detail, stack)
            interval = Top.interval if self._wanted.top else INTERVAL
            session = Session(self._tally, view, None, self._wanted.count, interval)
            self._failures = session.failures
            try:
                with anyio.move_on_after(self._wanted.duration):
                    await session.run(self._sources)
            finally:
                self._hidden = view.hidden

    def _view(self, detail: Detail | None, stack: ExitStack) -> View:
        wanted, tally, status, sources = self._wanted, self._tally, self._status, self._sources
        if wanted.top:
            return stack.enter_context(Top(tally, sources, self._out))
        lines: JsonLines | TextLines = JsonLines(data=wanted.hexdump)
        if not wanted.json:
            several = len(sources) > 1 or "any" in wanted.interfaces
            lines = TextLines(
                Paint(self._out), names=several, hexdump=wanted.hexdump, detail=detail
            )
        return Printing(tally, status, sources, lines, Output(sys.stdout.fileno()))

    def _say(self, text: str) -> None:
        if not self._wanted.quiet:
            self._err.print(text, markup=False)

    def _finish(self) -> int:
        self._status.clear()
        if not self._sources:
            return _INTERRUPTED
        if not self._wanted.quiet:
            report(self._tally, self._sources, self._err, hidden=self._hidden)
        for failure in self._failures:
            self._err.print(f"aioprocket: {failure}", markup=False)
        return 1 if self._failures else 0


def run(wanted: Wanted) -> int:
    """The exit status of a capture.

    Raises:
        AioprocketError: It could not begin.
    """
    return anyio.run(Run(wanted).run)
