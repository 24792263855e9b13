"""Whether confidence tells how well a box fits: the most confident predictions, and all of them.

Source: NoisyAnchor (dissertation, chapter 2), Table 2.7 and the text around it. The IoU of a prediction is that with
the object of its class, in its image, that it overlaps most, 0 where there is none; crowds are no objects.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as mask_api

from casl.metrics.matching import checked_sides
from casl.metrics.results import GroundTruth, Result

TOP = 0.02  # share of all predictions that are the most confident ones
FIGURES = ("confidence", "iou", "pearson")


def confidence(gt: GroundTruth, dt: Sequence[Result]) -> dict[str, float]:
    """How confident the best predictions are, how well they fit, and whether confidence and fit go together.

    Args:
        gt, dt: COCO ground truth and results; neither is changed.

    Returns:
        "confidence" and "iou", percent, means over the most confident 2 % of the predictions on all images, at least
        one; "pearson", 100 times the correlation of score and IoU over all of them. -1 without any prediction;
        "pearson" is 0 where one of the two does not vary.

    Raises:
        DataError: see casl.metrics.results.
    """
    truth, found = checked_sides(gt, dt, masks=False, agnostic=False, mask_area=False)
    if not found:
        return dict.fromkeys(FIGURES, -1.0)
    scores, ious = np.array([result["score"] for result in found]), _ious(truth, found)
    best = np.argsort(-scores, kind="stable")[: math.ceil(TOP * len(found))]
    both = np.stack([scores, ious])
    varies = bool((both.std(axis=1) > 0).all())
    pearson = float(np.corrcoef(both)[0, 1]) if varies else 0.0
    values = (scores[best].mean(), ious[best].mean(), pearson)
    return {name: 100.0 * float(value) for name, value in zip(FIGURES, values, strict=True)}


def _ious(truth: Any, found: Sequence[Result]) -> NDArray[np.float64]:
    """(N,) IoU of each prediction with the object of its class that it overlaps most."""
    objects: dict[tuple[int, int], list[Any]] = defaultdict(list)
    for annotation in truth["annotations"]:
        if not annotation.get("iscrowd"):
            objects[annotation["image_id"], annotation["category_id"]].append(annotation["bbox"])
    places: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, result in enumerate(found):
        places[result["image_id"], result["category_id"]].append(place)
    ious = np.zeros(len(found))
    for where, here in places.items():
        if boxes := objects.get(where):
            predicted = [list(map(float, found[place]["bbox"])) for place in here]
            overlap = mask_api.iou(predicted, [list(map(float, box)) for box in boxes], [0] * len(boxes))
            ious[here] = np.asarray(overlap).max(axis=1)
    return ious
