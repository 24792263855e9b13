"""A search as a picture: objectives, and number and quality of labels, against the argument."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from casl.report.canvas import RED, Drawing, drawn, in_picture, panels, wrapped
from casl.report.search import headlines, measured, objectives, shown, verdict
from casl.spec.search import PROXY, Search, Trial, spoken

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"final": "#185b9e", "warmup": "#3f9e8c", "proxy": "#c8641b"}
WIDE, HIGH = 4.6, 3.4


def search_picture(search: Search, warnings: Sequence[str] = ()) -> Drawing:
    """One panel an objective with a dot a seed, one for counts, one for precision and recall."""
    named = objectives(search)
    has_labels = bool(measured(search, "labels"))
    count = max(1, len(named) + 2 * has_labels)
    across = min(3, count)
    down = math.ceil(count / across)

    def paint(figure: Figure) -> None:
        grid = panels(figure, count, across)
        for axes, name in zip(grid, named, strict=False):
            _objective(axes, search, name)
        if has_labels:
            _counts(grid[-2], search)
            _rates(grid[-1], search)

    title = f"Search over {search.argument}: {search.cell}, profile {search.profile}"
    lines = [in_picture(line) for line in wrapped(headlines(search), WIDE * across)]
    return drawn(title, warnings, lines, (WIDE * across, HIGH * down), paint)


def _places(axes: Axes, search: Search, trials: Sequence[Trial]) -> list[float]:
    """Places of trials on the x axis: their values, or 0, 1, 2 ... where values are names."""
    every = [t.value for t in shown(search)]
    axes.set_xlabel(search.argument, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", color="#e6e6e6")
    if any(isinstance(v, str) for v in every):
        axes.set_xticks(range(len(every)), [spoken(v) for v in every])
        return [float(every.index(t.value)) for t in trials]
    if search.settings.get("log") == "yes":
        axes.set_xscale("log")
    else:
        low, high = float(every[0]), float(every[-1])
        room = 0.05 * (high - low) or 1.0
        axes.set_xlim(low - room, high + room)
    return [float(t.value) for t in trials]


def _objective(axes: Axes, search: Search, name: str) -> None:
    """Means as a line through what was measured, seeds as dots, the best and what is within noise marked."""
    trials = measured(search, name)
    places = _places(axes, search, trials)
    means = _means(trials, name)
    axes.plot(places, means, color=COLOURS[name], marker="o" if search.seeds == 1 else "_", markersize=6)
    if search.seeds > 1:
        dots = [(x, y) for x, t in zip(places, trials, strict=True) for y in t.figures[name]]
        axes.plot(*zip(*dots, strict=True), ".", color=COLOURS[name], alpha=0.55, markersize=6)
    found = verdict(search)
    if name == search.objective and found:
        close = [(x, y) for x, y, t in zip(places, means, trials, strict=True) if t.value in found.within]
        axes.plot(
            *zip(*close, strict=True), "o", markersize=11, fillstyle="none", color="#777777", label="within noise"
        )
        top = next((x, y) for x, y, t in zip(places, means, trials, strict=True) if t.value == found.best.value)
        axes.plot(*top, "*", markersize=15, color=RED, label="best")
        axes.legend(fontsize=8)
    if not isinstance(search.current, str) and search.settings.get("choices", "") == "":
        axes.axvline(float(search.current), color="#bbbbbb", linestyle=":", zorder=0)
    axes.set_title(in_picture(search.labels[name]), fontsize=11)
    axes.set_ylabel("percent", fontsize=9)


def _means(trials: Sequence[Trial], name: str) -> list[float]:
    return [math.nan if (mean := t.mean(name)) is None else mean for t in trials]


def _counts(axes: Axes, search: Search) -> None:
    trials = measured(search, "labels")
    places = _places(axes, search, trials)
    for name, colour in (("labels", "#185b9e"), ("images", "#8a5aa8")):
        axes.plot(places, _means(trials, name), color=colour, marker="o", markersize=4, label=name)
    axes.set_ylim(bottom=0)
    axes.set_title("left to warm up on", fontsize=11)
    axes.legend(fontsize=8)


def _rates(axes: Axes, search: Search) -> None:
    trials = measured(search, "precision")
    places = _places(axes, search, trials)
    for name, colour in (("precision", "#c8641b"), ("recall", "#5c7a29"), (PROXY, "#777777")):
        label = "F1" if name == PROXY else name
        axes.plot(places, _means(trials, name), color=colour, marker="o", markersize=4, label=label)
    axes.set_title("held-out labels, mean over IoU .5:.95", fontsize=11)
    axes.set_ylabel("percent", fontsize=9)
    axes.legend(fontsize=8)
