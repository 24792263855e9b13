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
from casl.report.canvas import as_it_is, headed, wrapped
from casl.report.table import SMALL
from casl.report.wording import mean_and_spread, spread_said
from casl.report.written import Contents, Write, anew
from casl.spec.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "labels"
FIGURES = ("precision", "recall", "f1")
ALL = ("AP", "AP75")  # figures of all labels, whatever their score
SHADES = ("#e08214", "#185b9e", "#1b7837", "#762a83", "#4d4d4d")  # of the deltas in the picture
_HOW_DRAWN = "Labels whose score exceeds δ; means over IoU .50:.05:.95 and over seeds, bars are one standard deviation."


@dataclass(frozen=True)
class Quality:
    """Labels of one labeler on one split. what: kind of labels, detector, backbone. images: in the split.

    stages: that labelled, one a seed. values: (figure, delta) -> percent of each seed, in the order of the seeds; delta
    is "" for those of all labels.
    """

    what: str
    images: int
    stages: tuple[str, ...]
    values: Mapping[tuple[str, str], tuple[float, ...]]

    @property
    def deltas(self) -> list[str]:
        return sorted({delta for _, delta in self.values if delta})


def qualities(runs: Mapping[str, Run]) -> list[Quality]:
    """Quality of every finished labelling that was compared with a truth, seeds of one labeler together."""
    found: dict[tuple[str, int], dict[tuple[str, str], list[float]]] = {}
    stages: dict[tuple[str, int], list[str]] = {}
    for run in runs.values():
        if run.kind != "pseudolabel" or run.status != "done":
            continue
        place = _what(run.stage["labeler"]), _images(run)
        stages.setdefault(place, []).append(run.name)
        values = found.setdefault(place, {})
        for name, value in run.metrics.items():
            figure, _, delta = name.partition("@")
            if figure in (FIGURES if delta else ALL):
                values.setdefault((figure, delta), []).append(float(value))
    return [
        Quality(*place, tuple(stages[place]), {figure: tuple(v) for figure, v in values.items()})
        for place, values in sorted(found.items())
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
        text, record, png = markdown.write(page(found, small)), to_json(found, small), picture(found, small)
        return {f"{NAME}.md": text, f"{NAME}.json": record, f"{NAME}.png": png}

    return write(folder, NAME, (found, small), make)


def to_json(found: Sequence[Quality], small: bool) -> str:
    """One object with a list `labels`; percent, one number a seed."""
    records = [
        {
            "labeler": q.what,
            "images": q.images,
            "stages": q.stages,
            **{figure: q.values.get((figure, ""), ()) for figure in ALL},
            **{figure: {delta: q.values[figure, delta] for delta in q.deltas} for figure in FIGURES},
        }
        for q in found
    ]
    return json.dumps({"warning": SMALL if small else "", "labels": records}, indent=1, allow_nan=False) + "\n"


def read_labels(record: Mapping[str, Any]) -> list[Quality]:
    """Quality from its JSON; that of an earlier version lacks stages and AP. Raises KeyError for what is none."""
    found = []
    for line in record["labels"]:
        every = {(figure, ""): line.get(figure, ()) for figure in ALL}  # of all labels they were not always counted
        every |= {(figure, delta): values for figure in FIGURES for delta, values in line[figure].items()}
        values = {place: tuple(seeds) for place, seeds in every.items() if seeds}
        found.append(Quality(line["labeler"], line["images"], tuple(line.get("stages", ())), values))
    return found


def page(found: Sequence[Quality], small: bool, older: str = "") -> Page:
    """The page: one line a labeler and split. older: what stands above labels of other code than today's."""
    deltas = found[0].deltas
    counted = [figure for figure in ALL if any((figure, "") in q.values for q in found)]
    places = [*((figure, "") for figure in counted), *((figure, delta) for figure in FIGURES for delta in deltas)]
    heads = ["labeler", "images", *(f"{figure}, δ {delta}" if delta else figure for figure, delta in places)]
    lines = [[q.what, f"{q.images:,}", *(mean_and_spread(q.values.get(place, ())) for place in places)] for q in found]
    how = Paragraph(
        "Boxes against the hidden truth of the unlabeled images, which the method never sees; percent, mean over IoU "
        ".50:.05:.95, class-agnostic matching for all. AP takes all labels, at most 100 an image; AP75 is at IoU .75. "
        "Labelers of entities are compared with entities, those of objects with objects."
    )
    parts = [*caution(SMALL if small else ""), *caution(older), how, Rows(heads, lines)]
    if said := spread_said(values for q in found for values in q.values.values()):
        parts.append(Paragraph(said))
    return Page("How good the pseudo labels are", parts)


def _what(labeler: Mapping[str, Any]) -> str:
    model = labeler["model"]
    kind = "class-agnostic" if model["classes"] == 1 else "class-specific"
    shapes = labeler["data"].get("shapes", "things")
    of = f" of {shapes}" if shapes != "things" else ""
    return f"{labeler['labels']}{of}, {kind}, {model['detector']} {model['backbone']}"


def _images(run: Run) -> int:
    return int(run.facts.get("images", 0))


def paint(figure: Figure, found: Sequence[Quality]) -> None:
    """A row for each labeler and a panel for each figure, so that however alike they are none hides another."""
    deltas = sorted({delta for quality in found for delta in quality.deltas})
    panels = figure.subplots(1, len(FIGURES), sharey=True)
    for axes, name in zip(panels, FIGURES, strict=True):
        for n, delta in enumerate(deltas):
            _mark(axes, [quality.values.get((name, delta), ()) for quality in found], delta, n, len(deltas))
        axes.set_title(f"{name.capitalize()}, percent", fontsize=10)
        axes.grid(axis="x", color="#e0e0e0")
        axes.tick_params(labelsize=8)
        for row in range(1, len(found)):
            axes.axhline(row - 0.5, color="#e0e0e0", linewidth=0.8)
    names = [as_it_is(f"{quality.what}\n{quality.images:,} images") for quality in found]
    panels[0].set_yticks(range(len(found)), names, fontsize=8)
    panels[0].set_ylim(len(found) - 0.5, -0.5)  # the first on top, as in the list
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=9)


def picture(found: Sequence[Quality], small: bool, older: str = "") -> bytes:
    """PNG of all of it. older: as of `page`."""
    size = 10.0, 1.3 + 0.5 * len(found)
    warnings = [SMALL if small else "", older]
    lines = wrapped([_HOW_DRAWN], size[0])
    return headed("Pseudo labels against hidden truth", warnings, lines, size, lambda f: paint(f, found))


def _mark(axes: Axes, rows: Sequence[Sequence[float]], delta: str, n: int, count: int) -> None:
    """The mean of each row at one delta, with its spread; each delta has a height of its own within the row."""
    known = [(row, values) for row, values in enumerate(rows) if values]
    axes.errorbar(
        [statistics.fmean(values) for _, values in known],
        [row + 0.5 * ((n + 0.5) / count - 0.5) for row, _ in known],
        xerr=[statistics.stdev(values) if len(values) > 1 else 0.0 for _, values in known],
        linestyle="",
        marker="os^Dv"[n % 5],
        color=SHADES[n % len(SHADES)],
        markersize=5,
        elinewidth=1,
        capsize=2,
        label=f"score > {delta}",
    )
