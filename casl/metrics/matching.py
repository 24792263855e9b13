"""Matching of predictions and objects by pycocotools: both sides judged and copied, then a `COCOeval` without output.

Plain AP needs none and is counted by casl.metrics.tables, which is several times as fast.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
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
    classes: Collection[int] | None = None,
) -> Any:
    """A pycocotools `COCOeval` over all images of the ground truth, not yet evaluated.

    Args:
        gt: COCO ground truth; not changed.
        dt: COCO results; not changed. None at all is legal.
        masks: compare masks instead of boxes.
        agnostic: all categories are one.
        above: only predictions with a score above this take part.
        mask_area: with masks, a prediction's area is its mask's even where it has a box.
        classes: ids of the categories whose objects are to be found, see HeldOut; None for all.

    Raises:
        DataError: see casl.metrics.results.
    """
    truth, found = checked_sides(gt, dt, masks, agnostic, mask_area)
    evaluation = evaluation_of(
        truth,
        [result for result in found if result["score"] > above],
        "segm" if masks else "bbox",
        COCOeval if classes is None else HeldOut,
    )
    if classes is not None:
        evaluation.others = [int(a["id"]) for a in gt["annotations"] if a["category_id"] not in classes]
    return evaluation


class HeldOut(COCOeval):  # type: ignore[misc]
    """Only some of the objects are to be found, and finding another costs nothing.

    A prediction takes one of the wanted objects if it can, else one of the others, which does not count. Those whose
    best match at IoU .5 is one of the others are left out of the first 1, 10 or 100 predictions that a recall allows:
    else a detector that also finds what it was taught would seem to find less of what it was not. At most 100
    predictions an image are looked at before that.

    Attributes:
        others: ids of the annotations that are not wanted.

    Source: Kim et al., Learning open-world object proposals without learning to classify, RA-L 2022, sec. 4.
    """

    others: Sequence[int] = ()

    def _prepare(self) -> None:
        super()._prepare()
        others = frozenset(self.others)
        for objects in self._gts.values():
            for one in objects:
                one["ignore"] = int(one["ignore"] or one["id"] in others)

    def evaluateImg(self, imgId: Any, catId: Any, aRng: Any, maxDet: int) -> Any:  # noqa: N802
        found = super().evaluateImg(imgId, catId, aRng, maxDet)
        if found is not None:
            free = ~np.isin(found["dtMatches"][0], list(self.others))  # rows are IoU .5 and above
            for name in ("dtMatches", "dtIgnore"):
                found[name] = found[name][:, free]
            for name in ("dtIds", "dtScores"):
                found[name] = [value for value, kept in zip(found[name], free, strict=True) if kept]
        return found


def evaluation_of(truth: GroundTruth, found: Sequence[Result], kind: str, judge: type[Any] = COCOeval) -> Any:
    """A pycocotools `COCOeval` of two checked sides, not yet evaluated; kind is "bbox", "segm" or "keypoints"."""
    with silence():
        return judge(_indexed(truth), _indexed(truth | {"annotations": found}), kind)


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
