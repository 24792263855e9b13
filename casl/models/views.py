"""Several views of one image, larger, smaller or mirrored: what a detector finds in each becomes one result.

Test-time augmentation as for HTC++ (Swin Transformer, ICCV 2021, sec. 4.2): boxes of all views are put together in the
pixels of the original image and suppressed once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from casl.models.detect import InferenceSettings
from casl.models.suppression import kept

MERGED = ("boxes", "labels", "masks", "scores")  # what several views can tell together


def mirrored(found: Mapping[str, Tensor], width: int) -> dict[str, Tensor]:
    """What was found in a mirrored image, in the pixels of the image itself.

    Args:
        found: "boxes" (N, 4) XYXY, "scores", "labels" and, where found, "masks" (N, height, width).
        width: of the original image.

    Raises:
        ValueError: something else was found, which mirrors otherwise.
    """
    _check(found)
    x1, y1, x2, y2 = found["boxes"].unbind(1)
    turned = {"boxes": torch.stack([width - x2, y1, width - x1, y2], dim=1)}
    if "masks" in found:
        turned["masks"] = found["masks"].flip(-1)
    return {**found, **turned}


def merged(views: Sequence[Mapping[str, Tensor]], settings: InferenceSettings) -> dict[str, Tensor]:
    """One result of what was found in each view of an image.

    A box that several views see is found several times and suppressed like any other duplicate; a mask is that of the
    view whose box is kept.

    Args:
        views: results in the pixels of the original image, found with `of_view` of the same settings.
        settings: of the suppression.

    Returns:
        The keys of the views; best first, at most `max_detections`. Of one view the same as found without views.

    Raises:
        ValueError: no view, or something was found that cannot be put together.
    """
    if not views:
        raise ValueError("no views of an image to put together")
    for found in views:
        _check(found)
    every = {name: torch.cat([found[name] for found in views]) for name in views[0]}
    rows, scores = kept(every["boxes"], every["scores"], every["labels"], settings)
    return {name: scores if name == "scores" else values[rows] for name, values in every.items()}


def _check(found: Mapping[str, Tensor]) -> None:
    if foreign := sorted(set(found).difference(MERGED)):
        raise ValueError(f"several views can tell {', '.join(MERGED)} together, not {', '.join(foreign)}")
