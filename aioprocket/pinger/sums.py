"""Sums over round trips. Pure; None where there are none.

Not those of the module `statistics`: it takes 4 ms to load, which the first ping would wait for.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

__all__ = ("deviation", "jitter", "mean", "median")


def mean(values: Sequence[float]) -> float | None:
    """The arithmetic mean."""
    return math.fsum(values) / len(values) if values else None


def median(values: Sequence[float]) -> float | None:
    """The one in the middle, or the mean of both there."""
    if not values:
        return None
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def deviation(values: Sequence[float]) -> float | None:
    """The standard deviation, of the population."""
    center = mean(values)
    if center is None:
        return None
    return math.sqrt(math.fsum((value - center) ** 2 for value in values) / len(values))


def jitter(values: Sequence[float]) -> float | None:
    """The mean difference from one to the next; of one alone 0."""
    if not values:
        return None
    return mean([abs(after - before) for before, after in pairwise(values)]) or 0.0
