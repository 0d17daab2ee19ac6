"""The command line of sweep."""

from typing import Annotated, Any, Final, Literal

import typer

from ...errors import SpecError
from ..ping import options
from ..ping.run import guarded
from .lines import Format
from .run import Wanted, run
from .targets import STDIN, check_versions, count_hosts, parse_targets

__all__ = ("EPILOG", "sweep")

_MOST: Final = 65536  # hosts, without --yes
_FAST: Final = 100_000  # probes per second that a machine and its network may manage
_UNITS: Final = (("years", 31_557_600), ("days", 86_400), ("hours", 3600), ("minutes", 60))

EPILOG: Final = """\
[bold]Examples[/bold]

  aioprocket sweep 192.0.2.0/24                 who answers, and how fast

  aioprocket sweep --alive hosts.txt            their names alone, for another program

  aioprocket sweep --rate 1000 10.0.0.0/8 --yes

  generate-names | aioprocket sweep --json -
"""


def sweep(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET",
            help="addresses, networks, names, files of these line by line; -: standard input",
            show_default=False,
        ),
    ],
    rate: Annotated[
        float | None, typer.Option("--rate", metavar="N", help="probes per second at most")
    ] = None,
    count: Annotated[int, typer.Option("-c", "--count", min=1, help="probes to each")] = 1,
    timeout: Annotated[
        float, typer.Option("-W", "--timeout", metavar="SECONDS", help="that each reply may take")
    ] = 1.0,
    window: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="probes on their way at most")
    ] = None,
    alive: Annotated[
        bool, typer.Option("-a", "--alive", help="only who answers, without times")
    ] = False,
    silent: Annotated[
        bool, typer.Option("-u", "--unreachable", help="only who does not answer")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="a line for each probe, whatever became of it")
    ] = False,
    json: options.Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="one row per probe")] = False,
    metrics: Annotated[bool, typer.Option("--metrics", help="the sums, for Prometheus")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="no bar and no sums")] = False,
    path: Annotated[
        Literal["ip", "link"],
        typer.Option(help="ip: as all programs send; link: frames, which costs less for each host"),
    ] = "ip",
    yes: Annotated[bool, typer.Option("--yes", help=f"also more than {_MOST:,} hosts")] = False,
    size: options.Size = 56,
    ttl: options.Ttl = None,
    ipv4: options.IPv4 = False,
    ipv6: options.IPv6 = False,
    bound: options.Bound = None,
    tos: options.Tos = None,
    fragments: options.Fragments = "want",
    pattern: options.Pattern = None,
    broadcast: options.Broadcast = False,
    mark: options.Mark = None,
    namespace: options.Namespace = None,
    type: options.SocketType = "auto",
    helper: options.HelperCommand = None,
    _numeric: options.Numeric = False,
) -> None:
    """Ask many hosts once, all by one socket, and say who answers.

    Answers go to standard output as they come; a bar and the sums to standard error. A network is
    asked address by address, those of the network itself and of its broadcast included, where
    --broadcast allows the latter. Status 0: every one answered; 1: one did not; 2: an error; if it
    is in an argument or a file, nothing was sent.
    """
    shown: dict[Format, bool] = {
        "alive": alive, "silent": silent, "all": everything, "json": json, "csv": csv,
    }  # fmt: skip
    chosen = [name for name, wanted in shown.items() if wanted]
    if len(chosen) + metrics > 1:
        raise typer.BadParameter("one of --alive, --unreachable, --all, --json, --csv, --metrics")
    if STDIN in targets and len(targets) > 1:
        raise typer.BadParameter("- is standard input: then it is the only target")
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
    plan = {"rate": rate, "count": count, "timeout": timeout, "window": window, "path": path}

    def main() -> int:
        hosts = None if targets == [STDIN] else parse_targets(targets)
        number = 0 if hosts is None else count_hosts(hosts)
        check_versions(hosts or (), settings["family"])
        if number > _MOST and not yes:
            raise SpecError(
                f"that is {number:,} hosts: {_what_it_takes(number * count, rate)}",
                hint="--yes, if you mean it",
            )
        return run(
            Wanted(
                hosts=hosts,
                settings=settings,
                plan=plan,
                shown=chosen[0] if chosen else "text",
                metrics=metrics,
                quiet=quiet,
            )
        )

    raise typer.Exit(guarded(main))


def _what_it_takes(probes: int, rate: float | None) -> str:
    each = rate if rate and rate > 0 else _FAST
    seconds = probes / each
    if seconds > 1000 * _UNITS[0][1]:
        time = "more than a thousand years"
    else:
        unit, length = next((each for each in _UNITS if seconds >= 2 * each[1]), ("seconds", 1))
        time = f"{seconds / length:,.0f} {unit}"
    doubt = "" if each is rate else ", if so many"
    return f"{time} at {each:,g} probes per second{doubt}"
