"""From options to a sweep."""

import os
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
from rich.console import Console

import aioprocket

from ..signals import until_signalled
from .lines import Format, renderer
from .progress import INTERVAL, Sums
from .targets import Host, count_hosts, read_lines

__all__ = ("Run", "Wanted", "run")

_BUFFER = 64  # texts, until they are written out while nothing is drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for.

    Attributes:
        hosts: Whom to ask; None: whom the lines of standard input name.
        settings: For `aioprocket.Pinger`.
        plan: For its `sweep`.
        shown: What is written about each probe.
        metrics: Sums for Prometheus instead.
        quiet: No bar and no sums.
    """

    hosts: Iterable[Host] | None
    settings: dict[str, Any]
    plan: dict[str, Any]
    shown: Format
    metrics: bool
    quiet: bool


class Run:
    """One call of the command."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._err = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)
        self._header, self._render = renderer(wanted.shown)
        self._texts: list[str] = []
        self._lively = sys.stdout.isatty()
        self._unresolved = 0
        self._pinger: aioprocket.Pinger | None = None

    async def run(self) -> int:
        """The exit status.

        Raises:
            AioprocketError: It could not begin, or had to end.
        """
        wanted = self._wanted
        count = int(wanted.plan["count"])
        total = None if wanted.hosts is None else count_hosts(wanted.hosts) * count
        sums = Sums(self._err, total, shown=not wanted.quiet)
        try:
            await until_signalled(partial(self._sweep, sums), partial(self._count_unawaited, sums))
        finally:
            sums.clear()
            self._write()
        if wanted.metrics:
            sys.stdout.write(_metrics(sums))
            sys.stdout.flush()
        elif not wanted.quiet:
            for line in sums.words():
                self._err.print(line, markup=False)
        answered = sums.probes and sums.replies == sums.probes == (total or sums.probes)
        return 0 if answered and not self._unresolved and not sums.unawaited else 1

    def _count_unawaited(self, sums: Sums) -> None:
        if self._pinger is not None:
            sums.unawaited = self._pinger.stats().in_flight

    async def _sweep(self, sums: Sums) -> None:
        wanted = self._wanted
        hosts: Any = read_lines(sys.stdin.fileno()) if wanted.hosts is None else wanted.hosts
        if not wanted.metrics:
            self._texts.append(self._header)
        async with (
            aioprocket.Pinger(**wanted.settings) as pinger,
            aclosing(pinger.sweep(hosts, **wanted.plan)) as echoes,
            self._told_in_time(sums),
        ):
            self._pinger = pinger
            async for echo in echoes:
                if echo.error is not None and echo.error.kind == "unresolved":
                    self._unresolved += 1
                    self._err.print(
                        f"aioprocket: {echo.host}: the name has no address", markup=False
                    )
                else:
                    sums.add(echo)
                if not wanted.metrics:
                    self._texts.append(self._render(echo))
                if sums.is_due() or (self._lively and len(self._texts) > _BUFFER):
                    self._write()
                    sums.draw()

    @asynccontextmanager
    async def _told_in_time(self, sums: Sums) -> AsyncIterator[None]:
        """Meanwhile what was found is written out although nothing more comes.

        What is raised is raised as it is, in no group.
        """
        failure: Exception | None = None

        async def tell() -> None:
            nonlocal failure
            try:
                while True:
                    await anyio.sleep(INTERVAL)
                    if sums.is_due():
                        self._write()
                        sums.draw()
            except OSError as error:  # of the output
                failure = error
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(tell)
            try:
                yield
            except Exception as error:
                failure = error
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure

    def _write(self) -> None:
        data = "".join(self._texts).encode()
        self._texts.clear()
        while data:
            data = data[os.write(sys.stdout.fileno(), data) :]


def _metrics(sums: Sums) -> str:
    rows = (
        ("sent_total", "counter", "Probes sent.", sums.probes + sums.unawaited),
        ("received_total", "counter", "Replies, each probe's first.", sums.replies),
        ("unawaited_total", "counter", "Probes not waited for.", sums.unawaited),
        ("errors_total", "counter", "Probes that an error ended.", sums.errors),
    )
    return "".join(
        f"# HELP aioprocket_sweep_{name} {words}\n# TYPE aioprocket_sweep_{name} {kind}\n"
        f"aioprocket_sweep_{name} {value}\n"
        for name, kind, words, value in rows
    )


def run(wanted: Wanted) -> int:
    """The exit status: 0: every probe was answered; 1: one was not.

    Raises:
        AioprocketError: It could not begin, or had to end.
    """
    return anyio.run(Run(wanted).run)
