"""Run lengths written as text: the compressed form of COCO's masks, decoded and checked.

A damaged text must not reach pycocotools, which trusts it: runs that do not fill the mask leave the rest of it
uninitialised, and computing the overlap of such masks never ends.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MAX_CHARACTERS = 7  # of one run: 35 bits, longer than any image


def runs_of(text: bytes) -> NDArray[np.int64]:
    """Run lengths of a compressed RLE, of pixels outside and inside in turn; whether they fill a mask is not looked at.

    A number is a chain of characters from "0" on with 5 bits each, low bits first, the sixth bit meaning that more
    follow; signed, and from the fourth number on the difference to the run two before.

    Raises:
        ValueError: no such text.
    """
    chars = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero((chars & 32) == 0)
    legal = len(ends) and chars.min() >= 0 and chars.max() <= 63 and ends[-1] == len(chars) - 1
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1 if legal else np.zeros(1, np.int64)
    if not legal or lengths.max() > MAX_CHARACTERS:
        raise ValueError(f"RLE counts is not a COCO run-length string: {text!r:.60}")
    shifts = 5 * (np.arange(len(chars)) - np.repeat(starts, lengths))
    values = np.add.reduceat((chars & 31) << shifts, starts)
    values -= np.where(chars[ends] & 16, 1 << (5 * lengths), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def are_whole(texts: Sequence[bytes], pixels: Sequence[int]) -> bool:
    """Whether every one of some compressed RLEs has runs that add up to its mask's pixels; all at once, and so fast.

    False says only that one of them needs a closer look.
    """
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
    if lengths.max() > MAX_CHARACTERS:
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
    if int(values.max()) * len(values) >= 2**63:  # sums could wrap
        return False
    return bool(values.min() >= 0 and (np.add.reduceat(values, first) == np.asarray(pixels)).all())
