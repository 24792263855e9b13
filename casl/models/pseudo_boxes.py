"""Which boxes that a teacher finds become pseudo labels, how sure it is of their sides, and of background.

Source: Soft Teacher (ICCV 2021), ssod/models/soft_teacher.py, and STAC (2020), detection/data.py. What stands in for a
box head in one-stage detectors has no published counterpart.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import box_iou

from casl.models.exact import square_root

COPIES, JITTER = 10, 0.06  # of a box whose refinements are compared; deviation of a coordinate, in sides of the box
NEIGHBOURS, NEAR = 10, 0.6  # candidates that are compared with a box; IoU that they exceed


def passing(scores: Tensor, threshold: float, relax: bool = False) -> Tensor:
    """Boxes of one image that become pseudo labels.

    Args:
        scores: (N,) float in [0, 1].
        threshold: in [0, 1]; a score must exceed it, equal is dropped.
        relax: as STAC has it, the threshold of an image is its best score where that is lower, and equal passes; so an
            image with any box keeps at least one.

    Returns:
        (N,) bool.
    """
    if not relax or not len(scores):
        return scores > threshold
    return scores >= scores.max().clamp(max=threshold)


def usable(boxes: Tensor, scores: Tensor, threshold: float, min_size: float = 0.0) -> Tensor:
    """(N,) bool: score above a threshold, width and height (N, 4 XYXY) above a size in pixels."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return (scores > threshold) & (sides > min_size).all(dim=1)


def jittered(
    boxes: Tensor, copies: int = COPIES, amount: float = JITTER, generator: torch.Generator | None = None
) -> Tensor:
    """Copies of boxes, each coordinate moved by a normal deviate.

    Args:
        boxes: (N, 4) XYXY, pixels.
        copies: of each.
        amount: standard deviation, in widths for x and heights for y, of which each counts as at least one pixel.
        generator: of the CPU; None for torch's own.

    Returns:
        (copies, N, 4).
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1.0).repeat(1, 2)
    noise = torch.randn(copies, len(boxes), 4, generator=generator).to(boxes)
    return boxes + noise * (sides * amount)


def uncertainty(copies: Tensor) -> Tensor:
    """How far copies of each box differ.

    Args:
        copies: (K, N, 4) XYXY, what was made of K copies of N boxes, K at least 2.

    Returns:
        (N, 4) standard deviations (of a sample) of the coordinates, in widths and heights of the mean box, of which
        each counts as at least one pixel. Their mean over the four is compared with the limit.
    """
    if not copies.shape[1]:
        return copies.new_zeros(0, 4)
    mean = copies.mean(dim=0)
    sides = (mean[:, 2:] - mean[:, :2]).clamp(min=1.0).repeat(1, 2)
    return copies.std(dim=0) / sides


def spread(
    boxes: Tensor,
    labels: Tensor,
    candidates: Tensor,
    scores: Tensor,
    classes: Tensor,
    near: float = NEAR,
    most: int = NEIGHBOURS,
) -> Tensor:
    """`uncertainty`, the mean over four sides, of what a dense detector predicts around each box, without any chance.

    Args:
        boxes: (N, 4) XYXY, kept by suppression. labels: (N,) their classes.
        candidates: (M, 4), all before suppression, these boxes among them. scores: (M,). classes: (M,).
        near: IoU with a box that its neighbours, candidates of its class, exceed.
        most: neighbours that count, the best-scored; of equal scores the first.

    Returns:
        (N,) of the dtype of boxes; infinite where there are not two to compare.
    """
    alone = boxes.new_full((len(boxes),), torch.inf)
    if not len(boxes) or len(candidates) < 2:
        return alone
    near_ones = (box_iou(boxes, candidates) > near) & (labels[:, None] == classes)
    ranked = torch.where(near_ones, scores, -1.0).sort(dim=1, descending=True, stable=True)
    counted = (ranked.values[:, :most] >= 0.0)[..., None].to(boxes.dtype)
    there = candidates[ranked.indices[:, :most]]
    number = counted.sum(dim=1)
    mean = (there * counted).sum(dim=1) / number.clamp(min=1.0)
    square = ((there - mean[:, None]).square() * counted).sum(dim=1)
    sides = (mean[:, 2:] - mean[:, :2]).clamp(min=1.0).repeat(1, 2)
    found = (square_root(square / (number - 1.0).clamp(min=1.0)) / sides).mean(dim=1)
    return torch.where(number[:, 0] >= 2.0, found, alone)


def background_weights(
    confidence: Sequence[Tensor],
    strides: Sequence[int],
    points: Tensor,
    levels: Tensor,
    matrix: Tensor,
    size: tuple[int, int],
) -> Tensor:
    """How sure a dense teacher is that there is background at places in another view of its image.

    Args:
        confidence: (h, w) of each level, the highest class probability at each cell.
        strides: of each level, pixels.
        points: (P, 2) x and y, pixels of the other view.
        levels: (P,) int64, that each is compared with.
        matrix: (3, 3), affine, from the other view to the teacher's.
        size: (height, width) of the teacher's view, without padding.

    Returns:
        (P,) float32: 1 - the probability at the nearest cell of the level, 1 for what the teacher did not see.
    """
    (a, b, c), (d, e, f) = matrix[0], matrix[1]
    px, py = points.to(matrix.dtype).unbind(1)
    x, y = a * px + b * py + c, d * px + e * py + f
    weights = torch.ones(len(points), dtype=torch.float32, device=points.device)
    seen = (x >= 0) & (y >= 0) & (x < size[1]) & (y < size[0])
    for level, (cells, stride) in enumerate(zip(confidence, strides, strict=True)):
        here = seen & (levels == level)
        columns = (x[here] / stride).floor().long().clamp(max=cells.shape[1] - 1)
        rows = (y[here] / stride).floor().long().clamp(max=cells.shape[0] - 1)
        weights[here] = 1.0 - cells[rows, columns].float()
    return weights
