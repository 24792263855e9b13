"""A canvas for every picture, with title, warning and sentences above it where the picture has them.

It uses no pyplot and matplotlib's own defaults, so that a user's settings change no byte.
"""

from __future__ import annotations

import io
import math
from bisect import bisect_right
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
TITLE, BODY = 14.0, 9.0  # points of a title, and of what stands below it
MARGIN = 0.02  # of the width, left and right of a head
_TITLE_LINE, _LINE = 0.25, 0.24  # inches from one line of a head to the next
_HINTED = 1.02  # letters on pixels may be so much wider than their outlines


@dataclass(frozen=True)
class Drawing:
    """One picture in two formats. svg: light or dark as where it is shown; letters are outlines, as wide everywhere."""

    png: bytes
    svg: bytes


def drawn(
    title: str, warnings: Sequence[str], lines: Sequence[str], size: tuple[float, float], paint: Paint
) -> Drawing:
    """A picture with a head, as PNG and as SVG; arguments as of `headed`."""
    figure = _figure(*_below_head(title, warnings, lines, size, paint))
    return Drawing(_png(figure), _svg(figure))


def headed(title: str, warnings: Sequence[str], lines: Sequence[str], size: tuple[float, float], paint: Paint) -> bytes:
    """PNG with a head from the top left corner down: the title, the warnings in red, the lines.

    Args:
        title, warnings: plain text, broken where the picture ends; "" is left out. lines: mathtext, as they are.
        size: inches of what is painted below the head.
    """
    return _png(_figure(*_below_head(title, warnings, lines, size, paint)))


def painted(size: tuple[float, float], paint: Paint, *, dpi: int = DPI) -> bytes:
    """PNG of what a function paints into a figure. size: inches."""
    return _png(_figure(size, paint, dpi=dpi))


def _below_head(
    title: str, warnings: Sequence[str], lines: Sequence[str], size: tuple[float, float], paint: Paint
) -> tuple[tuple[float, float], Paint, float]:
    """Size of the whole, what paints it, and the inches of its head."""
    titles = wrapped([title], size[0], TITLE, bold=True)
    warnings = wrapped(warnings, size[0], bold=True)
    top = 0.53 + _TITLE_LINE * (len(titles) - 1)
    head = top + 0.07 + _LINE * (len(warnings) + len(lines))
    whole = size[1] + head

    def with_head(figure: Figure) -> None:
        for i, line in enumerate(titles):
            place = 1 - (0.16 + _TITLE_LINE * i) / whole
            figure.text(MARGIN, place, as_it_is(line), fontsize=TITLE, fontweight="bold", va="top")
        for i, line in enumerate([*map(as_it_is, warnings), *lines]):
            colour, weight = (RED, "bold") if i < len(warnings) else ("#333333", "normal")
            place = 1 - (top + _LINE * i) / whole
            figure.text(MARGIN, place, line, fontsize=BODY, va="top", color=colour, fontweight=weight)
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


def wrapped(sentences: Sequence[str], inches: float, points: float = BODY, *, bold: bool = False) -> list[str]:
    """Plain sentences broken into lines that fit a head of that width."""
    room = (1 - 2 * MARGIN) * inches
    return [line for sentence in sentences for line in broken(sentence, room, points, bold=bold)]


def broken(text: str, inches: float, points: float, *, bold: bool = False) -> list[str]:
    """Plain text in lines of at most that width: between words, and within one that is wider by itself."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if width_of(longer, points, bold=bold) <= inches:
            lines[-1] = longer
            continue
        lines += [word] if lines[-1] else []
        lines[-1] = word
        while len(lines[-1]) > 1 and width_of(lines[-1], points, bold=bold) > inches:
            cut = max(1, _letters(lines[-1], inches, points, bold=bold))
            lines[-1:] = [lines[-1][:cut], lines[-1][cut:]]
    return [line for line in lines if line]


def _letters(word: str, inches: float, points: float, *, bold: bool) -> int:
    """How many first letters of a word are no wider than that."""
    return bisect_right(range(1, len(word)), inches, key=lambda n: width_of(word[:n], points, bold=bold))


def width_of(text: str, points: float, *, bold: bool = False) -> float:
    """Inches of plain text on one line."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal", size=points)
    wide, _, _ = text_to_path.get_text_width_height_descent(text, font, False)
    return float(wide) / 72 * _HINTED


def as_it_is(text: str) -> str:
    """Text with dollar signs escaped, so that matplotlib reads no mathtext."""
    return text.replace("$", r"\$")


def in_picture(text: str) -> str:
    """Mathtext with raised and lowered letters."""

    def raised(up: str, down: str) -> str:
        return rf"$^{{\text{{{up}}}}}" + (rf"_{{\text{{{down}}}}}$" if down else "$")

    return typeset(text, as_it_is, raised)
