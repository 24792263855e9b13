"""Numbers as pictures: curves of trainings, of thresholds, of precision; bars of errors and sizes."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from PIL import Image

from casl.look.questions import Left
from casl.metrics.error_types import KINDS, Errors
from casl.report.canvas import painted, panels
from casl.report.figure import picture
from casl.report.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE, HIGH, DPI = 4.6, 3.2, 110
Paint = Callable[["Axes"], None]


def plot_curves(
    trainings: Mapping[str, Mapping[str, Sequence[float]]], names: Sequence[str] = ("loss", "lr")
) -> Image.Image:
    """Curves of some trainings over their iterations, one panel for each of `names` that some training has.

    Args:
        trainings: label -> `curves(...)`.
    """
    drawn = [n for n in names if any(n in c for c in trainings.values())]

    def panel(name: str) -> Paint:
        def paint(axes: Axes) -> None:
            for label, curve in trainings.items():
                if name in curve:
                    axes.plot(curve["iteration"], curve[name], label=label)
            _label(axes, name, "iteration", "")

        return paint

    return _panels([panel(n) for n in drawn])


def plot_table(table: Table) -> Image.Image:
    """A table's own picture, as `casl report` writes it."""
    return Image.open(io.BytesIO(picture(table)))


def plot_left(left: Sequence[Left]) -> Image.Image:
    """Labels and images left, and their quality, against delta."""
    deltas = [x.threshold for x in left]

    def counts(axes: Axes) -> None:
        axes.plot(deltas, [x.labels for x in left], "o-", markersize=4, label="labels")
        axes.plot(deltas, [x.images for x in left], "o-", markersize=4, label="images")
        axes.set_ylim(bottom=0)
        _label(axes, "left to warm up on", "delta", "")

    def quality(axes: Axes) -> None:
        for name in ("precision", "recall", "f1"):
            axes.plot(deltas, [getattr(x, name) for x in left], "o-", markersize=4, label=name)
        _label(axes, "quality: mean over IoU .5:.95", "delta", "percent")

    return _panels([counts, quality])


def plot_precision(models: Mapping[str, Mapping[str, Sequence[float]]]) -> Image.Image:
    """Precision against recall, one panel an IoU. models: label -> `recall_curves(...)`."""
    ious = [n for n in next(iter(models.values())) if n != "recall"]

    def panel(iou: str) -> Paint:
        def paint(axes: Axes) -> None:
            for label, curve in models.items():
                axes.plot(curve["recall"], curve[iou], label=f"{label}: AP {sum(curve[iou]) / len(curve[iou]):.1f}")
            axes.set_ylim(-2, 102)
            _label(axes, f"IoU {iou}", "recall, percent", "precision, percent")

        return paint

    return _panels([panel(iou) for iou in ious])


def plot_errors(models: Mapping[str, Errors]) -> Image.Image:
    """How many errors of each kind, and the AP50 gained by correcting all of a kind. models: label -> `errors`."""

    def counts(axes: Axes) -> None:
        _bars(axes, KINDS, {label: [e.counts[k] for k in KINDS] for label, e in models.items()})
        _label(axes, "errors", "", "number")

    def gains(axes: Axes) -> None:
        _bars(axes, KINDS, {f"{label}: AP50 {e.ap:.1f}": [e.gains[k] for k in KINDS] for label, e in models.items()})
        _label(axes, "AP50 gained by correcting a kind", "", "percent")

    return _panels([counts, gains])


def plot_sizes(models: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Image.Image:
    """AP by the size of objects. models: label -> `sizes(...)`; sizes without objects are left out."""
    every = next(iter(models.values()))
    names = [name for name, figures in every.items() if figures["objects"]]

    def paint(axes: Axes) -> None:
        heads = [f"{name}\n{every[name]['objects']:g} objects" for name in names]
        _bars(axes, heads, {label: [figures[n]["AP"] for n in names] for label, figures in models.items()})
        _label(axes, "AP by size", "", "percent")

    return _panels([paint])


def _bars(axes: Axes, heads: Sequence[str], groups: Mapping[str, Sequence[float]]) -> None:
    width = 0.8 / len(groups)
    for n, (label, heights) in enumerate(groups.items()):
        axes.bar([i + (n - (len(groups) - 1) / 2) * width for i in range(len(heads))], heights, width, label=label)
    axes.set_xticks(range(len(heads)), heads, fontsize=7, rotation=20 if len(heads) > 4 else 0)


def _label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(axis="y", color="#e6e6e6")
    axes.legend(fontsize=7)


def _panels(paints: Sequence[Paint]) -> Image.Image:
    def paint_all(figure: Figure) -> None:
        for axes, paint in zip(panels(figure, len(paints), len(paints)), paints, strict=True):
            paint(axes)

    return Image.open(io.BytesIO(painted((WIDE * len(paints), HIGH), paint_all, dpi=DPI)))
