"""Numbers for people: rates as a row of bars, counts with units."""

from collections.abc import Sequence
from typing import Final

__all__ = ("bars", "human", "human_bytes")

_BARS: Final = "▁▂▃▄▅▆▇█"
_ASCII: Final = "_.-=+*#@"


def bars(counts: Sequence[float], *, unicode: bool = True) -> str:
    """One character for each; the highest is full. Nothing at all is a blank."""
    levels = _BARS if unicode else _ASCII
    top = max(counts, default=0)
    return "".join(
        levels[min(len(levels) - 1, int(count * len(levels) / top))] if count else " "
        for count in counts
    )


def human(number: float) -> str:
    """``1,234`` up to a hundred thousand, then ``123.4 k``, ``1.234 M``."""
    for least, factor, unit in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e5, 1e3, "k")):
        if number >= least:
            return f"{number / factor:.4g} {unit}"
    return f"{number:,.0f}" if number >= 10 or number == int(number) else f"{number:.1f}"


def human_bytes(number: float) -> str:
    """``512 B``, ``1.5 kB``, ``20.1 MB``; of 1000 each."""
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number:.0f} B"
