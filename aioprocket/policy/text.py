"""The text of a policy as lines, so that a rule comes and goes and all else stays as it is."""

from dataclasses import dataclass
from typing import Final, NamedTuple

__all__ = ("PolicyText", "Rule")

_VERSION: Final = "version 1"
_HEAD: Final = f"# Who may open what: man aioprocket-policy(5).\n{_VERSION}\n"


class Rule(NamedTuple):
    """One rule. ``who`` is ``uid=N``, ``gid=N`` or ``all``; ``what`` its other words, in order."""

    line: int
    who: str
    what: tuple[str, ...]
    comment: str


def _rule(number: int, line: str) -> Rule | None:
    words = line.split()
    comment = ""
    for at, word in enumerate(words):
        if word.startswith("#"):
            words, comment = words[:at], " ".join(words[at:]).lstrip("# ")
            break
    if not words or words[0] != "allow":
        return None
    who = [word for word in words[1:] if word == "all" or word.startswith(("uid=", "gid="))]
    what = tuple(word for word in words[1:] if word not in who)
    return Rule(number, " ".join(who), what, comment)


@dataclass(frozen=True)
class PolicyText:
    """The text of a valid policy, or the empty text."""

    text: str = ""

    def rules(self) -> list[Rule]:
        """The rules in the order of the file."""
        lines = enumerate(self.text.splitlines(), 1)
        return [rule for number, line in lines if (rule := _rule(number, line)) is not None]

    def with_rule(self, who: str, what: tuple[str, ...], comment: str = "") -> "PolicyText":
        """This text with one more rule at its end; itself where it has that rule."""
        if any((rule.who, set(rule.what)) == (who, set(what)) for rule in self.rules()):
            return self
        line = " ".join(("allow", who, *what)) + (f"  # {comment}" if comment else "")
        return PolicyText(f"{self._versioned()}{line}\n")

    def _versioned(self) -> str:
        if _VERSION in (" ".join(line.split("#")[0].split()) for line in self.text.splitlines()):
            return self.text
        return self.text + _HEAD

    def without_rules(self, who: str, what: tuple[str, ...] = ()) -> "PolicyText":
        """This text without the rules about ``who``: those that say just ``what``, or all."""
        gone = {
            rule.line
            for rule in self.rules()
            if rule.who == who and (not what or set(rule.what) == set(what))
        }
        lines = enumerate(self.text.splitlines(keepends=True), 1)
        return PolicyText("".join(line for number, line in lines if number not in gone))
