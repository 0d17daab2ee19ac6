"""Numbers that are asked for, checked in one wording."""

import sys
from typing import Any, Final

from .errors import SpecError

__all__ = ("MAX_COUNT", "MAX_INT", "positive", "seconds", "whole")

MAX_INT: Final = 2**31 - 1  # a C int, what the kernel takes for a size
MAX_COUNT: Final = sys.maxsize  # of objects in memory


def whole(name: str, value: Any, least: int, most: int | None = None) -> int:
    """A whole number within its bounds; ``most`` None: there is no upper one.

    Raises:
        SpecError: It is none; nor is a bool.
    """
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if is_whole and least <= value and (most is None or value <= most):
        return int(value)
    bounds = f"from {least}" if most is None else f"from {least} to {most}"
    raise SpecError(f"{name} {value!r} is not a whole number {bounds}")


def positive(name: str, value: Any, of: str = "", *, zero: bool = False) -> float:
    """A finite number above 0.

    Args:
        name: The argument's.
        value: What was given.
        of: What is counted, for the error.
        zero: 0 is fine, too.

    Raises:
        SpecError: It is none; nor is a bool.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    above = is_number and (value > 0 or (zero and value == 0))
    if above and value <= sys.float_info.max:
        return value  # type: ignore[no-any-return]
    kind = f"a number of {of}" if of else "a number"
    raise SpecError(f"{name} {value!r} is not {kind} {'from' if zero else 'above'} 0")


def seconds(name: str, value: Any, *, zero: bool = False) -> float:
    """A finite number of seconds above 0; with ``zero`` also 0.

    Raises:
        SpecError: It is none.
    """
    return positive(name, value, "seconds", zero=zero)
