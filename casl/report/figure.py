"""A Table as a picture: the kind that its ablation declares, under title, warning and headline.

Drawn without pyplot and with matplotlib's own defaults, so that a user's settings change no byte.
"""

from __future__ import annotations

import io
import textwrap
from typing import TYPE_CHECKING

from casl.report import figure_bars, figure_curves, figure_map, figure_scatter
from casl.report.table import Table
from casl.report.wording import headline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WARNING = "#b3261e"
DPI = 140
PAINTERS = {
    "bars": (figure_bars.size, figure_bars.paint),
    "curves": (figure_curves.size, figure_curves.paint),
    "heat map": (figure_map.size, figure_map.paint),
    "scatter": (figure_scatter.size, figure_scatter.paint),
}


def draw(table: Table) -> bytes:
    """PNG of a table.

    Raises:
        SpecError: a scatter of a table that has neither two rows nor two columns.
    """
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    size, paint = PAINTERS[table.figure]
    wide, high = size(table)
    with style.context("default"):
        text = _text(table, wide)
        head = 0.24 * len(text) + 0.6
        whole = high + head
        layout = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - head / whole), w_pad=0.08, h_pad=0.08)
        figure = Figure(figsize=(wide, whole), dpi=DPI, layout=layout)
        FigureCanvasAgg(figure)
        _write_head(figure, table, text)
        paint(figure, table)
        return _png(figure)


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _text(table: Table, inches: float) -> list[str]:
    lines = [line for sentence in headline(table) for line in textwrap.wrap(sentence, int(inches * 13))]
    return [table.warning, *lines] if table.warning else lines


def _write_head(figure: Figure, table: Table, lines: list[str]) -> None:
    """Title, then the warning in red, then the headline, from the top left corner down."""
    height = figure.get_size_inches()[1]
    figure.text(0.02, 1 - 0.16 / height, _safe(table.title), fontsize=14, fontweight="bold", va="top")
    for i, line in enumerate(lines):
        warns = bool(table.warning) and i == 0
        colour, weight = (WARNING, "bold") if warns else ("#333333", "normal")
        place = 1 - (0.53 + 0.24 * i) / height
        figure.text(0.02, place, _safe(line), fontsize=9, va="top", color=colour, fontweight=weight)


def _safe(text: str) -> str:
    return text.replace("$", r"\$")
