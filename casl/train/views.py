"""Several views of one image in a batch: which images are which, and boxes of one view in the pixels of another.

A mixed feed tags every target with the numbers of its source and view, and gives it the (3, 3) matrix of the view if
that is asked for: from XY coordinates of the original image to those of the view.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from casl.train.learner import Batch, Targets


def of_view(images: Sequence[Tensor], targets: Targets, source: int, view: int = 0) -> Batch:
    """The images of a batch that are one view of one source, with their targets, in their order.

    Two views of the same source have the same images at the same places.
    """
    chosen = [i for i, t in enumerate(targets) if int(t["source"]) == source and int(t["view"]) == view]
    return [images[i] for i in chosen], [targets[i] for i in chosen]


def between(first: Tensor, second: Tensor) -> Tensor:
    """The map from one view of an image to another.

    Args:
        first: (3, 3), matrix of the view that coordinates are in.
        second: (3, 3), matrix of the view that they are wanted in.

    Returns:
        (3, 3), second · first⁻¹; both are affine.

    Source: Soft Teacher (ICCV 2021), ssod/models/soft_teacher.py: M = M_student · M_teacher⁻¹.
    """
    (a, b, x), (c, d, y) = first[0], first[1]
    rows = [torch.stack([d, -b, b * y - d * x]), torch.stack([-c, a, c * x - a * y])]
    inverse = torch.stack([*rows, (a * d - b * c) * first[2]]) / (a * d - b * c)
    product: Tensor = (second[:, :, None] * inverse).sum(1)
    return product


def moved(boxes: Tensor, matrix: Tensor) -> Tensor:
    """Hulls of the mapped corners of boxes.

    Args:
        boxes: (N, 4), XYXY.
        matrix: (3, 3), affine, of any precision.

    Returns:
        (N, 4), of the precision of `boxes`, not clipped to any image.
    """
    corners = boxes[:, [0, 1, 2, 1, 0, 3, 2, 3]].reshape(-1, 4, 1, 2).to(matrix.dtype)
    mapped = (corners * matrix[:2, :2]).sum(-1) + matrix[:2, 2]
    return torch.cat([mapped.amin(1), mapped.amax(1)], dim=1).to(boxes.dtype)


def moved_masks(masks: Tensor, back: Tensor, height: int, width: int) -> Tensor:
    """Masks of one view in another: every pixel from where its centre came from.

    Args:
        masks: (N, h, w) bool, of the first view.
        back: (3, 3), affine, from XY coordinates of the second view to those of the first.
        height, width: of the second view, pixels.

    Returns:
        (N, height, width) bool, False where the first view shows nothing; a mask may be left without a pixel.
    """
    (a, b, c), (d, e, f) = back[0], back[1]
    x = torch.arange(width, dtype=back.dtype, device=back.device) + 0.5
    y = (torch.arange(height, dtype=back.dtype, device=back.device) + 0.5)[:, None]
    columns, rows = (a * x + b * y + c).floor().long(), (d * x + e * y + f).floor().long()
    seen = (columns >= 0) & (columns < masks.shape[2]) & (rows >= 0) & (rows < masks.shape[1])
    columns, rows = columns.clamp(0, masks.shape[2] - 1), rows.clamp(0, masks.shape[1] - 1)
    result: Tensor = masks[:, rows, columns] & seen
    return result


def inside(boxes: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Boxes clipped to an image, and (N,) bool: which of them have area left."""
    limits = boxes.new_tensor([width, height, width, height])
    clipped = torch.minimum(boxes.clamp(min=0), limits)
    return clipped, (clipped[:, 2:] > clipped[:, :2]).all(dim=1)
