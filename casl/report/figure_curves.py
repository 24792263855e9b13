"""Curves over the rows, one pair of axes a column: ours on the left scale, the paper's on the right one.

Their levels differ at any size but the paper's; two scales let their shapes be compared.
"""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from casl.report import canvas
from casl.report.canvas import in_picture
from casl.report.layout import Panel, panels
from casl.report.table import Table, TableCell
from casl.report.wording import has_paper

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS = "#185b9e"
PAPER = "#c8641b"
LEAST_SPAN = 1.0  # percent; a scale shows no less, lest differences without meaning look large
_MARKERS = "osD^vP*X"
_ACROSS = 3


def size(table: Table) -> tuple[float, float]:
    """Width and height in inches."""
    count = len(panels(table))
    return 4.1 * max(2, min(_ACROSS, count)), 2.9 * math.ceil(count / _ACROSS)


def paint(figure: Figure, table: Table) -> None:
    """Paint the table into a figure of `size(table)`."""
    drawn = panels(table)
    across = max(2, min(_ACROSS, len(drawn)))
    for axes, panel in zip(canvas.panels(figure, len(drawn), across), drawn, strict=True):
        _panel(axes, table, panel)


def _panel(axes: Axes, table: Table, panel: Panel) -> None:
    axes.set_title(in_picture(panel.heading), fontsize=11)
    axes.set_xticks(range(len(table.rows)), [in_picture(textwrap.fill(r, 9)) for r in table.rows], fontsize=8)
    axes.set_xlim(-0.3, len(table.rows) - 0.7)
    axes.set_xlabel(in_picture(table.row_axis), fontsize=9)
    axes.grid(axis="y", color="#e0e0e0")
    cells = [c for one in panel.series for c in one.cells]
    spans = [c.std or 0.0 for c in cells if c and c.value is not None]
    _scale(axes, [_ours(c) for c in cells], f"ours, {table.profile}", OURS, max(spans, default=0.0))
    twin = axes.twinx() if has_paper(table) else None
    if twin:
        _scale(twin, [_paper(c) for c in cells], "paper", PAPER, 0.0)
    for marker, one in zip(itertools.cycle(_MARKERS), panel.series, strict=False):
        name = in_picture(one.heading) if len(panel.series) > 1 else ""
        if twin:
            _line(twin, [_paper(c) for c in one.cells], (PAPER, "--", marker), "")
        spread = [c.std if c else None for c in one.cells]
        _line(axes, [_ours(c) for c in one.cells], (OURS, "-", marker), name, spread)
    if len(panel.series) > 1:
        axes.legend(fontsize=8)
    if all(math.isnan(_ours(c)) for c in cells):
        axes.text(
            0.5, 0.5, f"ours: {unmeasured(cells)}", transform=axes.transAxes, ha="center", color="#777777", fontsize=10
        )


def unmeasured(cells: Sequence[TableCell | None]) -> str:
    """Why no cell of a panel has a number: "not run", "undefined", several of these."""
    states = ["undefined" if c.status in ("done", "partial") else c.status for c in cells if c]
    return ", ".join(dict.fromkeys(states))


def _scale(axes: Axes, values: Sequence[float], label: str, colour: str, room: float) -> None:
    """Limits around the values with room for error bars; no ticks where there is nothing."""
    known = [v for v in values if not math.isnan(v)]
    axes.set_ylabel(label, color=colour, fontsize=9)
    axes.tick_params(axis="y", colors=colour, labelsize=8)
    if not known:
        axes.set_yticks([])
        return
    low, high = min(known) - room, max(known) + room
    pad = 0.1 * (high - low) + max(0.0, (LEAST_SPAN - (high - low)) / 2)
    axes.set_ylim(low - pad, high + pad)


def _line(
    axes: Axes,
    values: Sequence[float],
    style: tuple[str, str, str],
    name: str,
    spread: Sequence[float | None] = (),
) -> None:
    """A curve that breaks where a number is missing."""
    colour, dashes, marker = style
    bars = [s or 0.0 for s in spread] if any(spread) else None
    axes.errorbar(
        range(len(values)), values, yerr=bars, color=colour, linestyle=dashes, marker=marker, markersize=5, capsize=3,
        label=name or None,
    )  # fmt: skip


def _ours(cell: TableCell | None) -> float:
    return math.nan if cell is None or cell.value is None else cell.value


def _paper(cell: TableCell | None) -> float:
    return math.nan if cell is None or cell.paper is None else cell.paper
