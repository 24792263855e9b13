"""Curves of trainings as a picture: one pair of axes a kind of stage, the loss over iterations, a line a training."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from casl.report import canvas
from casl.report.blocks import visible
from casl.report.canvas import Drawing, as_it_is, drawn, in_picture, wrapped
from casl.report.curves import Line, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#185b9e", "#c8641b", "#3f9e8c", "#a83250", "#8a5aa8", "#5c7a29", "#333333", "#9aa5b1")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)))
SECOND = "#555555"  # of what stands for a dash in a legend
SPAN = 4.0  # an axis is logarithmic where the highest loss is so many times the lowest
FEW = 4  # at most so many lines have what they are a mean of behind them
_ACROSS, _WIDE, _HIGH = 2, 5.6, 2.9  # panels beside each other, inches of one
_LETTER, _HANDLE, _LINE = 0.062, 0.5, 0.155  # inches of a letter of legends, of what stands before it, of a line
_LONGEST = 72  # letters of a name in a legend

Style = tuple[str, Any, float]  # colour, dashes, opacity


def drawing(title: str, warning: str, sentences: Sequence[str], panels: Sequence[Panel]) -> Drawing:
    """The picture, as PNG and as SVG. sentences: above it, as they are."""
    across = min(_ACROSS, len(panels))
    rows = [panels[i : i + across] for i in range(0, len(panels), across)]
    high = sum(_HIGH + _LINE * max(map(_legend_lines, row)) for row in rows)
    size = (max(7.5, _WIDE * across), high)
    lines = [as_it_is(line) for line in wrapped(sentences, size[0])]
    return drawn(title, [warning], lines, size, lambda figure: _paint(figure, panels, across))


def _paint(figure: Figure, panels: Sequence[Panel], across: int) -> None:
    colours = _colours(panels)
    for axes, panel in zip(canvas.panels(figure, len(panels), across), panels, strict=True):
        _panel(axes, panel, {label: colours[panel.heading, label] for label in _labels(panel)})


def _labels(panel: Panel) -> list[str]:
    return list(dict.fromkeys(line.label for line in panel.lines))


def _seconds(panel: Panel) -> list[str]:
    return list(dict.fromkeys(line.second for line in panel.lines if line.second))


def _colours(panels: Sequence[Panel]) -> dict[tuple[str, str], int]:
    """(heading of a panel, label) -> number of its style there: a name has the same in all panels, where colours are
    enough for that."""
    known: dict[str, int] = {}
    found: dict[tuple[str, str], int] = {}
    for panel in sorted(panels, key=lambda p: -len(_labels(p))):
        names = _labels(panel)
        known = {name: n for name, n in known.items() if n < max(len(names), len(COLOURS))}
        taken = {known[name] for name in names if name in known}
        free = (n for n in range(len(names) + len(taken)) if n not in taken)
        used: set[int] = set()
        for name in names:
            if name not in known or known[name] in used:
                known[name] = next(free)
            used.add(known[name])
            found[panel.heading, name] = known[name]
    return found


def _style(panel: Panel, line: Line, colours: Mapping[str, int]) -> Style:
    """By its label a colour, and dashes where colours are not enough; by what tells it apart dashes or a shade."""
    number, seconds = colours[line.label], _seconds(panel)
    colour, dashes, opacity = COLOURS[number % len(COLOURS)], number // len(COLOURS), 1.0
    if line.second and len(seconds) > 1:
        place = seconds.index(line.second)
        if _is_dashed(panel):
            dashes = place
        else:
            opacity = 0.35 + 0.65 * place / (len(seconds) - 1)
    return colour, DASHES[dashes % len(DASHES)], opacity


def _is_dashed(panel: Panel) -> bool:
    """Whether dashes are free, and enough, to tell lines of one colour apart."""
    return 1 < len(_seconds(panel)) <= len(DASHES) and len(_labels(panel)) <= len(COLOURS)


def _panel(axes: Axes, panel: Panel, colours: Mapping[str, int]) -> None:
    axes.set_title(as_it_is(panel.counted), fontsize=11)
    axes.set_xlabel("iteration", fontsize=9)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if not panel.drawn:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no curve yet", transform=axes.transAxes, ha="center", color="#777777", fontsize=10)
        return
    _lines(axes, panel, colours)
    _scale(axes, panel)
    _legend(axes, panel, colours)


def _lines(axes: Axes, panel: Panel, colours: Mapping[str, int]) -> None:
    """Other seeds below, then what running means are of, then these."""
    width = 1.7 if len(panel.first) <= len(COLOURS) else 1.2
    for line, steps, values in _parts(panel, panel.others):
        colour, dashes, opacity = _style(panel, line, colours)
        axes.plot(steps, values, color=colour, linestyle=dashes, linewidth=0.7, alpha=0.35 * opacity)
    if len(panel.first) <= FEW and not panel.others and panel.half:
        for line in panel.first:
            steps, values = _points(panel, line, line.curve.loss)
            axes.plot(steps, values, color=_style(panel, line, colours)[0], linewidth=0.6, alpha=0.3)
    for line, steps, values in _parts(panel, panel.first):
        colour, dashes, opacity = _style(panel, line, colours)
        axes.plot(steps, values, color=colour, linestyle=dashes, linewidth=width, alpha=opacity)
        axes.plot(steps[-1], values[-1], marker="o", markersize=3, color=colour, alpha=opacity)


Points = tuple[list[int], list[float]]  # iterations, losses


def _points(panel: Panel, line: Line, values: Sequence[float]) -> Points:
    places = line.shown(panel.every)
    return [line.curve.steps[i] for i in places], [values[i] for i in places]


def _parts(panel: Panel, lines: Sequence[Line]) -> Iterator[tuple[Line, list[int], list[float]]]:
    """Lines without the beginning that a shorter one has too: what is trained once is drawn once."""
    before: list[Points] = []
    for line in sorted(lines, key=lambda one: len(one.curve.steps)):
        steps, values = _points(panel, line, line.smooth)
        shared = max((_in_common((steps, values), other) for other in before), default=0)
        start = min(max(0, shared - 1), len(steps) - 1)
        before.append((steps, values))
        yield line, steps[start:], values[start:]


def _in_common(one: Points, other: Points) -> int:
    """How many first points two lines have in common."""
    pairs = zip(zip(*one, strict=True), zip(*other, strict=True), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _scale(axes: Axes, panel: Panel) -> None:
    """Limits around what is drawn in full; a logarithmic axis where that spans much."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

    values = [v for line in (panel.first or panel.others) for v in line.smooth]
    low, high = min(values), max(values)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True))
    axes.grid(color="#ececec", linewidth=0.8)
    axes.set_axisbelow(True)
    if low > 0 and high / low >= SPAN:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.15, high * 1.15)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low > 20 else (1, 1.5, 2, 3, 4, 5, 7)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.set_ylabel("loss, log scale", fontsize=9)
        return
    pad = 0.05 * (high - low) or 0.05
    axes.set_ylim(low - pad, high + pad)
    axes.set_ylabel("loss", fontsize=9)


