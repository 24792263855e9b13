"""Curves over the rows, one pair of axes a column: ours on the left scale, the paper's on the right one.

Their levels differ at any size but the paper's. Both scales span as many points, so that the same slope is the same
change, and numbers of one metric have one scale in all panels. A baseline and its variants are levels, not steps of the
rows' order; a row apart stands behind the steps, and no line leads there; shares are placed by their logarithm.
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
from casl.report.additive import Estimate
from casl.report.canvas import in_picture
from casl.report.figure_bars import BASELINE, COLOURS
from casl.report.figure_places import scale_of
from casl.report.fitted import difference, fitted
from casl.report.layout import Panel, Series, half_bar, panels, shown_rows
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
_APART = 0.3  # of a step, between steps and rows apart
_WIDE = 0.075  # inches of a letter of a tick
_SHARE = re.compile(r"(\d+(?:\.\d+)?) ?%")


@dataclass(frozen=True)
class Steps:
    """What stands along x. rows: positions in table.rows; at: where; levels: rows that are drawn as levels instead.

    shares: whether rows are rising shares, which `at` places by their logarithm. joined: how many rows a line leads
    through; those behind them are apart.
    """

    rows: tuple[int, ...]
    at: tuple[float, ...]
    levels: tuple[int, ...]
    shares: bool
    joined: int


@dataclass(frozen=True)
class _Scales:
    """Ends of the scale of ours and of the paper's; None without a number."""

    ours: tuple[float, float] | None
    paper: tuple[float, float] | None


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
        same = [one for one in drawn if scale_of(one) == scale_of(panel)]
        _panel(axes, table, panel, steps, _scales(table, same, steps))
    for axes, panel in zip(every[len(drawn) :], compared, strict=True):
        _differences(axes, table, panel, steps)


def steps_of(table: Table) -> Steps:
    """Rows along x, without those that are not run and without the baseline and its variants, which are levels."""
    there = [i for i, row in enumerate(table.rows) if row in shown_rows(table)]
    based = table.baseline in table.rows
    levels = [i for i in there if based and _is_level(table.rows[i], table.baseline)]
    rows = tuple(i for i in there if i not in levels) or tuple(there)
    apart = [i for i in rows if table.rows[i] in table.apart]
    rows = (*(i for i in rows if i not in apart), *apart)
    shares = [float(m[1]) for i in rows if (m := _SHARE.fullmatch(table.rows[i]))]
    by_share = len(shares) == len(rows) > 1 and all(0 < a < b for a, b in itertools.pairwise(shares))
    joined = len(rows) - len(apart)
    at = [math.log10(share) for share in shares] if by_share else [n + _APART * (n >= joined) for n in range(len(rows))]
    return Steps(rows, tuple(at), tuple(i for i in levels if i not in rows), by_share, joined)


def _is_level(row: str, baseline: str) -> bool:
    """The baseline, or a variant of it: "no warmup, as long" beside "no warmup"."""
    return row == baseline or row.startswith(f"{baseline}, ")


def _compared(table: Table) -> list[Panel]:
    """Panels whose columns are drawn once more as differences: over several orders of shares lines fall together."""
    if has_paper(table) or not steps_of(table).shares:
        return []
    return [panel for panel in panels(table) if len(panel.series) > 1]


def _scales(table: Table, same: Sequence[Panel], steps: Steps) -> _Scales:
    """Of panels of one metric; ours and the paper's span as many points."""
    drawn = (*steps.rows, *steps.levels)
    cells = [one.cells[i] for panel in same for one in panel.series for i in drawn]
    mine, theirs = limits([_ours(c) for c in cells], _room(table, cells)), limits([_paper(c) for c in cells])
    if mine and theirs:
        span = max(high - low for low, high in (mine, theirs))
        mine, theirs = spanning(mine, span), spanning(theirs, span)
    return _Scales(mine, theirs)


