"""A Table as a picture: the kind that its ablation declares, under title, warning and headline."""

from __future__ import annotations

from casl.report import figure_bars, figure_curves, figure_map, figure_scatter
from casl.report.canvas import Drawing, Paint, as_it_is, drawn, headed, wrapped
from casl.report.layout import shown_rows, what_bars_are
from casl.report.table import Table
from casl.report.wording import headline

PAINTERS = {
    "bars": (figure_bars.size, figure_bars.paint),
    "curves": (figure_curves.size, figure_curves.paint),
    "heat map": (figure_map.size, figure_map.paint),
    "scatter": (figure_scatter.size, figure_scatter.paint),
}
HAVE_BARS = ("bars", "curves", "scatter")  # of errors
LEAVES_OUT = ("bars", "curves")  # have no place for a row without a number


def picture(table: Table, older: str = "") -> bytes:
    """PNG of a table. older: what stands above one of other code than today's.

    Raises:
        SpecError: a scatter of a table that has neither two rows nor two columns.
    """
    return headed(*_parts(table, older))


def drawing(table: Table, older: str = "") -> Drawing:
    """The same as PNG and as SVG."""
    return drawn(*_parts(table, older))


def _parts(table: Table, older: str) -> tuple[str, list[str], list[str], tuple[float, float], Paint]:
    """Title, warnings, lines, inches, and what paints below them."""
    size, paint = PAINTERS[table.figure]
    inches = size(table)
    bars = what_bars_are(table) if table.figure in HAVE_BARS else ""
    lines = [as_it_is(line) for line in wrapped([*headline(table), bars, *_left_out(table)], inches[0])]
    return table.title, [table.warning, older], lines, inches, lambda figure: paint(figure, table)


def _left_out(table: Table) -> list[str]:
    """A sentence on rows without a number, which only heat maps and scatters show."""
    left = len(table.rows) - len(shown_rows(table))
    if not left or table.figure not in LEAVES_OUT:
        return []
    return [f"{left} of {len(table.rows)} rows {'is' if left == 1 else 'are'} not run and left out here."]
