"""``aioprocket scan``: who is on the same link."""

import json as json_module
import sys
from typing import Annotated, Any, Final

import anyio
import typer
from rich.console import Console

import aioprocket

from ..errors import MissingLibraryError
from .ping.options import HelperCommand, IPv4, IPv6, Json, Namespace, Numeric, family_of
from .ping.output import Output
from .ping.run import guarded
from .ping.text import milliseconds
from .signals import until_signalled

__all__ = ("SCAN_EPILOG", "scan")

SCAN_EPILOG: Final = """\
[bold]Examples[/bold]

  aioprocket scan eth0

  aioprocket scan 192.168.1.0/24                by the interface that leads there

  aioprocket scan eth0 192.168.1.0/24 --json
"""


def scan(
    interface: Annotated[
        str | None,
        typer.Argument(metavar="INTERFACE", help="else the one that leads there"),
    ] = None,
    network: Annotated[
        str | None, typer.Argument(metavar="NETWORK", help="else the interface's own")
    ] = None,
    named: Annotated[
        str | None, typer.Option("-I", "--interface", metavar="NAME", help="the same as INTERFACE")
    ] = None,
    rate: Annotated[float, typer.Option("--rate", metavar="N", help="questions per second")] = 500,
    timeout: Annotated[
        float, typer.Option("-W", "--timeout", metavar="SECONDS", help="that an answer may take")
    ] = 1.0,
    retries: Annotated[int, typer.Option("-r", "--retries", help="to whoever does not answer")] = 1,
    ipv4: IPv4 = False,
    ipv6: IPv6 = False,
    namespace: Namespace = None,
    helper: HelperCommand = None,
    json: Json = False,
    _numeric: Numeric = False,
) -> None:
    """List the hosts of a local network, as they answer: address, hardware address, vendor.

    IPv4 by ARP; IPv6 by an echo request to all nodes, which some hosts leave unanswered. Vendors
    are shown where the library netaddr is installed. Status 0: somebody answered; 1: nobody did; 2:
    an error.
    """
    if interface is not None and network is None and (named is not None or "/" in interface):
        interface, network = None, interface
    if None not in (interface, named):
        raise typer.BadParameter("-I names the interface: no other one")
    request: dict[str, Any] = {
        "family": family_of(ipv4, ipv6),
        "rate": rate,
        "timeout": timeout,
        "retries": retries,
        "namespace": namespace,
        "helper": helper,
    }
    raise typer.Exit(guarded(lambda: anyio.run(_run, named or interface, network, request, json)))


async def _run(
    interface: str | None, network: str | None, request: dict[str, Any], as_json: bool
) -> int:
    out = Output(highlight=False, emoji=False, soft_wrap=True)
    err = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)
    found = 0
    hosts = aioprocket.scan(interface, network, **request)

    async def work() -> None:
        nonlocal found
        async with hosts:
            async for neighbour in hosts:
                found += 1
                _show(neighbour, out, as_json)

    await until_signalled(work)
    number = "1 host" if found == 1 else f"{found} hosts"
    err.print(f"{number} on {hosts.interface}, {hosts.sent} questions", markup=False)
    return 0 if found else 1


def _show(neighbour: aioprocket.Neighbour, out: Output, as_json: bool) -> None:
    try:
        vendor = neighbour.vendor
    except MissingLibraryError:
        vendor = None
    if as_json:
        record = {
            "ip": str(neighbour.ip),
            "hwaddr": neighbour.hwaddr,
            "interface": neighbour.interface,
            "rtt": neighbour.rtt,
            "vendor": vendor,
        }
        sys.stdout.write(json_module.dumps(record, separators=(",", ":")) + "\n")
        sys.stdout.flush()
        return
    line = f"{neighbour.ip!s:<39} {neighbour.hwaddr}  {milliseconds(neighbour.rtt)} ms"
    out.print(line if vendor is None else f"{line}  {vendor}", markup=False)
    out.file.flush()
