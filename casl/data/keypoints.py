"""Keypoints: what a category says of them, and the two conventions for their coordinates.

COCO's files and COCO's evaluation number pixels: x = 3 is the middle of the fourth column. In casl coordinates are
continuous: that column covers 3 to 4 and its middle is 3.5, so that a mirror image of width W has x at W - x, exactly.
`continuous_keypoints` goes from the file to casl, `coco_keypoints` goes back; results must go back before they are
evaluated. Boxes need neither: theirs are continuous in both.

Source: detectron2, data/datasets/coco.py and evaluation/coco_evaluation.py, add and subtract the same half pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from casl.coco.judge import sigmas_problem
from casl.errors import DataError

HALF_PIXEL = np.array([0.5, 0.5, 0])
FIELDS = ("keypoints", "skeleton", "flip_pairs", "sigmas")  # of a category; the last two are not COCO's


@dataclass(frozen=True, eq=False)
class KeypointSet:
    """The keypoints that every object of a split has.

    Attributes:
        names: K names.
        flip_pairs: 0-based indices that trade places in a mirror image, such as left and right hand.
        fields: FIELDS of the category as far as the file has them, unchanged.
    """

    names: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    fields: Mapping[str, Any]


def keypoint_set(categories: Sequence[Mapping[str, Any]], path: Path) -> KeypointSet:
    """The keypoints of a file's categories.

    Pairs are `flip_pairs` of the category where it has any (0-based, an addition to COCO, as the built-in scenes write
    it), else the names left_X and right_X, as in COCO's 17; other names stay in place.

    Args:
        categories: of a COCO keypoint file, at least one.
        path: the file, for messages.

    Raises:
        DataError: no category, one without keypoint names, several that differ in FIELDS, illegal sigmas, or impossible
            pairs.
    """
    fields = [{key: category[key] for key in FIELDS if key in category} for category in categories]
    if not fields:
        raise DataError(f"{path}: categories: there is none, so it is not known what the keypoints are.")
    names = fields[0].get("keypoints")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DataError(f"{path}: categories: 'keypoints' must be a list of names, is {names!r}.")
    if any(other != fields[0] for other in fields):
        raise DataError(
            f"{path}: categories: all must have the same {', '.join(FIELDS)}; write one file for each kind."
        )
    if problem := sigmas_problem(fields[0], len(names)):
        raise DataError(f"{path}: categories: {problem}.")
    pairs = fields[0].get("flip_pairs")
    if pairs is None:
        return KeypointSet(tuple(names), _named_pairs(names), fields[0])
    if not _are_pairs(pairs, len(names)):
        raise DataError(
            f"{path}: categories: 'flip_pairs' must be pairs of numbers from 0 to {len(names) - 1}, none twice, "
            f"is {pairs!r}."
        )
    return KeypointSet(tuple(names), tuple((left, right) for left, right in pairs), fields[0])


def continuous_keypoints(
    records: Sequence[Mapping[str, Any]], points: KeypointSet, width: int, height: int
) -> NDArray[np.float32]:
    """Keypoints of the annotations of an image in casl's coordinates.

    Args:
        records: N COCO annotations with legal keypoints. N = 0 is legal.
        points: the K keypoints they have.
        width, height: of the image.

    Returns:
        (N, K, 3) float32: x, y, visibility (0 not labelled, 1 hidden, 2 visible). Points that are not labelled, or lie
        outside the image, are (0, 0, 0); so are all of an annotation without keypoints.
    """
    unlabelled = [0] * (3 * len(points.names))
    found = np.array([record.get("keypoints") or unlabelled for record in records], np.float64)
    moved = found.reshape(len(records), len(points.names), 3) + HALF_PIXEL
    inside = ((moved[..., :2] >= 0) & (moved[..., :2] < [width, height])).all(axis=2) & (moved[..., 2] > 0)
    return np.where(inside[..., None], moved, 0).astype(np.float32)


def coco_keypoints(keypoints: NDArray[np.floating[Any]]) -> list[list[float]]:
    """Keypoints as COCO's files and evaluation want them: the inverse of `continuous_keypoints`.

    Args:
        keypoints: (N, K, 3): x, y in casl's coordinates, and visibility or any score. N = 0 is legal.

    Returns:
        N lists x, y, third, x, y, third, ... of 3K numbers. (0, 0, 0), which is not labelled, stays as it is.
    """
    points = np.asarray(keypoints, np.float64)
    back = np.where((points == 0).all(axis=2, keepdims=True), points, points - HALF_PIXEL)
    return [row.ravel().tolist() for row in back]


def has_keypoints(record: Mapping[str, Any]) -> bool:
    """Whether an annotation has a labelled keypoint."""
    return any(visibility > 0 for visibility in (record.get("keypoints") or [])[2::3])


def _named_pairs(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    mirrored = {name: "right_" + name.removeprefix("left_") for name in names if name.startswith("left_")}
    return tuple((names.index(left), names.index(right)) for left, right in mirrored.items() if right in names)


def _are_pairs(pairs: Any, count: int) -> bool:
    if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        return False
    flat = [index for pair in pairs for index in pair]
    return all(type(index) is int and 0 <= index < count for index in flat) and len(set(flat)) == len(flat)
