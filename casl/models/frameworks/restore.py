"""What a framework found in a resized image, in the pixels of the original one."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.models.detection.roi_heads import paste_masks_in_image

from casl.models.detect import to_original

MASK_THRESHOLD = 0.5
CHUNK_PIXELS = 2**24  # of masks that are probabilities at a time: 64 MiB a copy


def restore(found: Mapping[str, Tensor], size: tuple[int, int], original: tuple[int, int]) -> dict[str, Tensor]:
    """Objects of one image in its original coordinates; those of which nothing is left inside are dropped.

    Args:
        found: "boxes" (N, 4) XYXY in the resized image, "scores" (N,), "labels" (N,), and any of "masks" (N, 1, m, m)
            probabilities inside the boxes, "keypoints" (N, K, 3) x and y in the resized image, "semantic" (C, h, w)
            logits of the padded image at its full resolution.
        size: (height, width) of the resized image, without padding.
        original: (height, width) of the original image.

    Returns:
        "boxes" (N, 4) clipped to the original image, "scores", "labels", and, where found, "masks" (N, height, width)
        bool, "keypoints" (N, K, 3) x, y and torchvision's constant 1, "semantic" (height, width) int64, the best class.
    """
    boxes, inside = to_original(found["boxes"], size, original)
    result = {"boxes": boxes[inside], "scores": found["scores"][inside], "labels": found["labels"][inside]}
    if "masks" in found:
        result["masks"] = _pasted(found["masks"][inside], result["boxes"], original)
    if "keypoints" in found:
        ratio = boxes.new_tensor([original[1] / size[1], original[0] / size[0], 1.0])
        result["keypoints"] = found["keypoints"][inside] * ratio
    if "semantic" in found:
        logits = found["semantic"][None, :, : size[0], : size[1]]
        result["semantic"] = functional.interpolate(logits, original, mode="bilinear", align_corners=False)[0].argmax(0)
    return result


def _pasted(masks: Tensor, boxes: Tensor, original: tuple[int, int]) -> Tensor:
    pieces = [torch.zeros(0, *original, dtype=torch.bool, device=masks.device)]
    step = max(1, CHUNK_PIXELS // (original[0] * original[1]))
    for first in range(0, len(masks), step):
        pasted = paste_masks_in_image(masks[first : first + step], boxes[first : first + step], original)
        pieces.append(pasted[:, 0] > MASK_THRESHOLD)
    return torch.cat(pieces)
