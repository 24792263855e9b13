"""F1 of every image by itself: where one detector does better than another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from casl.metrics.matching import coco_eval, silence
from casl.metrics.results import GroundTruth, Result


def f1_by_image(gt: GroundTruth, dt: Sequence[Result], above: float) -> dict[int, float]:
    """F1 of the predictions that score above a threshold, of each image.

    Matching is pycocotools', class by class: predictions by falling score, each to the free object of its class
    that it overlaps most, if that is enough; one on a crowd counts neither as right nor as wrong, and a crowd need not
    be found.

    Args:
        gt: COCO ground truth; not changed.
        dt: COCO results with boxes; not changed.
        above: a score must exceed it, equal is dropped.

    Returns:
        Image id -> percent, mean over those of IoU .50:.05:.95 at which there is something to divide by. An image with
        neither an object nor a prediction is left out.

    Raises:
        DataError: see casl.metrics.results.

    Source: pycocotools for the matching.
    """
    evaluation = coco_eval(gt, dt, masks=False, agnostic=False, above=above)
    params = evaluation.params
    params.areaRng, params.areaRngLbl = params.areaRng[:1], params.areaRngLbl[:1]  # any size
    params.maxDets = [max(1, len(dt))]
    with silence():
        evaluation.evaluate()
    ids = [image["id"] for image in gt["images"]]
    right, sides = ({image: np.zeros(len(params.iouThrs)) for image in ids} for _ in range(2))
    for one in filter(None, evaluation.evalImgs):
        judged = ~one["dtIgnore"].astype(bool)
        right[one["image_id"]] += ((one["dtMatches"] != 0) & judged).sum(axis=1)
        sides[one["image_id"]] += judged.sum(axis=1) + (np.asarray(one["gtIgnore"]) == 0).sum()
    known = {image: sides[image] > 0 for image in ids}
    return {
        image: float((200.0 * right[image][some] / sides[image][some]).mean())
        for image, some in known.items()
        if some.any()
    }
