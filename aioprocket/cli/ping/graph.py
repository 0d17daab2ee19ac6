"""Round trips as a graph of characters, and the live view that draws it."""

from collections.abc import Sequence
from itertools import islice
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

import aioprocket

from .tally import Tally
from .text import milliseconds, summary_lines

__all__ = ("LiveGraph", "graph")

_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
_LOST: Final = "×"
_TALL: Final = 6  # rows of one host's graph
_FEW: Final = 3  # hosts that get a tall one each
_PER_SECOND: Final = 8


def graph(values: Sequence[float | None], height: int, top: float) -> list[str]:
    """Columns of characters, one for each value, as rows from the highest to the lowest.

    Args:
        values: None: a cross in the lowest row.
        height: Rows.
        top: The value that fills a column; anything above is cut off there.
    """
    rows = [[" "] * len(values) for _ in range(height)]
    for column, value in enumerate(values):
        if value is None:
            rows[-1][column] = _LOST
            continue
        eighths = max(1, min(height * 8, round(value / top * height * 8))) if top else 1
        full, rest = divmod(eighths, 8)
        for row in range(full):
            rows[height - 1 - row][column] = _EIGHTHS[8]
        if rest:
            rows[height - 1 - full][column] = _EIGHTHS[rest]
    return ["".join(row) for row in rows]


class LiveGraph:
    """Redrawn in place: of a few hosts a graph each, of many a line each. Sums stay at the end."""

    def __init__(self, out: Console, tallies: Sequence[Tally]) -> None:
        self._out = out
        self._tallies = tallies
        self._live = Live(
            console=out,
            get_renderable=self._draw,
            refresh_per_second=_PER_SECOND,
            transient=True,
        )
        self._live.start()

    def echo(self, tally: Tally, echo: aioprocket.Echo) -> None:
        """Nothing: it is drawn at its own pace."""

    def end(self, tallies: Sequence[Tally]) -> None:
        """Take the graph away and show the sums."""
        self._live.stop()
        for tally in tallies:
            for line in summary_lines(tally.summary()):
                self._out.print(line, markup=False, soft_wrap=True)

    def _draw(self) -> RenderableType:
        if len(self._tallies) <= _FEW:
            return Group(*(self._tall(tally) for tally in self._tallies))
        table = Table("host", "last ms", "avg ms", "max ms", "loss", "", box=None, pad_edge=False)
        room = max(10, self._out.width - 60)
        for tally in self._tallies:
            [line] = graph(*self._scaled(tally, room, 1))
            table.add_row(Text(tally.host), *_figures(tally), Text(line, style="cyan"))
        return table

    def _tall(self, tally: Tally) -> RenderableType:
        values, height, top = self._scaled(tally, max(10, self._out.width - 14), _TALL)
        last, avg, most, loss = _figures(tally)
        title = f"{tally.host}  last {last}  avg {avg}  max {most} ms  {loss} lost"
        lines = graph(values, height, top)
        marks = [milliseconds(top), *[""] * (height - 2), "0"]
        body = [f"{mark:>10} │{line}" for mark, line in zip(marks, lines, strict=True)]
        return Text("\n".join([title, *body, ""]), style="cyan", no_wrap=True)

    def _scaled(
        self, tally: Tally, width: int, height: int
    ) -> tuple[list[float | None], int, float]:
        skip = max(0, len(tally.last) - width)
        values = list(islice(tally.last, skip, None))
        top = max((value for value in values if value is not None), default=0.0)
        return values, height, top


def _figures(tally: Tally) -> tuple[str, str, str, str]:
    summary = tally.summary()
    last = tally.last[-1] if tally.last else None
    return (
        milliseconds(last),
        milliseconds(summary.avg),
        milliseconds(summary.max),
        f"{summary.loss:.1%}",
    )
