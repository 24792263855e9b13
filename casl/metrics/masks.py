"""COCO's three ways to write a mask, read as one.

A damaged run-length string must not reach pycocotools: its overlap loop never ends on a mask whose runs cover less than
the image, and masks of different sizes silently overlap by -1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from casl.errors import DataError

_LONG = 2**31  # longest run that is summed together with those of other masks
MAX_CHARACTERS = 8  # of one run; 5 bits each, so 40 bits: longer than any image


def to_rle(segmentation: object, height: int, width: int, owner: str, filled: bool = False) -> dict[str, Any]:
    """One compressed run-length encoding of a COCO `segmentation`.

    Args:
        segmentation: list of polygons (each a flat list x, y, x, y ... in pixels, three points or more), or an RLE dict
            {"size": [height, width], "counts": list | str | bytes}.
        height: of the image, pixels.
        width: of the image, pixels.
        owner: whose mask it is, for the error message: "annotation 12".
        filled: a compressed string whose runs are known to add up to its size, see `are_filled`.

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
        _check_runs(_decode_runs(counts, owner), height, width, owner)
    return {"size": [height, width], "counts": counts}


def are_filled(strings: Sequence[bytes], pixels: Sequence[int]) -> bool:
    """Whether every compressed run-length string is sound and covers so many pixels; all at once, and so fast.

    False says only that one of them needs a closer look.
    """
    if not all(strings):
        return False
    characters = np.frombuffer(b"".join(strings), dtype=np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(characters & 0x20 == 0)
    last = np.cumsum([len(string) for string in strings]) - 1  # character of each mask
    if ((characters < 0) | (characters >= 64)).any() or not (characters[last] & 0x20 == 0).all():
        return False
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > MAX_CHARACTERS:
        return False
    place = 5 * (np.arange(len(characters)) - np.repeat(starts, lengths))
    steps = np.add.reduceat((characters & 0x1F) << place, starts)
    steps -= np.where(characters[ends] & 0x10, 1 << (5 * lengths), 0)
    if np.abs(steps).max() > _LONG:
        return False
    first = np.searchsorted(ends, np.concatenate([[0], last[:-1] + 1]))  # run of each mask
    counts = np.diff(np.append(first, len(ends)))
    number = np.arange(len(ends)) - np.repeat(first, counts)
    # a run adds to the one two before, but the first three start anew: three chains in each mask
    chain = 3 * np.repeat(np.arange(len(strings)), counts) + np.where(number == 0, 0, 1 + (number & 1))
    order = np.argsort(chain, kind="stable")
    sums, chain = np.cumsum(steps[order]), chain[order]
    begins = np.flatnonzero(np.diff(chain, prepend=-1))
    runs = sums - np.repeat(sums[begins] - steps[order][begins], np.diff(np.append(begins, len(chain))))
    return bool((runs >= 0).all() and (np.add.reduceat(runs, first) == np.asarray(pixels)).all())


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


def _decode_runs(counts: bytes, owner: str) -> np.ndarray[Any, Any]:
    """Run lengths of COCO's compressed string: 6-bit characters from '0', 5 bits of value and one "more follows",
    signed, and from the fourth run on the difference to the run two before."""
    characters = np.frombuffer(counts, dtype=np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(characters & 0x20 == 0)
    legal = ((characters >= 0) & (characters < 64)).all() and len(ends) and ends[-1] == len(characters) - 1
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    lengths = ends - starts + 1
    if not legal or lengths.max() > MAX_CHARACTERS:
        raise DataError(f"{owner}: RLE counts is not a COCO run-length string: {counts!r:.60}")
    place = 5 * (np.arange(len(characters)) - np.repeat(starts, lengths))
    runs = np.add.reduceat((characters & 0x1F) << place, starts)
    runs -= np.where(characters[ends] & 0x10, 1 << (5 * lengths), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs
