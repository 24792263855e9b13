"""Bars: ours solid, the paper's hollow beneath, one pair of axes for each kind of number, from zero."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from casl.report import canvas
from casl.report.canvas import in_picture
from casl.report.layout import Panel, gains, panels, shown_rows
from casl.report.table import PUBLISHED, Table, TableCell
from casl.report.wording import has_paper, here, number, ours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#185b9e", "#3f9e8c", "#8a5aa8", "#c8641b", "#5c7a29", "#a83250")
BASELINE = "#9aa5b1"
_ACROSS = 4


@dataclass(frozen=True)
class _Bar:
    """One cell's bars. at: height of the middle, rows count downwards; label: ours in words."""

    at: float
    thick: float
    colour: str
    cell: TableCell
    gain: str
    paper_gain: str


def size(table: Table) -> tuple[float, float]:
    """Inches; room for the longest row heading and for every bar."""
    drawn = panels(table)
    across = _across(drawn)
    lines = max(1, *(sum(1 for c in p.series for i in _rows(table, p) if c.cells[i]) for p in drawn))
    heading = 0.075 * max(len(here(table, row)) for row in table.rows)
    one = 3.0 + heading if across > 1 else 7.0 + heading
    return max(8.0, one * across), (0.42 * lines + 1.2) * math.ceil(len(drawn) / across)


def paint(figure: Figure, table: Table) -> None:
    """Paint the table into a figure of `size(table)`."""
    drawn = panels(table)
    slots = max(1, *(len(_rows(table, panel)) for panel in drawn))
    for axes, panel in zip(canvas.panels(figure, len(drawn), _across(drawn)), drawn, strict=True):
        _panel(axes, table, panel, slots)
    _legend(figure, table, drawn[0])


def _across(drawn: list[Panel]) -> int:
    return min(_ACROSS, len(drawn))


def _rows(table: Table, panel: Panel) -> list[int]:
    """Rows that have a place in the panel."""
    there = shown_rows(table)
    return [i for i, row in enumerate(table.rows) if row in there and any(one.cells[i] for one in panel.series)]


def _panel(axes: Axes, table: Table, panel: Panel, slots: int) -> None:
    """slots: rows to leave room for, so that bars are equally thick everywhere."""
    rows = _rows(table, panel)
    bars = _bars(table, panel, rows)
    for bar in bars:
        _paint_bar(axes, table, bar)
    axes.set_title(in_picture(panel.heading), fontsize=11)
    axes.set_yticks(range(len(rows)), [in_picture(here(table, table.rows[i])) for i in rows], fontsize=9)
    axes.set_ylim(slots - 0.45, -0.55)
    most = max((v for b in bars for v in (b.cell.value, b.cell.paper) if v is not None), default=1.0)
    axes.set_xlim(0, max(1.0, most) * 1.45)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", color="#ececec")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _bars(table: Table, panel: Panel, rows: list[int]) -> list[_Bar]:
    found, gained = [], gains(table)
    share = 0.84 / len(panel.series)
    numbers = {id(cell): i for i, cell in enumerate(table.cells)}
    for y, row in enumerate(rows):
        there = [(s, cell) for s, one in enumerate(panel.series) if (cell := one.cells[row])]
        for place, (s, cell) in enumerate(there):
            gain = gained.get(numbers[id(cell)])
            mine = f" ({number(gain.ours.value, signed=True)})" if gain and gain.ours else ""
            theirs = f" ({number(gain.paper, signed=True)})" if gain and gain.paper is not None else ""
            at = y + (place - (len(there) - 1) / 2) * share  # beside the name also where a column has nothing
            found.append(_Bar(at, share, _colour(table, panel, s, cell), cell, mine, theirs))
    return found


def _colour(table: Table, panel: Panel, s: int, cell: TableCell) -> str:
    """The baseline is grey; else each column has its colour."""
    if table.baseline and table.baseline in (cell.row, panel.series[s].heading):
        return BASELINE
    others = [i for i, one in enumerate(panel.series) if one.heading != table.baseline]
    return COLOURS[others.index(s) % len(COLOURS)]


def _paint_bar(axes: Axes, table: Table, bar: _Bar) -> None:
    """Ours above, the paper's below; a word where there is no bar."""
    cell = bar.cell
    room = bar.thick * (0.5 if cell.paper is not None else 1.0)
    top = bar.at - (room / 2 if cell.paper is not None else 0.0)
    if cell.value is not None:
        axes.barh(top, cell.value, room * 0.84, color=bar.colour, xerr=cell.std, capsize=2)
        end = cell.value + (cell.std or 0.0)
        _say(axes, end, top, ours(cell, table.seeds) + bar.gain, "#111111")
    elif cell.status != PUBLISHED:
        _say(axes, 0.0, top, ours(cell, table.seeds), "#777777")
    if cell.paper is not None:
        low = bar.at + room / 2
        axes.barh(low, cell.paper, room * 0.7, facecolor="white", edgecolor=bar.colour, hatch="////", linewidth=0.8)
        words = f"{number(cell.paper)}{bar.paper_gain}" + (f", {PUBLISHED}" if cell.status == PUBLISHED else "")
        _say(axes, cell.paper, low, words, "#666666", slant="italic")


def _say(axes: Axes, end: float, at: float, words: str, colour: str, slant: str = "normal") -> None:
    axes.annotate(
        words, (end, at), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8, color=colour,
        fontstyle=slant,
    )  # fmt: skip


def _legend(figure: Figure, table: Table, panel: Panel) -> None:
    """One legend for all panels: they have the same columns, or a single one each."""
    from matplotlib.patches import Patch

    names = [(one.heading, next(c for c in one.cells if c)) for one in panel.series]
    patches = [
        Patch(color=_colour(table, panel, s, cell), label=in_picture(name))
        for s, (name, cell) in enumerate(names)
        if len(panel.series) > 1
    ] or [Patch(color=COLOURS[0], label=f"ours, {table.profile}")]
    if has_paper(table):
        patches.append(Patch(facecolor="white", edgecolor="#666666", hatch="////", label="paper"))
    figure.legend(handles=patches, fontsize=8, loc="outside lower left", ncols=len(patches), frameon=False)
