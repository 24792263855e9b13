"""Two rows (or two columns) of a table against each other, one point a heading; ours and the paper's side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from casl.errors import SpecError
from casl.report.canvas import as_it_is, in_picture, width_of
from casl.report.layout import half_bar, positions
from casl.report.table import Table, TableCell
from casl.report.wording import has_paper, here

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import BboxBase

OURS = "#185b9e"
PAPER = "#c8641b"
LEAST_SPAN = 2.0  # percent, as in figure_curves

Point = tuple[str, TableCell, TableCell]  # heading, x, y
_Point = tuple[float, float, float, float]  # x, y, and their error bars
_Box = tuple[float, float, float, float]  # left, low, right, high, in points of the picture
_Place = tuple[float, tuple[int, int]]  # of a name: how far from its point, and to which side, right and up

_LETTERS = 9.0  # points
_NEAR = 12.0  # points; names that are farther have a line to their point
_ASIDE = ((-1, -1), (1, -1), (-1, 1), (1, 1), (1, 0), (-1, 0), (0, 1), (0, -1))
_PLACES: tuple[_Place, ...] = tuple(
    (distance, aside) for distance in (6.0, 10.0, 16.0, 24.0, 36.0, 50.0, 70.0, 95.0) for aside in _ASIDE
)
_SIDES, _HEIGHTS = {-1: "right", 0: "center", 1: "left"}, {-1: "top", 0: "center", 1: "bottom"}
_LEADER = {"arrowstyle": "-", "color": "#bbbbbb", "linewidth": 0.7, "shrinkA": 1.0, "shrinkB": 4.0}


@dataclass(frozen=True)
class _Named:
    """Points that fall together, and their names, a line each."""

    words: tuple[str, ...]
    points: tuple[_Point, ...]


def size(table: Table) -> tuple[float, float]:
    """Width and height in inches."""
    return 5.2 * (2 if has_paper(table) else 1), 4.4


def paint(figure: Figure, table: Table) -> None:
    """Paint the table into a figure of `size(table)`."""
    panels = 2 if has_paper(table) else 1
    axes = figure.subplots(1, panels, squeeze=False)[0]
    drawn = [_panel(axes[panel], table, paper=panel == 1) for panel in range(panels)]
    figure.draw_without_rendering()  # names are put where there is room, which is known once axes have their places
    for panel, found in zip(axes, drawn, strict=True):
        _label(panel, found)


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


def _panel(axes: Axes, table: Table, *, paper: bool) -> list[_Named]:
    """Points with their error bars; what is to be named."""
    x, y, found = points(table)
    colour = PAPER if paper else OURS
    axes.set_title("Paper" if paper else f"Ours, {table.profile}", fontsize=11)
    axes.set_xlabel(_axis(x, found[0][1]) if found else as_it_is(x), fontsize=9)
    axes.set_ylabel(_axis(y, found[0][2]) if found else as_it_is(y), fontsize=9)
    axes.grid(color="#e0e0e0")
    axes.tick_params(labelsize=8)
    known: list[_Point] = []
    names: dict[tuple[float, float], list[str]] = {}
    places: dict[tuple[float, float], list[_Point]] = {}
    for name, a, b in found:
        at = (a.paper, b.paper) if paper else (a.value, b.value)
        if at[0] is None or at[1] is None:
            continue
        spread = (None, None) if paper else (half_bar(table, a), half_bar(table, b))
        known.append((at[0], at[1], spread[0] or 0.0, spread[1] or 0.0))
        place = round(at[0], 2), round(at[1], 2)
        names.setdefault(place, []).append(name if paper else here(table, name))
        places.setdefault(place, []).append(known[-1])
        axes.errorbar(at[0], at[1], xerr=spread[0], yerr=spread[1], color=colour, marker="o", capsize=3)
    if missing := len(found) - len(known):
        words = f"{missing} of {len(found)} not {'published' if paper else 'measured'}"
        axes.text(0.03, 0.95, words, transform=axes.transAxes, color="#777777", fontsize=9, va="top")
    _room(axes, known)
    return [_Named(tuple(words), tuple(places[place])) for place, words in names.items()]


def _label(axes: Axes, found: Sequence[_Named]) -> None:
    """Names beside their points, where they cover no error bar, point or other name; a thin line leads to far ones."""
    bars = [bar for one in found for point in one.points for bar in _bars(axes, point)]
    names: list[_Box] = []
    frame = _in_points(axes, axes.bbox)
    for one in found:
        x, y = (72 / axes.figure.dpi) * axes.transData.transform(one.points[0][:2])
        wide, high = 72 * max(width_of(word, _LETTERS) for word in one.words), 1.25 * _LETTERS * len(one.words)
        others = [bar for another in found if another is not one for p in another.points for bar in _bars(axes, p)]
        boxes = {place: _box(x, y, place, wide, high) for place in _PLACES}
        leaders = {place: _leader(x, y, boxes[place]) if place[0] > _NEAR else [] for place in _PLACES}
        costs = {
            place: _covered(boxes[place], [*bars, *names], frame)
            + sum(_common(part, other) for part in leaders[place] for other in [*names, *others])
            for place in _PLACES
        }
        place = min(_PLACES, key=lambda place: costs[place])
        distance, (right, up) = place
        names += [boxes[place], *leaders[place]]
        words = "\n".join(map(in_picture, one.words))
        axes.annotate(
            words, one.points[0][:2], xytext=(distance * right, distance * up), textcoords="offset points",
            fontsize=_LETTERS, ha=_SIDES[right], va=_HEIGHTS[up],
            arrowprops=_LEADER if distance > _NEAR else None,
        ).set_in_layout(False)  # fmt: skip


def _leader(x: float, y: float, box: _Box) -> list[_Box]:
    """What the line from a point to its name covers, in small parts."""
    middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    parts = [(x + (middle[0] - x) * n / 20, y + (middle[1] - y) * n / 20) for n in range(1, 20)]
    boxes = [(right - 2, up - 2, right + 2, up + 2) for right, up in parts]
    return [part for part in boxes if not _common(part, box)]


def _covered(box: _Box, taken: Sequence[_Box], frame: _Box) -> float:
    """By how much a name would cover what is there, or be outside."""
    outside = (box[2] - box[0]) * (box[3] - box[1]) - _common(box, frame)
    return outside + sum(_common(box, other) for other in taken)


def _common(a: _Box, b: _Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _box(x: float, y: float, place: _Place, wide: float, high: float) -> _Box:
    distance, (right, up) = place
    left = x + distance * right - wide * (1 - right) / 2
    low = y + distance * up - high * (1 - up) / 2
    return left, low, left + wide, low + high


def _bars(axes: Axes, point: _Point) -> list[_Box]:
    """What a point and its error bars cover, in points of the picture."""
    x, y, half_x, half_y = point
    ends = axes.transData.transform([(x - half_x, y - half_y), (x, y), (x + half_x, y + half_y)])
    (left, low), (x, y), (right, high) = (72 / axes.figure.dpi) * ends
    return [(left - 4, y - 4, right + 4, y + 4), (x - 4, low - 4, x + 4, high + 4)]


def _in_points(axes: Axes, box: BboxBase) -> _Box:
    left, low, right, high = (72 / axes.figure.dpi * end for end in box.extents)
    return left + 2, low + 2, right - 2, high - 2


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
