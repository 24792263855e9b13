"""Panoptic quality of things and stuff, by the rules of panopticapi.

Every function here gives {"PQ", "SQ", "RQ"} over all categories and the same with _th over things and with _st over
stuff, in percent, -1.0 where no category of that part has anything to count. The rules, image by image:

    match       same category, IoU > .5. The union leaves out what the prediction covers of void. Such a match is unique
    crowd       a true segment marked iscrowd is never matched and never missed
    ignored     a prediction without match of which more than half lies on void and the crowd of its own category counts
                as nothing; of several crowds of one category in an image the last is that crowd. Others are wrong
    category    SQ = mean IoU of the matches, RQ = matches / (matches + wrong / 2 + missed / 2), PQ = SQ x RQ
    mean        over the categories with anything matched, wrong or missed; so predicting stuff where none is costs

What is an area? In the union, a true segment's is the `area` field, as written; where absent its number of pixels. A
predicted segment's is always its number of pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from casl.coco.judge import VOID
from casl.errors import DataError
from casl.metrics.panoptic import ID_LIMIT, Ids, Pair, Segment, checked_categories, checked_segments, read_pairs

MATCH_ABOVE = 0.5  # IoU; segments of an image share no pixel, so none can have two such matches
IGNORE_ABOVE = 0.5  # share of a prediction on void and crowd

Overlaps = dict[tuple[int, int], int]  # (true id, predicted id) -> pixels; id 0 is void


@dataclass
class Tally:
    """What was counted of one category."""

    iou: float = 0.0  # sum over matches
    matched: int = 0
    wrong: int = 0
    missed: int = 0

    @property
    def counts(self) -> bool:
        """Whether the category has anything matched, wrong or missed, so that its quality is defined."""
        return self.matched + self.wrong + self.missed > 0

    @property
    def quality(self) -> tuple[float, float, float]:
        """(PQ, SQ, RQ), fractions; only where anything counts."""
        size = self.matched + 0.5 * self.wrong + 0.5 * self.missed
        return self.iou / size, self.iou / self.matched if self.matched else 0.0, self.matched / size


def pq(gt: dict[str, Any], gt_pngs: Path, dt: dict[str, Any], dt_pngs: Path) -> dict[str, float]:
    """Panoptic quality of COCO panoptic predictions.

    Args:
        gt: COCO panoptic ground truth, {"annotations", "categories"}; every category says `isthing`. Not changed.
        gt_pngs: folder with its PNGs.
        dt: predictions, {"annotations"} of the same form. Images that the ground truth lacks do not count.
        dt_pngs: folder with their PNGs.

    Returns:
        {"PQ", "SQ", "RQ", "PQ_th", "SQ_th", "RQ_th", "PQ_st", "SQ_st", "RQ_st"}, percent, see this module.

    Raises:
        DataError: an image without prediction, a missing or damaged PNG, PNGs of different sizes, a segment that only
            one of JSON and PNG has, an unknown category; the message names image and segment.

    Source: Kirillov et al., Panoptic Segmentation (CVPR 2019); github.com/cocodataset/panopticapi, evaluation.py.
    """
    categories = checked_categories(gt.get("categories") if isinstance(gt, dict) else None)
    return _mean_quality(read_pairs(gt, gt_pngs, dt, dt_pngs), categories)


def pq_of_arrays(
    pairs: Iterable[tuple[Ids, Sequence[dict[str, Any]], Ids, Sequence[dict[str, Any]]]],
    categories: Sequence[dict[str, Any]],
) -> dict[str, float]:
    """Panoptic quality of images in memory.

    Args:
        pairs: (gt_ids, gt_segments, dt_ids, dt_segments) of every image, see casl.metrics.panoptic.Pair. Read once, one
            at a time, so a generator will do.
        categories: COCO categories, each with `id` and `isthing`.

    Returns:
        As pq.

    Raises:
        DataError: as pq; images are named by their place, counted from 0.
    """
    named = ((f"image number {i}", Pair(*pair)) for i, pair in enumerate(pairs))
    return _mean_quality(named, checked_categories(categories))


def tallies_of(pair: Pair, is_thing: dict[int, bool], name: str) -> list[Tally]:
    """What is counted in one image, for each category of `is_thing` in its order. Raises DataError as pq."""
    tallies = {category: Tally() for category in is_thing}
    _count(pair, tallies, is_thing, name)
    return list(tallies.values())


def _mean_quality(pairs: Iterable[tuple[str, Pair]], is_thing: dict[int, bool]) -> dict[str, float]:
    tallies = {category: Tally() for category in is_thing}
    for name, pair in pairs:
        _count(pair, tallies, is_thing, name)
    values: dict[str, float] = {}
    for suffix, part in (("", (True, False)), ("_th", (True,)), ("_st", (False,))):
        found = [tally.quality for category, tally in tallies.items() if tally.counts and is_thing[category] in part]
        means = np.mean(found, axis=0) * 100.0 if found else np.full(3, -1.0)
        values |= {f"{key}{suffix}": float(mean) for key, mean in zip(("PQ", "SQ", "RQ"), means, strict=True)}
    return values


def _count(pair: Pair, tallies: dict[int, Tally], is_thing: dict[int, bool], name: str) -> None:
    overlaps = _overlaps(pair.gt_ids, pair.dt_ids, name)
    truth = checked_segments(pair.gt_segments, _pixels(overlaps, 0), is_thing, f"ground truth: {name}")
    pixels = _pixels(overlaps, 1)
    found = checked_segments(pair.dt_segments, pixels, is_thing, f"predictions: {name}")

    matches = _matches(truth, found, pixels, overlaps, name)
    for (true, _), iou in matches.items():
        tallies[truth[true].category].iou += iou
        tallies[truth[true].category].matched += 1
    for missed in truth.keys() - {true for true, _ in matches}:
        tallies[truth[missed].category].missed += not truth[missed].crowd
    crowds = {segment.category: number for number, segment in truth.items() if segment.crowd}
    for wrong in found.keys() - {predicted for _, predicted in matches}:
        category = found[wrong].category
        unjudged = overlaps.get((VOID, wrong), 0)
        if category in crowds:
            unjudged += overlaps.get((crowds[category], wrong), 0)
        tallies[category].wrong += unjudged / pixels[wrong] <= IGNORE_ABOVE


def _matches(
    truth: dict[int, Segment], found: dict[int, Segment], pixels: dict[int, int], overlaps: Overlaps, name: str
) -> dict[tuple[int, int], float]:
    """IoU of every match, by (true id, predicted id)."""
    matches: dict[tuple[int, int], float] = {}
    for (true, predicted), shared in overlaps.items():
        if VOID in (true, predicted) or truth[true].crowd or truth[true].category != found[predicted].category:
            continue
        union = pixels[predicted] + truth[true].area - shared - overlaps.get((VOID, predicted), 0)
        if union < shared:
            raise DataError(
                f"ground truth: {name}: segment {true} is said to have an area of {truth[true].area} pixels, "
                f"but segment {predicted} of the predictions shares {shared} pixels with it"
            )
        if shared / union > MATCH_ABOVE:
            matches[true, predicted] = shared / union
    return matches


def _overlaps(gt_ids: Ids, dt_ids: Ids, name: str) -> Overlaps:
    for ids, whose in ((gt_ids, "ground truth"), (dt_ids, "predictions")):
        if ids.ndim != 2 or not np.issubdtype(ids.dtype, np.integer):
            raise DataError(f"{whose}: {name}: ids must be (H, W) integers, got {ids.shape} {ids.dtype}")
        if ids.size and not 0 <= ids.min() <= ids.max() < ID_LIMIT:
            raise DataError(f"{whose}: {name}: ids must be in [0, {ID_LIMIT}), got {ids.min()} to {ids.max()}")
    if gt_ids.shape != dt_ids.shape:
        (height, width), (h, w) = gt_ids.shape, dt_ids.shape
        raise DataError(f"{name}: the ground truth is {width} x {height} pixels, the prediction {w} x {h}")
    both, counts = np.unique(gt_ids.astype(np.int64) * ID_LIMIT + dt_ids.astype(np.int64), return_counts=True)
    return {divmod(code, ID_LIMIT): count for code, count in zip(both.tolist(), counts.tolist(), strict=True)}


def _pixels(overlaps: Overlaps, side: int) -> dict[int, int]:
    pixels: dict[int, int] = {}
    for ids, count in overlaps.items():
        pixels[ids[side]] = pixels.get(ids[side], 0) + count
    return pixels
