"""The commands, each loaded when it is asked for, and how their errors are told."""

import sys
from importlib import import_module
from inspect import cleandoc
from typing import Annotated, Any, Final, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from ..errors import AioprocketError
from .failure import ERROR, tell
from .interrupt import raise_at_interrupt
from .streams import forget_output, stand_in_for_closed, tell_of_output

__all__ = ("app", "main")


class _Place(NamedTuple):
    """Where a command is: a module with a function, or the app of a group; and its first words."""

    module: str
    name: str
    words: str
    epilog: str = ""


# The words stand here again, for the list of all commands imports none of them.
_COMMANDS: Final = {
    "doctor": _Place(
        "doctor",
        "doctor",
        "Say which ways to a raw socket work here, why the others do not, and what would mend it.",
    ),
    "sniff": _Place(
        "sniff",
        "sniff",
        "Show the packets of interfaces: when, which way, from whom to whom, and what they say.",
        "EPILOG",
    ),
    "filter": _Place(
        "filter",
        "filter_command",
        "Print the program that the kernel runs for an expression of pcap-filter(7).",
    ),
    "ping": _Place(
        "ping.command", "ping", "Ask hosts for an answer, and say how long it took.", "EPILOG"
    ),
    "sweep": _Place(
        "sweep", "sweep", "Ask many hosts once, all by one socket, and say who answers.", "EPILOG"
    ),
    "trace": _Place(
        "trace",
        "trace",
        "Show the routers on the way to a host, each as soon as it is known.",
        "EPILOG",
    ),
    "mtr": _Place(
        "trace",
        "mtr",
        "Watch the routers on the way to a host: their times, and what they lose.",
        "WATCH_EPILOG",
    ),
    "scan": _Place(
        "scan",
        "scan",
        "List the hosts of a local network, as they answer: address, hardware address, vendor.",
        "SCAN_EPILOG",
    ),
    "helper": _Place("helper", "app", "The privileged helper: install, look at, remove."),
    "policy": _Place("policy", "app", "Who may open what through the helper."),
}


class _Commands(TyperGroup):
    """Has the words of all commands, and loads the one that is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As of click: the command that the first argument names, and the other arguments."""
        if args and args[0] in _COMMANDS:
            self.commands[args[0]] = _load(args[0])
        return super().resolve_command(ctx, args)


def _load(name: str) -> Any:
    """The command itself, in place of its words."""
    place = _COMMANDS[name]
    module = import_module(f"..{place.module}", __name__)
    found = getattr(module, place.name)
    if isinstance(found, typer.Typer):
        group = get_group(found)
        group.name = name
        for command in group.commands.values():
            assert command.callback is not None
            _flow(command).callback = raise_at_interrupt()(command.callback)
        return group
    alone = typer.Typer(add_completion=False)
    epilog = getattr(module, place.epilog) if place.epilog else None
    alone.command(name, epilog=epilog)(found)
    return _flow(get_command(alone))


def _flow(command: Any) -> Any:
    """Let the paragraphs of its help be as wide as the terminal, and not as their source is."""
    command.help = "\n\n".join(
        paragraph if "\n " in f"\n{paragraph}" else " ".join(paragraph.split())
        for paragraph in cleandoc(command.help).split("\n\n")
    )
    return command


app = typer.Typer(
    name="aioprocket",
    cls=_Commands,
    help="Raw sockets, packet capture, low ports and TUN/TAP without running Python as root.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _say_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__  # 13 ms, and for nothing else

        typer.echo(f"aioprocket {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_say_version, help="say it, and exit"),
    ] = False,
) -> None:
    """What all commands share."""


def _words() -> None:
    """Stands for a command until it is loaded."""


for _name, _place in _COMMANDS.items():
    app.command(_name, help=_place.words)(_words)


def main() -> None:
    """Run the command of ``sys.argv``. Errors of ours end it without traceback, with status 2."""
    stand_in_for_closed()
    try:
        app()
    except SystemExit as end:
        # Of click and of rich, where nobody reads any more; and 1 is the answer no.
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        forget_output()
        sys.exit(0)
    except AioprocketError as error:
        tell(error)
        sys.exit(ERROR)
    except OSError as error:
        tell_of_output(error)
        sys.exit(ERROR)
