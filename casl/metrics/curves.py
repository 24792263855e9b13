"""Precision against recall, and AP by object size, from pycocotools' own tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from casl.metrics.matching import coco_eval, silence
from casl.metrics.results import GroundTruth, Result

IOUS = (0.5, 0.75)
COCO_EDGES = (0.0, 32.0, 96.0, math.inf)  # sides in pixels that bound COCO's small, medium and large


def precision_recall(
    gt: GroundTruth,
    dt: Sequence[Result],
    *,
    masks: bool = False,
    agnostic: bool = False,
    ious: Sequence[float] = IOUS,
) -> dict[str, list[float]]:
    """Precision at 101 recalls, mean over classes that have objects; its mean over recalls is AP at that IoU.

    Args:
        gt: COCO ground truth. dt: COCO results. Neither is changed.
        masks: compare masks instead of boxes. agnostic: all categories are one.
        ious: thresholds, each in (0, 1).

    Returns:
        {"recall": 101 values, "0.50": 101 values, ...}, in percent; precision is 0 beyond the highest recall, and -1
        everywhere where there are no objects at all.

    Raises:
        ValueError: an IoU outside (0, 1).
        DataError: see casl.metrics.results.
    """
    if not all(0 < iou < 1 for iou in ious):
        raise ValueError(f"IoU thresholds lie in (0, 1), got {list(ious)}")
    evaluation = coco_eval(gt, dt, masks, agnostic)
    evaluation.params.iouThrs = np.array(ious)
    with silence():
        evaluation.evaluate()
        evaluation.accumulate()
    table = evaluation.eval["precision"][:, :, :, 0, -1]  # (IoU, recall, class), -1 for a class without objects
    known = table[:, :, (table >= 0).all(axis=(0, 1))]
    curves = 100.0 * known.mean(axis=2) if known.shape[2] else np.full(table.shape[:2], -1.0)
    recalls = (100.0 * np.asarray(evaluation.params.recThrs)).tolist()
    return {"recall": recalls, **{f"{iou:.2f}": curve.tolist() for iou, curve in zip(ious, curves, strict=True)}}


def ap_by_size(
    gt: GroundTruth,
    dt: Sequence[Result],
    edges: Sequence[float] = COCO_EDGES,
    *,
    masks: bool = False,
    agnostic: bool = False,
) -> dict[str, Mapping[str, float]]:
    """AP of objects by size, with edges of your own: COCO's 32 and 96 px leave two buckets empty on small images.

    Args:
        edges: rising sides in pixels; an object is of a size if its area lies between the squares of two of them.
        Otherwise as `precision_recall`.

    Returns:
        "8-16 px" -> {"AP": mean over IoU .50:.05:.95, "AP50", "objects": how many there are}; AP in percent, -1 without
        objects. As in COCO, an object on an edge counts on both sides.

    Raises:
        ValueError: fewer than two edges, or edges that do not rise from 0 on.
        DataError: see casl.metrics.results.
    """
    if len(edges) < 2 or edges[0] < 0 or any(low >= high for low, high in pairwise(edges)):
        raise ValueError(f"edges are two or more rising sides in pixels, got {list(edges)}")
    evaluation = coco_eval(gt, dt, masks, agnostic)
    names = [_size_name(low, high) for low, high in pairwise(edges)]
    squares = [[low**2, min(high, 1e5) ** 2] for low, high in pairwise(edges)]
    evaluation.params.areaRng, evaluation.params.areaRngLbl = squares, names
    with silence():
        evaluation.evaluate()
        evaluation.accumulate()
    table = evaluation.eval["precision"][:, :, :, :, -1]  # (IoU, recall, class, size)
    areas = [a["area"] for a in evaluation.cocoGt.anns.values() if not a["iscrowd"]]
    counts = [sum(low <= area <= high for area in areas) for low, high in squares]
    return {
        name: {"AP": _mean(table[:, :, :, i]), "AP50": _mean(table[0, :, :, i]), "objects": counts[i]}
        for i, name in enumerate(names)
    }


def _size_name(low: float, high: float) -> str:
    return f"{low:g}-{high:g} px" if math.isfinite(high) else f"{low:g} px on"


def _mean(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    known = values[values >= 0]
    return 100.0 * float(known.mean()) if known.size else -1.0