def _panel(axes: Axes, table: Table, panel: Panel, steps: Steps, scales: _Scales) -> None:
    axes.set_title(_heading(panel.heading), fontsize=11)
    _rows(axes, table, steps)
    drawn = (*steps.rows, *steps.levels)
    cells = [one.cells[i] for one in panel.series for i in drawn]
    twin = axes.twinx() if has_paper(table) else None
    several = len(panel.series) > 1
    _scale(axes, scales.ours, f"ours, {table.profile}", "#333333" if several else OURS)
    if twin:
        _scale(twin, scales.paper, "paper", "#333333" if several else PAPER)
    for n, one in enumerate(panel.series):
        marker, colour = _MARKERS[n % len(_MARKERS)], COLOURS[n % len(COLOURS)]
        name = in_picture(one.heading) if several else ""
        _levels(axes, table, one, steps, colour if several else BASELINE, lambda c: (_ours(c), half_bar(table, c)))
        line = [one.cells[i] for i in steps.rows]
        if twin:
            _levels(twin, table, one, steps, colour if several else PAPER, lambda c: (_paper(c), None))
            _line(twin, steps, [_paper(c) for c in line], (colour if several else PAPER, "--", marker), "")
        spreads = [half_bar(table, c) for c in line]
        _line(axes, steps, [_ours(c) for c in line], (colour, "-", marker), name, spreads)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=8)
    if all(math.isnan(_ours(c)) for c in cells):
        words = f"ours: {unmeasured(cells)}"
        axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", color="#777777", fontsize=10)


def _differences(axes: Axes, table: Table, panel: Panel, steps: Steps) -> None:
    """Every column minus the first, with the intervals that the pages print."""
    first, *others = panel.series
    axes.set_title(_heading(f"{panel.heading}, over {first.heading}"), fontsize=11)
    _rows(axes, table, steps)
    axes.axhline(0.0, color=BASELINE, linewidth=1.0)
    model, ends = fitted([table]), [0.0]
    for n, one in enumerate(others, start=1):
        pairs = [(one.cells[i], first.cells[i]) for i in steps.rows]
        found = [difference(model, table.name, a, b) if a and b else None for a, b in pairs]
        values = [math.nan if e is None else e.value for e in found]
        halves = [_half_width(e) for e in found]
        ends += [v + side * (h or 0.0) for v, h in zip(values, halves, strict=True) for side in (-1, 1)]
        style = COLOURS[n % len(COLOURS)], "-", _MARKERS[n % len(_MARKERS)]
        _line(axes, steps, values, style, in_picture(one.heading), halves)
    known = [v for v in ends if not math.isnan(v)]
    seeds, images = table.seeds > 1, bool(table.image_covariance)
    interval = ", 95 % interval" if seeds else ",\n95 % interval over images" if images else ""
    _scale(axes, limits(known), f"difference{interval}", "#333333")
    axes.legend(fontsize=8)


def _half_width(found: Estimate | None) -> float | None:
    """Half of the interval that pages print: of seeds and images, or of images alone."""
    if found is None or found.half_width is not None or found.over_images is None:
        return found.half_width if found else None
    low, high = found.over_images
    return (high - low) / 2


def _heading(text: str) -> str:
    return in_picture("\n".join(canvas.broken(text, 3.6, 11.0)))


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


def _room(table: Table, cells: Sequence[TableCell | None]) -> float:
    return max((half_bar(table, c) or 0.0 for c in cells), default=0.0)


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
    """A curve that breaks where a number is missing, and points alone for rows apart."""
    colour, dashes, marker = style
    bars = [s or 0.0 for s in spread] if any(spread) else None
    for part, line in ((slice(steps.joined), dashes), (slice(steps.joined, None), "none")):
        if steps.at[part]:
            axes.errorbar(
                steps.at[part], values[part], yerr=bars[part] if bars else None, color=colour, linestyle=line,
                marker=marker, markersize=5, capsize=3, label=name if name and line == dashes else None,
            )  # fmt: skip


def _ours(cell: TableCell | None) -> float:
    return math.nan if cell is None or cell.value is None else cell.value


def _paper(cell: TableCell | None) -> float:
    return math.nan if cell is None or cell.paper is None else cell.paper
