"""``aioprocket policy``: who may open what through the helper."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ..errors import NotPermittedError, SpecError
from ..helper.locate import installed_helper
from ..policy import (
    BUILT_IN,
    POLICY_PATH,
    PolicyText,
    Rule,
    distrust,
    find_fault,
    parse_request,
    read_policy,
    write_policy,
)
from . import judge
from .accounts import comment_of, name_of, resolve
from .policy_by_sudo import change_by_sudo
from .report import Report

__all__ = ("add", "app", "check", "remove", "show")

app = typer.Typer(help="Who may open what through the helper.", no_args_is_help=True)

_Who = Annotated[
    str,
    typer.Argument(metavar="WHO", help="USER, @GROUP, uid=N, gid=N, or all", show_default=False),
]
_What = Annotated[
    list[str],
    typer.Argument(metavar="WHAT", help="like: tcp port=80 addr=127.0.0.1", show_default=False),
]
_File = Annotated[Path, typer.Option("--file", help="another file than the helper's")]
_Json = Annotated[bool, typer.Option("--json", help="for programs")]

_out = Report(highlight=False, emoji=False, soft_wrap=True)
_ENDS = (
    "This is the first rule: from now on the file alone decides. What is built in (ICMP, packet\n"
    "sockets, ports below 1024 and tun devices for whoever may execute the helper) is over for\n"
    "those who had it. `aioprocket policy show --built-in` prints it as rules, to keep some."
)

_WORDS = (
    "A rule names packet, icmp, icmp6, raw4, raw6, tcp, udp, tun, tap or device=; its conditions\n"
    "are in the manual: man 5 aioprocket-policy"
)


@app.command()
def add(who: _Who, what: _What) -> None:
    """Grant something to an account or a group.

    The name becomes a number now: the helper looks no name up. Live sessions keep what they had.
    Who is not root is shown the system's commands that write the file, which are run through sudo.
    """
    account = resolve(who)

    def change(text: str) -> str:
        return _checked(PolicyText(text).with_rule(account, tuple(what), comment_of(who)).text)

    ends = _ENDS if _read_or_none() is None else ""
    _change(change, ends)
    _out.print(f"granted: allow {account} {' '.join(what)}", markup=False)
    if ends and os.geteuid() == 0:  # who is not has read it before
        _out.print(ends, markup=False)


@app.command()
def remove(
    who: _Who,
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="WHAT", help="just this rule; else all", show_default=False),
    ] = None,
) -> None:
    """Take a grant back: one rule, or all that an account or a group has. Comments stay."""
    account = resolve(who)

    def change(text: str) -> str:
        old = PolicyText(text)
        new = old.without_rules(account, tuple(what or ()))
        if new == old:
            raise SpecError(
                f"there is no such rule about {account}",
                hint="those that are: aioprocket policy show",
            )
        return new.text

    _change(change)
    _out.print(f"taken back from {account}: {' '.join(what or ()) or 'everything'}", markup=False)


@app.command()
def show(
    built_in: Annotated[bool, typer.Option("--built-in", help="what holds without a file")] = False,
    file: _File = POLICY_PATH,
    json: _Json = False,
) -> None:
    """Print the rules with the names that their accounts have now. Status 1: it is invalid."""
    text = None if built_in else _readable(file)
    source = "built in" if text is None else str(file)
    rules = PolicyText(BUILT_IN if text is None else text.decode("ascii", "replace")).rules()
    report: judge.Report = {"valid": True} if text is None else judge.about_file(file, text)
    if json:
        rows = [_as_dict(rule) for rule in rules]
        typer.echo(judge.dumps({"source": source, "valid": report["valid"], "rules": rows}))
    elif built_in:
        typer.echo(BUILT_IN, nl=False)
    else:
        if not report["valid"]:
            for line in judge.in_words(report):
                _out.print(line, markup=False)
        _out.print(_table(source, rules))
    raise typer.Exit(0 if report["valid"] else 1)


def _table(source: str, rules: list[Rule]) -> Table:
    table = Table("line", "who", "may open", "", title=escape(f"policy: {source}"), box=None)
    table.columns[2].overflow = "fold"  # nothing of it is cut off
    for rule in rules:
        who = escape(f"{rule.who} {name_of(rule.who)}".rstrip())
        table.add_row(str(rule.line), who, escape(" ".join(rule.what)), escape(rule.comment))
    return table


@app.command()
def check(
    request: Annotated[
        list[str] | None,
        typer.Argument(metavar="REQUEST", help="like: tcp port=80", show_default=False),
    ] = None,
    person: Annotated[
        str | None, typer.Option("--as", metavar="USER", help="who would ask", show_default=False)
    ] = None,
    file: _File = POLICY_PATH,
    json: _Json = False,
) -> None:
    """Say whether the file is a valid policy; or what it says to a request, and why.

    Decides with the helper's own code. Status 0: valid, or granted; 1: not; 2: an error.

    Who cannot execute the installed helper, and has no broker, is denied everything.
    """
    text = _readable(file)
    report = judge.about_file(file, text)
    if request:
        wanted, namespace = parse_request(request)
        report |= judge.about_request(
            report, text, wanted, namespace, person or str(os.getuid()), installed_helper()
        )
    if json:
        _out.print(judge.dumps(report), markup=False)
    else:
        for line in judge.in_words(report):
            _out.print(line, markup=False)
    raise typer.Exit(0 if report.get("granted", report["valid"]) else 1)


def _as_dict(rule: Rule) -> dict[str, object]:
    return rule._asdict() | {"name": name_of(rule.who), "what": " ".join(rule.what)}


def _read_or_none() -> bytes | None:
    """The file's bytes, None also where we may not read it: then somebody has one."""
    try:
        return read_policy()
    except PermissionError:
        return b""


def _readable(file: Path) -> bytes | None:
    try:
        return read_policy(file)
    except PermissionError as error:
        raise NotPermittedError(
            f"{file} is not yours to read", errno=error.errno, hint=f"sudo cat {file}"
        ) from error


def _checked(text: str) -> str:
    """The text, which must be a policy: nothing else is ever written."""
    fault = find_fault(text.encode("ascii", "replace"))
    if fault is not None:
        lines = text.splitlines()
        line = lines[fault.line - 1] if 0 < fault.line <= len(lines) else ""
        raise SpecError(
            f"that would make the policy invalid: {fault.words}: {line}",
            hint=_WORDS if fault.words == "unknown word" else "",
        )
    return text


@contextmanager
def _changing() -> Iterator[None]:
    """What keeps the file from being changed, in words."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise SpecError(
            f"{POLICY_PATH} is no policy: {error.object[error.start]:#04x} is no ASCII",
            hint="which line it is: aioprocket policy check",
        ) from error
    except NotPermittedError:
        raise
    except PermissionError as error:
        raise NotPermittedError(
            f"{error.filename}: {error.strerror}",
            errno=error.errno,
            hint="run this command as root",
        ) from error


@_changing()
def _change(change: "judge.Change", ends: str = "") -> None:
    if os.geteuid() == 0:
        write_policy(change)
        return
    reasons = distrust()
    if reasons:
        raise NotPermittedError(
            "; ".join(f"{reason.path}: {reason.words}" for reason in reasons),
            hint="read it before you make it root's: aioprocket policy check",
        )
    if ends:
        _out.print(ends, markup=False)
    change_by_sudo(lambda: _readable(POLICY_PATH), change, _out)
