"""Matching of predictions and objects by pycocotools: both sides judged and copied, then a `COCOeval` without output.

Plain AP needs none and is counted by casl.metrics.tables, which is several times as fast.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Sequence
from typing import Any

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from casl.metrics.results import GroundTruth, Result, checked_ground_truth, checked_results


def coco_eval(
    gt: GroundTruth,
    dt: Sequence[Result],
    masks: bool,
    agnostic: bool,
    above: float = -math.inf,
    mask_area: bool = False,
) -> Any:
    """A pycocotools `COCOeval` over all images of the ground truth, not yet evaluated.

    Args:
        gt: COCO ground truth; not changed.
        dt: COCO results; not changed. None at all is legal.
        masks: compare masks instead of boxes.
        agnostic: all categories are one.
        above: only predictions with a score above this take part.
        mask_area: with masks, a prediction's area is its mask's even where it has a box.

    Raises:
        DataError: see casl.metrics.results.
    """
    truth, found = checked_sides(gt, dt, masks, agnostic, mask_area)
    return evaluation_of(truth, [result for result in found if result["score"] > above], "segm" if masks else "bbox")


def evaluation_of(truth: GroundTruth, found: Sequence[Result], kind: str) -> Any:
    """A pycocotools `COCOeval` of two checked sides, not yet evaluated; kind is "bbox", "segm" or "keypoints"."""
    with silence():
        return COCOeval(_indexed(truth), _indexed(truth | {"annotations": found}), kind)


def checked_sides(
    gt: GroundTruth, dt: Sequence[Result], masks: bool, agnostic: bool, mask_area: bool = False
) -> tuple[GroundTruth, list[Result]]:
    """Copies of both sides with just what matching needs; arguments and errors as coco_eval."""
    truth = checked_ground_truth(gt, masks, agnostic)
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    names = None if agnostic else {category["id"] for category in truth["categories"]}
    return truth, checked_results(dt, sizes, names, masks, mask_area)


def silence() -> contextlib.redirect_stdout[io.StringIO]:
    """Nothing printed inside reaches standard output: pycocotools prints its progress and tables there."""
    return contextlib.redirect_stdout(io.StringIO())


def _indexed(dataset: GroundTruth) -> Any:
    # not COCO.loadRes: it fails on an empty list and decides by the first entry how all the others are read
    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    return coco