def _legend(axes: Axes, panel: Panel, colours: Mapping[str, int]) -> None:
    """Below the axes: one line a label, then what dashes or shades stand for."""
    from matplotlib.lines import Line2D
    from matplotlib.transforms import ScaledTranslation

    plain = {line.label: line for line in reversed(panel.lines)}
    handles = []
    for label in _drawn_labels(panel):
        colour, dashes, _ = _style(panel, plain[label], colours)
        dashes = DASHES[0] if _is_dashed(panel) else dashes
        handles.append(Line2D([], [], color=colour, linestyle=dashes, linewidth=1.8, label=_named(label)))
    for second in _drawn_dashes(panel):
        dashes = DASHES[_seconds(panel).index(second)]
        handles.append(Line2D([], [], color=SECOND, linestyle=dashes, linewidth=1.4, label=_named(second)))
    root = axes.get_figure(root=True)
    assert root is not None
    below = axes.transAxes + ScaledTranslation(0, -0.42, root.dpi_scale_trans)
    axes.legend(
        handles=handles, fontsize=7.5, frameon=False, loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=below,
        ncols=_legend_columns(panel), borderaxespad=0, borderpad=0, handlelength=2.2, columnspacing=1.4,
        title=_shades(panel) or None, title_fontsize=7.5, alignment="left",
    )  # fmt: skip


def _shades(panel: Panel) -> str:
    """What paler and darker lines are, "" where there are none."""
    seconds = _seconds(panel)
    if len(seconds) < 2 or _is_dashed(panel):
        return ""
    return f"pale to full: {_named(seconds[0])} to {_named(seconds[-1])}"


def _drawn_labels(panel: Panel) -> list[str]:
    return list(dict.fromkeys(line.label for line in panel.drawn))


def _drawn_dashes(panel: Panel) -> list[str]:
    return list(dict.fromkeys(line.second for line in panel.drawn)) if _is_dashed(panel) else []


def _legend_names(panel: Panel) -> list[str]:
    return [*_drawn_labels(panel), *_drawn_dashes(panel)]


def _legend_columns(panel: Panel) -> int:
    names = _legend_names(panel)
    longest = min(_LONGEST, max(map(len, names), default=0))
    return max(1, min(5, len(names), int(_WIDE * 0.92 / (_HANDLE + _LETTER * longest))))


def _legend_lines(panel: Panel) -> int:
    return math.ceil(len(_legend_names(panel)) / _legend_columns(panel)) + bool(_shades(panel))


def _named(name: str) -> str:
    """A name in a legend, on one line and not too long. One with a leading underscore is left out by matplotlib."""
    text = visible(" ".join(name.split())) or " "
    text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return in_picture(f"\N{NO-BREAK SPACE}{text}" if text.startswith("_") else text)
