"""How many objects a detector misses, by how much of them others hide.

Source: Table 4.4 of the dissertation has the groups "occluded low" and "occluded medium" of an analysis tool, in which
people judged the level; the bins of the hidden share are casl's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from casl.coco.judge import is_number
from casl.errors import DataError
from casl.metrics.matching import coco_eval, silence
from casl.metrics.results import TRUTH, GroundTruth, Result

FULL_AREA = "full_area"  # of an annotation: pixels that the object would have in the image if nothing hid it
BINS: Mapping[str, tuple[float, float]] = {"low": (0.0, 0.25), "medium": (0.25, 0.5), "high": (0.5, 1.0)}
IOU = 0.5  # with which an object is found


def hidden_share(visible: float, full: float) -> float:
    """Share of an object's area that others hide, in [0, 1).

    Args:
        visible: its pixels that can be seen, above 0.
        full: its pixels in the image if nothing hid it, at least as many.

    Raises:
        ValueError: not 0 < visible <= full.
    """
    if not 0 < visible <= full:
        raise ValueError(f"{visible} visible of {full} pixels: more than none can be seen, and at most all")
    return 1.0 - visible / full


def level(share: float) -> str:
    """The bin of a hidden share: its lower end belongs to it and its upper one does not, but for 1.

    Raises:
        ValueError: not a share.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"a hidden share is in [0, 1], got {share}")
    return next(name for name, (_, high) in BINS.items() if share < high or high == 1.0)


def missed_by_level(found: Sequence[bool], shares: Sequence[float]) -> dict[str, float]:
    """Share of the objects of each bin that were not found, percent, -1.0 for a bin without any.

    Args:
        found: (N,) whether an object was found. shares: (N,) its hidden share.
    """
    got: dict[str, list[bool]] = {name: [] for name in BINS}
    for hit, share in zip(found, shares, strict=True):
        got[level(share)].append(bool(hit))
    return {name: 100.0 * (1.0 - sum(hits) / len(hits)) if hits else -1.0 for name, hits in got.items()}


def missed(gt: GroundTruth, dt: Sequence[Result]) -> dict[str, float]:
    """Objects that no prediction of their class finds at IoU .5, by how much of them is hidden.

    Matching is pycocotools': predictions by falling score, at most 100 an image and class, each to the free object that
    it overlaps most. Crowds need not be found.

    Args:
        gt: COCO ground truth whose annotations have `full_area` beside `area`; not changed.
        dt: COCO results; not changed.

    Returns:
        {"missed"} of all and {"missed_low", "missed_medium", "missed_high"} by BINS, percent, -1.0 without objects.

    Raises:
        DataError: see casl.metrics.results; or an annotation does not say its area and its full area as numbers, or a
            full area less than it shows.
    """
    evaluation = coco_eval(gt, dt, masks=False, agnostic=False)  # judges every record, so that ids can be read below
    shares = {int(a["id"]): _share_of(a) for a in gt["annotations"] if not a.get("iscrowd", 0)}
    params = evaluation.params
    params.iouThrs = np.array([IOU])
    params.areaRng, params.areaRngLbl, params.maxDets = params.areaRng[:1], params.areaRngLbl[:1], [100]
    with silence():
        evaluation.evaluate()
    hits: dict[int, bool] = {}
    for judged in filter(None, evaluation.evalImgs):
        matches: NDArray[np.float64] = judged["gtMatches"][0]
        hits |= {int(n): bool(match) for n, match in zip(judged["gtIds"], matches, strict=True) if int(n) in shares}
    every = 100.0 * (1.0 - sum(hits.values()) / len(hits)) if hits else -1.0
    levels = missed_by_level(list(hits.values()), [shares[n] for n in hits])
    return {"missed": every} | {f"missed_{name}": value for name, value in levels.items()}


def _share_of(annotation: Result) -> float:
    owner, area, full = f"{TRUTH}: annotation {annotation['id']}", annotation.get("area"), annotation.get(FULL_AREA)
    if full is None:
        raise DataError(
            f"{owner} has no {FULL_AREA!r}: nothing says how much of the object is hidden.\n"
            "  the built-in scenes write it where they are asked for it (Scenes, hidden=True)."
        )
    if area is None:  # that of a box, which other metrics take instead, counts what others hide
        raise DataError(f"{owner} has no 'area': nothing says how many of its {full!r:.80} pixels can be seen")
    if not is_number(full):
        raise DataError(f"{owner}: {FULL_AREA!r} must be a finite number of pixels, is {full!r:.80}")
    if not 0 < area <= full:
        raise DataError(f"{owner}: {area} of {full} pixels cannot be visible")
    return hidden_share(area, full)
