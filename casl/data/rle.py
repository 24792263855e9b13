"""Masks: every form of COCO segmentation as compressed run lengths.

pycocotools trusts what it is given: run lengths that do not fill the mask leave the rest of it uninitialised. So they
are checked here first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_tools

Rle = dict[str, Any]  # {"size": [height, width], "counts": bytes}, the compressed form of pycocotools


def to_rle(segmentation: Any, height: int, width: int) -> Rle:
    """Any COCO segmentation as compressed RLE, equal to what pycocotools makes of it.

    Args:
        segmentation: polygons [[x, y, x, y, ...], ...] in pixels (those with fewer than three points have no area and
            are skipped), or RLE with counts as a list, str or bytes.
        height, width: of the image.

    Returns:
        {"size": [height, width], "counts": bytes}; may be an empty mask.

    Raises:
        ValueError: malformed, or made for another image size.
    """
    if isinstance(segmentation, list):
        polygons = [polygon for polygon in segmentation if _is_polygon(polygon, height, width)]
        parts = rle_tools.frPyObjects(polygons, height, width) if polygons else []
        return _compressed(rle_tools.merge(parts)) if parts else box_rle((0, 0, 0, 0), height, width)
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= segmentation.keys():
        raise ValueError("segmentation is neither a list of polygons nor an RLE with 'size' and 'counts'")
    if segmentation["size"] != [height, width]:
        raise ValueError(f"mask is {segmentation['size']} (height, width) but the image is {[height, width]}")
    counts = segmentation["counts"]
    runs = np.array(counts) if isinstance(counts, list) else _runs(counts)
    if runs.dtype.kind not in "iu" or runs.size == 0 or runs.min() < 0 or runs.sum() != height * width:
        raise ValueError(f"RLE counts are damaged: not whole runs that add up to {height * width} pixels")
    if isinstance(counts, list):
        return _compressed(rle_tools.frPyObjects(segmentation, height, width))
    return {"size": [height, width], "counts": counts.encode() if isinstance(counts, str) else counts}


def box_rle(bbox: Sequence[float], height: int, width: int) -> Rle:
    """Compressed RLE of a filled box, XYWH pixels."""
    return _compressed(rle_tools.frPyObjects(np.array([bbox], np.float64), height, width)[0])


def has_mask(record: Mapping[str, Any]) -> bool:
    """Whether a COCO annotation has a segmentation at all; [] and [[]] are none."""
    segmentation = record.get("segmentation")
    return any(segmentation) if isinstance(segmentation, list) else bool(segmentation)


def to_json(rle: Rle) -> Rle:
    """The same mask with counts as str, as JSON files have it."""
    return {"size": rle["size"], "counts": rle["counts"].decode("ascii")}


def _is_polygon(polygon: Any, height: int, width: int) -> bool:
    points = np.array(polygon, None if polygon else np.float64)
    if points.ndim != 1 or points.dtype.kind not in "iuf" or points.size % 2 or not np.isfinite(points).all():
        raise ValueError("a polygon is a list of finite numbers x, y, x, y, ...")
    # pycocotools walks along every edge, so one wild coordinate would cost all memory
    if points.size and np.abs(points).max() > 10 * (height + width):
        raise ValueError(f"polygon reaches {np.abs(points).max():g}, far outside the {width}x{height} image")
    return bool(points.size >= 6)


def _runs(counts: Any) -> NDArray[np.int64]:
    """Run lengths of a compressed RLE, empty if it is damaged.

    A number is a chain of characters with 5 bits each, low bits first, the sixth bit meaning that more follow; from the
    fourth number on it is the difference to the run two before.
    """
    raw = counts.encode("latin-1", "replace") if isinstance(counts, str) else counts
    if not isinstance(raw, bytes) or not raw:
        return np.empty(0, np.int64)
    chars = np.frombuffer(raw, np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero((chars & 32) == 0)
    if chars.min() < 0 or chars.max() > 63 or not len(ends) or ends[-1] != len(chars) - 1:
        return np.empty(0, np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 7:  # more than 32 bits
        return np.empty(0, np.int64)
    shifts = 5 * (np.arange(len(chars)) - np.repeat(starts, lengths))
    values = np.add.reduceat((chars & 31) << shifts, starts)
    values -= np.where(chars[ends] & 16, 1 << (5 * lengths), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def all_whole(texts: Sequence[bytes], pixels: Sequence[int]) -> bool:
    """Whether every one of some compressed RLEs has runs that add up to its mask's pixels; as `to_rle` checks one."""
    if not texts or not all(texts):
        return not texts
    chars = np.frombuffer(b"".join(texts), np.uint8).astype(np.int64) - 48
    is_end = (chars & 32) == 0
    ends = np.flatnonzero(is_end)
    last_chars = np.cumsum([len(text) for text in texts]) - 1
    if chars.min() < 0 or chars.max() > 63 or not is_end[last_chars].all():
        return False
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 7:
        return False
    shifts = 5 * (np.arange(len(chars)) - np.repeat(starts, lengths))
    values = np.add.reduceat((chars & 31) << shifts, starts)
    values -= np.where(chars[ends] & 16, 1 << (5 * lengths), 0)
    first = np.concatenate([[0], np.searchsorted(ends, last_chars)[:-1] + 1])  # number of each mask's first run
    mask = np.repeat(np.arange(len(texts)), np.diff([*first, len(values)]))
    place = np.arange(len(values)) - first[mask]
    for chosen in (np.flatnonzero(place % 2 == 1), np.flatnonzero((place % 2 == 0) & (place > 0))):
        # differences to the run two before: a running sum that starts anew with every mask
        sums = np.cumsum(values[chosen])
        starts_here = np.searchsorted(chosen, first)[mask[chosen]]
        values[chosen] = sums - np.where(starts_here > 0, sums[starts_here - 1], 0)
    return bool(values.min() >= 0 and (np.add.reduceat(values, first) == np.asarray(pixels)).all())


def _compressed(rle: Rle) -> Rle:
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"]}
