"""``aioprocket helper``: install the helper, say what is installed, and remove it."""

import grp
import json as json_module
import os
from dataclasses import asdict
from typing import Annotated, Any

import typer

from ..errors import HelperNotFoundError
from ..helper.examine import Examined, examine_broker, examine_helper
from ..helper.install import GROUP, SUDO_RULE
from ..helper.installation import (
    Installed,
    InstallMode,
    Plan,
    installed_at,
    plan_installation,
    plan_removal,
)
from ..helper.locate import BROKER_SOCKET, INSTALLED, has_broker, helper_path
from ..helper.units import limits
from .elevate import in_words, run_as_root
from .report import Report
from .trial import NOBODY, try_way

__all__ = ("app", "install", "status", "uninstall")

app = typer.Typer(help="The privileged helper: install, look at, remove.", no_args_is_help=True)

_DryRun = Annotated[bool, typer.Option("--dry-run", help="show the commands, run none")]
_Json = Annotated[bool, typer.Option("--json", help="for programs")]
_out = Report(highlight=False, emoji=False, soft_wrap=True)


@app.command()
def install(
    group: Annotated[
        str | None,
        typer.Option(metavar="GROUP", help=f"who may use it; else as before, or {GROUP}"),
    ] = None,
    mode: Annotated[
        InstallMode | None, typer.Option(help="how it gets its rights; else as before, or setuid")
    ] = None,
    broker: Annotated[
        bool, typer.Option("--broker", help="a service for programs that have no helper")
    ] = False,
    dry_run: _DryRun = False,
) -> None:
    """Install the bundled helper, and verify it by opening a socket.

    Shows what it does and does it with the system's install and setcap, through sudo unless run as
    root. Again is no harm: it puts the bundled helper in the place of the old one.
    """
    plan = plan_installation(group, mode, broker=broker)
    for sentence in (*plan.kept, limits() if broker else ""):
        if sentence:
            _out.print(sentence, markup=False)
    if dry_run:
        _show(plan)
        return
    if not broker and _is_done(plan):
        _out.print(f"{plan.path} is the bundled helper already: nothing to do", markup=False)
    else:
        run_as_root(plan.steps, _out)
    if broker:
        found = try_way(examine_broker, grp.getgrnam(GROUP).gr_gid)
        _report(found, "broker", GROUP)
    if plan.mode is not InstallMode.PLAIN:
        found = try_way(examine_helper, grp.getgrnam(plan.group).gr_gid)
        _report(found, plan.mode, plan.group)
    elif not broker:
        _out.print("installed; whether a rule of sudo permits it: aioprocket doctor", markup=False)


@app.command()
def status(json: _Json = False) -> None:
    """Say what is installed, and whether it works, or the broker does. Status 0: so; 1: not."""
    found = [each for each in map(installed_at, INSTALLED) if each is not None]
    if not found:
        if json:
            _out.print(json_module.dumps({"installed": [], "state": "no"}), markup=False)
        else:
            _out.print(f"no helper at {' or '.join(INSTALLED)}: aioprocket helper install")
        raise typer.Exit(1)
    trials = [try_way(examine_helper, found[0].gid)]
    if has_broker():
        trials.append(try_way(examine_broker, os.stat(BROKER_SOCKET).st_gid))
    if json:
        report = {"installed": [_as_dict(each) for each in found], "state": trials[0].state}
        ways = [asdict(each) for each in trials]
        _out.print(json_module.dumps(report | {"ways": ways}, indent=2), markup=False)
    else:
        for each in found:
            _out.print(_in_words(each), markup=False)
        for trial in trials:
            reason = f": {trial.reason}" if trial.reason else ""
            _out.print(f"{trial.way}: {trial.state}{reason}", markup=False)
            if trial.remedy:
                _out.print(trial.remedy, markup=False)
    raise typer.Exit(0 if any(trial.state == "works" for trial in trials) else 1)


@app.command()
def uninstall(dry_run: _DryRun = False) -> None:
    """Remove what install has installed. Policy, group and rules of sudo are yours, and stay."""
    plan = plan_removal()
    if not plan.steps:
        _out.print(f"nothing is installed at {plan.path}", markup=False)
    elif dry_run:
        _show(plan)
        return
    else:
        run_as_root(plan.steps, _out)
    for path in INSTALLED[1:]:
        if os.path.lexists(path):
            _out.print(f"{path} stays: it is the distribution's, whose package has it")
    group = GROUP if plan.group in ("", "root") else plan.group  # root's is that of a plain copy
    left = ", ".join(("/etc/aioprocket", f"the group {group}", SUDO_RULE))
    _out.print(f"left as they are, if you have them: {left}", markup=False)


def _show(plan: Plan) -> None:
    for step in plan.steps:
        _out.print(f"$ {in_words(step)}", markup=False)


def _is_done(plan: Plan) -> bool:
    """Whether the steps would change nothing, as far as we may look."""
    old = installed_at(plan.path)
    if old is None or old.uid != 0 or old.mode != plan.mode or old.group != plan.group:
        return False
    copy = next(step for step in plan.steps if step[0] == "install" and "-d" not in step)
    if old.permissions != int(copy[copy.index("-m") + 1], 8):
        return False
    try:
        with open(plan.path, "rb") as there, open(helper_path(), "rb") as ours:
            return there.read() == ours.read()
    except (OSError, HelperNotFoundError):
        return False


def _report(found: Examined, what: str, group: str) -> None:
    if found.state == "works":
        who = f", as uid {NOBODY} in that group" if os.geteuid() == 0 else ""
        tried = f"a raw socket for ICMP was opened{who}"
        if found.grants:
            tried = f"a raw socket for ICMP was asked for{who}, and refused, for the policy grants "
            tried += f"{', '.join(found.grants)}: that was not tried"
        verb = "answers" if found.grants else "works"
        _out.print(f"it {verb}, {what}, for the group {group}: {tried}", markup=False)
        return
    _out.print(f"installed; {found.reason}", markup=False)
    if found.remedy:
        _out.print(found.remedy, markup=False)
    # Whoever is to join the group yet, or has a policy that grants something else, is well served.
    if found.state != "denied" and f"for the group {group}" not in found.reason:
        raise typer.Exit(1)


def _as_dict(installed: Installed) -> dict[str, Any]:
    return {
        "path": installed.path,
        "mode": installed.mode,
        "uid": installed.uid,
        "gid": installed.gid,
        "group": installed.group,
        "permissions": f"{installed.permissions:04o}",
    }


def _in_words(installed: Installed) -> str:
    owner = "root" if installed.uid == 0 else f"uid {installed.uid}"
    return (
        f"{installed.path}: {installed.mode}, {owner}:{installed.group}, "
        f"mode {installed.permissions:04o}"
    )
