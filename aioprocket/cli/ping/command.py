"""The command line of ping."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from . import options
from .figure import Figure
from .output import Output
from .records import CsvRows, JsonLines, Metrics
from .run import View, Wanted, guarded, run
from .tally import Tally
from .text import Compact, Lines

__all__ = ("EPILOG", "ping")

EPILOG: Final = """\
[bold]Examples[/bold]

  aioprocket ping example.org                   until Ctrl-C

  aioprocket ping -c 3 -i 0.2 192.0.2.1 192.0.2.2

  aioprocket ping --live example.org            a graph that moves

  aioprocket ping -M do -s 1472 192.0.2.1       does a packet of 1500 bytes get through?

  aioprocket ping -C 5 192.0.2.1 192.0.2.2      one line for each host, as fping has it

  aioprocket ping -c 100 -i 0.1 --plot rtt.svg example.org
"""


def ping(
    hosts: Annotated[
        list[str], typer.Argument(metavar="HOST", help="names or addresses", show_default=False)
    ],
    count: Annotated[
        int | None, typer.Option("-c", "--count", min=1, help="end after so many to each")
    ] = None,
    interval: Annotated[
        float,
        typer.Option(
            "-i", "--interval", metavar="SECONDS", help="from one to the next; 0: back to back"
        ),
    ] = 1.0,
    timeout: Annotated[
        float, typer.Option("-W", "--timeout", metavar="SECONDS", help="that each reply may take")
    ] = 1.0,
    deadline: Annotated[
        float | None, typer.Option("-w", "--deadline", metavar="SECONDS", help="end after so long")
    ] = None,
    size: options.Size = 56,
    ttl: options.Ttl = None,
    ipv4: options.IPv4 = False,
    ipv6: options.IPv6 = False,
    every: Annotated[
        bool, typer.Option("-A", "--all", help="all addresses of a name, not one of them")
    ] = False,
    bound: options.Bound = None,
    tos: options.Tos = None,
    fragments: options.Fragments = "want",
    pattern: options.Pattern = None,
    broadcast: options.Broadcast = False,
    jitter: Annotated[
        float, typer.Option(help="part of the interval by which it varies at random, 0 to 1")
    ] = 0.0,
    mark: Annotated[
        int | None, typer.Option("-m", "--mark", help="for routing and firewalls")
    ] = None,
    namespace: options.Namespace = None,
    type: options.SocketType = "auto",
    helper: options.HelperCommand = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="the sums alone")] = False,
    stamped: Annotated[bool, typer.Option("-D", help="lines begin with the time")] = False,
    compact: Annotated[
        int | None,
        typer.Option("-C", metavar="N", min=1, help="N probes to each, one line for each host"),
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="a graph that moves")] = False,
    json: options.Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="one row per probe")] = False,
    metrics: Annotated[bool, typer.Option("--metrics", help="the sums, for Prometheus")] = False,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="a picture at the end: .png, .svg or .pdf"),
    ] = None,
    _numeric: options.Numeric = False,
) -> None:
    """Ask hosts for an answer, and say how long it took.

    Times are from the kernel's clock where it can be had. Status, as ping's: 0: every host
    answered; 1: one did not; 2: an error, and then nothing was sent or it was cut short.
    """
    shown = [live, json, csv, metrics, compact is not None]
    if sum(shown) > 1:
        raise typer.BadParameter("one of --live, --json, --csv, --metrics and -C")
    if compact is not None and count is not None:
        raise typer.BadParameter("-C says how many already: no -c")

    def view(tallies: Sequence[Tally]) -> View:
        out = Output(highlight=False, emoji=False, soft_wrap=True)
        if live:
            from .graph import LiveGraph  # rich's tables take as long as all else that is shown

            return LiveGraph(Output(highlight=False, emoji=False), tallies)
        if json:
            return JsonLines(sys.stdout, quiet=quiet)
        if csv:
            return CsvRows(sys.stdout)
        if metrics:
            return Metrics(sys.stdout)
        if compact is not None:
            return Compact(out)
        return Lines(out, several=len(tallies) > 1, quiet=quiet, stamped=stamped)

    settings: dict[str, Any] = {
        "family": options.family_of(ipv4, ipv6),
        "ttl": ttl,
        "tos": tos,
        "df": options.df_of(fragments),
        "size": size,
        "pattern": options.pattern_of(pattern),
        "broadcast": broadcast,
        "mark": mark,
        "namespace": namespace,
        "type": type,
        "helper": helper,
        **options.origin_of(bound),
    }
    plan = {
        "count": count if compact is None else compact,
        "interval": interval,
        "timeout": timeout,
        "jitter": jitter,
        "deadline": deadline,
    }

    def main() -> int:
        figure = None if plot is None else Figure(plot)
        wanted = Wanted(
            hosts=hosts, every=every, settings=settings, plan=plan, view=view, figure=figure
        )
        return run(wanted)

    raise typer.Exit(guarded(main))
