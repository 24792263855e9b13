"""Score any COCO result file against any COCO ground truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from casl.metrics.ap import ap_e_mask
from casl.metrics.results import GroundTruth, Result, has_masks, read_ground_truth, read_results

Metric = Callable[[GroundTruth, list[Result]], dict[str, float]]


def score(gt_path: Path, dt_path: Path, metric: str, function: Metric) -> dict[str, Any]:
    """One metric of one result file, ready to be written as JSON.

    Args:
        gt_path: COCO ground truth.
        dt_path: COCO results: a list, or an object with such a list as "annotations".
        metric: name of the metric in the catalog, repeated in the answer.
        function: what that name stands for: f(ground truth, results) -> {name: value in percent}.

    Returns:
        {"metric", "unit": "percent", the metric's own values, "images", "ground_truth", "predictions"}; the last three
        are counts, crowds included. "ap_e" is the box form, and has the six values of the mask form under "mask" when
        every annotation and every prediction has a segmentation.

    Raises:
        DataError: a file is missing, not JSON or not what it should be, or the two do not belong together.
    """
    gt, dt = read_ground_truth(gt_path), read_results(dt_path)
    answer: dict[str, Any] = {"metric": metric, "unit": "percent", **function(gt, dt)}
    if metric == "ap_e" and has_masks(gt["annotations"]) and has_masks(dt):
        answer["mask"] = ap_e_mask(gt, dt)
    counts = {"images": len(gt["images"]), "ground_truth": len(gt["annotations"]), "predictions": len(dt)}
    return answer | counts
