"""The groups of commands, one module each, and how their errors are told."""

import sys

import typer

from ..errors import AioprocketError
from . import helper, ping, policy, scan, sweep, trace
from .doctor import doctor
from .failure import ERROR, tell
from .filter import filter_command
from .sniff import EPILOG, sniff

__all__ = ("app", "main")

app = typer.Typer(
    name="aioprocket",
    help="Raw sockets, packet capture, low ports and TUN/TAP without running Python as root.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(helper.app, name="helper")
app.add_typer(policy.app, name="policy")
app.command()(doctor)
app.command(epilog=EPILOG)(sniff)
app.command("filter")(filter_command)
app.command(epilog=ping.EPILOG)(ping.ping)
app.command(epilog=sweep.EPILOG)(sweep.sweep)
app.command(epilog=trace.EPILOG)(trace.trace)
app.command(epilog=trace.WATCH_EPILOG)(trace.mtr)
app.command(epilog=scan.SCAN_EPILOG)(scan.scan)


def main() -> None:
    """Run the command of ``sys.argv``. Errors of ours end it without traceback, with status 2."""
    try:
        app()
    except AioprocketError as error:
        tell(error)
        sys.exit(ERROR)
