"""Stage 1b, `pseudolabel`: a labeler's scored predictions on unlabeled images (CA-SSL eq. 2, before the threshold)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from casl.data.coco import CocoSplit, agnostic
from casl.data.pseudo import Prediction, write_pseudo_labels
from casl.metrics.counts import label_quality
from casl.spec.context import Context, Outcome
from casl.spec.kinds import PseudoLabel
from casl.stages.detectors import TestSettings, build_detector, coco_results, predict_split, to_prediction
from casl.stages.pictures import CONFIDENT, chosen, predicted, save_grid, true
from casl.stages.sources import LABELS, hidden_truth, open_split
from casl.stages.training import WEIGHTS
from casl.train.checkpoint import load_weights

QUALITY_AT = (0.1, 0.3, 0.5)  # thresholds at which labels are compared with the hidden truth, where there is one


def run(stage: PseudoLabel, ctx: Context) -> Outcome:
    """Label the images as they are, without augmentation, and keep every score."""
    split = open_split(stage.data, "images", ctx)
    labeler = build_detector(stage.labeler.model, ctx, pretrained=False, non_overlap=stage.non_overlap)
    labeler.load_state_dict(load_weights(ctx.inputs[stage.labeler.name] / WEIGHTS))
    settings = TestSettings(stage.size, stage.max_size, stage.detections)
    found = [to_prediction(p) for p in predict_split(labeler, split, settings, ctx.device, ctx.progress)]
    taught = open_split(stage.labeler.data, stage.labeler.labels, ctx)
    classes = taught if stage.labeler.model.classes > 1 else agnostic(taught)
    write_pseudo_labels(ctx.folder / LABELS, split.images, found, classes.classes, classes.category_ids)
    truth = hidden_truth(stage.data, stage.labeler.labels, ctx)
    _draw(classes.classes, split, truth, found, ctx)
    facts = {"images": len(split), "labels": sum(len(p.scores) for p in found)}
    return Outcome(metrics=_quality(truth, found) if truth else {}, facts=facts)


def _quality(truth: CocoSplit, found: list[Prediction]) -> dict[str, float]:
    """Precision, recall and F1 of the labels against the hidden truth, in percent: "f1@0.3" and so on."""
    results: list[dict[str, Any]] = coco_results(truth, found)
    metrics: dict[str, float] = {}
    for threshold in QUALITY_AT:
        quality = label_quality(truth.coco(), results, threshold)
        metrics |= {f"{name}@{threshold}": quality[name] for name in ("precision", "recall", "f1")}
    return metrics


def _draw(
    classes: Sequence[str], split: CocoSplit, truth: CocoSplit | None, found: list[Prediction], ctx: Context
) -> None:
    rows = []
    for i in chosen(split):
        row = [predicted(split, i, found[i], classes)]
        rows.append([*row, true(truth if len(classes) > 1 else agnostic(truth), i)] if truth else row)
    headings = [f"pseudo labels, score > {CONFIDENT}", "hidden truth, never trained on"]
    save_grid(ctx.folder, "pseudo_labels", rows, headings[: len(rows[0])])
