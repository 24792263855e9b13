"""A Faster R-CNN whose classes and boxes learn from two sets of pseudo labels, and its box head as a teacher.

Source: Soft Teacher (ICCV 2021), ssod/models/soft_teacher.py; the focal loss of Unbiased Teacher (ICLR 2021),
ubteacher/modeling/roi_heads/fast_rcnn.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import clip_boxes_to_image

from casl.models.detector import Target, check_paired
from casl.models.frameworks.adapter import check_boxes
from casl.models.frameworks.faster_rcnn import FasterRCNN
from casl.models.frameworks.matching import match
from casl.models.frameworks.rcnn_losses import Regions, draw_regions, propose, region_losses

Background = Callable[[list[Tensor]], list[Tensor]]


def losses_of_sets(
    detector: FasterRCNN,
    images: Sequence[Tensor],
    classes: Sequence[Target],
    boxes: Sequence[Target],
    background: Background | None = None,
    focal: float = 0.0,
) -> dict[str, Tensor]:
    """Losses as `detector.losses` names them.

    Args:
        detector: in training mode.
        images: as there.
        classes: targets of proposals and of the classes of regions.
        boxes: targets of the boxes of regions, which are drawn for them anew; the same list for one set.
        background: boxes (R, 4) XYXY of the regions of each image -> (R,) weights of those that are background; None
            for 1. The class loss is divided by what they add up to, see `region_losses`.
        focal: gamma of a focal class loss, 0 for cross-entropy.

    Raises:
        ValueError, RuntimeError: as `detector.losses`.
    """
    if not detector.training:
        raise RuntimeError("losses need training mode: call .train() first")
    for targets in (classes, boxes):
        check_paired(images, targets)
        check_boxes(targets, detector.num_classes)
    batch = detector.batch(images)
    features = detector.features(batch.tensors)
    rpn, heads = detector.framework.rpn, detector.framework.roi_heads
    of_classes = [detector.translated(target) for target in classes]
    proposals = propose(rpn, batch, features)
    matches = match(rpn.proposal_matcher, proposals.anchors, of_classes)
    losses = detector.proposal_criterion(proposals, matches, of_classes)
    regions = draw_regions(heads, proposals.boxes, of_classes)
    if background is not None:
        regions = softened(regions, background(regions.boxes))
    logits, offsets = predicted(heads, features, regions.boxes, batch.image_sizes)
    losses |= region_losses(logits, offsets, regions)
    if focal:
        losses["loss_cls"] = focal_loss(logits, regions, focal)
    if boxes is not classes:
        others = draw_regions(heads, proposals.boxes, [detector.translated(target) for target in boxes])
        logits, offsets = predicted(heads, features, others.boxes, batch.image_sizes)
        losses["loss_box"] = region_losses(logits, offsets, others)["loss_box"]
    return losses


def predicted(
    heads: Any, features: Mapping[str, Tensor], boxes: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
) -> tuple[Tensor, Tensor]:
    """Logits (R, C + 1), background first, and offsets (R, 4 * (C + 1)) of the regions of all images, (R, 4) each."""
    logits, offsets = heads.box_predictor(heads.box_head(heads.box_roi_pool(dict(features), list(boxes), list(sizes))))
    return logits, offsets


def softened(regions: Regions, background: Sequence[Tensor]) -> Regions:
    """The regions with weights (R,) on background; those of objects stay."""
    given = regions.weights or [torch.ones_like(weights) for weights in background]
    of_images = zip(regions.labels, given, background, strict=True)
    return replace(regions, weights=[torch.where(labels > 0, own, soft) for labels, own, soft in of_images])


def focal_loss(logits: Tensor, regions: Regions, gamma: float) -> Tensor:
    """Softmax focal loss of R regions, each times its weight, divided by their number.

    Args:
        logits: (R, C + 1), background first. regions: these. gamma: at least 0; 0 is cross-entropy.
    """
    labels = torch.cat(regions.labels)
    terms = functional.cross_entropy(logits, labels, reduction="none")
    terms = (1.0 - (-terms).exp()) ** gamma * terms
    if regions.weights is not None:
        terms = terms * torch.cat(regions.weights)
    return terms.sum() / max(len(labels), 1)


@torch.no_grad()
def refined(
    detector: FasterRCNN, features: Mapping[str, Tensor], boxes: Tensor, labels: Tensor, size: tuple[int, int]
) -> Tensor:
    """Boxes of one image as the box head would have them.

    Args:
        detector: whose head it is.
        features: the pyramid of that image alone, (1, channels, h, w) each.
        boxes: (R, 4) XYXY, pixels.
        labels: (R,) int64, the class whose offsets move each, from 0 on.
        size: (height, width) of the image.

    Returns:
        (R, 4), clipped to the image.
    """
    if not len(boxes):
        return boxes
    heads = detector.framework.roi_heads
    _, offsets = predicted(heads, features, [boxes], [size])
    decoded = heads.box_coder.decode(offsets, [boxes]).reshape(len(boxes), -1, 4)
    chosen = decoded[torch.arange(len(boxes), device=boxes.device), labels + detector.first_label]
    result: Tensor = clip_boxes_to_image(chosen, size)
    return result


@torch.no_grad()
def background_probability(
    detector: FasterRCNN, features: Mapping[str, Tensor], boxes: Tensor, size: tuple[int, int]
) -> Tensor:
    """(R,) float32, how probable the head finds it that boxes (R, 4) hold no object; arguments as in `refined`."""
    logits, _ = predicted(detector.framework.roi_heads, features, [clip_boxes_to_image(boxes, size)], [size])
    return logits.float().softmax(dim=1)[:, 0]
