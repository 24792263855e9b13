"""A Table as a picture: the kind that its ablation declares, under title, warning and headline."""

from __future__ import annotations

from casl.report import figure_bars, figure_curves, figure_map, figure_scatter
from casl.report.canvas import as_it_is, headed, wrapped
from casl.report.table import Table
from casl.report.wording import headline

PAINTERS = {
    "bars": (figure_bars.size, figure_bars.paint),
    "curves": (figure_curves.size, figure_curves.paint),
    "heat map": (figure_map.size, figure_map.paint),
    "scatter": (figure_scatter.size, figure_scatter.paint),
}


def picture(table: Table) -> bytes:
    """PNG of a table.

    Raises:
        SpecError: a scatter of a table that has neither two rows nor two columns.
    """
    size, paint = PAINTERS[table.figure]
    inches = size(table)
    lines = [as_it_is(line) for line in wrapped(headline(table), inches[0])]
    return headed(as_it_is(table.title), table.warning, lines, inches, lambda figure: paint(figure, table))
