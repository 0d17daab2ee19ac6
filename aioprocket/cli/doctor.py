"""``aioprocket doctor``: which ways to a descriptor work here, and what would mend the others."""

import json as json_module
from dataclasses import asdict
from typing import Annotated, Final

import anyio
import typer
from rich.table import Table
from rich.text import Text

from ..helper.examine import Examined, State, examine
from ..helper.locate import DEFAULT_VARIABLE
from .report import Report

__all__ = ("doctor",)

# Any of these and the doors open what they are asked for, without a word.
_ENOUGH: Final = ("own rights", "installed helper", "broker")
_WORDS: Final[dict[State, tuple[str, str]]] = {
    "works": ("works", "green"),
    "denied": ("denied by policy", "yellow"),
    "unsafe": ("works, UNSAFE", "red"),
    "no": ("no", "dim"),
}


def doctor(
    json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Say which ways to a raw socket work here, why the others do not, and what would mend it.

    Tries each once; sudo, too, which may log that. Status 0: a program needs nothing more; 1: none
    of its own rights, the installed helper and the broker works, or the helper is unsafe. Where
    AIOPROCKET_HELPER names a way, that alone counts, as it does for programs.
    """
    found = anyio.run(examine)
    used = _used(found)
    if json:
        words = json_module.dumps([asdict(each) for each in found], indent=2)
        Report(highlight=False, emoji=False).print(words, markup=False, soft_wrap=True)
    else:
        _print(found, used)
    unsafe = any(each.state == "unsafe" for each in found)
    raise typer.Exit(0 if used is not None and not unsafe else 1)


def _used(found: tuple[Examined, ...]) -> Examined | None:
    """The way that a door takes here, of those that work."""
    ways = _counted(found)
    return next((each for each in found if each.state == "works" and each.way in ways), None)


def _counted(found: tuple[Examined, ...]) -> tuple[str, ...]:
    named = any(each.way == DEFAULT_VARIABLE for each in found)
    return (DEFAULT_VARIABLE,) if named else _ENOUGH


def _print(found: tuple[Examined, ...], used: Examined | None) -> None:
    out = Report(highlight=False, emoji=False)
    table = Table("way", "", "why", box=None, pad_edge=False)
    table.columns[2].overflow = "fold"  # nothing of it is cut off
    for each in found:
        words, style = _WORDS[each.state]
        table.add_row(Text(each.way), Text(words, style=style), Text(each.reason))
    out.print(table)
    if used is not None and used.grants:
        grants = ", ".join(used.grants)
        verdict = f"Programs open here, by {used.way}, what its policy grants: {grants}."
    elif used is not None:
        verdict = f"Programs open raw sockets here, by {used.way}: they need no other way."
    else:
        ways = ", ".join(_counted(found))
        verdict = f"Programs cannot open raw sockets here, for none of these works: {ways}."
    out.print(f"\n{verdict}", markup=False, soft_wrap=True)
    # Below the table, where no column breaks a command that is to be copied.
    for each in found:
        if each.remedy:
            out.print(f"\n{each.way}:", markup=False)
            out.print(f"  {each.remedy}", markup=False, soft_wrap=True)
