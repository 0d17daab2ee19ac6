"""What ``aioprocket policy check`` finds out, as a report for programs and in words."""

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from ..helper.ask import how_to_ask_for
from ..helper.diagnose import has_file_capabilities
from ..helper.locate import has_broker
from ..policy import POLICY_PATH, Person, decide, distrust, find_fault
from ..wire.kinds import Flag
from ..wire.reply import Reason
from ..wire.request import Request
from .accounts import name_of, person

__all__ = ("Change", "Report", "about_file", "about_request", "dumps", "in_words")

Change: TypeAlias = Callable[[str], str]
Report: TypeAlias = dict[str, Any]

_IMPOSED = {Flag.INTERFACE: "the rule's interface", Flag.LOCK: "a locked filter"}


def about_file(path: Path, text: bytes | None) -> Report:
    """Whether the helper would believe the file; of another than its own, the text alone."""
    reasons = distrust(path) if path == POLICY_PATH else []
    fault = None if text is None else find_fault(text)
    return {
        "file": str(path),
        "exists": text is not None,
        "valid": not reasons and fault is None,
        "distrust": [
            {"path": str(each.path), "words": each.words, "commands": list(each.commands)}
            for each in reasons
        ],
        "fault": None if fault is None else fault._asdict(),
    }


def about_request(
    report: Report,
    text: bytes | None,
    request: Request,
    namespace: str | None,
    user: str,
    helper: str | None,
) -> Report:
    """What the helper would answer to an account, by the file that the report is about."""
    asking = person(user)
    for_all = helper is not None and bool(Path(helper).stat().st_mode & stat.S_IXOTH)
    found = decide(text, request, asking, for_all=for_all, namespace=namespace)
    reason = found.reason
    if not report["valid"] and asking.uid != 0:
        reason = Reason.POLICY
    if reason is None and helper is not None and _is_closed_to(asking, helper):
        return _closed(asking, helper)
    return {
        "uid": asking.uid,
        "granted": reason is None,
        "reason": None if reason is None else reason.name.lower(),
        "line": found.line,
        "rule": _line(text, found.line),
        "imposed": [words for flag, words in _IMPOSED.items() if flag in found.imposed],
        "ask": "" if reason is None else how_to_ask_for(request, namespace, asking.uid),
        "unknown": _unknown(asking, helper),
    }


def _is_closed_to(asking: Person, helper: str) -> bool:
    """Whether an account can neither execute the helper nor try a broker.

    By owner, group and mode. Of a helper with an ACL it is not known, and no broker is asked.
    """
    if asking.uid == 0 or has_broker() or _has_acl(helper):
        return False
    status = os.stat(helper)
    if status.st_uid == asking.uid:
        return not status.st_mode & stat.S_IXUSR
    if status.st_gid in asking.groups:
        return not status.st_mode & stat.S_IXGRP
    return not status.st_mode & stat.S_IXOTH


def _has_acl(path: str) -> bool:
    try:
        return "system.posix_acl_access" in os.listxattr(path)
    except OSError:  # a file system without any
        return False


def _closed(asking: Person, helper: str) -> Report:
    """What is granted is out of reach: the account does not even reach the helper's decision."""
    return {
        "uid": asking.uid,
        "granted": False,
        "reason": "execute",
        "line": 0,
        "rule": "",
        "imposed": [],
        "ask": (
            f"{helper} is not executable by uid {asking.uid}, and nothing is granted but to "
            f"whoever may execute it (ls -l {helper}), or has a rule of sudo's for it"
        ),
        "unknown": _unknown(asking, helper),
    }


def _unknown(asking: Person, helper: str | None) -> str:
    """What no answer is about: sudo's rules, where nothing else leads to the helper."""
    if helper is None or asking.uid == 0 or has_broker():
        return ""
    if os.stat(helper).st_mode & stat.S_ISUID or has_file_capabilities(helper):
        return ""
    name = name_of(f"uid={asking.uid}") or "NAME"
    return (
        f'{helper} has no privilege of its own: sudo starts it (helper="sudo"), and what sudo lets '
        f"uid {asking.uid} do was not looked at: sudo -l -U {name}"
    )


def _line(text: bytes | None, number: int) -> str:
    if text is None or not number:
        return ""
    return text.decode("ascii").splitlines()[number - 1]


def dumps(report: Report) -> str:
    """As JSON."""
    return json.dumps(report, indent=2)


def in_words(report: Report) -> Iterator[str]:
    """As sentences."""
    yield from _file_in_words(report)
    if "granted" in report:
        yield from _answer_in_words(report)
        if report["unknown"]:
            yield report["unknown"]


def _file_in_words(report: Report) -> Iterator[str]:
    file = report["file"]
    if not report["exists"] and file != str(POLICY_PATH):
        yield f"{file}: there is none"
        return
    if not report["exists"] and report["valid"]:
        yield (
            f"{file}: there is none; what is built in holds for whoever may execute the helper "
            "or connect to a broker (aioprocket policy show --built-in)"
        )
    elif report["valid"]:
        yield f"{file}: valid"
    else:
        closed = ", and nobody gets anything until it is mended" * (file == str(POLICY_PATH))
        yield f"{file}: invalid{closed}"
    for each in report["distrust"]:
        yield f"  {each['path']}: {each['words']}"
    commands = [command for each in report["distrust"] for command in each["commands"]]
    if commands:
        yield "  read the file first, for these make a policy of it:"
        yield from (f"    {command}" for command in commands)
    if report["fault"] is not None:
        line = report["fault"]["line"]
        yield f"  {'line ' + str(line) + ': ' if line else ''}{report['fault']['words']}"


def _answer_in_words(report: Report) -> Iterator[str]:
    who = f"uid {report['uid']}"
    if not report["granted"]:
        yield f"denied to {who}: {report['reason']}"
        if report["reason"] != Reason.POLICY.name.lower():
            yield report["ask"]
        return
    rule = f" by line {report['line']}: {report['rule']}" if report["rule"] else ""
    yield f"granted to {who}{rule}"
    yield from (f"  with {words}" for words in report["imposed"])
