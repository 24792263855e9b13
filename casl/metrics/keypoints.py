"""Average precision of keypoints, equal to pycocotools' (see casl.metrics.tables)."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.cocoeval import Params

from casl.errors import DataError
from casl.metrics.matching import checked_sides, judge_of
from casl.metrics.results import GroundTruth, Result
from casl.metrics.tables import precision_table, summary

SIZES = ("m", "l")

Sigmas = dict[int, NDArray[np.float64]]  # of each category that has keypoints


def ap_point(gt: GroundTruth, dt: Sequence[Result], sigma: float = 0.05) -> dict[str, float]:
    """AP^point: as ap_det with object keypoint similarity (OKS) for IoU. Source: pycocotools `keypoints`.

    OKS is the mean over an object's labeled keypoints of exp(-d² / (2 area (2 sigma)²)): d the distance in pixels, area
    the object's, sigma how far people disagree about that keypoint, relative to the object's size. At most 20
    predictions an image and class. An object none of whose keypoints is labeled, or a crowd, is neither to be found nor
    wrong to find; there is no small size, because COCO labels no keypoints there.

    Args:
        gt: COCO ground truth whose annotations have `keypoints` [x, y, visibility, ...] in pixels, visibility 0 for not
            labeled. `num_keypoints` as written, else the number of labeled ones. Not changed.
        dt: COCO results with `keypoints` [x, y, anything, ...]; their score is that of the object. Not changed.
        sigma: of every keypoint of a category that says nothing else. Said otherwise is: `sigmas` in the category, one
            positive number a keypoint; and without them, COCO's own for 17 keypoints, which are a person's. An animal
            of 17 keypoints should bring its `sigmas`. 0.05 is between COCO's wrist (.062) and ear (.035).

    Returns:
        {"AP", "AP50", "AP75", "APm", "APl"}, percent, -1.0 where there is nothing to be found. The size of an object is
        `area` as written, that of a prediction its box's, without box its mask's, without both the extent of all its
        keypoints, as `COCO.loadRes` has it; entry by entry, not as the first one.

    Raises:
        DataError: see casl.metrics.results; and keypoints that are missing, not finite or not as many as the category
            has. The message names the entry.
    """
    truth, found, sigmas = _checked(gt, dt, sigma)
    return summary(precision_table(truth, found, "keypoints", sigmas), SIZES)


def keypoint_eval(gt: GroundTruth, dt: Sequence[Result], sigma: float = 0.05) -> Any:
    """A pycocotools `COCOeval` of keypoints, not yet evaluated; arguments and errors as ap_point."""
    truth, found, sigmas = _checked(gt, dt, sigma)
    evaluation = judge_of(truth, found, "keypoints")
    persons, similarity = evaluation.params.kpt_oks_sigmas, evaluation.computeOks

    def similarity_by_category(image_id: int, category_id: int) -> Any:
        # pycocotools knows one set of sigmas for all categories; a category without objects needs none
        evaluation.params.kpt_oks_sigmas = sigmas.get(int(category_id), persons)
        return similarity(image_id, category_id)

    evaluation.computeOks = similarity_by_category
    return evaluation


def _checked(gt: GroundTruth, dt: Sequence[Result], sigma: float) -> tuple[GroundTruth, list[Result], Sigmas]:
    if not sigma > 0:
        raise ValueError(f"sigma is a positive fraction of an object's size, got {sigma}")
    is_list = isinstance(dt, list | tuple)  # else checked_sides says what is wrong
    points = [_points(r, f"predictions: entry {i}") for i, r in enumerate(dt)] if is_list else []
    boxed = [_with_box(r, p) for r, p in zip(dt, points, strict=True)] if is_list else dt
    truth, results = checked_sides(gt, boxed, masks=False, agnostic=False)
    counts = _give_truth_its_points(truth, gt)
    for i, (own, found) in enumerate(zip(results, points, strict=True)):
        own["keypoints"] = found
        _check_count(found, counts.get(own["category_id"]), f"predictions: entry {i}")
    categories, persons = {c["id"]: c for c in truth["categories"]}, Params("keypoints").kpt_oks_sigmas
    return truth, results, {n: _sigmas(categories[n], count, persons, sigma) for n, count in counts.items()}


def _give_truth_its_points(checked: GroundTruth, gt: GroundTruth) -> dict[int, int]:
    """Add keypoints to checked annotations; returns how many each category has, as far as can be known."""
    names = {category["id"]: category.get("keypoints") for category in gt["categories"]}
    counts = {number: len(points) for number, points in names.items() if points and isinstance(points, list | tuple)}
    for own, annotation in zip(checked["annotations"], gt["annotations"], strict=True):
        owner = f"ground truth: annotation {own['id']}"
        points = _points(annotation, owner)
        _check_count(points, counts.setdefault(own["category_id"], len(points) // 3), owner)
        labeled = annotation.get("num_keypoints", int((points[2::3] > 0).sum()))
        if not isinstance(labeled, Integral) or labeled < 0:
            raise DataError(f"{owner}: num_keypoints must be an integer >= 0, got {labeled!r}")
        own |= {"keypoints": points, "num_keypoints": int(labeled)}
    return counts


def _points(entry: object, owner: str) -> NDArray[np.float64]:
    """(3K,) float; an entry that is no object is left to the check of results."""
    if not isinstance(entry, dict):
        return np.zeros(0)
    written = entry.get("keypoints")
    if written is None or (isinstance(written, list | tuple) and not written):
        raise DataError(f"{owner} has no keypoints: [x, y, visibility, ...], 0, 0, 0 for each that is not labeled")
    try:
        points = np.asarray(written, dtype=np.float64)
    except (TypeError, ValueError):
        points = np.full(1, np.nan)
    if points.ndim != 1 or len(points) % 3 or not np.isfinite(points).all():
        raise DataError(f"{owner}: keypoints must be a flat list of finite x, y, visibility, ..., got {written!r:.80}")
    return points


def _check_count(points: NDArray[np.float64], count: int | None, owner: str) -> None:
    if count is not None and len(points) != 3 * count:
        raise DataError(f"{owner}: {len(points) / 3:g} keypoints, but its category has {count}")


def _with_box(result: Result, points: NDArray[np.float64]) -> Result:
    if not isinstance(result, dict) or result.get("bbox") is not None or result.get("segmentation") or not len(points):
        return result
    x, y = points[0::3], points[1::3]
    return result | {"bbox": [float(v) for v in (x.min(), y.min(), x.max() - x.min(), y.max() - y.min())]}


def _sigmas(category: dict[str, Any], count: int, persons: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    written = category.get("sigmas")
    if written is None:
        return persons if count == len(persons) else np.full(count, sigma)
    try:
        sigmas = np.asarray(written, dtype=np.float64)
    except (TypeError, ValueError):
        sigmas = np.zeros(0)
    if sigmas.shape != (count,) or not np.isfinite(sigmas).all() or not (sigmas > 0).all():
        raise DataError(
            f"ground truth: category {category['id']}: sigmas must be {count} positive numbers, one a keypoint, "
            f"got {written!r:.80}"
        )
    return sigmas
