"""Copy-paste: objects of one image on top of another.

Where the source leaves room: each object of the other image is taken with probability one half, so each subset is
equally likely; edges of pasted objects are sharp, which the source found to be as good as smooth ones; an image of
another size is laid on at the top left corner and cut at the edges.

Source: Simple Copy-Paste (CVPR 2021) sec. 3.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from casl.data.augment import Bool, Float32, Sample, drop_lost
from casl.data.augment_strong import paint
from casl.data.large_jitter import window


def hulls(masks: Bool) -> Float32:
    """XYXY of the pixels of each mask, the last one included; zeros for a mask without any.

    Args:
        masks: (N, H, W) bool.

    Returns:
        (N, 4) float32.
    """
    found = np.zeros((len(masks), 4), np.float32)
    for box, mask in zip(found, masks, strict=True):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if len(rows):
            box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return found


def paste(sample: Sample, other: Sample) -> Sample:
    """All objects of another image on top of this one.

    Args:
        sample: with masks.
        other: with masks, and of all else what the sample has; of any size.

    Returns:
        The sample's objects, then the other's. Pixels of pasted objects are the other's, in the semantic map too. Of a
        covered object the mask loses these pixels, the box becomes the hull of what is left, and keypoints there are
        hidden; one with nothing left is dropped. Boxes of objects that lose no pixel stay. The matrix is that of the
        sample: the pasted objects are nowhere in its original image.

    Raises:
        ValueError: one of the two has no masks.
    """
    if sample.masks is None or other.masks is None:
        raise ValueError("objects are pasted by their masks; a sample without masks was given")
    height, width = sample.image.shape[:2]
    pasted = window(other, 0, 0, height, width)
    assert pasted.masks is not None
    covered: Bool = np.any(pasted.masks, axis=0)
    touched: Bool = np.any(sample.masks & covered, axis=(1, 2))
    boxes = np.where(touched[:, None], hulls(sample.masks & ~covered), sample.boxes)
    under = paint(drop_lost(replace(sample, boxes=boxes)), covered, pasted.image)
    semantic = sample.semantic
    if semantic is not None and pasted.semantic is not None:
        semantic = np.where(covered, pasted.semantic, semantic)
    names = ("boxes", "labels", "masks", "keypoints", "scores", "weights")
    pairs = {name: (getattr(under, name), getattr(pasted, name)) for name in names}
    joined: dict[str, Any] = {name: np.concatenate(pair) for name, pair in pairs.items() if pair[0] is not None}
    return replace(under, semantic=semantic, **joined)


def copy_paste(sample: Sample, other: Sample, rng: np.random.Generator) -> Sample:
    """A random subset of the objects of another image on top of this one, as `paste`.

    Args:
        sample, other: as of `paste`.
        rng: source of all randomness.
    """
    chosen = rng.random(len(other.labels)) < 0.5
    return paste(sample, other.take(chosen)) if chosen.any() else sample
