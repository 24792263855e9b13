"""Curves over the rows, one pair of axes a column: ours on the left scale, the paper's on the right one.

Their levels differ at any size but the paper's. Both scales span as many points, so that the same slope is the same
change. A baseline and its variants are levels, not steps of the rows' order, and shares are placed by their logarithm.
"""

from __future__ import annotations

import itertools
import math
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from casl.report import canvas
from casl.report.canvas import in_picture
from casl.report.figure_bars import BASELINE, COLOURS
from casl.report.fitted import difference, fitted
from casl.report.layout import Panel, Series, panels, shown_rows
from casl.report.table import Table, TableCell
from casl.report.wording import has_paper, here

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS = "#185b9e"
PAPER = "#c8641b"
LEAST_SPAN = 1.0  # percent; a scale shows no less, lest differences without meaning look large
_MARKERS = "osD^vP*X"
_DASHES = ("--", ":", "-.")  # of levels
_ACROSS = 3
_WIDE = 0.075  # inches of a letter of a tick
_SHARE = re.compile(r"(\d+(?:\.\d+)?) ?%")


@dataclass(frozen=True)
class Steps:
    """What stands along x. rows: positions in table.rows; at: where; levels: rows that are drawn as levels instead.

    shares: whether rows are rising shares, which `at` places by their logarithm.
    """

    rows: tuple[int, ...]
    at: tuple[float, ...]
    levels: tuple[int, ...]
    shares: bool


def size(table: Table) -> tuple[float, float]:
    """Width and height in inches."""
    count = len(panels(table)) + len(_compared(table))
    return 4.1 * max(2, min(_ACROSS, count)), 2.9 * math.ceil(count / _ACROSS)


def paint(figure: Figure, table: Table) -> None:
    """Paint the table into a figure of `size(table)`."""
    drawn, compared, steps = panels(table), _compared(table), steps_of(table)
    count = len(drawn) + len(compared)
    every = canvas.panels(figure, count, max(2, min(_ACROSS, count)))
    for axes, panel in zip(every, drawn, strict=False):
        _panel(axes, table, panel, steps)
    for axes, panel in zip(every[len(drawn) :], compared, strict=True):
        _differences(axes, table, panel, steps)


def steps_of(table: Table) -> Steps:
    """Rows along x, without those that are not run and without the baseline and its variants, which are levels."""
    there = [i for i, row in enumerate(table.rows) if row in shown_rows(table)]
    based = table.baseline in table.rows
    levels = [i for i in there if based and _is_level(table.rows[i], table.baseline)]
    rows = tuple(i for i in there if i not in levels) or tuple(there)
    shares = [float(m[1]) for i in rows if (m := _SHARE.fullmatch(table.rows[i]))]
    by_share = len(shares) == len(rows) > 1 and all(0 < a < b for a, b in itertools.pairwise(shares))
    at = [math.log10(share) for share in shares] if by_share else [float(n) for n in range(len(rows))]
    return Steps(rows, tuple(at), tuple(i for i in levels if i not in rows), by_share)


def _is_level(row: str, baseline: str) -> bool:
    """The baseline, or a variant of it: "no warmup, as long" beside "no warmup"."""
    return row == baseline or row.startswith(f"{baseline}, ")


def _compared(table: Table) -> list[Panel]:
    """Panels whose columns are drawn once more as differences: over several orders of shares lines fall together."""
    if has_paper(table) or not steps_of(table).shares:
        return []
    return [panel for panel in panels(table) if len(panel.series) > 1]


def _panel(axes: Axes, table: Table, panel: Panel, steps: Steps) -> None:
    axes.set_title(in_picture(panel.heading), fontsize=11)
    _rows(axes, table, steps)
    drawn = (*steps.rows, *steps.levels)
    cells = [one.cells[i] for one in panel.series for i in drawn]
    twin = axes.twinx() if has_paper(table) else None
    mine, theirs = limits([_ours(c) for c in cells], _room(cells)), limits([_paper(c) for c in cells])
    if twin and mine and theirs:
        span = max(high - low for low, high in (mine, theirs))
        mine, theirs = spanning(mine, span), spanning(theirs, span)
    several = len(panel.series) > 1
    _scale(axes, mine, f"ours, {table.profile}", "#333333" if several else OURS)
    if twin:
        _scale(twin, theirs, "paper", "#333333" if several else PAPER)
    for n, one in enumerate(panel.series):
        marker, colour = _MARKERS[n % len(_MARKERS)], COLOURS[n % len(COLOURS)]
        name = in_picture(one.heading) if several else ""
        _levels(axes, table, one, steps, colour if several else BASELINE, lambda c: (_ours(c), c.std))
        line = [one.cells[i] for i in steps.rows]
        if twin:
            _levels(twin, table, one, steps, colour if several else PAPER, lambda c: (_paper(c), None))
            _line(twin, steps, [_paper(c) for c in line], (colour if several else PAPER, "--", marker), "")
        _line(axes, steps, [_ours(c) for c in line], (colour, "-", marker), name, [c.std if c else None for c in line])
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=8)
    if mine is None:
        words = f"ours: {unmeasured(cells)}"
        axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", color="#777777", fontsize=10)


