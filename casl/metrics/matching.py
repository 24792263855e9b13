"""The one door to pycocotools: checked input in, a silent `COCOeval` out. It does all matching of this room."""

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
    truth = checked_ground_truth(gt, masks, agnostic)
    images = {image["id"]: image for image in truth["images"]}
    names = {category["id"] for category in truth["categories"]}
    results = checked_results(dt, images, names, masks, agnostic, mask_area)
    found = truth | {"annotations": [result for result in results if result["score"] > above]}
    with silence():
        return COCOeval(_indexed(truth), _indexed(found), "segm" if masks else "bbox")


def silence() -> contextlib.redirect_stdout[io.StringIO]:
    """Nothing printed inside reaches standard output: pycocotools prints its progress and tables there."""
    return contextlib.redirect_stdout(io.StringIO())


def _indexed(dataset: GroundTruth) -> Any:
    # not COCO.loadRes: it fails on an empty list and decides by the first entry how all the others are read
    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    return coco
