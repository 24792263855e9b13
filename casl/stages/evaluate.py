"""Stage `evaluate`: one metric of one model on one split."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from PIL import Image
from torch import Tensor

from casl.catalog import load, load_place, row
from casl.data.coco import CocoSplit
from casl.files import write_atomic
from casl.models.head import DeadSides
from casl.rows import Metric
from casl.spec.context import Context, Outcome
from casl.spec.kinds import Evaluate, boxes_of
from casl.spec.run import DRAWS, WEIGHTS
from casl.stages.detectors import TestSettings, build_detector, predict_split, stoppable, to_prediction
from casl.stages.forms import form_of
from casl.stages.pictures import CONFIDENT, chosen, predicted, save_grid, true
from casl.stages.sources import open_split
from casl.stages.training import TEACHER
from casl.train.checkpoint import load_weights


def run(stage: Evaluate, ctx: Context) -> Outcome:
    """Predict, score, and show some images beside the truth. Entities are predicted without overlap, as labelers do,
    their boxes counted as the truth's are."""
    split = open_split(stage.data, stage.labels, ctx)
    trained = stage.model.model
    overlap_free = stage.labels == "entities" and trained.predicts("entities")
    detector = build_detector(trained, ctx, pretrained=False, non_overlap=overlap_free, boxes=boxes_of(stage.data))
    weights = TEACHER if stage.of == "teacher" else WEIGHTS
    detector.load_state_dict(load_weights(ctx.inputs[stage.model.name] / weights))
    metric: Metric = row("metric", stage.metric)
    if metric.raw:
        _without_suppression(detector)
    form, dead = form_of(metric, split, stage.classes), DeadSides(detector)
    shown, rows = set(chosen(split)), []
    settings = TestSettings(
        stage.size,
        stage.max_size,
        metric.detections,
        applied=stage.applied,
        masks="masks" in metric.needs,
    )
    for i, found in enumerate(predict_split(detector, split, settings, ctx.device, stoppable(ctx, len(split)))):
        found = _above(found, stage.above) if stage.above else found
        form.add(i, found)
        if i in shown:
            rows.append(_row(split, i, found, trained.classes))
    metrics = form.judge(load("metric", stage.metric))
    if metric.interval:
        draws = form.draws(load_place(metric.interval))
        write_atomic(ctx.folder / DRAWS, json.dumps([round(value, 4) for value in draws]).encode())
    if rows:
        save_grid(ctx.folder, "predictions", rows, [f"prediction, score > {CONFIDENT}", "ground truth"])
    facts: dict[str, Any] = {"images": len(split), "predictions": form.keep(ctx.folder)}
    if dead.names:
        facts["note"] = f"{' and '.join(dead.names)} of every box at its centre: box regression died in training"
    return Outcome(metrics=metrics, facts=facts)


def _without_suppression(detector: Any) -> None:
    """No box overlaps another by more than all of itself, so at that limit each stays."""
    detector.settings = replace(detector.settings, inference=replace(detector.settings.inference, nms=1.0))


def _above(found: dict[str, Tensor], score: float) -> dict[str, Tensor]:
    """The predictions of an image that score more; a map of stuff has no scores and stays."""
    keep = found["scores"] > score
    return {name: value if name == "semantic" else value[keep.to(value.device)] for name, value in found.items()}


def _row(split: CocoSplit, i: int, found: dict[str, Tensor], num_classes: int) -> list[Image.Image]:
    classes = split.classes if num_classes > 1 else ("object",)
    return [predicted(split, i, to_prediction(found), classes), true(split, i)]
