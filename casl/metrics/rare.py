"""AP of the classes that are met least.

Source: Table 3.3 of the dissertation, "rarest 10 classes" of COCO's 80, an eighth of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from casl.metrics.per_class import boxes
from casl.metrics.results import GroundTruth, Result

SHARE, FEWEST = 8, 2  # one in so many classes is rare, but at least so many are


def ap_det_rare(gt: GroundTruth, dt: Sequence[Result]) -> dict[str, float]:
    """ap_det as the mean over the classes with the fewest objects in the ground truth, of those that have any; of two
    with as many the one of the higher category id.

    Args:
        gt: COCO ground truth. dt: COCO results.

    Returns:
        "AP" in percent, -1.0 where there is nothing to be found.
    """
    found = [one for one in boxes(gt, dt) if one.objects > 0]
    rising = sorted(range(len(found)), key=lambda place: (found[place].objects, -place))
    rare = [found[place].ap for place in rising[: max(FEWEST, round(len(found) / SHARE))]]
    return {"AP": sum(rare) / len(rare) if rare else -1.0}
