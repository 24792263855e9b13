"""Bars: ours solid, the paper's hollow beneath, one pair of axes for each kind of number, from zero.

Places are in inches: all bars of a picture are as high as each other, axes are as high as their rows, and numbers of
one metric have one scale wherever they stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from casl.report.canvas import broken, in_picture, width_of
from casl.report.figure_places import lines_of, scale_of
from casl.report.layout import Gain, Panel, gains, half_bar, panels, shown_rows
from casl.report.table import PUBLISHED, Table, TableCell
from casl.report.wording import has_paper, here, number, ours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#185b9e", "#3f9e8c", "#8a5aa8", "#c8641b", "#5c7a29", "#a83250")
BASELINE = "#9aa5b1"
_BAR, _THICK = 0.2, 0.82  # inches from one bar to the next, and the share of it that a bar fills
_GAP, _LINE = 0.13, 0.15  # inches between rows, and of a line of a name
_WIDE, _NARROW = {1: 6.0, 2: 3.6}, 2.9  # inches of axes by how many stand beside each other, and of more
_LEAST = 8.0  # inches of a picture
_NAME, _LETTERS, _VALUE = 2.3, 9.0, 8.0  # inches of the widest name of a row; points of names, and of numbers
_HEADING, _HEADING_LINE = 11.0, 0.2  # points, and inches of a line
_TICKS, _EDGE, _APART = 0.42, 0.12, 0.3  # inches below axes, around all, between axes that share their names
_LEGEND = 0.24  # inches of a line of the legend


@dataclass(frozen=True)
class _Bar:
    """One bar, or where `value` is None the words in its place. at: inches from the top of its axes."""

    at: float
    value: float | None
    spread: float | None
    colour: str
    hollow: bool
    words: str

    @property
    def end(self) -> float:
        """Where its words begin."""
        return max(0.0, (self.value or 0.0) + (self.spread or 0.0))


@dataclass(frozen=True)
class _Axes:
    """A panel and its places. names: of rows, in lines; middles: of these; high: of the axes; inches from the top."""

    scale: str
    heading: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]
    middles: tuple[float, ...]
    bars: tuple[_Bar, ...]
    high: float

    @property
    def above(self) -> float:
        """Inches of the heading."""
        return _HEADING_LINE * len(self.heading) + 0.16


@dataclass(frozen=True)
class _Layout:
    """lines: of axes, from above. wide: of axes. left: inches of names before each. ends: of each scale.

    legend: colour and words; "" for the paper's hatching. columns: of the legend.
    """

    lines: tuple[tuple[_Axes, ...], ...]
    wide: float
    left: tuple[float, ...]
    ends: Mapping[str, tuple[float, float]]
    legend: tuple[tuple[str, str], ...]

    @property
    def width(self) -> float:
        return max(_LEAST, sum(self.left) + len(self.left) * self.wide + 2 * _EDGE)

    @property
    def highs(self) -> list[float]:
        """Inches of each line, with headings and ticks."""
        return [max(one.above for one in line) + max(one.high for one in line) + _TICKS for line in self.lines]

    @property
    def columns(self) -> int:
        """Of the legend."""
        widest = max((width_of(words, _VALUE) for _, words in self.legend), default=0.0)
        return max(1, min(len(self.legend), int((self.width - 2 * _EDGE) / (widest + 0.6))))

    @property
    def below(self) -> float:
        """Inches of the legend."""
        return _LEGEND * -(-len(self.legend) // self.columns) + _EDGE


def size(table: Table) -> tuple[float, float]:
    """Inches; room for the names of rows, for every bar and for what is written behind it."""
    layout = _layout(table)
    return layout.width, sum(layout.highs) + layout.below


def paint(figure: Figure, table: Table) -> None:
    """Paint the table into a figure of `size(table)`, from its lower end up."""
    layout = _layout(table)
    figure.set_layout_engine("none")
    width, height = figure.get_size_inches()
    top = layout.below + sum(layout.highs)
    for line, high in zip(layout.lines, layout.highs, strict=True):
        under = max(one.above for one in line)
        for n, one in enumerate(line):
            left = _EDGE + sum(layout.left[: n + 1]) + n * layout.wide
            low = top - under - one.high
            axes = figure.add_axes((left / width, low / height, layout.wide / width, one.high / height))
            _paint_axes(axes, one, layout.ends[one.scale], named=_is_named(line, n))
        top -= high
    _paint_legend(figure, layout)


def _layout(table: Table) -> _Layout:
    grid = lines_of(panels(table), lambda panel: _rows(table, panel))
    across = max(map(len, grid))
    wide, gained = _WIDE.get(across, _NARROW), gains(table)
    lines = tuple(tuple(_axes(table, panel, gained, wide) for panel in line) for line in grid)
    left = [_APART] * across
    for line in lines:
        for n, one in enumerate(line):
            if _is_named(line, n):
                widest = max((width_of(text, _LETTERS) for name in one.names for text in name), default=0.0)
                left[n] = max(left[n], widest + 0.12 + (_APART if n else 0.0))
    of_scale: dict[str, list[_Bar]] = {}
    for one in (one for line in lines for one in line):
        of_scale.setdefault(one.scale, []).extend(one.bars)
    ends = {scale: _ends(bars, wide) for scale, bars in of_scale.items()}
    return _Layout(lines, wide, tuple(left), ends, tuple(_legend(table, panels(table), lines)))


def _rows(table: Table, panel: Panel) -> tuple[int, ...]:
    """Rows that have a place in the panel."""
    there = shown_rows(table)
    return tuple(i for i, row in enumerate(table.rows) if row in there and any(one.cells[i] for one in panel.series))


def _is_named(line: Sequence[_Axes], n: int) -> bool:
    """Whether the names of rows stand before axes: not where they stand before the axes on the left already."""
    return n == 0 or (line[n].names, line[n].middles) != (line[n - 1].names, line[n - 1].middles)


def _axes(table: Table, panel: Panel, gained: Mapping[int, Gain], wide: float) -> _Axes:
    at, names, middles, bars = _GAP, [], [], []
    numbers = {id(cell): i for i, cell in enumerate(table.cells)}
    for row in _rows(table, panel):
        name = tuple(broken(here(table, table.rows[row]), _NAME, _LETTERS))
        there = [(s, cell) for s, one in enumerate(panel.series) if (cell := one.cells[row])]
        own = [
            bar
            for s, cell in there
            for bar in _of_cell(table, cell, _colour(table, panel, s, cell), gained.get(numbers[id(cell)]))
        ]
        high = max(_BAR * len(own), _LINE * len(name))
        first = at + (high - _BAR * (len(own) - 1)) / 2
        bars += [_Bar(first + _BAR * n, *bar) for n, bar in enumerate(own)]
        names.append(name)
        middles.append(at + high / 2)
        at += high + _GAP
    heading = tuple(broken(panel.heading, wide, _HEADING))
    return _Axes(scale_of(panel), heading, tuple(names), tuple(middles), tuple(bars), max(at, 2 * _GAP))


_OfCell = tuple[float | None, float | None, str, bool, str]  # fields of _Bar behind the first


def _of_cell(table: Table, cell: TableCell, colour: str, gain: Gain | None) -> Iterator[_OfCell]:
    """Ours, then the paper's; a word where there is no number of ours."""
    mine = f" ({number(gain.ours.value, signed=True)})" if gain and gain.ours else ""
    theirs = f" ({number(gain.paper, signed=True)})" if gain and gain.paper is not None else ""
    if cell.value is not None:
        yield cell.value, half_bar(table, cell), colour, False, ours(cell, table.seeds) + mine
    elif cell.status != PUBLISHED:
        yield None, None, colour, False, ours(cell, table.seeds)
    if cell.paper is not None:
        said = f", {PUBLISHED}" if cell.status == PUBLISHED else ""
        yield cell.paper, None, colour, True, f"{number(cell.paper)}{theirs}{said}"


