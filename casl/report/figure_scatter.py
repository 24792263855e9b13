"""Two rows (or two columns) of a table against each other, one point a heading; ours and the paper's side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from casl.errors import SpecError
from casl.report.canvas import as_it_is, in_picture
from casl.report.layout import positions
from casl.report.table import Table, TableCell
from casl.report.wording import has_paper, here

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS = "#185b9e"
PAPER = "#c8641b"
LEAST_SPAN = 2.0  # percent, as in figure_curves

Point = tuple[str, TableCell, TableCell]  # heading, x, y
_Point = tuple[float, float, float, float]  # x, y, and their error bars


def size(table: Table) -> tuple[float, float]:
    """Width and height in inches."""
    return 5.2 * (2 if has_paper(table) else 1), 4.4


def paint(figure: Figure, table: Table) -> None:
    """Paint the table into a figure of `size(table)`."""
    panels = 2 if has_paper(table) else 1
    axes = figure.subplots(1, panels, squeeze=False)[0]
    for panel in range(panels):
        _panel(axes[panel], table, paper=panel == 1)


def points(table: Table) -> tuple[str, str, list[Point]]:
    """Names of the two axes and the points.

    Raises:
        SpecError: neither two rows nor two columns.
    """
    across = len(table.rows) == 2
    if not across and len(table.columns) != 2:
        raise SpecError(
            f"{table.name} has {len(table.rows)} rows and {len(table.columns)} columns: "
            'figure="scatter" draws two rows, or two columns, against each other'
        )
    (x, y), others = (table.rows, table.columns) if across else (table.columns, table.rows)
    found = []
    for name in others:
        places = [positions(table, a, name) if across else positions(table, name, a) for a in (x, y)]
        if all(places):
            found.append((name, table.cells[places[0][0]], table.cells[places[1][0]]))
    return x, y, found


def _panel(axes: Axes, table: Table, *, paper: bool) -> None:
    x, y, found = points(table)
    colour = PAPER if paper else OURS
    axes.set_title("Paper" if paper else f"Ours, {table.profile}", fontsize=11)
    axes.set_xlabel(_axis(x, found[0][1]) if found else as_it_is(x), fontsize=9)
    axes.set_ylabel(_axis(y, found[0][2]) if found else as_it_is(y), fontsize=9)
    axes.grid(color="#e0e0e0")
    axes.tick_params(labelsize=8)
    known: list[_Point] = []
    names: dict[tuple[float, float], list[str]] = {}
    for name, a, b in found:
        at = (a.paper, b.paper) if paper else (a.value, b.value)
        if at[0] is None or at[1] is None:
            continue
        spread = (None, None) if paper else (a.std, b.std)
        known.append((at[0], at[1], spread[0] or 0.0, spread[1] or 0.0))
        names.setdefault((round(at[0], 2), round(at[1], 2)), []).append(
            in_picture(name if paper else here(table, name))
        )
        axes.errorbar(at[0], at[1], xerr=spread[0], yerr=spread[1], color=colour, marker="o", capsize=3)
    if missing := len(found) - len(known):
        words = f"{missing} of {len(found)} not {'published' if paper else 'measured'}"
        axes.text(0.03, 0.95, words, transform=axes.transAxes, color="#777777", fontsize=9, va="top")
    _room(axes, known)
    _label(axes, names)


def _label(axes: Axes, names: Mapping[tuple[float, float], list[str]]) -> None:
    """Names beside their points, towards the middle; points that fall together share a line each."""
    low, high = axes.get_xlim()
    for at, words in names.items():
        left = at[0] > (low + high) / 2
        shift, side = ((-6, -6), "right") if left else ((6, -6), "left")
        axes.annotate(
            as_it_is("\n".join(words)), at, xytext=shift, textcoords="offset points", fontsize=9, ha=side, va="top",
        )  # fmt: skip


def _axis(name: str, cell: TableCell) -> str:
    return in_picture(f"{name}: {cell.metric} {cell.figure}")


def _room(axes: Axes, known: list[_Point]) -> None:
    """Limits with room for names and error bars; no ticks where there is nothing."""
    if not known:
        axes.set_xticks([])
        axes.set_yticks([])
        return
    for limit, of in ((axes.set_xlim, 0), (axes.set_ylim, 1)):
        low, high = min(p[of] - p[of + 2] for p in known), max(p[of] + p[of + 2] for p in known)
        middle, half = (low + high) / 2, max(LEAST_SPAN, high - low) * 0.62
        limit(middle - half, middle + half)
