"""The command line of sniff."""

import socket
from typing import Annotated, Final

import typer

from ...errors import FilterError
from .options import Wanted, complete_interface, rotation
from .run import run

__all__ = ("EPILOG", "sniff")

EPILOG: Final = """\
[bold]Examples[/bold]

  aioprocket sniff                                all interfaces, until Ctrl-C

  aioprocket sniff -i eth0 -c 10 tcp port 443     ten packets of HTTPS

  aioprocket sniff -i eth0 'udp port 67 or arp'   quote what the shell would take for its own

  aioprocket sniff -i eth0 --top                  who sends most

  aioprocket sniff -i eth0 -w day.pcapng.gz -G 3600 -W 24   a day, in a file for each hour

  aioprocket sniff -r day.pcapng.gz icmp          what a file has

  aioprocket sniff -i eth0 --json udp port 53 | jq .info

  aioprocket sniff -i eth0 -w - | wireshark -k -i -
"""
_FILES: Final = "Files"
_SHOWING: Final = "Showing"
_CAPTURING: Final = "Capturing"


def sniff(
    expression: Annotated[
        list[str] | None,
        typer.Argument(metavar="EXPRESSION", help="what to see, as of pcap-filter(7)"),
    ] = None,
    interface: Annotated[
        list[str] | None,
        typer.Option(
            "-i",
            "--interface",
            metavar="NAME",
            help="may be given more than once; else any",
            autocompletion=complete_interface,
            rich_help_panel=_CAPTURING,
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option("-c", "--count", min=1, help="end after so many packets")
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="end after so long", rich_help_panel=_CAPTURING),
    ] = None,
    write: Annotated[
        str | None,
        typer.Option(
            "-w",
            "--write",
            metavar="FILE",
            rich_help_panel=_FILES,
            help="keep the packets: pcapng, or pcap if it ends so; .gz and .zst compress; - pipes",
        ),
    ] = None,
    read: Annotated[
        str | None,
        typer.Option(
            "-r", "--read", metavar="FILE", help="show a capture file", rich_help_panel=_FILES
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="replace the file of -w", rich_help_panel=_FILES)
    ] = False,
    rotate_size: Annotated[
        float | None,
        typer.Option(
            "-C",
            "--rotate-size",
            metavar="MB",
            rich_help_panel=_FILES,
            help="go on in another file after so many millions of bytes",
        ),
    ] = None,
    rotate_seconds: Annotated[
        float | None,
        typer.Option(
            "-G",
            "--rotate-seconds",
            metavar="SECONDS",
            rich_help_panel=_FILES,
            help="go on in another file after so long",
        ),
    ] = None,
    rotate_packets: Annotated[
        int | None,
        typer.Option(
            "--rotate-packets",
            metavar="COUNT",
            rich_help_panel=_FILES,
            help="go on in another file after so many",
        ),
    ] = None,
    files: Annotated[
        int | None,
        typer.Option(
            "-W",
            "--files",
            min=1,
            metavar="COUNT",
            rich_help_panel=_FILES,
            help="keep so many of them: the oldest is removed",
        ),
    ] = None,
    print: Annotated[
        bool,
        typer.Option(
            "--print", help="show packets although they are written", rich_help_panel=_SHOWING
        ),
    ] = False,
    hexdump: Annotated[
        bool, typer.Option("-x", "--hex", help="show all bytes", rich_help_panel=_SHOWING)
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="one object per line", rich_help_panel=_SHOWING)
    ] = False,
    dissect: Annotated[
        bool,
        typer.Option(
            "--dissect", help="all fields, by scapy, if it is installed", rich_help_panel=_SHOWING
        ),
    ] = False,
    top: Annotated[
        bool,
        typer.Option("--top", help="a live table of who sends most", rich_help_panel=_SHOWING),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", help="no status line, no summary", rich_help_panel=_SHOWING),
    ] = False,
    namespace: Annotated[
        str | None,
        typer.Option(
            metavar="NETNS",
            help="a name of ip netns, a path, or pid:NUMBER",
            rich_help_panel=_CAPTURING,
        ),
    ] = None,
    promiscuous: Annotated[
        bool,
        typer.Option(
            "--promiscuous/--no-promiscuous",
            " /-p",
            help="frames for other stations, too; -p, as of tcpdump, is the default",
            rich_help_panel=_CAPTURING,
        ),
    ] = False,
    snaplen: Annotated[
        int | None,
        typer.Option(
            "-s",
            "--snaplen",
            min=1,
            max=65535,
            rich_help_panel=_CAPTURING,
            help="bytes kept of each packet; else all",
        ),
    ] = None,
    _numeric: Annotated[
        int,
        typer.Option(
            "-n",
            count=True,
            show_default=False,
            help="also -nn, changes nothing: addresses are numbers in any case",
        ),
    ] = 0,
    helper: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="how to get the socket; else as programs do",
            rich_help_panel=_CAPTURING,
        ),
    ] = None,
) -> None:
    """Show the packets of interfaces: when, which way, from whom to whom, and what they say.

    Lines go to standard output; a live line with the rate and what was lost, and a summary at the
    end, to standard error. Nothing is looked up: addresses stay numbers.

    Status 0: it ended as it should, by -c, --duration, Ctrl-C or SIGTERM, or nobody reads its
    output any more; 2: an error; 130: Ctrl-C before anything was opened.
    """
    wanted = Wanted(
        interfaces=tuple(interface or ()),
        expression=" ".join(expression or ()),
        count=count,
        duration=duration,
        read=read,
        write=write,
        rotation=rotation(rotate_size, rotate_seconds, rotate_packets, files),
        force=force,
        print=print,
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
    try:
        raise typer.Exit(run(wanted))
    except FilterError as error:
        first = next(iter(expression or ()), "")
        if interface is None and first in [name for _, name in socket.if_nameindex()]:
            error.hint = f"-i {first} captures from that interface"
        raise
