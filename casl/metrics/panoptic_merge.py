"""One segment a pixel, out of overlapping instance masks and a semantic map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NO_STUFF = 0  # of a semantic map


@dataclass(frozen=True)
class MergeSettings:
    """Thresholds of merging; the defaults are PanopticFPN's on COCO images.

    Attributes:
        min_score: instances below it are left out; equal stays.
        max_overlap: share of an instance, in [0, 1], that better ones may have taken; more, and it is left out.
        stuff_area_limit: pixels of the image; stuff with fewer left is void. 4096 fits images of about 640 x 480: scale
            it with the area of smaller ones.
    """

    min_score: float = 0.5
    max_overlap: float = 0.5
    stuff_area_limit: float = 4096


def merge_panoptic(
    masks: NDArray[np.bool_],
    scores: NDArray[np.floating[Any]],
    thing_categories: Sequence[int] | NDArray[np.integer[Any]],
    semantic: NDArray[np.integer[Any]],
    stuff_categories: Sequence[int],
    settings: MergeSettings | None = None,
) -> tuple[NDArray[np.int32], list[dict[str, Any]]]:
    """The panoptic image of one image's instances and semantic map.

    Instances come first, by falling score (of equal ones the earlier), each taking those of its pixels that are still
    free. Then each stuff class takes what is left of its pixels. All else is void.

    Args:
        masks: (N, H, W) bool, instances; N = 0 is legal, empty masks are left out.
        scores: (N,) float in [0, 1].
        thing_categories: (N,) category id of each instance.
        semantic: (H, W) integer, 0 where there is no stuff (a thing, or nothing), k for the k-th stuff category.
        stuff_categories: category id of each k, counted from 1: k = 1 is stuff_categories[0].
        settings: thresholds; PanopticFPN's where None.

    Returns:
        ids: (H, W) int32, segment of every pixel, counted from 1, 0 is void.
        segments: one for each id, in that order: {"id", "category_id", "isthing", "iscrowd": 0, "area" in pixels}, and
            "score" if it is an instance. Every one has pixels; ready for JSON.

    Raises:
        ValueError: lengths or sizes that do not fit, or a semantic map with more classes than stuff_categories.

    Source: detectron2, panoptic_fpn.py, combine_semantic_and_instance_outputs, after panopticapi.
    """
    settings = settings or MergeSettings()
    _check(masks, scores, thing_categories, semantic, stuff_categories)
    ids = np.zeros(semantic.shape, dtype=np.int32)
    segments: list[dict[str, Any]] = []
    for i in np.argsort(-scores, kind="stable"):
        area = int(masks[i].sum())
        if not scores[i] >= settings.min_score or area == 0:
            continue
        free = masks[i] & (ids == 0)
        taken = area - int(free.sum())
        if taken / area <= settings.max_overlap and taken < area:
            _paint(ids, segments, free, int(thing_categories[i]), isthing=True)
            segments[-1]["score"] = float(scores[i])
    for k in np.unique(semantic[semantic != NO_STUFF]):
        free = (semantic == k) & (ids == 0)
        if free.sum() >= max(settings.stuff_area_limit, 1):
            _paint(ids, segments, free, int(stuff_categories[k - 1]), isthing=False)
    return ids, segments


def _paint(
    ids: NDArray[np.int32], segments: list[dict[str, Any]], mask: NDArray[np.bool_], category: int, isthing: bool
) -> None:
    number = len(segments) + 1
    ids[mask] = number
    segment = {"id": number, "category_id": category, "isthing": isthing, "iscrowd": 0, "area": int(mask.sum())}
    segments.append(segment)


def _check(
    masks: NDArray[np.bool_],
    scores: NDArray[np.floating[Any]],
    thing_categories: Sequence[int] | NDArray[np.integer[Any]],
    semantic: NDArray[np.integer[Any]],
    stuff_categories: Sequence[int],
) -> None:
    if masks.shape != (len(scores), *semantic.shape) or semantic.ndim != 2:
        raise ValueError(f"masks are {masks.shape}, but there are {len(scores)} scores and {semantic.shape} pixels")
    if masks.dtype != np.bool_:
        raise ValueError(f"masks must be bool, got {masks.dtype}: threshold them first")
    if len(thing_categories) != len(scores):
        raise ValueError(f"{len(thing_categories)} categories but {len(scores)} scores: one category an instance")
    if semantic.size and not 0 <= semantic.min() <= semantic.max() <= len(stuff_categories):
        raise ValueError(
            f"semantic map holds {semantic.min()} to {semantic.max()}, but 0 is no stuff and {len(stuff_categories)} "
            "categories are known"
        )
