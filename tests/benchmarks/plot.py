"""The figures as a picture, if matplotlib is there."""

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ("bars", "lines", "points", "save")

OURS = "#c1440e"
PEERS = "#5b7083"

_panels: list[Callable[[Any], None]] = []


def bars(
    title: str, figures: Mapping[str, tuple[float, float, float]], ours: Callable[[str], bool]
) -> None:
    """A panel of nanoseconds a packet: median, least, most; on a logarithmic axis."""

    def draw(axes: Any) -> None:
        names = sorted(figures, key=lambda name: figures[name][0], reverse=True)
        medians = [figures[name][0] for name in names]
        errors = [
            [figures[name][0] - figures[name][1] for name in names],
            [figures[name][2] - figures[name][0] for name in names],
        ]
        colours = [OURS if ours(name) else PEERS for name in names]
        axes.barh(names, medians, xerr=errors, color=colours, error_kw={"lw": 1, "ecolor": "#333"})
        axes.set_xscale("log")
        axes.set_xlabel("ns of the receiver's processor per packet (less is better)")
        axes.set_title(title)
        axes.grid(visible=False, axis="y")
        for name, ns in zip(names, medians, strict=True):
            axes.annotate(
                f" {ns:,.0f}", (figures[name][2], name), va="center", ha="left", fontsize=8
            )
        axes.set_xlim(right=axes.get_xlim()[1] * 2.5)

    _panels.append(draw)


def points(
    title: str, figures: Mapping[str, tuple[float, float]], ours: Callable[[str], bool]
) -> None:
    """A panel of latency in microseconds against microseconds of processor time a packet."""

    def draw(axes: Any) -> None:
        for number, (name, (latency, cpu)) in enumerate(figures.items()):
            style = {"color": OURS if ours(name) else PEERS, "marker": "os^vDxP*<>"[number % 10]}
            axes.scatter(latency, cpu, s=60, label=name, **style)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.margins(x=0.1, y=0.15)
        axes.set_xlabel("µs from wire to callback, median")
        axes.set_ylabel("µs of processor per packet")
        axes.set_title(title)
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))

    _panels.append(draw)


def lines(
    title: str,
    label: str,
    figures: Mapping[str, Mapping[float, float]],
    ours: Callable[[str], bool],
) -> None:
    """A panel of nanoseconds a packet over something that grows."""

    def draw(axes: Any) -> None:
        for number, (name, line) in enumerate(figures.items()):
            style = {"color": OURS if ours(name) else PEERS, "marker": "os^vDx"[number % 6]}
            axes.plot(list(line), list(line.values()), label=name, **style)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(label)
        axes.set_ylabel("ns of processor per packet")
        axes.set_title(title)
        axes.legend(fontsize=8)

    _panels.append(draw)


def save(path: Path) -> None:
    """Draw every panel, one below the other."""
    if not _panels:
        return
    if importlib.util.find_spec("matplotlib") is None:
        print("\nThe picture is left out: no matplotlib here")
        return
    importlib.import_module("matplotlib").use("Agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    height = 4.2 * len(_panels)
    figure, axes = pyplot.subplots(
        len(_panels), figsize=(10, height), squeeze=False, layout="constrained"
    )
    for draw, (panel,) in zip(_panels, axes, strict=True):
        panel.grid(visible=True, which="major", axis="both", alpha=0.3)
        panel.set_axisbelow(True)
        draw(panel)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.suptitle(
        "aioprocket (red) and its peers (grey); bars end at medians, whiskers span rounds"
    )
    figure.savefig(path, dpi=110)
    print(f"\nThe picture: {path}")
