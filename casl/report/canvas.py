"""A canvas for every picture, with title, warning and sentences above it where the picture has them.

It uses no pyplot and matplotlib's own defaults, so that a user's settings change no byte.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from casl.report.blocks import typeset
from casl.report.figure_theme import themed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Paint = Callable[["Figure"], None]

RED = "#b3261e"
DPI = 140
TITLE, MARGIN = 14, 0.02  # points; of the width, left and right of a head


@dataclass(frozen=True)
class Drawing:
    """One picture in two formats. svg: light or dark as where it is shown; letters are outlines, as wide everywhere."""

    png: bytes
    svg: bytes


def drawn(title: str, warning: str, lines: Sequence[str], size: tuple[float, float], paint: Paint) -> Drawing:
    """A picture with a head, as PNG and as SVG; arguments as of `headed`."""
    figure = _figure(*_below_head(title, warning, lines, size, paint))
    return Drawing(_png(figure), _svg(figure))


def headed(title: str, warning: str, lines: Sequence[str], size: tuple[float, float], paint: Paint) -> bytes:
    """PNG with a head from the top left corner down: the title, the warning in red, the lines.

    Args:
        title, lines: mathtext.
        size: inches of what is painted below the head.
    """
    return _png(_figure(*_below_head(title, warning, lines, size, paint)))


def painted(size: tuple[float, float], paint: Paint, *, dpi: int = DPI) -> bytes:
    """PNG of what a function paints into a figure. size: inches."""
    return _png(_figure(size, paint, dpi=dpi))


def _below_head(
    title: str, warning: str, lines: Sequence[str], size: tuple[float, float], paint: Paint
) -> tuple[tuple[float, float], Paint, float]:
    """Size of the whole, what paints it, and the inches of its head."""
    lines = [warning, *lines] if warning else lines
    head = 0.24 * len(lines) + 0.6
    whole = size[1] + head

    def with_head(figure: Figure) -> None:
        heading = figure.text(MARGIN, 1 - 0.16 / whole, title, fontsize=TITLE, fontweight="bold", va="top")
        too_wide = heading.get_window_extent().width / ((1 - 2 * MARGIN) * figure.bbox.width)
        if too_wide > 1:  # smaller letters instead of an end that is cut off
            heading.set_fontsize(TITLE / too_wide)
        for i, line in enumerate(lines):
            colour, weight = (RED, "bold") if warning and i == 0 else ("#333333", "normal")
            place = 1 - (0.53 + 0.24 * i) / whole
            figure.text(MARGIN, place, line, fontsize=9, va="top", color=colour, fontweight=weight)
        paint(figure)

    return (size[0], whole), with_head, head


def _figure(size: tuple[float, float], paint: Paint, head: float = 0.0, dpi: int = DPI) -> Figure:
    """head: inches at the top that axes leave free."""
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with style.context("default"):
        layout = ConstrainedLayoutEngine()
        if head:
            layout.set(rect=(0, 0, 1, 1 - head / size[1]), w_pad=0.08, h_pad=0.08)
        figure = Figure(figsize=size, dpi=dpi, layout=layout)
        FigureCanvasAgg(figure)
        paint(figure)
        return figure


def _png(figure: Figure) -> bytes:
    return _saved(figure, "png", {"Software": None})


def _svg(figure: Figure) -> bytes:
    """No date in it, and names of its parts that follow from what they are."""
    return themed(_saved(figure, "svg", {"Date": None, "Creator": None}))


def _saved(figure: Figure, form: str, metadata: dict[str, None]) -> bytes:
    from matplotlib import rc_context, style

    file = io.BytesIO()
    with style.context("default"), rc_context({"svg.hashsalt": "casl", "svg.fonttype": "path"}):
        figure.savefig(file, format=form, metadata=metadata)
    return file.getvalue()


def panels(figure: Figure, count: int, across: int) -> list[Axes]:
    """Axes in a grid of `across` columns; the remaining places of the last row stay blank."""
    grid = figure.subplots(math.ceil(count / across), across, squeeze=False).ravel()
    for axes in grid[count:]:
        axes.set_axis_off()
    return list(grid[:count])


def wrapped(sentences: Sequence[str], inches: float) -> list[str]:
    """Sentences broken into lines that fit a head of that width."""
    return [line for sentence in sentences for line in textwrap.wrap(sentence, int(inches * 13))]


def as_it_is(text: str) -> str:
    """Text with dollar signs escaped, so that matplotlib reads no mathtext."""
    return text.replace("$", r"\$")


def in_picture(text: str) -> str:
    """Mathtext with raised and lowered letters."""

    def raised(up: str, down: str) -> str:
        return rf"$^{{\text{{{up}}}}}" + (rf"_{{\text{{{down}}}}}$" if down else "$")

    return typeset(text, as_it_is, raised)
