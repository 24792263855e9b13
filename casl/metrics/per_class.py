"""AP of each class by itself, whose mean is ap_det or ap_seg.

Every function here is `f(gt, dt) -> [ClassAP]`, one entry for each category of the ground truth by rising id, matched
and counted as by casl.metrics.ap, so that the mean of the defined ones is that metric's AP.

Source: pycocotools, `COCOeval.accumulate`: the third axis of its precision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from casl.metrics.matching import checked_sides
from casl.metrics.results import GroundTruth, Result
from casl.metrics.tables import precision_table, summary


@dataclass(frozen=True)
class ClassAP:
    """One class. objects: annotations that are to be found, crowds left out. ap, ap50: over IoU .50:.05:.95 and at .50,
    percent, -1.0 without objects."""

    name: str
    objects: int
    ap: float
    ap50: float


def boxes(gt: GroundTruth, dt: Sequence[Result]) -> list[ClassAP]:
    """AP of boxes of each class."""
    return _by_class(gt, dt, masks=False)


def masks(gt: GroundTruth, dt: Sequence[Result]) -> list[ClassAP]:
    """AP of masks of each class."""
    return _by_class(gt, dt, masks=True)


def _by_class(gt: GroundTruth, dt: Sequence[Result], masks: bool) -> list[ClassAP]:
    truth, found = checked_sides(gt, dt, masks, agnostic=False)
    objects = Counter(a["category_id"] for a in truth["annotations"] if not a["iscrowd"])
    known = sorted((category["id"], str(category.get("name", category["id"]))) for category in truth["categories"])
    table = precision_table(truth, found, "segm" if masks else "bbox")  # which uses up both sides
    each = [summary(table[:, :, place : place + 1], ()) for place in range(len(known))]
    return [
        ClassAP(name, objects[number], figures["AP"], figures["AP50"])
        for figures, (number, name) in zip(each, known, strict=True)
    ]
