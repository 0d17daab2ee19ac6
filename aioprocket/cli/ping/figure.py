"""A picture of round trips: how they spread, and how they went over time."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import typer

from ...errors import AioprocketError
from .tally import Tally

__all__ = ("Figure",)

_SUFFIXES: Final = (".png", ".svg", ".pdf")
_BINS: Final = 60


class Figure:
    """Drawn once, at the end. matplotlib is looked for at the beginning.

    Args:
        path: A file ending in ``.png``, ``.svg`` or ``.pdf``; it is replaced.

    Raises:
        AioprocketError: matplotlib is not installed.
        typer.BadParameter: The name has another ending, or its folder is not there.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix not in _SUFFIXES:
            raise typer.BadParameter(f"--plot {path}: the name ends in none of .png, .svg, .pdf")
        if not path.absolute().parent.is_dir():
            raise typer.BadParameter(f"--plot {path}: there is no such folder")
        self._path = path
        try:
            self._figure_of: Any = importlib.import_module("matplotlib.figure").Figure
        except ImportError as error:
            raise AioprocketError(
                "--plot needs matplotlib, which is not installed",
                hint="pip install matplotlib",
            ) from error

    def draw(self, tallies: Sequence[Tally]) -> None:
        """Write the picture.

        Raises:
            OSError: It cannot be written.
        """
        figure = self._figure_of(figsize=(10, 7), layout="constrained")
        spread, course = figure.subplots(2, 1)
        begin = min((min(tally.times) for tally in tallies if tally.times), default=0.0)
        for tally in tallies:
            times = [rtt * 1e3 for rtt in tally.rtts]
            if times:
                spread.hist(times, bins=_BINS, alpha=0.6, label=tally.host)
            [line] = course.plot(
                [moment - begin for moment in tally.times],
                times,
                marker=".",
                markersize=3,
                linewidth=0.8,
                label=tally.host,
            )
            for moment in tally.lost:
                course.axvline(moment - begin, color=line.get_color(), alpha=0.4, linestyle=":")
        spread.set_xlabel("round trip, ms")
        spread.set_ylabel("replies")
        course.set_xlabel("seconds (dotted: no reply)")
        course.set_ylabel("round trip, ms")
        for axes in (spread, course):
            if axes.get_legend_handles_labels()[0]:
                axes.legend()
        figure.savefig(self._path)
