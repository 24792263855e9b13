"""COCO's three ways to write a mask, read as one.

A damaged run-length string must not reach pycocotools: its overlap loop never ends on a mask whose runs cover less than
the image, and masks of different sizes silently overlap by -1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from casl.codes import runs_of
from casl.errors import DataError


def to_rle(segmentation: object, height: int, width: int, owner: str, filled: bool = False) -> dict[str, Any]:
    """One compressed run-length encoding of a COCO `segmentation`.

    Args:
        segmentation: list of polygons (each a flat list x, y, x, y ... in pixels, three points or more), or an RLE dict
            {"size": [height, width], "counts": list | str | bytes}.
        height: of the image, pixels.
        width: of the image, pixels.
        owner: whose mask it is, for the error message: "annotation 12".
        filled: a compressed string whose runs are known to add up to its size, see `are_whole`.

    Returns:
        {"size": [height, width], "counts": bytes}. Polygons are merged to their union. An empty mask is legal.

    Raises:
        DataError: none of the three forms, a size that is not the image's, or runs that do not add up to the image.
    """
    if isinstance(segmentation, list | tuple):
        return _from_polygons(segmentation, height, width, owner)
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= segmentation.keys():
        raise DataError(f"{owner}: segmentation is neither polygons nor an RLE with 'size' and 'counts'")
    size = segmentation["size"]
    if not isinstance(size, list | tuple) or list(size) != [height, width]:
        raise DataError(f"{owner}: mask size {size} is not the image's [height, width] {[height, width]}")
    counts = segmentation["counts"]
    if isinstance(counts, list | tuple):
        return _from_runs(counts, height, width, owner)
    if isinstance(counts, str):
        counts = counts.encode("utf-8", "surrogatepass")  # bytes above 127 are refused below
    if not isinstance(counts, bytes):
        raise DataError(f"{owner}: RLE counts must be a list, str or bytes, got {type(counts).__name__}")
    if not filled:
        try:
            runs = runs_of(counts)
        except ValueError as error:
            raise DataError(f"{owner}: {error}") from error
        _check_runs(runs, height, width, owner)
    return {"size": [height, width], "counts": counts}


def _from_polygons(polygons: Sequence[Any], height: int, width: int, owner: str) -> dict[str, Any]:
    for polygon in polygons:
        # pycocotools reads four numbers as a box; COCO has no such form
        if not isinstance(polygon, list | tuple) or len(polygon) < 6 or len(polygon) % 2:
            raise DataError(
                f"{owner}: a polygon is a flat list of x, y pairs, three points or more, got {polygon!r:.80}"
            )
        try:
            finite = bool(np.isfinite(np.asarray(polygon, dtype=float)).all())
        except (TypeError, ValueError):
            finite = False
        if not finite:
            raise DataError(f"{owner}: a polygon holds something that is not a finite number: {polygon!r:.80}")
    if not polygons:
        raise DataError(f"{owner}: segmentation is an empty list of polygons")
    rle: dict[str, Any] = coco_mask.merge(coco_mask.frPyObjects([list(p) for p in polygons], height, width))
    return rle


def _from_runs(counts: Sequence[object], height: int, width: int, owner: str) -> dict[str, Any]:
    try:
        runs = np.asarray(counts, dtype=np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{owner}: RLE counts must be integers ({error})") from error
    _check_runs(runs, height, width, owner)
    rle: dict[str, Any] = coco_mask.frPyObjects({"size": [height, width], "counts": runs.tolist()}, height, width)
    return rle


def _check_runs(runs: np.ndarray[Any, Any], height: int, width: int, owner: str) -> None:
    if runs.ndim != 1 or (runs < 0).any() or int(runs.sum()) != height * width:
        raise DataError(
            f"{owner}: RLE runs cover {int(runs.sum())} pixels, the image has {height} x {width} = {height * width}; "
            "the mask is damaged or belongs to another image"
        )
