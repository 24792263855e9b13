"""Masks: every form of COCO segmentation as compressed run lengths.

Run lengths are checked first, see casl.codes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_tools

from casl.codes import runs_of

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
    """Run lengths of a compressed RLE, empty if it is damaged."""
    raw = counts.encode("latin-1", "replace") if isinstance(counts, str) else counts
    try:
        return runs_of(raw)
    except (TypeError, ValueError):
        return np.empty(0, np.int64)


def _compressed(rle: Rle) -> Rle:
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"]}
