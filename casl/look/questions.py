"""Numbers behind the tables: the stages of a cell, labels left by a threshold, errors of a model."""

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
from casl.look.results import Markdown, Results
from casl.metrics.counts import label_quality
from casl.metrics.curves import ap_by_size, precision_recall
from casl.metrics.error_types import Errors, error_types
from casl.report.blocks import Paragraph, Raised, Rows
from casl.report.markdown import write_blocks
from casl.report.table import Table
from casl.spec.ablation import Ablation
from casl.spec.kinds import Evaluate, PseudoLabel, Train
from casl.spec.profile import Profile
from casl.spec.run import CURVES
from casl.spec.stage import Stage, ancestors
from casl.stages.agreement import ScoredLabels
from casl.stages.sources import LABELS, known_truth
from casl.words import number_of

SIZES = (0.0, 8.0, 16.0, 32.0, 96.0, math.inf)  # sides in pixels; the built-in scenes are 64 px, COCO's photos 640


@dataclass(frozen=True)
class Left:
    """Pseudo labels above a threshold, delta. images, labels: how many; the rest: their quality, percent."""

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
    cells = {(c.row, c.column): c for c in reversed(table.build(profile))}
    if (row, column) not in cells:
        raise SpecError(unknown(f"cell of {table.name}", _cell(row, column), [_cell(*place) for place in cells]))
    return cells[row, column].evaluation


def chain(results: Results, end: Stage) -> Markdown:
    """All stages that led to one, first to last: what they took, what they measured, and their code.

    Seconds are those of a stage itself; where it continued a shared beginning, that one has seconds of its own.
    """
    lines = []
    for stage in ancestors(end):
        run = results.run(stage)
        figures = ", ".join(f"{name} {value:.2f}" for name, value in list(run.metrics.items())[:3])
        commit = run.commit[:10] + (" + changes" if run.dirty else "")
        lines.append((stage.name, run.status, f"{run.seconds:.1f}", figures, commit))
    return Markdown(write_blocks([Rows(("stage", "status", "seconds", "figures", "commit"), lines, words=2)]))


def links(table: Table) -> Markdown:
    """The measured cells of a table with their stages and MLflow runs."""
    lines = [
        (Raised(_cell(c.row, c.column)), f"{c.value:.2f}", c.name, c.mlflow_run_id or "not sent")
        for c in table.cells
        if c.value is not None
    ]
    missing = table.measurable - table.measured
    note = [Paragraph(f"{number_of(missing, 'cell is', 'cells are')} not measured yet.")] if missing else []
    return Markdown(write_blocks([Rows(("cell", "value", "stage", "MLflow run"), lines), *note]))


def curves(results: Results, trained: Train) -> dict[str, list[float]]:
    """Curves of a training: "iteration", "loss", its parts, and the rate, one number for each iteration written.

    Raises:
        StageError: it is not finished.
    """
    with (results.folder(trained) / CURVES).open() as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else ())}


def left_at(
    results: Results, labelled: PseudoLabel, scored: Evaluate, thresholds: Sequence[float], *, hidden: bool = False
) -> list[Left]:
    """Labels left and how good they are, at several values of delta. Trains nothing.

    Args:
        labelled: the scored pseudo labels, which are counted.
        scored: an evaluation of their labeler, whose held-out labels say how good they are.
        thresholds: scores in [0, 1].
        hidden: compare the pseudo labels themselves with the truth of the unlabeled images instead, where it is
            known. It is not to be chosen by: who has unlabeled images does not have it.

    Raises:
        SpecError: an evaluation of another model, or no hidden truth.
    """
    if scored.model.name != labelled.labeler.name:
        raise SpecError(f"{scored.name} measures {scored.model.name}, but the labels are from {labelled.labeler.name}")
    labels = ScoredLabels(results.store.folder, results.data_folders, results.digests)
    found = []
    for threshold in thresholds:
        images, count = labels.counts(labelled, threshold)
        q = hidden_quality(results, labelled, threshold) if hidden else labels.quality(scored, threshold)
        found.append(Left(threshold, images, count, q["precision"], q["recall"], q["f1"]))
    return found


def hidden_quality(results: Results, labelled: PseudoLabel, threshold: float) -> dict[str, float]:
    """Precision, recall and F1 of pseudo labels against the true labels of the same images; 0 for undefined.

    Raises:
        SpecError: they are not known, neither as of built-in scenes nor beside a set on disk.
    """
    truth = known_truth(labelled.data, labelled.labeler.labels, results.context(labelled.data))
    if truth is None:
        raise SpecError(f"{labelled.data.name} has no hidden truth: its images are your own")
    split = read_pseudo_labels(results.folder(labelled) / LABELS, truth.folder, threshold)
    ids = {image.file_name: image.id for image in truth.images}
    found = [
        {**label, "image_id": ids[image.file_name]}
        for image, labels in zip(split.images, split.annotations, strict=True)
        if image.file_name in ids
        for label in labels
    ]
    return {name: max(0.0, rate) for name, rate in label_quality(truth.coco(), found).items()}


def errors(results: Results, scored: Evaluate, *, masks: bool = False) -> Errors:
    """The kinds of errors of an evaluated model; see casl.metrics.error_types."""
    return error_types(_truth(results, scored), predictions(results, scored), masks=masks)


def recall_curves(results: Results, scored: Evaluate) -> dict[str, list[float]]:
    """Precision at 101 recalls of an evaluated model; see casl.metrics.curves."""
    return precision_recall(_truth(results, scored), predictions(results, scored))


def sizes(results: Results, scored: Evaluate, edges: Sequence[float] = SIZES) -> dict[str, Any]:
    """AP by the size of objects of an evaluated model; see casl.metrics.curves."""
    return dict(ap_by_size(_truth(results, scored), predictions(results, scored), edges))


def search_answer(reports: Path, profile: Profile, argument: str = "delta") -> Markdown:
    """The answer of the search over an argument, from its report; without one, the command that searches."""
    path = reports / profile.folder / f"search-{argument}.json"
    if not path.exists():
        return Markdown(f"No search over {argument} yet. Run: `casl tune {argument} --profile {profile.name}`")
    found = read_json(path)
    best = found.get("best")
    lines = [f"- {line}" for line in found["headline"]]
    return Markdown("\n".join([*lines, *([f"- to use it, in the profile: `{best['paste']}`"] if best else [])]))


def _cell(row: str, column: str) -> str:
    return f"{row} / {column}"


def _truth(results: Results, scored: Evaluate) -> dict[str, Any]:
    return results.split(scored.data, scored.labels).coco()
