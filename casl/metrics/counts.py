"""Precision, recall and F1 of pseudo labels against the truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from casl.metrics.matching import coco_eval, silence
from casl.metrics.results import GroundTruth, Result

Counts = np.ndarray[tuple[int], np.dtype[np.float64]]  # one number for each of the ten IoU


def label_quality(
    gt: GroundTruth, dt: Sequence[Result], threshold: float = 0.0, masks: bool = False
) -> dict[str, float]:
    """Class-agnostic precision, recall and F1 of the labels whose score exceeds a threshold.

    Matching is pycocotools': labels by falling score, each to the free object it overlaps most, if that is enough; a
    label on a crowd counts neither as right nor as wrong, and a crowd need not be found. No limit of labels an image.

    Args:
        gt: COCO ground truth; not changed.
        dt: COCO results; not changed.
        threshold: delta of the paper; a score must exceed it, equal is dropped.
        masks: compare masks instead of boxes.

    Returns:
        Percent. "precision_50", "recall_50" and "f1_50" at IoU .5; "precision", "recall" and "f1", each the mean over
        IoU .50:.05:.95; -1.0 where nothing can be divided by: precision without labels, recall without objects, F1
        without either. Labels on crowds are no labels here, and crowds no objects.

    Raises:
        DataError: see casl.metrics.results.

    Source: CA-SSL (ECCV 2022) eq. 2 for the threshold; pycocotools for the matching.
    """
    evaluation = coco_eval(gt, dt, masks, agnostic=True, above=threshold)
    params = evaluation.params
    params.areaRng, params.areaRngLbl = params.areaRng[:1], params.areaRngLbl[:1]  # any size
    params.maxDets = [max(1, len(dt))]
    with silence():
        evaluation.evaluate()
    right = np.zeros(len(params.iouThrs))
    wrong = np.zeros(len(params.iouThrs))
    objects = 0
    for image in filter(None, evaluation.evalImgs):
        judged = ~image["dtIgnore"].astype(bool)
        found = image["dtMatches"] != 0
        right += (found & judged).sum(axis=1)
        wrong += (~found & judged).sum(axis=1)
        objects += int((np.asarray(image["gtIgnore"]) == 0).sum())
    return _rates(right, wrong, objects)


def _rates(right: Counts, wrong: Counts, objects: int) -> dict[str, float]:
    quality: dict[str, float] = {}
    for name, divisor, factor in (
        ("precision", right + wrong, 1),
        ("recall", np.full_like(right, objects), 1),
        ("f1", right + wrong + objects, 2),
    ):
        rates = np.where(divisor > 0, 100.0 * factor * right / np.maximum(divisor, 1), -1.0)
        quality[f"{name}_50"] = float(rates[0])
        quality[name] = float(rates[rates >= 0].mean()) if (rates >= 0).any() else -1.0
    return quality
