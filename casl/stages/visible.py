"""Which objects of a split a detector can see at a size: those that a location of its grid is assigned to.

A small object between the points of the finest level has no location: whatever the training, it is not learned. The
numbers are those of FCOS and CondInst (casl.models.locations).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from casl.data.augment import Sample, resize_sample
from casl.data.coco import CocoSplit
from casl.models.detector import padded
from casl.models.fcos import FCOSSettings
from casl.models.locations import Grid, assign_on, locations, make_grid, mask_centers
from casl.stages.feed import decode_masks, target

MOST_IMAGES = 1000  # looked at, spread over the split: shares of thousands of objects do not need more


@dataclass(frozen=True)
class Visibility:
    """Counts of objects, crowds left out. without_location: that no location sees, even if they were alone.
    without_positive: those, and the ones whose locations all belong to smaller objects."""

    objects: int
    without_location: int
    without_positive: int

    def share(self, count: int) -> float:
        """A count as a share of all objects."""
        return count / self.objects if self.objects else 0.0


def visibility(split: CocoSplit, short: int, long: int, ranges: Sequence[float]) -> Visibility:
    """Count the objects of a split that have a location, and a positive.

    Args:
        split: with objects; its masks, where it has any, give the centres as in training.
        short, long: as `resize`.
        ranges: limits between the levels, see `make_grid`.
    """
    grids: dict[tuple[int, int], Grid] = {}
    objects = located = positive = 0
    for i in range(0, len(split), -(-len(split) // MOST_IMAGES)):
        sample = _unseen(split, i)
        objects += len(sample.boxes)
        sample = resize_sample(sample, short, long)  # which drops objects whose mask vanishes
        height, width = sample.image.shape[:2]
        if (height, width) not in grids:
            grids[height, width] = _grid(height, width, ranges)
        alone, together = _found(grids[height, width], target(sample))
        located, positive = located + alone, positive + together
    return Visibility(objects, objects - located, objects - positive)


def _unseen(split: CocoSplit, i: int) -> Sample:
    """An image with its labels as training reads it, but black: no file is opened."""
    image, labels = split.images[i], split.labels(i)
    keep = ~labels.crowd
    masks = None
    if labels.rles is not None:
        rles = [rle for rle, kept in zip(labels.rles, keep, strict=True) if kept]
        masks = decode_masks(rles, image.height, image.width)
    black = np.zeros((image.height, image.width, 3), np.uint8)
    return Sample(black, labels.boxes[keep], labels.labels[keep], masks)


def _grid(height: int, width: int, ranges: Sequence[float]) -> Grid:
    strides, (high, wide) = FCOSSettings().strides, padded(height, width)
    return make_grid([locations(-(-high // s), -(-wide // s), s) for s in strides], strides, ranges)


def _found(grid: Grid, objects: dict[str, Tensor]) -> tuple[int, int]:
    """How many objects have a location if they are alone, and in each other's company."""
    boxes, labels = objects["boxes"], objects["labels"]
    centers = mask_centers(objects["masks"]) if "masks" in objects else None

    def seen(chosen: slice) -> int:
        some = None if centers is None else centers[chosen]
        assignment = assign_on(grid, boxes[chosen], labels[chosen], some, int(labels.max()) + 1)
        return len(set(assignment.gt_index[assignment.positive].tolist()))

    if not len(boxes):
        return 0, 0
    return sum(seen(slice(n, n + 1)) for n in range(len(boxes))), seen(slice(None))
