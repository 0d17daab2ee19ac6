"""``aioprocket mtr``: the way to a host, watched."""

import json as json_module
import sys
from contextlib import ExitStack, closing
from typing import Annotated, Any, Final

import anyio
import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

import aioprocket

from ..ping.options import (
    Bound,
    HelperCommand,
    IPv4,
    IPv6,
    Json,
    Mark,
    Namespace,
    Numeric,
    SocketType,
)
from ..ping.output import Output
from ..ping.run import guarded
from ..ping.text import milliseconds
from ..signals import until_signalled
from .command import labels_text
from .options import FirstHop, Host, MaxHops, Method, Parallel, Port, Size, Timeout, settings

__all__ = ("WATCH_EPILOG", "mtr")

_REPORTED: Final = 10  # rounds, as mtr(8) has it
_TIMES: Final = ("last", "best", "avg", "worst", "stddev", "jitter")
# Columns of the terminal for an address of IPv4 and what is not a time, and for a time.
_BESIDE: Final = 36
_EACH: Final = 7

WATCH_EPILOG: Final = """\
[bold]Examples[/bold]

  aioprocket mtr example.org                    a live table, until Ctrl-C

  aioprocket mtr -r -c 60 example.org           one table at the end

  aioprocket mtr -c 10 --json example.org
"""


def mtr(
    host: Host,
    count: Annotated[
        int | None, typer.Option("-c", "--count", min=1, help="end after so many rounds")
    ] = None,
    interval: Annotated[
        float, typer.Option("-i", "--interval", metavar="SECONDS", help="from round to round")
    ] = 1.0,
    method: Method = None,
    max_hops: MaxHops = 30,
    first_hop: FirstHop = 1,
    timeout: Timeout = 1.0,
    port: Port = None,
    size: Size = None,
    parallel: Parallel = None,
    ipv4: IPv4 = False,
    ipv6: IPv6 = False,
    bound: Bound = None,
    mark: Mark = None,
    namespace: Namespace = None,
    type: SocketType = "auto",
    helper: HelperCommand = None,
    json: Json = False,
    report: Annotated[
        bool, typer.Option("-r", "--report", help="one table at the end; of 10 rounds, without -c")
    ] = False,
    _numeric: Numeric = False,
) -> None:
    """Watch the routers on the way to a host: their times, and what they lose.

    On a terminal a live table; else, and with --report, one at the end. With --json an object for
    each round. Status 0: the host was reached; 1: it was not; 2: an error.
    """
    rounds = _REPORTED if report and count is None else count
    request = settings(
        method=method, port=port, ipv4=ipv4, ipv6=ipv6, bound=bound, rounds=rounds,
        interval=interval, max_hops=max_hops, first_hop=first_hop, timeout=timeout, size=size,
        parallel=parallel, mark=mark, namespace=namespace, type=type, helper=helper,
    )  # fmt: skip
    lively = not json and not report
    raise typer.Exit(guarded(lambda: anyio.run(_run, host, request, json, lively)))


async def _run(host: str, request: dict[str, Any], as_json: bool, lively: bool) -> int:
    out = Output(highlight=False, emoji=False)
    snapshot = aioprocket.Snapshot(round=0, hops=())

    async def work() -> None:
        nonlocal snapshot
        with ExitStack() as stack:
            live = None
            if out.is_terminal and lively:
                live = stack.enter_context(Live(console=out, transient=True, auto_refresh=False))
            path = stack.enter_context(closing(aioprocket.mtr(host, **request)))
            async for snapshot in path:
                if as_json:
                    sys.stdout.write(
                        json_module.dumps(_record(snapshot), separators=(",", ":")) + "\n"
                    )
                    sys.stdout.flush()
                elif live is not None:
                    live.update(_table(host, snapshot, out.width), refresh=True)

    await until_signalled(work)
    if not as_json and snapshot.hops:
        out.print(_table(host, snapshot, out.width))
    return 0 if snapshot.reached else 1


def _table(host: str, snapshot: aioprocket.Snapshot, width: int) -> Table:
    # Rather fewer numbers than none that can be read.
    room = max(1, (width - _BESIDE) // _EACH)
    table = Table(
        "hop", "address", "loss", "sent", *_TIMES[:room],
        title=Text(f"{host}, round {snapshot.round}; times in ms"), box=None, pad_edge=False,
    )  # fmt: skip
    table.columns[1].overflow = "fold"
    for column in table.columns[2:]:
        column.justify, column.no_wrap = "right", True
    for hop in snapshot.hops:
        others = len(hop.addresses) - 1
        name = "*" if hop.address is None else f"{hop.address}{labels_text(hop.labels)}"
        if others > 0:
            name += f" and {others} more"
        if hop.error:
            name += f" ({hop.error})"
        times = hop.last, hop.best, hop.average, hop.worst, hop.stddev, hop.jitter
        table.add_row(
            str(hop.ttl),
            Text(name),
            Text(f"{hop.loss:.1%}", style="red" if hop.loss else ""),
            str(hop.sent),
            *map(milliseconds, times[:room]),
        )
    return table


def _record(snapshot: aioprocket.Snapshot) -> dict[str, Any]:
    return {
        "round": snapshot.round,
        "reached": snapshot.reached,
        "hops": [
            {
                "ttl": hop.ttl,
                "address": None if hop.address is None else str(hop.address),
                "addresses": [str(address) for address in hop.addresses],
                "sent": hop.sent,
                "received": hop.received,
                "loss": hop.loss,
                "last": hop.last,
                "best": hop.best,
                "avg": hop.average,
                "worst": hop.worst,
                "stddev": hop.stddev,
                "jitter": hop.jitter,
                "labels": [label.label for label in hop.labels],
                "reached": hop.reached,
                "error": hop.error or None,
            }
            for hop in snapshot.hops
        ],
    }
