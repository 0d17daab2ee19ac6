"""What is said at the end: how many, how fast, what was lost, and of what kinds."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console

from .plot import bars, human, human_bytes
from .recording import Recording
from .source import Source
from .tally import Tally

__all__ = ("report",)

_MOST_PROTOCOLS: Final = 12
_COLUMNS: Final = 60
_LABEL: Final = 10
_SHARE: Final = 20  # characters of the longest bar


def report(
    tally: Tally,
    sources: Sequence[Source],
    recording: Recording | None,
    console: Console,
    *,
    hidden: int,
) -> None:
    """Print it; ``hidden`` packets were counted, but not shown."""
    for line in _lines(tally, sources, recording, console, hidden):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _lines(
    tally: Tally,
    sources: Sequence[Source],
    recording: Recording | None,
    console: Console,
    hidden: int,
) -> list[str]:
    seconds = (tally.last_ns - tally.first_ns) / 1e9
    total = f"{tally.packets:,} packet{'s' if tally.packets != 1 else ''}"
    lines = [f"{total}, {human_bytes(tally.bytes)}" + (f" in {seconds:.3f} s" if seconds else "")]
    lines.append(_lost(sources, hidden))
    if recording is not None:
        lines.append(recording.written())
    for source in sources:
        lines += source.remarks()
    unicode = console.encoding.lower().startswith("utf")
    if tally.packets:
        lines += _shares(tally, unicode)
        lines += _plot(tally, unicode)
    return lines


def _lost(sources: Sequence[Source], hidden: int) -> str:
    dropped = {each.name: each.dropped() for each in sources}
    by = "by the kernel" if all(source.live for source in sources) else "when it was captured"
    words = f"{sum(dropped.values()):,} dropped {by}"
    if len(dropped) > 1 and any(dropped.values()):
        words += f" ({', '.join(f'{name} {count:,}' for name, count in dropped.items() if count)})"
    unread = sum(each.unread() for each in sources)
    if unread:
        words += f", {human_bytes(unread)} left unread at the end"
    return words + (f", {hidden:,} not printed, for nobody read on" if hidden else "")


def _shares(tally: Tally, unicode: bool) -> list[str]:
    ranked = tally.protocols.most_common()
    shown = ranked[:_MOST_PROTOCOLS]
    others = sum(count for _, count in ranked[_MOST_PROTOCOLS:])
    if others:
        shown.append(("others", others))
    width = max(_LABEL, *(len(name) for name, _ in shown))
    top = max(count for _, count in shown)
    block = "█" if unicode else "#"
    return [
        f"  {name:<{width}} {count:>12,} {count * 100 / tally.packets:5.1f} %  "
        + block * max(1, count * _SHARE // top)
        for name, count in shown
    ]


def _plot(tally: Tally, unicode: bool) -> list[str]:
    counts, each = tally.rates.series(_COLUMNS)
    if len(counts) < 2:
        return []
    return [
        f"  {'rate':<{_LABEL}} {bars(counts, unicode=unicode)}",
        f"  {'':<{_LABEL}} {human(max(counts) / each)}/s at most, each column is {each:.4g} s",
    ]
