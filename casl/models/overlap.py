"""Entity segmentation gives every pixel to at most one entity: the best-scored mask covering a pixel keeps it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def resolve_overlaps(masks: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Cut masks until no two overlap, and drop those of which nothing useful is left.

    An instance goes when it keeps no pixel, or only a line one pixel wide or high. A dropped line still covers what
    lies below it: those pixels belong to no instance, as in the reference.

    Args:
        masks: (N, H, W) bool. N = 0 is legal.
        scores: (N,) float; of two equal scores the earlier instance is in front.

    Returns:
        keep: (M,) int64, the surviving instances by descending score.
        masks: (M, H, W) bool, what is left of each, none empty and no two overlapping. Which boxes belong to them
            depends on how the truth counts: see `inclusive_boxes`.

    Raises:
        ValueError: `masks` is not bool of shape (N, H, W), or N differs from the number of scores.

    Source: Open-World Entity Segmentation (TPAMI 2022), EntitySeg entityseg/arch.py:199-298.
    """
    if masks.dim() != 3 or masks.dtype != torch.bool or len(masks) != len(scores):
        raise ValueError(
            f"one score per (H, W) bool mask, got masks {masks.dtype} {tuple(masks.shape)}, {len(scores)} scores"
        )
    order = scores.argsort(descending=True, stable=True)
    if len(order) == 0:
        return order, masks
    masks = masks[order]
    front = masks.to(torch.uint8).argmax(0)  # the first of equal values, so the best-scored instance at each pixel
    ranks = torch.arange(len(order), device=masks.device)
    masks = masks & (front == ranks[:, None, None])
    boxes = inclusive_boxes(masks)
    wide_and_high = (boxes[:, 2:] > boxes[:, :2]).all(1)
    return order[wide_and_high], masks[wide_and_high]


def inclusive_boxes(masks: Tensor) -> Tensor:
    """First and last column and row of each mask, both inclusive: one row of ten pixels is 9 wide and 0 high.

    So EntitySeg's converter counts the boxes of entities that it takes from panoptic PNGs, and so its predictions do.
    Beside a truth whose boxes are exact such a box is a pixel short on each axis, and as ragged as its mask.

    Args:
        masks: (N, H, W) bool.

    Returns:
        (N, 4) float32, XYXY pixel indices, both ends inside the mask. Zeros for an empty mask.

    Source: EntitySeg make_data/make_entity_mask.py:98-113, entityseg/arch.py:199-298.
    """
    (left, right), (top, bottom) = (_first_last(masks.any(dim)) for dim in (1, 2))
    return torch.stack([left, top, right, bottom], dim=1).float()


def _first_last(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """(N, L) bool to the first and last true index of each row; (0, 0) for a row without any."""
    ones = occupied.to(torch.uint8)
    last = occupied.shape[1] - 1 - ones.flip(1).argmax(1)
    return ones.argmax(1), torch.where(occupied.any(1), last, 0)


def mask_confidence(probabilities: Tensor, masks: Tensor) -> Tensor:
    """Mean probability inside each mask; times the score it makes hesitant masks drop in the ranking.

    Args:
        probabilities: (N, H, W) float in [0, 1].
        masks: (N, H, W) bool, none empty.

    Returns:
        (N,) float.

    Source: EntitySeg entityseg/arch.py:276-280 (`USE_MASK_RESCORE`).
    """
    return (probabilities * masks).sum((1, 2)) / masks.sum((1, 2))


def rescored(result: dict[str, Tensor], probabilities: Iterable[Tensor]) -> dict[str, Tensor]:
    """Scores times mask confidence, best first again.

    Args:
        result: of one image, with masks, none empty.
        probabilities: of these masks in order, (n, height, width) at a time.

    Returns:
        `result` reordered, the former scores under "detection_scores".
    """
    before, start = result["scores"], 0
    confidences = [before[:0]]
    for chunk in probabilities:
        confidences.append(mask_confidence(chunk, result["masks"][start : start + len(chunk)]))
        start += len(chunk)
    result = result | {"scores": before * torch.cat(confidences), "detection_scores": before}
    order = result["scores"].argsort(descending=True, stable=True)
    return {name: value[order] for name, value in result.items()}
