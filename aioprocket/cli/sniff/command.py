"""The command line of sniff."""

from typing import Annotated, Final

import typer

from .live import run
from .options import Wanted, complete_interface

__all__ = ("EPILOG", "sniff")

EPILOG: Final = """\
[bold]Examples[/bold]

  aioprocket sniff                                all interfaces, until Ctrl-C

  aioprocket sniff -i eth0 -c 10 tcp port 443     ten packets of HTTPS

  aioprocket sniff -i eth0 'udp port 67 or arp'   quote what the shell would take for its own

  aioprocket sniff -i eth0 --json udp port 53 | jq .info

  aioprocket sniff -i eth0 --top                  who sends most

  aioprocket sniff -i eth0 --namespace blue       in a network of ip netns
"""


def sniff(
    expression: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="EXPRESSION", help="what to see, as of pcap-filter(7)", show_default=False
        ),
    ] = None,
    interface: Annotated[
        list[str] | None,
        typer.Option(
            "-i",
            "--interface",
            metavar="NAME",
            help="may be given more than once; else any",
            autocompletion=complete_interface,
            show_default=False,
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option("-c", "--count", min=1, help="end after so many packets")
    ] = None,
    duration: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="end after so long")
    ] = None,
    hexdump: Annotated[bool, typer.Option("-x", "--hex", help="show all bytes")] = False,
    json: Annotated[bool, typer.Option("--json", help="one object per line")] = False,
    dissect: Annotated[
        bool, typer.Option("--dissect", help="all fields, by scapy, if it is installed")
    ] = False,
    top: Annotated[bool, typer.Option("--top", help="a live table of who sends most")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="no status line and no summary")] = False,
    namespace: Annotated[
        str | None,
        typer.Option(metavar="NETNS", help="a name of ip netns, a path, or pid:NUMBER"),
    ] = None,
    promiscuous: Annotated[
        bool, typer.Option("-p", "--promiscuous", help="frames for other stations, too")
    ] = False,
    snaplen: Annotated[
        int, typer.Option("-s", "--snaplen", min=1, max=65535, help="bytes kept of each packet")
    ] = 65535,
    helper: Annotated[
        str | None,
        typer.Option(metavar="COMMAND", help="how to get the socket; else as programs do"),
    ] = None,
) -> None:
    """Show the packets of interfaces: when, which way, from whom to whom, and what they say.

    Lines go to standard output; a live line with the rate and what was lost, and a summary at the
    end, to standard error. Nothing is looked up: addresses stay numbers.

    Status 0: it ended as it should, by -c, --duration, Ctrl-C or SIGTERM, or nobody reads its
    output any more; 1: an error; 2: the command was not understood; 130: Ctrl-C before anything
    was opened.
    """
    wanted = Wanted(
        interfaces=tuple(interface or ("any",)),
        expression=" ".join(expression or ()),
        count=count,
        duration=duration,
        hexdump=hexdump,
        json=json,
        dissect=dissect,
        top=top,
        quiet=quiet,
        namespace=namespace,
        promiscuous=promiscuous,
        snaplen=snaplen,
        helper=helper,
    )
    raise typer.Exit(run(wanted))
