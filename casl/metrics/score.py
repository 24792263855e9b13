"""Score any COCO result file, or panoptic folder, against any COCO ground truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from casl.metrics.pq import pq
from casl.metrics.results import (
    GroundTruth,
    Result,
    have_masks,
    read_ground_truth,
    read_panoptic_truth,
    read_results,
)

Metric = Callable[[GroundTruth, list[Result]], dict[str, float]]


def score(
    gt_path: Path, dt_path: Path, metric: str, function: Metric, of_masks: Metric | None = None
) -> dict[str, Any]:
    """One metric of one result file, ready to be written as JSON.

    Args:
        gt_path: COCO ground truth.
        dt_path: COCO results: a list, or an object with such a list as "annotations".
        metric: name of the metric in the catalog, repeated in the answer.
        function: what that name stands for: f(ground truth, results) -> {name: value in percent}.
        of_masks: a metric of masks to be added where both files have masks; None for none.

    Returns:
        {"metric", "unit": "percent", the metric's own values, "images", "ground_truth", "predictions"}; the last three
        are counts, crowds included. "mask" has the values of `of_masks` when every annotation and every prediction has
        a segmentation.

    Raises:
        DataError: a file is missing, not JSON or not what it should be, or the two do not belong together.
    """
    gt, dt = read_ground_truth(gt_path), read_results(dt_path)
    answer: dict[str, Any] = {"metric": metric, "unit": "percent", **function(gt, dt)}
    if of_masks is not None and have_masks(gt["annotations"]) and have_masks(dt):
        answer["mask"] = of_masks(gt, dt)
    counts = {"images": len(gt["images"]), "ground_truth": len(gt["annotations"]), "predictions": len(dt)}
    return answer | counts


def score_panoptic(gt_json: Path, gt_pngs: Path | None, dt_json: Path, dt_pngs: Path | None = None) -> dict[str, Any]:
    """Panoptic quality of panoptic predictions on disk, ready to be written as JSON.

    Args:
        gt_json: COCO panoptic ground truth.
        gt_pngs: folder of its PNGs; None is the folder beside it that is named as it without suffix.
        dt_json: predictions in the same format; "images" and "categories" are not needed.
        dt_pngs: folder of their PNGs; None as for gt_pngs.

    Returns:
        {"metric": "pq", "unit": "percent", the nine values of casl.metrics.pq, "images", "ground_truth",
        "predictions"}; the last two are counts of segments in the images of the ground truth, crowds included.

    Raises:
        DataError: see casl.metrics.pq; and a file that is missing, not JSON or not what it should be.
    """
    gt, dt = read_panoptic_truth(gt_json), {"annotations": read_results(dt_json)}
    values = pq(gt, gt_pngs or gt_json.with_suffix(""), dt, dt_pngs or dt_json.with_suffix(""))
    judged = {record["image_id"] for record in gt["annotations"]}
    counts = {
        name: sum(len(record["segments_info"]) for record in records if record["image_id"] in judged)
        for name, records in (("ground_truth", gt["annotations"]), ("predictions", dt["annotations"]))
    }
    return {"metric": "pq", "unit": "percent", **values, "images": len(judged), **counts}
