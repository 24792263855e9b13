"""Where the head predicts, and which of those places must find which object.

Locations are pixel positions (x, y) in the padded input image. Regression distances (left, top, right, bottom) are in
units of the stride of their level, so that every level regresses numbers of the same size.

Source: FCOS (ICCV 2019) sec. 3.1-3.2, with the centre sampling and the mask centroids of AdelaiDet
(adet/modeling/fcos).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """All locations of one input size, levels concatenated from the finest to the coarsest, rows first inside a level.

    Attributes:
        points: (L, 2) float, x and y in pixels of the padded image.
        levels: (L,) int64, 0 for the finest level.
        strides: (L,) float, pixels.
        low: (L,) float, smallest legal max(l, t, r, b) in pixels, inclusive.
        high: (L,) float, largest legal max(l, t, r, b) in pixels, inclusive.
    """

    points: Tensor
    levels: Tensor
    strides: Tensor
    low: Tensor
    high: Tensor


@dataclass(frozen=True)
class Assignment:
    """What every location should predict; one image (L,) or a batch (B, L).

    Attributes:
        labels: (..., L) int64, class in [0, num_classes), num_classes = background.
        ltrb: (..., L, 4) float, distances to the sides of the box in units of the stride; zeros on background.
        gt_index: (..., L) int64, row of the object within its image, -1 on background.
        weights: (..., L) float32, what the loss terms of a location are multiplied by: the weight of its box, on
            background 1 unless a method puts a soft weight there. None for 1 everywhere.
    """

    labels: Tensor
    ltrb: Tensor
    gt_index: Tensor
    weights: Tensor | None = None

    @property
    def positive(self) -> Tensor:
        """(..., L) bool, the locations that must find an object."""
        return self.gt_index >= 0


def locations(height: int, width: int, stride: int, device: torch.device | str = "cpu") -> Tensor:
    """Centres of the cells of a feature map.

    Args:
        height: rows of the map.
        width: columns of the map.
        stride: pixels from one cell to the next.
        device: where to make them.

    Returns:
        (height * width, 2) float, x and y = index * stride + stride // 2, rows first.
    """
    ys = torch.arange(height, dtype=torch.float32, device=device) * stride + stride // 2
    xs = torch.arange(width, dtype=torch.float32, device=device) * stride + stride // 2
    return torch.stack((xs.repeat(height), ys.repeat_interleave(width)), dim=1)


def make_grid(levels: Sequence[Tensor], strides: Sequence[int], ranges: Sequence[float]) -> Grid:
    """Join the locations of all levels with what assignment needs to know of each.

    Args:
        levels: per level (n, 2), as `locations` returns them.
        strides: per level, pixels.
        ranges: the limits between levels, one fewer than levels, ascending, in pixels. Level i owns objects whose
            largest distance to a side lies in [ranges[i-1], ranges[i]], both ends included: a limit belongs to both
            neighbours.

    Raises:
        ValueError: the three do not fit together.
    """
    if not len(levels) == len(strides) == len(ranges) + 1:
        raise ValueError(f"{len(levels)} levels, {len(strides)} strides, {len(ranges)} limits: need n, n, n - 1")
    points = torch.cat(list(levels))
    counts = torch.tensor([len(level) for level in levels], device=points.device)
    index = torch.repeat_interleave(torch.arange(len(levels), device=points.device), counts)
    # -1: the finest level has no lower limit; the coarsest has no upper one
    low, high = points.new_tensor([-1.0, *ranges]), points.new_tensor([*ranges, torch.inf])
    return Grid(points, index, points.new_tensor(strides)[index], low[index], high[index])


def mask_centers(masks: Tensor) -> Tensor:
    """Centres of mass, around which the positives of an object with a mask are sampled.

    Pixel indices are the coordinates, as in the reference. The sums are of integers, so the result does not depend on
    the order of summation; AdelaiDet sums float32 and differs in the last bits above 2^24.

    Args:
        masks: (N, H, W) bool, N = 0 is legal.

    Returns:
        (N, 2) float32, x and y.

    Raises:
        ValueError: a mask has no pixel. In the reference such a mask, if first, silently turns a whole image into
            background.
    """
    columns, rows = masks.sum(dim=1), masks.sum(dim=2)
    area = rows.sum(dim=1)
    if empty := (area == 0).nonzero().flatten().tolist():
        raise ValueError(f"mask {empty[0]} of {len(masks)} is empty: drop such objects before training")
    xs = torch.arange(columns.shape[1], device=masks.device)
    ys = torch.arange(rows.shape[1], device=masks.device)
    moments = torch.stack(((columns * xs).sum(dim=1), (rows * ys).sum(dim=1)), dim=1)
    return moments.float() / area[:, None].float()


def assign_on(
    grid: Grid, boxes: Tensor, labels: Tensor, centers: Tensor | None, num_classes: int, radius: float = 1.5
) -> Assignment:
    """`assign` for a grid that is already made; a batch of images of one size shares it."""
    if len(boxes) != len(labels) or (centers is not None and len(centers) != len(boxes)):
        raise ValueError(f"{len(boxes)} boxes, {len(labels)} labels, {0 if centers is None else len(centers)} centres")
    if len(boxes) == 0:
        background = torch.full_like(grid.levels, num_classes)
        return Assignment(background, grid.points.new_zeros(len(grid.points), 4), torch.full_like(grid.levels, -1))
    points = grid.points[:, None]
    boxes = boxes.to(grid.points.dtype)
    upper, lower = boxes[:, :2], boxes[:, 2:]
    ltrb = torch.cat((points - upper, lower - points), dim=2)
    middle = (upper + lower) * 0.5 if centers is None else centers.to(boxes.dtype)
    reach = (grid.strides * radius)[:, None, None]
    begin, end = torch.maximum(middle - reach, upper), torch.minimum(middle + reach, lower)
    farthest = ltrb.amax(dim=2)
    legal = ((points > begin) & (points < end)).all(dim=2)
    legal &= (farthest >= grid.low[:, None]) & (farthest <= grid.high[:, None])
    area = (lower - upper).prod(dim=1).expand_as(legal).masked_fill(~legal, torch.inf)
    smallest, index = area.min(dim=1)  # of equal areas the first object wins
    positive = smallest < torch.inf
    chosen = ltrb[torch.arange(len(index), device=index.device), index] / grid.strides[:, None]
    return Assignment(
        torch.where(positive, labels[index].long(), num_classes),
        torch.where(positive[:, None], chosen, 0.0),
        torch.where(positive, index, -1),
    )


def assign(
    locations: Sequence[Tensor],
    strides: Sequence[int],
    ranges: Sequence[float],
    boxes: Tensor,
    labels: Tensor,
    centers: Tensor | None,
    num_classes: int,
    radius: float = 1.5,
) -> Assignment:
    """Give the locations of one image their objects.

    A location is positive for an object when it lies strictly inside the box and strictly less than `radius` strides
    from the object's centre in x and in y, and its largest distance to a side is in the range of its level. Of
    several objects the one with the smallest box wins. A small box between grid points gets no location at all; the
    reference has that too. Unlike the reference, an object whose centre has x = 0 is an object like any other.

    Args:
        locations: per level (n, 2), x and y in pixels of the padded image.
        strides: per level, pixels.
        ranges: limits between levels, see `make_grid`.
        boxes: (N, 4) XYXY in pixels, N = 0 is legal.
        labels: (N,) int, in [0, num_classes).
        centers: (N, 2) x and y, from `mask_centers` when the objects have masks; None takes the centres of the boxes.
            The same boxes are assigned differently with and without masks.
        num_classes: label of the background.
        radius: of the centre region, in strides.

    Returns:
        Assignment over all levels concatenated.

    Raises:
        ValueError: lengths do not fit together.

    Source: method of AdelaiDet, adet/modeling/fcos/fcos_outputs.py.
    """
    return assign_on(make_grid(locations, strides, ranges), boxes, labels, centers, num_classes, radius)


def stack_assignments(images: Sequence[Assignment], box_weights: Sequence[Tensor] | None = None) -> Assignment:
    """One Assignment (B, L) of B assignments (L,) over the same grid.

    Args:
        images: without weights.
        box_weights: (N,) float32 for each image, of its boxes; None for 1.
    """
    return Assignment(
        torch.stack([image.labels for image in images]),
        torch.stack([image.ltrb for image in images]),
        torch.stack([image.gt_index for image in images]),
        None
        if box_weights is None
        else torch.stack(list(map(matched_weights, box_weights, (i.gt_index for i in images)))),
    )


def matched_weights(box_weights: Tensor, matches: Tensor) -> Tensor:
    """Weights of whatever is matched with boxes, 1 where it is matched with none.

    Args:
        box_weights: (N,) float32.
        matches: (L,) int64, row of a box, negative for none.

    Returns:
        (L,) float32.
    """
    padded = torch.cat([box_weights, box_weights.new_ones(1)])
    return padded[torch.where(matches < 0, len(box_weights), matches)]