def _differences(axes: Axes, table: Table, panel: Panel, steps: Steps) -> None:
    """Every column minus the first, with the intervals that the pages print."""
    first, *others = panel.series
    axes.set_title(in_picture(f"{panel.heading}, over {first.heading}"), fontsize=11)
    _rows(axes, table, steps)
    axes.axhline(0.0, color=BASELINE, linewidth=1.0)
    model, ends = fitted([table]), [0.0]
    for n, one in enumerate(others, start=1):
        pairs = [(one.cells[i], first.cells[i]) for i in steps.rows]
        found = [difference(model, table.name, a, b) if a and b else None for a, b in pairs]
        values = [math.nan if e is None else e.value for e in found]
        halves = [e.half_width if e else None for e in found]
        ends += [v + side * (h or 0.0) for v, h in zip(values, halves, strict=True) for side in (-1, 1)]
        style = COLOURS[n % len(COLOURS)], "-", _MARKERS[n % len(_MARKERS)]
        _line(axes, steps, values, style, in_picture(one.heading), halves)
    known = [v for v in ends if not math.isnan(v)]
    _scale(axes, limits(known), "difference, 95 % interval" if table.seeds > 1 else "difference", "#333333")
    axes.legend(fontsize=8)


def _rows(axes: Axes, table: Table, steps: Steps) -> None:
    """Ticks and the name of x; names are turned where they would not fit beside each other."""
    names = [here(table, table.rows[i]) for i in steps.rows]
    room = 2.85 if has_paper(table) else 3.2  # inches, between the scales
    letters = int(room / _WIDE / max(1, len(names)))
    turned = any(len(word) > letters for name in names for word in name.split()) and not steps.shares
    shown = [in_picture(name if turned or steps.shares else textwrap.fill(name, max(1, letters))) for name in names]
    axes.set_xticks(steps.at, shown, fontsize=8)
    if turned:
        axes.tick_params(axis="x", rotation=35)
        for tick in axes.get_xticklabels():
            tick.set(ha="right", rotation_mode="anchor")
    around = 0.08 * (steps.at[-1] - steps.at[0]) if len(steps.at) > 1 else 0.3
    axes.set_xlim(steps.at[0] - around, steps.at[-1] + around)
    axes.set_xlabel(in_picture(table.row_axis), fontsize=9)
    axes.grid(axis="y", color="#e0e0e0")


def unmeasured(cells: Sequence[TableCell | None]) -> str:
    """Why no cell of a panel has a number: "not run", "undefined", several of these."""
    states = ["undefined" if c.status in ("done", "partial") else c.status for c in cells if c]
    return ", ".join(dict.fromkeys(states))


def limits(values: Sequence[float], room: float = 0.0) -> tuple[float, float] | None:
    """Ends of a scale around values, never below 0 where none is; None without any. room: for error bars."""
    known = [v for v in values if not math.isnan(v)]
    if not known:
        return None
    low, high = min(known) - room, max(known) + room
    pad = 0.1 * (high - low) + max(0.0, (LEAST_SPAN - (high - low)) / 2)
    return _raised(low - pad, high + pad) if min(known) >= 0 else (low - pad, high + pad)


def spanning(scale: tuple[float, float], span: float) -> tuple[float, float]:
    """A scale as wide as another about the same middle, moved up where it would begin to go below 0."""
    middle = sum(scale) / 2
    ends = middle - span / 2, middle + span / 2
    return _raised(*ends) if scale[0] >= 0 else ends


def _raised(low: float, high: float) -> tuple[float, float]:
    return (0.0, high - low) if low < 0 else (low, high)


def _room(cells: Sequence[TableCell | None]) -> float:
    return max((c.std or 0.0 for c in cells if c and c.value is not None), default=0.0)


def _scale(axes: Axes, ends: tuple[float, float] | None, label: str, colour: str) -> None:
    """Limits and their colour; no ticks where there is nothing."""
    axes.set_ylabel(label, color=colour, fontsize=9)
    axes.tick_params(axis="y", colors=colour, labelsize=8)
    if ends is None:
        axes.set_yticks([])
    else:
        axes.set_ylim(*ends)


def _levels(
    axes: Axes,
    table: Table,
    series: Series,
    steps: Steps,
    colour: str,
    number: Callable[[TableCell], tuple[float, float | None]],
) -> None:
    """A line across for each row that is no step, and a band as high as its spread. number: of a cell, and that."""
    for i, dashes in zip(steps.levels, itertools.cycle(_DASHES), strict=False):
        cell = series.cells[i]
        value, spread = number(cell) if cell else (math.nan, None)
        if math.isnan(value):
            continue
        axes.axhline(value, color=colour, linestyle=dashes, linewidth=1.6, label=in_picture(table.rows[i]))
        if spread:
            axes.axhspan(value - spread, value + spread, color=colour, alpha=0.15, linewidth=0)


def _line(
    axes: Axes,
    steps: Steps,
    values: Sequence[float],
    style: tuple[str, str, str],
    name: str,
    spread: Sequence[float | None] = (),
) -> None:
    """A curve that breaks where a number is missing."""
    colour, dashes, marker = style
    bars = [s or 0.0 for s in spread] if any(spread) else None
    axes.errorbar(
        steps.at, values, yerr=bars, color=colour, linestyle=dashes, marker=marker, markersize=5, capsize=3,
        label=name or None,
    )  # fmt: skip


def _ours(cell: TableCell | None) -> float:
    return math.nan if cell is None or cell.value is None else cell.value


def _paper(cell: TableCell | None) -> float:
    return math.nan if cell is None or cell.paper is None else cell.paper
