"""A grid of numbers as a heat map, for pages beside a table: rows and columns by name, every number written in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from casl.report.figure_map import GAP
from casl.report.figure_theme import FIXED
from casl.report.wording import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def paint_grid(
    figure: Figure,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    most: float,
) -> None:
    """Paint a grid into a figure, colours from 0 to `most`; None is a gap. rows, columns: mathtext."""
    from matplotlib import colormaps

    axes = figure.subplots()
    if not rows or not columns:
        axes.set_axis_off()
        return
    colours = colormaps["viridis"].with_extremes(bad=(0, 0, 0, 0))
    axes.set_facecolor(GAP)  # seen where there is no number
    shown = [[math.nan if value is None else value for value in line] for line in values]
    image = axes.imshow(shown, cmap=colours, vmin=0, vmax=most, aspect="auto")
    axes.figure.colorbar(image, ax=axes, pad=0.02, fraction=0.06).ax.tick_params(labelsize=8)
    axes.set_xticks(range(len(columns)), list(columns), fontsize=7, rotation=90)
    axes.set_yticks(range(len(rows)), list(rows), fontsize=8)
    axes.tick_params(length=0)
    for y, line in enumerate(values):
        for x, value in enumerate(line):
            colour = "black" if value is None or value > 0.55 * most else "white"
            written = axes.annotate(number(value), (x, y), ha="center", va="center", fontsize=6.5, color=colour)
            if value is not None:
                written.set_gid(f"{FIXED}-{x}-{y}")
