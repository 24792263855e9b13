"""Stage `evaluate`: one metric of one model on one split."""

from __future__ import annotations

import json
from typing import Any

from casl.catalog import load
from casl.data.coco import CocoSplit
from casl.data.pseudo import Prediction
from casl.files import write_atomic
from casl.spec.context import Context, Outcome
from casl.spec.kinds import Evaluate
from casl.stages.detectors import TestSettings, build_detector, coco_results, predict_split
from casl.stages.pictures import CONFIDENT, chosen, predicted, save_grid, true
from casl.stages.sources import open_split
from casl.stages.training import WEIGHTS
from casl.train.checkpoint import load_weights

PREDICTIONS = "predictions.json"


def run(stage: Evaluate, ctx: Context) -> Outcome:
    """Predict, score, and show some images beside the truth. Entities are predicted without overlap, as labelers do."""
    split = open_split(stage.data, stage.labels, ctx)
    trained = stage.model.model
    overlap_free = stage.labels == "entities" and trained.detector == "condinst"
    detector = build_detector(trained, ctx, pretrained=False, non_overlap=overlap_free)
    detector.load_state_dict(load_weights(ctx.inputs[stage.model.name] / WEIGHTS))
    settings = TestSettings(stage.size, stage.max_size)
    found = list(predict_split(detector, split, settings, ctx.device, lambda done: ctx.progress(done, len(split), {})))
    results = coco_results(split, found)
    write_atomic(ctx.folder / PREDICTIONS, json.dumps(results).encode())
    metrics = load("metric", stage.metric)(split.coco(), _judged(results, stage.metric))
    _draw(split, found, trained.classes, ctx)
    return Outcome(metrics=metrics, facts={"images": len(split), "predictions": len(results)})


def _judged(results: list[dict[str, Any]], metric: str) -> list[dict[str, Any]]:
    """What the metric sees. Masks are judged without their box, or COCO would take the box for their area."""
    if not metric.startswith("ap_seg"):
        return results
    return [{name: value for name, value in r.items() if name != "bbox"} for r in results]


def _draw(split: CocoSplit, found: list[Prediction], num_classes: int, ctx: Context) -> None:
    classes = split.classes if num_classes > 1 else ("object",)
    rows = [[predicted(split, i, found[i], classes), true(split, i)] for i in chosen(split)]
    if rows:
        save_grid(ctx.folder, "predictions", rows, [f"prediction, score > {CONFIDENT}", "ground truth"])
