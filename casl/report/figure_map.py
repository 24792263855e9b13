"""Heat maps of our numbers and the paper's, side by side in the same orientation."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

from casl.report.canvas import RED, as_it_is, in_picture
from casl.report.figure_theme import FIXED
from casl.report.layout import positions, quantity
from casl.report.table import PUBLISHED, Table, TableCell
from casl.report.wording import best, has_paper, number, ours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GAP = "#e6e6e6"
_LABELS = {"not run": "not\nrun"}


def size(table: Table) -> tuple[float, float]:
    """Inches of one pair of maps, or one pair for each number of a place that holds several."""
    wide, high = _panel_size(table)
    return wide * _panels(table), high * _layers(table)


def paint(figure: Figure, table: Table) -> None:
    """Paint the table into a figure of `size(table)`."""
    axes = figure.subplots(_layers(table), _panels(table), squeeze=False)
    for layer in range(_layers(table)):
        for panel in range(_panels(table)):
            _map(axes[layer][panel], table, layer, paper=panel == 1)


def _layers(table: Table) -> int:
    return max(len(positions(table, row, column)) for row in table.rows for column in table.columns)


def _panels(table: Table) -> int:
    return 2 if has_paper(table) else 1


def _panel_size(table: Table) -> tuple[float, float]:
    """Inches; room for the longest row heading and for the tallest column heading."""
    heading = max(len(row) for row in table.rows)
    return max(4.4, 0.86 * len(table.columns) + 0.085 * heading + 1.6), max(1.7, 0.62 * len(table.rows) + 1.2)


def _map(axes: Axes, table: Table, layer: int, *, paper: bool) -> None:
    """One heat map with its own colour scale; places without a number are grey and say why."""
    from matplotlib import colormaps

    grid = [[_cell(table, row, column, layer) for column in table.columns] for row in table.rows]
    values = [[_value(cell, paper=paper) for cell in line] for line in grid]
    known = [v for line in values for v in line if not math.isnan(v)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    colours = colormaps["viridis"].with_extremes(bad=(0, 0, 0, 0))
    axes.set_facecolor(GAP)  # seen where there is no number
    image = axes.imshow(values, cmap=colours, vmin=low, vmax=high, aspect="auto")
    if known:
        axes.figure.colorbar(image, ax=axes, pad=0.02, fraction=0.06).ax.tick_params(labelsize=8)
    _frame(axes, table, layer, paper=paper)
    marked = best(table)[int(paper)]
    for y, row in enumerate(table.rows):
        for x, column in enumerate(table.columns):
            at = positions(table, row, column)[layer : layer + 1]
            shade = 0.0 if math.isnan(values[y][x]) else (values[y][x] - low) / (high - low)
            _annotate(axes, (x, y), _label(table, grid[y][x], paper=paper), shade, best=bool(at) and at[0] in marked)


def _cell(table: Table, row: str, column: str, layer: int) -> TableCell | None:
    at = positions(table, row, column)
    return table.cells[at[layer]] if layer < len(at) else None


def _value(cell: TableCell | None, *, paper: bool) -> float:
    value = None if cell is None else cell.paper if paper else cell.value
    return math.nan if value is None else value


def _label(table: Table, cell: TableCell | None, *, paper: bool) -> str:
    if cell is None:
        return ""
    if paper:
        return number(cell.paper)
    if cell.status == PUBLISHED and cell.paper is not None:
        return f"({number(cell.paper)}\npublished)"
    text = ours(cell, table.seeds)
    return _LABELS.get(text, text).replace(" ± ", "\n± ").replace(" [", "\n[")


def _frame(axes: Axes, table: Table, layer: int, *, paper: bool) -> None:
    cells = [_cell(table, row, column, layer) for row in table.rows for column in table.columns]
    names = list(dict.fromkeys(quantity(c) for c in cells if c))
    what = f", {names[0]}" if len(names) == 1 else ""
    whose = "Paper" if paper else f"Ours, {table.profile}"
    axes.set_title(f"{whose}{what}", fontsize=11)
    axes.set_xticks(range(len(table.columns)), [in_picture(textwrap.fill(c, 12)) for c in table.columns], fontsize=9)
    axes.set_yticks(range(len(table.rows)), [in_picture(r) for r in table.rows], fontsize=9)
    axes.set_xlabel(as_it_is(table.column_axis), fontsize=9)
    axes.set_ylabel(as_it_is(table.row_axis) if len(table.rows) > 1 else "", fontsize=9)
    axes.tick_params(length=0)
    axes.set_xticks([x - 0.5 for x in range(1, len(table.columns))], minor=True)
    axes.set_yticks([y - 0.5 for y in range(1, len(table.rows))], minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="minor", length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def _annotate(axes: Axes, place: tuple[int, int], text: str, shade: float, *, best: bool) -> None:
    """A number, dark on light colours and light on dark ones; the best has a frame."""
    from matplotlib.patches import Rectangle

    quotes = text.endswith("published)")
    gap = quotes or not any(c.isdigit() for c in text)
    colour = "#777777" if quotes else "#555555" if gap else "black" if shade > 0.55 else "white"
    points, weight = 8 if gap or "\n" in text else 10, "bold" if best else "normal"
    slant = "italic" if quotes else "normal"
    shown = axes.text(
        *place, text, ha="center", va="center", color=colour, fontsize=points, fontweight=weight, fontstyle=slant
    )
    if not gap:
        shown.set_gid(f"{FIXED}-{axes.figure.axes.index(axes)}-{place[0]}-{place[1]}")
    if best:
        corner = (place[0] - 0.46, place[1] - 0.46)
        axes.add_patch(Rectangle(corner, 0.92, 0.92, fill=False, edgecolor=RED, linewidth=2.2))
