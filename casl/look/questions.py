"""Numbers behind the tables: what led to a cell, what a threshold leaves, what a model gets wrong."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from casl.data.pseudo import read_pseudo_labels
from casl.errors import SpecError, unknown
from casl.files import read_json
from casl.look.pictures import predictions
from casl.look.shelf import DIGESTS, Page, Shelf
from casl.metrics.counts import label_quality
from casl.metrics.curves import ap_by_size, precision_recall
from casl.metrics.errors import Errors, error_types
from casl.report.table import Table
from casl.spec.ablation import Ablation
from casl.spec.kinds import Evaluate, PseudoLabel, Train
from casl.spec.profile import Profile
from casl.spec.stage import Stage, ancestors
from casl.stages.agreement import ScoredLabels
from casl.stages.sources import LABELS, hidden_truth
from casl.stages.training import CURVES

SIZES = (0.0, 8.0, 16.0, 32.0, 96.0, math.inf)  # sides in pixels; the built-in scenes are 64 px, COCO's photos 640


@dataclass(frozen=True)
class Left:
    """What a threshold leaves. threshold: delta. images, labels: to warm up on. The rest as label_quality, percent."""

    threshold: float
    images: int
    labels: int
    precision: float
    recall: float
    f1: float


def evaluation_of(table: Ablation, profile: Profile, row: str, column: str) -> Evaluate:
    """The evaluation behind one cell of a table.

    Raises:
        SpecError: the table has no such cell, or it is only quoted from the paper.
    """
    cells = {f"{c.row} / {c.column}": c for c in reversed(table.build(profile))}
    if (asked := f"{row} / {column}") not in cells:
        raise SpecError(unknown(f"cell of {table.name}", asked, cells))
    return cells[asked].evaluation


def chain(shelf: Shelf, end: Stage) -> Page:
    """All stages that led to one, first to last: what they took, what they measured, and their code.

    Seconds are those of a stage itself; where it continued a shared beginning, that one has seconds of its own.
    """
    lines = ["| stage | status | seconds | figures | commit |", "|---|---|---|---|---|"]
    for stage in ancestors(end):
        run = shelf.run(stage)
        figures = ", ".join(f"{name} {value:.2f}" for name, value in list(run.metrics.items())[:3])
        commit = run.commit[:10] + (" + changes" if run.dirty else "")
        lines.append(f"| {stage.name} | {run.status} | {run.seconds:.1f} | {figures} | {commit} |")
    return Page("\n".join(lines))


def links(table: Table) -> Page:
    """The measured cells of a table with their stages and MLflow runs."""
    lines = ["| cell | value | stage | MLflow run |", "|---|---|---|---|"]
    for cell in table.cells:
        if cell.value is not None:
            place = f"{cell.row} / {cell.column}"
            lines.append(f"| {place} | {cell.value:.2f} | {cell.name} | {cell.mlflow_run_id or 'not sent'} |")
    missing = table.measurable - table.measured
    return Page("\n".join(lines) + (f"\n\n{missing} cells are not measured yet." if missing else ""))


def curves(shelf: Shelf, trained: Train) -> dict[str, list[float]]:
    """What a training wrote down as it went: "iteration", "loss", its parts, and the rate, one number a line.

    Raises:
        StageError: it is not finished.
    """
    with (shelf.folder(trained) / CURVES).open() as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else ())}


def left_at(
    shelf: Shelf, labelled: PseudoLabel, scored: Evaluate, thresholds: Sequence[float], *, hidden: bool = False
) -> list[Left]:
    """Labels left and how good they are, at several values of delta. Trains nothing.

    Args:
        labelled: the scored pseudo labels, which are counted.
        scored: an evaluation of their labeler, whose held-out labels say how good they are.
        thresholds: scores in [0, 1].
        hidden: compare the pseudo labels themselves with the truth of the unlabeled images instead, which only the
            built-in scenes have. It is not to be chosen by: no real data set has it.

    Raises:
        SpecError: an evaluation of another model, or no hidden truth.
    """
    if scored.model.name != labelled.labeler.name:
        raise SpecError(f"{scored.name} measures {scored.model.name}, but the labels are from {labelled.labeler.name}")
    roots = {digest: Path(root) for digest, root in shelf.roots.items()}
    labels = ScoredLabels(shelf.store.folder, roots, shelf.root / DIGESTS)
    found = []
    for threshold in thresholds:
        images, count = labels.counts(labelled, threshold)
        q = hidden_quality(shelf, labelled, threshold) if hidden else labels.quality(scored, threshold)
        found.append(Left(threshold, images, count, q["precision"], q["recall"], q["f1"]))
    return found


def hidden_quality(shelf: Shelf, labelled: PseudoLabel, threshold: float) -> dict[str, float]:
    """Precision, recall and F1 of pseudo labels against the truth that only the built-in scenes know; 0 for undefined.

    Raises:
        SpecError: the unlabeled images are not built-in scenes.
    """
    truth = hidden_truth(labelled.data, labelled.labeler.labels, shelf.context(labelled.data))
    if truth is None:
        raise SpecError(f"{labelled.data.name} has no hidden truth: its images are your own")
    split = read_pseudo_labels(shelf.folder(labelled) / LABELS, truth.folder, threshold)
    results = [dict(a) for annotations in split.annotations for a in annotations]
    return {name: max(0.0, rate) for name, rate in label_quality(truth.coco(), results).items()}


def errors(shelf: Shelf, scored: Evaluate, *, masks: bool = False) -> Errors:
    """The kinds of errors of an evaluated model; see casl.metrics.errors."""
    return error_types(_truth(shelf, scored), predictions(shelf, scored), masks=masks)


def recall_curves(shelf: Shelf, scored: Evaluate) -> dict[str, list[float]]:
    """Precision at 101 recalls of an evaluated model; see casl.metrics.curves."""
    return precision_recall(_truth(shelf, scored), predictions(shelf, scored))


def sizes(shelf: Shelf, scored: Evaluate, edges: Sequence[float] = SIZES) -> dict[str, Any]:
    """AP by the size of objects of an evaluated model; see casl.metrics.curves."""
    return dict(ap_by_size(_truth(shelf, scored), predictions(shelf, scored), edges))


def search_answer(reports: Path, profile: Profile, argument: str = "delta") -> Page:
    """What `casl tune` found out about an argument, or how to ask it."""
    path = reports / profile.folder / f"search-{argument}.json"
    if not path.exists():
        return Page(f"No search over {argument} yet. Run: `casl tune {argument} --profile {profile.name}`")
    found = read_json(path)
    best = found.get("best")
    lines = [f"- {line}" for line in found["headline"]]
    return Page("\n".join([*lines, *([f"- to use it, in the profile: `{best['paste']}`"] if best else [])]))


def _truth(shelf: Shelf, scored: Evaluate) -> dict[str, Any]:
    return shelf.split(scored.data, scored.labels).coco()
