"""What a policy says to a request, by the code that decides in the helper."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from ..wire.kinds import Flag
from ..wire.reply import Mode, Reason
from ..wire.request import Request, encode_request
from . import _decision

__all__ = ("BUILT_IN", "Decision", "Fault", "Person", "decide", "find_fault")

BUILT_IN: Final[str] = _decision.BUILT_IN
"""The rules that hold where there is no file, for whoever may execute the helper."""


class Fault(NamedTuple):
    """What makes the text of a policy invalid. ``line`` counts from 1; 0 is the text as a whole."""

    line: int
    words: str


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks: the numbers by which a rule may know them; ``groups`` has the primary one, too."""

    uid: int
    groups: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The helper's answer.

    ``reason`` is None where it is granted. ``line`` is that of the rule which grants it; 0: of no
    rule, as root's. ``imposed`` is what the rule adds to the request.
    """

    reason: Reason | None
    line: int
    imposed: Flag


def find_fault(text: bytes) -> Fault | None:
    """Why the helper would not take this text for a policy; None: it would."""
    found = _decision.find_fault(text)
    return None if found is None else Fault(*found)


def decide(
    text: bytes | None,
    request: Request,
    person: Person,
    *,
    mode: Mode = Mode.SETUID,
    for_all: bool = False,
    namespace: str | None = None,
) -> Decision:
    """What an installed helper would answer.

    Args:
        text: Of the file; None: there is none.
        request: An OPEN.
        person: Who asks.
        mode: How the helper is installed.
        for_all: Everybody may execute it.
        namespace: Whose namespace the request is for: ``"own"``, or the path in the rule.
    """
    reason, line, flags = _decision.decide(
        text,
        encode_request(request),
        mode,
        person.uid,
        person.groups,
        for_all,
        namespace == "own",
        None if namespace == "own" else namespace,
    )
    return Decision(Reason(reason) if reason else None, line, Flag(flags) & ~request.flags)
