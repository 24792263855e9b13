"""Which anchor is matched with which box, and what that makes it learn: for RetinaNet and for the proposals of R-CNNs.

torchvision matches inside its losses. Here matching comes before them, so that both can be exchanged one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import box_iou

from casl.models.detector import Target, box_weights
from casl.models.locations import matched_weights

BACKGROUND, LEFT_OUT = -1, -2  # torchvision's Matcher says so


@dataclass(frozen=True)
class Matches:
    """What the anchors of one image are matched with.

    Attributes:
        boxes: (A,) int64, row of a box of the image's target; BACKGROUND, or LEFT_OUT where the anchor learns nothing.
        weights: (A,) float32, what the loss terms of an anchor are multiplied by: the weight of its box, on background
            1 unless a method puts a soft weight there. None for 1 everywhere.
    """

    boxes: Tensor
    weights: Tensor | None = None

    @property
    def positive(self) -> Tensor:
        """(A,) bool, anchors matched with a box."""
        return self.boxes >= 0


def match(matcher: Callable[[Tensor], Tensor], anchors: Sequence[Tensor], targets: Sequence[Target]) -> list[Matches]:
    """Matches of every image.

    Args:
        matcher: (N, A) IoU of N > 0 boxes with all anchors -> (A,) int64, as torchvision's Matcher.
        anchors: (A, 4) XYXY for each image.
        targets: "boxes" (N, 4), and optionally "weights".
    """
    found = []
    for of_image, target in zip(anchors, targets, strict=True):
        if len(target["boxes"]):
            found.append(matcher(box_iou(target["boxes"], of_image)))
        else:
            found.append(torch.full((len(of_image),), BACKGROUND, dtype=torch.int64, device=of_image.device))
    weights = box_weights(targets)
    if weights is None:
        return [Matches(boxes) for boxes in found]
    return [Matches(boxes, matched_weights(w, boxes)) for boxes, w in zip(found, weights, strict=True)]
