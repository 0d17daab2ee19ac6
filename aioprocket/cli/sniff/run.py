"""One call of the command, from its options to its exit status."""

import sys
from contextlib import AsyncExitStack, ExitStack

import anyio
from rich.console import Console

import aioprocket

from ... import bpf, pcapng
from ..signals import until_signalled
from .file import FileSource, naming
from .lines import Detail, JsonLines, Paint, TextLines
from .options import Wanted
from .output import Output
from .recording import Recording
from .report import report
from .scapy import scapy_detail
from .session import Session, View
from .source import ETHERNET, LiveSource, Source
from .status import INTERVAL, Status
from .tally import Tally
from .top import Top
from .views import Counting, Printing

__all__ = ("run",)

_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_SNAPLEN = 65535


class _Run:
    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._out = Console(highlight=False, emoji=False)
        self._err = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)
        self._tally = Tally()
        self._status = Status(
            self._err,
            shares_terminal=self._out.is_terminal,
            enabled=not wanted.quiet and not wanted.top,
        )
        self._sources: list[Source] = []
        self._recording: Recording | None = None
        self._failures: list[Exception] = []
        self._hidden = 0
        self._began = False

    async def run(self) -> int:
        """The exit status.

        Raises:
            AioprocketError: It could not begin, or what was kept could not be written to its end.
        """
        detail = scapy_detail() if self._wanted.dissect else None
        async with AsyncExitStack() as sources:
            await until_signalled(lambda: self._go(sources, detail))
            # With the channels still open: what they have counted is known to the end.
            return self._finish()

    async def _go(self, sources: AsyncExitStack, detail: Detail | None) -> None:
        try:
            await self._open(sources)
            async with AsyncExitStack() as files:
                await self._open_file(files)
                await self._capture(detail)
        except aioprocket.AioprocketError as error:
            self._failures.append(error)  # out of here: a task group would wrap it

    async def _open(self, stack: AsyncExitStack) -> None:
        wanted = self._wanted
        if wanted.read is not None:
            with naming(wanted.read):
                reader = await stack.enter_async_context(pcapng.open(wanted.read))
            if wanted.expression:
                bpf.compile(wanted.expression, ETHERNET)  # an error is said before any packet
            self._sources.append(FileSource(reader, wanted.read, wanted.expression))
            return
        for name in wanted.interfaces or ("any",):
            door = aioprocket.open_packet(
                None if name == "any" else name,
                promiscuous=wanted.promiscuous,
                snaplen=wanted.snaplen or _SNAPLEN,
                namespace=wanted.namespace,
                latency="balanced" if wanted.shows_lines else "throughput",
                filter=wanted.expression or None,
                helper=wanted.helper,
            )
            self._sources.append(LiveSource(await stack.enter_async_context(door)))

    async def _open_file(self, stack: AsyncExitStack) -> None:
        wanted = self._wanted
        if wanted.write is None:
            return
        writer = pcapng.Writer(wanted.write, rotation=wanted.rotation, overwrite=wanted.force)
        try:
            await stack.enter_async_context(writer)
        except FileExistsError as error:
            if isinstance(error, aioprocket.AioprocketError):
                error.hint = "--force replaces it"
            raise
        reads = wanted.read is not None
        self._recording = Recording(writer, wanted.expression, wait=reads)

    async def _capture(self, detail: Detail | None) -> None:
        self._began = True
        names = ", ".join(source.name for source in self._sources)
        if not self._wanted.read and not self._wanted.named and names != "any":
            names += ", the only interface that the policy grants"
        self._say(f"{'reading' if self._wanted.read else 'listening on'} {names}")
        with ExitStack() as stack:
            view = self._view(detail, stack)
            interval = Top.interval if self._wanted.top else INTERVAL
            session = Session(self._tally, view, self._recording, self._wanted.count, interval)
            try:
                with anyio.move_on_after(self._wanted.duration):
                    await session.run(self._sources)
            finally:
                self._hidden = view.hidden
                self._failures += session.failures

    def _view(self, detail: Detail | None, stack: ExitStack) -> View:
        wanted = self._wanted
        common = (self._tally, self._status, self._sources, self._recording)
        if wanted.top:
            return stack.enter_context(Top(self._tally, self._sources, self._out))
        if not wanted.shows_lines:
            return Counting(*common)
        lines: JsonLines | TextLines = JsonLines(data=wanted.hexdump)
        if not wanted.json:
            several = len(self._sources) > 1 or not wanted.named
            lines = TextLines(
                Paint(self._out), names=several, hexdump=wanted.hexdump, detail=detail
            )
        return Printing(*common, lines, Output(sys.stdout.fileno()))

    def _say(self, text: str) -> None:
        if not self._wanted.quiet:
            self._err.print(text, markup=False)

    def _finish(self) -> int:
        self._status.clear()
        if not self._began:
            if self._failures:
                raise self._failures[0]
            return _INTERRUPTED
        if not self._wanted.quiet:
            report(self._tally, self._sources, self._recording, self._err, hidden=self._hidden)
        if self._failures:
            raise self._failures[0]
        return 0


def run(wanted: Wanted) -> int:
    """The exit status of a capture.

    Raises:
        AioprocketError: It could not begin, an interface went away, or something could not be
            read or written.
    """
    return anyio.run(_Run(wanted).run)
