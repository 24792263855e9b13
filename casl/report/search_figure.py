"""A search as a picture: objectives, and what is left of the labels, against the argument."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from casl.report.heading import in_picture
from casl.report.search import headlines, measured, objectives, shown, verdict
from casl.spec.search import PROXY, Search, Trial, spoken

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"final": "#185b9e", "warmup": "#3f9e8c", "proxy": "#c8641b"}
DPI = 140
WIDE, HIGH = 4.6, 3.4


def draw_search(search: Search, warning: str = "") -> bytes:
    """PNG. One panel an objective with a dot a seed, one for counts, one for precision and recall."""
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    drawn = objectives(search)
    has_labels = bool(measured(search, "labels"))
    count = max(1, len(drawn) + 2 * has_labels)
    across = min(3, count)
    down = math.ceil(count / across)
    with style.context("default"):
        lines = [line for text in headlines(search) for line in textwrap.wrap(text, int(across * WIDE * 13))]
        lines = [warning, *lines] if warning else lines
        head = 0.24 * len(lines) + 0.6
        whole = HIGH * down + head
        layout = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - head / whole), w_pad=0.08, h_pad=0.08)
        figure = Figure(figsize=(WIDE * across, whole), dpi=DPI, layout=layout)
        FigureCanvasAgg(figure)
        _write_head(figure, search, lines, warns=bool(warning))
        grid = figure.subplots(down, across, squeeze=False).ravel()
        for axes, name in zip(grid, drawn, strict=False):
            _objective(axes, search, name)
        if has_labels:
            _counts(grid[len(drawn)], search)
            _rates(grid[len(drawn) + 1], search)
        for axes in grid[count:]:
            axes.set_axis_off()
        file = io.BytesIO()
        figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _write_head(figure: Figure, search: Search, lines: Sequence[str], *, warns: bool) -> None:
    height = figure.get_size_inches()[1]
    title = f"Search over {search.argument}: {search.cell}, profile {search.profile}"
    figure.text(0.02, 1 - 0.16 / height, title, fontsize=14, fontweight="bold", va="top")
    for i, line in enumerate(lines):
        red = warns and i == 0
        colour, weight = ("#b3261e", "bold") if red else ("#333333", "normal")
        place = 1 - (0.53 + 0.24 * i) / height
        figure.text(0.02, place, in_picture(line), fontsize=9, va="top", color=colour, fontweight=weight)


def _places(axes: Axes, search: Search, trials: Sequence[Trial]) -> list[float]:
    """Where trials stand: at their value, or in a row where values are names."""
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
        axes.plot(*top, "*", markersize=15, color="#b3261e", label="best")
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
