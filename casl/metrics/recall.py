"""Average recall without classes: how many of the objects are found, whatever they are called.

That is the natural measure of class-agnostic labels: a labeler should find every object, and AP also asks that it rank
them. Every metric here is `f(gt, dt) -> {"AR1", "AR10", "AR100", "ARs", "ARm", "ARl"}` in percent: recall at 1, 10 and
100 predictions an image, and at 100 for objects up to 32², up to 96² and above 96² pixels; mean over IoU .50:.05:.95,
-1.0 where nothing of that size is there to be found. All categories of both sides are one. Areas, crowds and errors are
those of casl.metrics.ap. With `classes`, ids of categories, only their objects are to be found, and predictions on
others are not counted at all: see casl.metrics.matching.HeldOut.

Source: pycocotools, `COCOeval.summarize`; Hosang et al., What makes for effective detection proposals?, PAMI 38 (2016).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from casl.metrics.matching import coco_eval, silence
from casl.metrics.results import GroundTruth, Result

FIGURES = ("AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
PREDICTIONS = (1, 10, 100)  # of an image that count


def ar_det_a(gt: GroundTruth, dt: Sequence[Result], classes: Collection[int] | None = None) -> dict[str, float]:
    """Recall of boxes of objects, class-agnostic.

    Args:
        gt: COCO ground truth. dt: COCO results; their category_id is ignored. Neither is changed.
        classes: ids of the categories whose objects are to be found, others are ignored; None for all.

    Returns:
        FIGURES in percent, the mean over IoU .50:.05:.95: of the best 1, 10 and 100 predictions of an image, and of
        100 for each size; -1.0 where there is nothing to be found.

    Raises:
        DataError: an illegal ground truth or prediction; the message names the entry.
    """
    return _average_recall(gt, dt, masks=False, classes=classes)


def ar_seg_a(gt: GroundTruth, dt: Sequence[Result], classes: Collection[int] | None = None) -> dict[str, float]:
    """Recall of masks of objects; as ar_det_a with masks for boxes."""
    return _average_recall(gt, dt, masks=True, classes=classes)


def ar_e(gt: GroundTruth, dt: Sequence[Result]) -> dict[str, float]:
    """Recall of boxes of entities, things and stuff; as ar_det_a with another ground truth."""
    return ar_det_a(gt, dt)


def ar_e_mask(gt: GroundTruth, dt: Sequence[Result]) -> dict[str, float]:
    """Recall of masks of entities; a prediction's area is its mask's, as in ap_e_mask."""
    return _average_recall(gt, dt, masks=True, mask_area=True)


def ar_proposals(gt: GroundTruth, dt: Sequence[Result]) -> dict[str, float]:
    """Recall of boxes of objects by the best 10, 30 and 100 of an image: proposals of small images."""
    return _average_recall(gt, dt, masks=False, most=(10, 30, 100))


def ar_proposals_1000(gt: GroundTruth, dt: Sequence[Result]) -> dict[str, float]:
    """The same by the best 100, 300 and 1,000: proposals of COCO's images."""
    return _average_recall(gt, dt, masks=False, most=(100, 300, 1000))


def _average_recall(
    gt: GroundTruth,
    dt: Sequence[Result],
    masks: bool,
    mask_area: bool = False,
    classes: Collection[int] | None = None,
    most: tuple[int, int, int] = PREDICTIONS,
) -> dict[str, float]:
    """`FIGURES`, with other names where other numbers of predictions count; sizes are judged with the last."""
    evaluation = coco_eval(gt, dt, masks, agnostic=True, mask_area=mask_area, classes=classes)
    evaluation.params.maxDets = list(most)
    names = (*(f"AR{count}" for count in most), *FIGURES[3:])
    with silence():
        evaluation.evaluate()
        if not evaluation.params.imgIds:
            return dict.fromkeys(names, -1.0)
        evaluation.accumulate()
        evaluation.summarize()
    values = zip(names, evaluation.stats[6:12], strict=True)
    return {name: 100.0 * float(value) if value > -1 else -1.0 for name, value in values}
