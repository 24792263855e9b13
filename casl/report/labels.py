"""Quality of pseudo labels against the truth that the method never sees: AP of all, precision and recall by delta.

Only data whose unlabeled images have a hidden truth give such numbers: the built-in scenes, and sets that bring one.
Matching is class-agnostic for every labeler, also a class-specific one, so that they can be compared.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casl.report import markdown
from casl.report.blocks import Page, Paragraph, Rows, caution
from casl.report.canvas import painted
from casl.report.table import SMALL
from casl.report.wording import MEAN_AND_SPREAD, number, plus_minus
from casl.report.written import Contents, Write, anew
from casl.spec.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "labels"
FIGURES = ("precision", "recall", "f1")
ALL = ("AP", "AP75")  # figures of all labels, whatever their score


@dataclass(frozen=True)
class Quality:
    """Labels of one labeler on one split. what: kind of labels, detector, backbone. images: in the split.

    values: (figure, delta) -> percent of each seed, in the order of the seeds; delta is "" for those of all labels.
    """

    what: str
    images: int
    values: Mapping[tuple[str, str], tuple[float, ...]]

    @property
    def deltas(self) -> list[str]:
        return sorted({delta for _, delta in self.values if delta})


def qualities(runs: Mapping[str, Run]) -> list[Quality]:
    """Quality of every finished labelling that was compared with a truth, seeds of one labeler together."""
    found: dict[tuple[str, int], dict[tuple[str, str], list[float]]] = {}
    for run in runs.values():
        if run.kind != "pseudolabel" or run.status != "done":
            continue
        values = found.setdefault((_what(run.stage["labeler"]), _images(run)), {})
        for name, value in run.metrics.items():
            figure, _, delta = name.partition("@")
            if figure in (FIGURES if delta else ALL):
                values.setdefault((figure, delta), []).append(float(value))
    return [
        Quality(what, images, {place: tuple(v) for place, v in values.items()})
        for (what, images), values in sorted(found.items())
        if values
    ]


def write_labels(runs: Mapping[str, Run], folder: Path, small: bool, write: Write = anew) -> list[Path]:
    """Write <folder>/labels.md, .json and .png; nothing where no labels were compared with a truth.

    write: whether always, or only what is another.

    Raises:
        StoreError: the folder cannot be written.
    """
    if not (found := qualities(runs)):
        return []

    def make() -> Contents:
        text, record, png = markdown.write(page(found, small)), to_json(found, small), _picture(found, small)
        return {f"{NAME}.md": text, f"{NAME}.json": record, f"{NAME}.png": png}

    return write(folder, NAME, (found, small), make)


def to_json(found: Sequence[Quality], small: bool) -> str:
    """One object with a list `labels`; percent, one number a seed."""
    records = [
        {
            "labeler": q.what,
            "images": q.images,
            **{figure: q.values.get((figure, ""), ()) for figure in ALL},
            **{figure: {delta: q.values[figure, delta] for delta in q.deltas} for figure in FIGURES},
        }
        for q in found
    ]
    return json.dumps({"warning": SMALL if small else "", "labels": records}, indent=1, allow_nan=False) + "\n"


def page(found: Sequence[Quality], small: bool) -> Page:
    """The page: one line a labeler and split."""
    deltas = found[0].deltas
    places = [*((figure, "") for figure in ALL), *((figure, delta) for figure in FIGURES for delta in deltas)]
    heads = ["labeler", "images", *(f"{figure}, δ {delta}" if delta else figure for figure, delta in places)]
    lines = [[q.what, f"{q.images:,}", *(_spread(q, *place) for place in places)] for q in found]
    how = Paragraph(
        "Boxes against the hidden truth of the unlabeled images, which the method never sees; percent, mean over IoU "
        ".50:.05:.95, class-agnostic matching for all. AP takes all labels, at most 100 an image; AP75 is at IoU .75. "
        "Labelers of entities are compared with entities, those of objects with objects."
    )
    parts = [*caution(SMALL if small else ""), how, Rows(heads, lines), Paragraph(MEAN_AND_SPREAD)]
    return Page("How good the pseudo labels are", parts)


def _what(labeler: Mapping[str, Any]) -> str:
    model = labeler["model"]
    kind = "class-agnostic" if model["classes"] == 1 else "class-specific"
    return f"{labeler['labels']}, {kind}, {model['detector']} {model['backbone']}"


def _images(run: Run) -> int:
    return int(run.facts.get("images", 0))


def _spread(quality: Quality, figure: str, delta: str) -> str:
    values = quality.values.get((figure, delta), ())
    if not values:
        return "–"
    return number(statistics.fmean(values)) + plus_minus(statistics.stdev(values) if len(values) > 1 else None)


def _picture(found: Sequence[Quality], small: bool) -> bytes:
    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for n, quality in enumerate(found):
            means = [[statistics.fmean(quality.values[f, d]) for d in quality.deltas] for f in ("recall", "precision")]
            line = axes.plot(*means, marker="os^Dv"[n % 5], label=f"{quality.what}, {quality.images:,} images")[0]
            for delta, x, y in zip(quality.deltas, *means, strict=True):
                axes.annotate(delta, (x, y), (4, 3), textcoords="offset points", fontsize=7, color=line.get_color())
        axes.set_xlabel("recall, mean over IoU .50:.05:.95, percent", fontsize=9)
        axes.set_ylabel("precision", fontsize=9)
        axes.set_title("Pseudo labels against hidden truth, at each δ" + (f"\n{SMALL}" if small else ""), fontsize=10)
        axes.grid(color="#e0e0e0")
        axes.legend(fontsize=6.5)

    return painted((7.6, 4.8), paint)
