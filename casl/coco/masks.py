"""Masks: COCO's three ways to write one, judged, and read as compressed run lengths."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Sized
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_tools

from casl.coco.runs import are_whole, runs_of

Rle = dict[str, Any]  # {"size": [height, width], "counts": bytes}, the compressed form of pycocotools

LEAST_NUMBERS = 6  # of a polygon with an area: three points
LONGEST = 10_000_000  # px around a polygon
LONGEST_RUN = 2**32 - 1  # px; pycocotools keeps runs in 32 bits
_TOGETHER = 500  # masks; the arrays of more do not stay in the processor's cache


def to_rle(segmentation: Any, height: int, width: int, whole: bool = False) -> Rle:
    """Any COCO segmentation as compressed RLE, equal to what pycocotools makes of it.

    Args:
        segmentation: polygons [[x, y, x, y, ...], ...] in pixels, of which the union is taken (those with fewer than
            three points have no area and are skipped), or RLE with counts as a list, str or bytes.
        height, width: of the image.
        whole: compressed text whose runs are known to fill the mask, see `whole_masks`.

    Returns:
        {"size": [height, width], "counts": bytes}; may be an empty mask.

    Raises:
        ValueError: what `segmentation_problem` says.
    """
    if problem := segmentation_problem(segmentation, height, width, whole):
        raise ValueError(problem)
    if isinstance(segmentation, list | tuple):
        polygons = [list(polygon) for polygon in segmentation if len(polygon) >= LEAST_NUMBERS]
        parts = rle_tools.frPyObjects(polygons, height, width) if polygons else []
        return _compressed(rle_tools.merge(parts)) if parts else box_rle((0, 0, 0, 0), height, width)
    counts = segmentation["counts"]
    if isinstance(counts, list | tuple):
        runs = np.asarray(counts).tolist()
        return _compressed(rle_tools.frPyObjects({"size": [height, width], "counts": runs}, height, width))
    return {"size": [height, width], "counts": counts.encode() if isinstance(counts, str) else counts}


def segmentation_problem(segmentation: Any, height: int, width: int, whole: bool = False) -> str | None:
    """What makes a segmentation illegal in an image of this size, or None; no pixel is drawn. Arguments as `to_rle`."""
    if isinstance(segmentation, list | tuple):
        return _polygons_problem(segmentation, height, width)
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= segmentation.keys():
        return "'segmentation' is neither a list of polygons nor an RLE with 'size' and 'counts'"
    size, counts = segmentation["size"], segmentation["counts"]
    if not isinstance(size, list | tuple) or list(size) != [height, width]:
        return f"mask is {size!s:.80} (height, width) but the image is {[height, width]}"
    if whole:
        return None
    if not isinstance(counts, list | tuple | str | bytes):
        return f"RLE counts must be a list, str or bytes, is {type(counts).__name__}"
    try:
        runs = _runs(counts)
    except ValueError as error:
        return str(error)
    longest = int(runs.max(initial=0))
    covered = int(runs.sum()) if longest * len(runs) < 2**63 else sum(runs.tolist())  # numpy's sum wraps
    if (runs < 0).any() or covered != height * width:
        return (
            f"RLE runs cover {covered} pixels, the image has {height} x {width} = {height * width}; "
            "the mask is damaged or belongs to another image"
        )
    if longest > LONGEST_RUN:
        return f"an RLE run is {longest} pixels long; pycocotools knows none above {LONGEST_RUN}"
    return None


def has_mask(record: Mapping[str, Any]) -> bool:
    """Whether an annotation or result has a segmentation at all; null, [], [[]] and {} are none."""
    segmentation = record.get("segmentation")
    if isinstance(segmentation, list | tuple):
        return any(not isinstance(part, Sized) or len(part) > 0 for part in segmentation)
    return bool(segmentation)


def whole_masks(records: Sequence[object]) -> frozenset[int]:
    """Positions of records whose mask is compressed text known to fill its size, found for many at once and so fast.

    The masks of the other records may be legal too; `segmentation_problem` says so one by one.
    """
    found: list[int] = []
    for start in range(0, len(records), _TOGETHER):
        positions, texts, pixels = [], [], []
        for position, record in enumerate(records[start : start + _TOGETHER], start=start):
            mask = record.get("segmentation") if isinstance(record, dict) else None
            counts, size = (mask.get("counts"), mask.get("size")) if isinstance(mask, dict) else (None, None)
            if isinstance(counts, str | bytes) and type(size) is list and [type(side) for side in size] == [int, int]:
                positions.append(position)
                texts.append(_as_bytes(counts))
                pixels.append(size[0] * size[1])
        if texts and are_whole(texts, pixels):
            found += positions
    return frozenset(found)


def box_rle(bbox: Sequence[float], height: int, width: int) -> Rle:
    """Compressed RLE of a filled box, XYWH pixels."""
    return _compressed(rle_tools.frPyObjects(np.array([bbox], np.float64), height, width)[0])


def to_json(rle: Rle) -> Rle:
    """The same mask with counts as str, as JSON files have it."""
    return {"size": rle["size"], "counts": rle["counts"].decode("ascii")}


def _polygons_problem(polygons: Sequence[Any], height: int, width: int) -> str | None:
    if polygons and not any(isinstance(polygon, Sized) for polygon in polygons):
        return "'segmentation' is one flat list; write a list of polygons [[x, y, x, y, ...], ...], also if it is one"
    if len(polygons) >= LEAST_NUMBERS // 2 and all(isinstance(p, Sized) and len(p) == 2 for p in polygons):
        return "'segmentation' is a list of points; write each polygon as one flat list x, y, x, y, ..."
    for polygon in polygons:
        if problem := _polygon_problem(polygon, height, width):
            return problem
    return None


def _polygon_problem(polygon: Any, height: int, width: int) -> str | None:
    try:
        points = np.array(polygon, None if isinstance(polygon, list | tuple) and polygon else np.float64)
    except (TypeError, ValueError):
        points = np.empty((0, 0))
    legal = points.ndim == 1 and points.dtype.kind in "iuf" and points.size % 2 == 0
    farthest = float(np.abs(points).max(initial=0)) if legal else math.nan  # of a NaN it is one
    if not math.isfinite(farthest):
        return f"a polygon is a flat list of finite numbers x, y, x, y, ..., is {polygon!r:.80}"
    # pycocotools walks along every edge, so one wild coordinate would cost all memory
    if farthest > 10 * (height + width):
        return f"polygon reaches {farthest:g}, far outside the {width}x{height} image"
    if farthest * points.size > LONGEST and (length := _length(points)) > LONGEST:
        return f"polygon is {length:,.0f} px long; more than {LONGEST:,} do not fit in memory"
    return None


def _length(points: NDArray[Any]) -> float:
    """Steps of pycocotools around a polygon, whose memory grows with them."""
    corners = points.reshape(-1, 2).astype(np.float64)
    return float(np.abs(corners - np.roll(corners, 1, axis=0)).max(axis=1).sum())


def _runs(counts: Any) -> NDArray[np.integer[Any]]:
    """Run lengths of any form of counts. Raises ValueError if there are none."""
    if isinstance(counts, str | bytes):
        return runs_of(_as_bytes(counts))
    try:
        runs = np.array(counts) if counts else np.empty(0, np.int64)
    except ValueError:  # lists of several lengths
        runs = np.empty((0, 0))
    if runs.ndim != 1 or runs.dtype.kind not in "iu":
        raise ValueError(f"RLE counts must be integers of 64 bits, is {counts!r:.80}")
    return runs


def _as_bytes(counts: str | bytes) -> bytes:
    # a COCO text is ASCII; whatever else becomes bytes that no run length has
    return counts if isinstance(counts, bytes) else counts.encode("utf-8", "surrogatepass")


def _compressed(rle: Rle) -> Rle:
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"]}
