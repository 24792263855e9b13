"""Average precision of keypoints, equal to pycocotools' (see casl.metrics.tables)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.cocoeval import Params

from casl.coco.judge import keypoint_problems, sigmas_problem
from casl.coco.records import refuse
from casl.metrics.matching import checked_sides, evaluation_of
from casl.metrics.results import FOUND, TRUTH, GroundTruth, Result
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
            labeled; an annotation without any has none labeled. Not changed.
        dt: COCO results with `keypoints` [x, y, anything, ...]; their score is that of the object. Not changed.
        sigma: of every keypoint of a category that says nothing else. Said otherwise is: `sigmas` in the category, one
            positive number a keypoint; and without them, COCO's own for 17 keypoints, which are a person's. An animal
            of 17 keypoints should bring its `sigmas`. 0.05 is between COCO's wrist (.062) and ear (.035).

    Returns:
        {"AP", "AP50", "AP70", "AP75", "APm", "APl"}, percent, -1.0 where there is nothing to be found. The size of an
        object is `area` as written, that of a prediction its box's, without box its mask's, without both the extent of
        all its keypoints, as `COCO.loadRes` has it; entry by entry, not as the first one.

    Raises:
        DataError: see casl.metrics.results; and illegal keypoints, a prediction without any, or a category of which
            the number of keypoints is not known. The message names the entry.
    """
    truth, found, sigmas = _checked(gt, dt, sigma)
    return summary(precision_table(truth, found, "keypoints", sigmas), SIZES)


def keypoint_eval(gt: GroundTruth, dt: Sequence[Result], sigma: float = 0.05) -> Any:
    """A pycocotools `COCOeval` of keypoints, not yet evaluated; arguments and errors as ap_point."""
    truth, found, sigmas = _checked(gt, dt, sigma)
    evaluation = evaluation_of(truth, found, "keypoints")
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
    boxed = [_with_box(r, _points_found(r, i)) for i, r in enumerate(dt)] if is_list else dt
    truth, results = checked_sides(gt, boxed, masks=False, agnostic=False)
    counts = _give_truth_its_points(truth, gt)
    for i, (own, result) in enumerate(zip(results, dt, strict=True)):
        own["keypoints"] = _points_found(result, i, counts.get(own["category_id"]))
    categories, persons = {c["id"]: c for c in truth["categories"]}, Params("keypoints").kpt_oks_sigmas
    return truth, results, {n: _sigmas(categories[n], count, persons, sigma) for n, count in counts.items()}


def _give_truth_its_points(checked: GroundTruth, gt: GroundTruth) -> dict[int, int]:
    """Add keypoints to checked annotations; returns how many each category has, as far as can be known."""
    names = {category["id"]: category.get("keypoints") for category in gt["categories"]}
    counts = {number: len(points) for number, points in names.items() if points and isinstance(points, list | tuple)}
    for annotation in gt["annotations"]:
        if not keypoint_problems(annotation, None) and len(annotation.get("keypoints", ())):
            counts.setdefault(annotation["category_id"], len(annotation["keypoints"]) // 3)
    for own, annotation in zip(checked["annotations"], gt["annotations"], strict=True):
        count = counts.get(own["category_id"])
        for problem in keypoint_problems(annotation, count):
            refuse(f"{TRUTH}: annotation {own['id']}: {problem}")
        if count is None:
            refuse(f"{TRUTH}: category {own['category_id']}: it is not known how many keypoints it has")
        written = annotation.get("keypoints", ())
        points = np.asarray(written if len(written) else np.zeros(3 * count), np.float64)
        own |= {"keypoints": points, "num_keypoints": int((points[2::3] > 0).sum())}
    return counts


def _points_found(result: Any, i: int, count: int | None = None) -> NDArray[np.float64]:
    """(3K,) float of a prediction; one that is no object is left to the check of results."""
    if not isinstance(result, dict):
        return np.zeros(0)
    owner, written = f"{FOUND}: entry {i}", result.get("keypoints")
    if written is None or not np.size(written):
        refuse(f"{owner} has no keypoints: [x, y, score, ...]")
    for problem in keypoint_problems(result, count, found=True):
        refuse(f"{owner}: {problem}")
    return np.asarray(written, dtype=np.float64)


def _with_box(result: Result, points: NDArray[np.float64]) -> Result:
    if not isinstance(result, dict) or result.get("bbox") is not None or result.get("segmentation") or not len(points):
        return result
    x, y = points[0::3], points[1::3]
    return result | {"bbox": [float(v) for v in (x.min(), y.min(), x.max() - x.min(), y.max() - y.min())]}


def _sigmas(category: dict[str, Any], count: int, persons: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    written = category.get("sigmas")
    if written is None:
        return persons if count == len(persons) else np.full(count, sigma)
    if problem := sigmas_problem(category, count):
        refuse(f"{TRUTH}: category {category['id']}: {problem}")
    return np.asarray(written, np.float64)