def _colour(table: Table, panel: Panel, s: int, cell: TableCell) -> str:
    """The baseline is grey; else each column has its colour."""
    if table.baseline and table.baseline in (cell.row, panel.series[s].heading):
        return BASELINE
    return _of_column(table, panel, s)


def _of_column(table: Table, panel: Panel, s: int) -> str:
    others = [i for i, one in enumerate(panel.series) if one.heading != table.baseline]
    return COLOURS[others.index(s) % len(COLOURS)] if s in others else BASELINE


def _ends(bars: Sequence[_Bar], wide: float) -> tuple[float, float]:
    """Ends of a scale on which every bar and the words behind it have room, from zero unless a number is below."""
    low = min([0.0, *(bar.value - (bar.spread or 0.0) for bar in bars if bar.value is not None)])
    high = 1.0
    for bar in bars:
        room = max(0.2, 1.0 - (width_of(bar.words, _VALUE) + 0.1) / wide)  # share of the axes left of the words
        high = max(high, low + (bar.end - low) / room)
    return low, high


def _paint_axes(axes: Axes, one: _Axes, ends: tuple[float, float], *, named: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(*ends)
    axes.set_ylim(one.high, 0.0)
    for bar in one.bars:
        _paint_bar(axes, bar)
    axes.set_title(in_picture("\n".join(one.heading)), fontsize=_HEADING, pad=6.0)
    names = [in_picture("\n".join(name)) for name in one.names] if named else [""] * len(one.names)
    axes.set_yticks(one.middles, names, fontsize=_LETTERS)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.grid(axis="x", color="#ececec")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _paint_bar(axes: Axes, bar: _Bar) -> None:
    high, colour = _BAR * _THICK, "#777777" if bar.value is None else "#111111"
    if bar.value is not None and bar.hollow:
        axes.barh(bar.at, bar.value, high, facecolor="white", edgecolor=bar.colour, hatch="////", linewidth=0.8)
        colour = "#666666"
    elif bar.value is not None:
        axes.barh(bar.at, bar.value, high, color=bar.colour, xerr=bar.spread, capsize=2)
    axes.annotate(
        bar.words, (bar.end, bar.at), xytext=(4, 0), textcoords="offset points", va="center", fontsize=_VALUE,
        color=colour, fontstyle="italic" if bar.hollow else "normal",
    )  # fmt: skip


def _legend(table: Table, drawn: Sequence[Panel], lines: Sequence[Sequence[_Axes]]) -> Iterator[tuple[str, str]]:
    """Colour and words of what is drawn. Panels have the same columns, or a single one each."""
    solid = {bar.colour for line in lines for one in line for bar in one.bars if bar.value is not None}
    several = len(drawn[0].series) > 1
    if several:
        for s, series in enumerate(drawn[0].series):
            is_baseline = series.heading == table.baseline
            yield _of_column(table, drawn[0], s), f"{series.heading} (baseline)" if is_baseline else series.heading
    else:
        yield COLOURS[0], f"ours, {table.profile}"
    if BASELINE in solid and not (several and table.baseline in table.columns):
        yield BASELINE, f"baseline: {table.baseline}"
    if has_paper(table):
        yield "", "paper"


def _paint_legend(figure: Figure, layout: _Layout) -> None:
    from matplotlib.patches import Patch

    patches = [
        Patch(color=colour, label=in_picture(words))
        if colour
        else Patch(facecolor="white", edgecolor="#666666", hatch="////", label=words)
        for colour, words in layout.legend
    ]
    width, height = figure.get_size_inches()
    figure.legend(
        handles=patches, fontsize=_VALUE, loc="lower left", bbox_to_anchor=(_EDGE / width, _EDGE / 2 / height),
        ncols=layout.columns, frameon=False, borderaxespad=0.0,
    )  # fmt: skip
