"""The groups of commands, one module each, and how their errors are told."""

import sys

import typer
from rich.console import Console

from ..errors import AioprocketError, FilterError
from . import helper, policy
from .doctor import doctor
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


def main() -> None:
    """Run the command of ``sys.argv``. Errors of ours end it with status 1, without traceback."""
    try:
        app()
    except AioprocketError as error:
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(f"aioprocket: {error}", markup=False)
        if isinstance(error, FilterError) and error.position is not None and error.text:
            console.print(f"  {error.text}\n  {' ' * error.position}^", markup=False)
        if error.hint:
            console.print(error.hint, markup=False)
        sys.exit(1)
