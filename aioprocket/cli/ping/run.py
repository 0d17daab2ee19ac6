"""From options to probes, and to ping's exit status."""

import ipaddress
import sys
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import anyio

import aioprocket

from ..failure import ERROR, tell
from ..signals import until_signalled
from ..streams import forget_output
from .figure import Figure
from .tally import Tally

__all__ = ("View", "Wanted", "guarded", "run")


class View(Protocol):
    """Shows echoes as they come, and sums at the end."""

    def echo(self, tally: Tally, echo: aioprocket.Echo) -> None:
        """Show one."""

    def end(self, tallies: Sequence[Tally]) -> None:
        """Show the sums."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for.

    Attributes:
        hosts: Names and addresses.
        every: All addresses of a name, not its first alone.
        settings: For `aioprocket.Pinger`.
        plan: For its `echoes`.
        view: Makes the view, of the tallies that there will be.
        figure: What is drawn at the end.
    """

    hosts: Sequence[str]
    every: bool
    settings: dict[str, Any]
    plan: dict[str, Any]
    view: Callable[[Sequence[Tally]], View]
    figure: Figure | None = None


class _Run:
    """One call of the command."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._tallies: list[Tally] = []
        self._view: View | None = None
        self._failures: list[Exception] = []
        self._unresolved = False  # one of several hosts
        self._pinger: aioprocket.Pinger | None = None

    async def run(self) -> int:
        wanted, tallies = self._wanted, self._tallies
        await until_signalled(self._ping, self._count_unawaited)
        if self._view is not None:
            # An error that kept all from being sent speaks for itself: no sums of nothing.
            self._view.end([each for each in tallies if each.sent or not self._failures])
        if wanted.figure is not None and any(tally.sent for tally in tallies):
            wanted.figure.draw(tallies)
        if self._failures:
            raise self._failures[0]
        well = tallies and not self._unresolved and all(tally.received for tally in tallies)
        return 0 if well else 1

    async def _ping(self) -> None:
        wanted = self._wanted
        addresses: Literal["happy", "all"] = "all" if wanted.every else "happy"
        async with aioprocket.Pinger(**wanted.settings, addresses=addresses) as pinger:
            self._pinger = pinger
            await self._resolve(pinger)
            self._view = wanted.view(self._tallies)
            async with anyio.create_task_group() as group:
                for tally in self._tallies:
                    group.start_soon(self._watch, pinger, tally, self._view, group.cancel_scope)

    def _count_unawaited(self) -> None:
        """What is on its way now gets no end."""
        if self._pinger is not None:
            for tally in {str(tally.address): tally for tally in self._tallies}.values():
                tally.unawaited = self._pinger.in_flight(tally.address)

    async def _resolve(self, pinger: aioprocket.Pinger) -> None:
        """A tally for each address to ask: all names are looked up before anything is sent.

        One that has no address does not keep the others from being asked.
        """
        failed: list[aioprocket.ResolutionError] = []
        for host in self._wanted.hosts:
            try:
                addresses = await pinger.resolve(host)
            except aioprocket.ResolutionError as error:
                if len(self._wanted.hosts) == 1 or _is_address(host):
                    raise
                failed.append(error)
                continue
            for address in addresses:
                plain = not self._wanted.every or host == str(address)
                name = host if plain else f"{host} ({address})"
                self._tallies.append(Tally(name, address))
        if failed and not self._tallies:
            raise failed[0]
        for failure in failed:
            sys.stderr.write(f"aioprocket: {failure}\n")
        self._unresolved = bool(failed)

    async def _watch(
        self, pinger: aioprocket.Pinger, tally: Tally, view: View, scope: anyio.CancelScope
    ) -> None:
        try:
            async with aclosing(pinger.echoes(tally.address, **self._wanted.plan)) as echoes:
                async for echo in echoes:
                    tally.add(echo)
                    view.echo(tally, echo)
        except aioprocket.AioprocketError as error:
            # The sums of the other hosts are worth having all the same.
            self._failures.append(error)
        except OSError as error:  # of the output, which all of them write
            self._failures.append(error)
            scope.cancel()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def guarded(main: Callable[[], int]) -> int:
    """Run a command of this family: its errors end it with status 2, as ping's do."""
    try:
        return main()
    except aioprocket.AioprocketError as error:
        tell(error)
        return ERROR
    except BrokenPipeError:
        forget_output()  # what is still buffered must not complain at the exit
        return 0


def run(wanted: Wanted) -> int:
    """The exit status: 0: every host replied; 1: one did not.

    Raises:
        AioprocketError: It could not begin, or had to end for a host.
        BrokenPipeError: Nobody reads its output any more.
    """
    return anyio.run(_Run(wanted).run)
