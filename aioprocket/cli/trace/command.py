"""The command line of trace, and its lines."""

import json as json_module
import sys
from typing import Annotated, Any, Final

import anyio
import typer

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
from .options import FirstHop, Host, MaxHops, Method, Parallel, Port, Size, Timeout, settings
from .waiting import Waiting

__all__ = ("EPILOG", "labels_text", "trace")

EPILOG: Final = """\
[bold]Examples[/bold]

  aioprocket trace example.org

  aioprocket trace --method tcp --port 443 example.org      where pings are dropped

  aioprocket trace --json example.org | jq .address
"""


def trace(
    host: Host,
    method: Method = None,
    probes: Annotated[int, typer.Option("-q", "--probes", help="for each hop")] = 3,
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
    _numeric: Numeric = False,
) -> None:
    """Show the routers on the way to a host, each as soon as it is known.

    A hop is known when each of its probes is answered, or had its --timeout; the hops behind it are
    asked meanwhile. A terminal shows which one is waited for.

    Status 0: the host was reached; 1: it was not; 2: an error.
    """
    request = settings(
        method=method, port=port, ipv4=ipv4, ipv6=ipv6, bound=bound, probes=probes,
        max_hops=max_hops, first_hop=first_hop, timeout=timeout, size=size, parallel=parallel,
        mark=mark, namespace=namespace, type=type, helper=helper,
    )  # fmt: skip
    raise typer.Exit(guarded(lambda: anyio.run(_run, host, request, json)))


async def _run(host: str, request: dict[str, Any], as_json: bool) -> int:
    out = Output(highlight=False, emoji=False, soft_wrap=True)
    reached = False

    async def work() -> None:
        nonlocal reached
        with Waiting(out, f"looking up {host}", shown=not as_json) as waiting:
            async with aioprocket.traceroute(host, **request) as hops:
                await hops.start()
                waiting.wait_for(_hop(request["first_hop"]))
                if not as_json:
                    out.print(f"{host} ({hops.address}), {hops.method}:", markup=False)
                async for hop in hops:
                    waiting.wait_for(_hop(hop.ttl + 1))
                    _show(hop, out, as_json)
                    reached = reached or hop.reached

    await until_signalled(work)
    return 0 if reached else 1


def _hop(ttl: int) -> str:
    return f"{ttl:>3}  waiting"


def _show(hop: aioprocket.Hop, out: Output, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json_module.dumps(_record(hop), separators=(",", ":")) + "\n")
        sys.stdout.flush()
        return
    out.print(f"{hop.ttl:>3}  {_line(hop)}", markup=False)
    out.file.flush()


def _line(hop: aioprocket.Hop) -> str:
    """``10.0.0.1  0.123 ms  0.101 ms  *``; another address where it changes."""
    words: list[str] = []
    shown = None
    for answer in hop.probes:
        if answer is None:
            words.append("*")
            continue
        if answer.address != shown:
            shown = answer.address
            words.append(f"{shown}{labels_text(answer.labels)}")
        words.append(f"{milliseconds(answer.rtt)} ms")
    if hop.error is not None:
        words.append(hop.error.text)
    return "  ".join(words)


def labels_text(labels: tuple[aioprocket.MplsLabel, ...]) -> str:
    """`` [MPLS 16004, 24001]``; nothing where there is none."""
    return f" [MPLS {', '.join(str(each.label) for each in labels)}]" if labels else ""


def _record(hop: aioprocket.Hop) -> dict[str, Any]:
    return {
        "ttl": hop.ttl,
        "address": None if hop.address is None else str(hop.address),
        "addresses": [str(address) for address in hop.addresses],
        "reached": hop.reached,
        "loss": hop.loss,
        "min": hop.min,
        "avg": hop.avg,
        "max": hop.max,
        "probes": [None if answer is None else _answer(answer) for answer in hop.probes],
    }


def _answer(answer: aioprocket.Answer) -> dict[str, Any]:
    return {
        "address": str(answer.address),
        "rtt": answer.rtt,
        "result": answer.text,
        "labels": [label.label for label in answer.labels],
    }
