"""Stage 1b, `pseudolabel`: a labeler's scored predictions on unlabeled images (CA-SSL eq. 2, before the threshold)."""

from __future__ import annotations

from typing import Any

from casl.data.coco import CocoSplit, agnostic
from casl.data.pseudo import Prediction, write_pseudo_labels
from casl.metrics.counts import label_quality
from casl.spec.context import Context, Outcome
from casl.spec.kinds import PseudoLabel
from casl.stages.detectors import TestSettings, build_detector, coco_results, predict_split
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
    found = list(predict_split(labeler, split, settings, ctx.device, lambda done: ctx.progress(done, len(split), {})))
    write_pseudo_labels(ctx.folder / LABELS, split.images, found)
    truth = hidden_truth(stage.data, stage.labeler.labels, ctx)
    _draw(stage, split, truth, found, ctx)
    facts = {"images": len(split), "labels": sum(len(p.scores) for p in found)}
    return Outcome(metrics=_quality(truth, found) if truth else {}, facts=facts)


def _quality(truth: CocoSplit, found: list[Prediction]) -> dict[str, float]:
    """Precision, recall and F1 of the labels against the hidden truth, in percent: "f1@0.3" and so on."""
    one_class = agnostic(truth)
    results: list[dict[str, Any]] = coco_results(one_class, found)
    metrics: dict[str, float] = {}
    for threshold in QUALITY_AT:
        quality = label_quality(one_class.coco(), results, threshold)
        metrics |= {f"{name}@{threshold}": quality[name] for name in ("precision", "recall", "f1")}
    return metrics


def _draw(stage: PseudoLabel, split: CocoSplit, truth: CocoSplit | None, found: list[Prediction], ctx: Context) -> None:
    classes = ("entity",) if stage.labeler.model.classes == 1 else split.classes
    rows = []
    for i in chosen(split):
        row = [predicted(split, i, found[i], classes)]
        rows.append([*row, true(agnostic(truth), i)] if truth else row)
    headings = [f"pseudo labels, score > {CONFIDENT}", "hidden truth, never trained on"]
    save_grid(ctx.folder, "pseudo_labels", rows, headings[: len(rows[0])])
