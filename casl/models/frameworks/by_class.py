"""Losses of a Faster R-CNN in which each class has a weight, and how certain it is of the regions of objects.

Source: certainty-aware pseudo labels (AAAI 2022; chapter 3 of the dissertation), 3.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from casl.models.by_class import Judged
from casl.models.detector import Target, check_paired
from casl.models.frameworks.adapter import check_boxes
from casl.models.frameworks.faster_rcnn import FasterRCNN
from casl.models.frameworks.interval_rcnn import IntervalRCNN
from casl.models.frameworks.matching import match
from casl.models.frameworks.rcnn_losses import Regions, draw_regions, propose, region_losses
from casl.models.frameworks.two_sets import predicted


def weighed(regions: Regions, class_weights: Tensor) -> Regions:
    """Regions of which those of objects count as their classes do, (C,) float32; background as before."""
    weights = []
    for image, labels in enumerate(regions.labels):
        own = torch.ones(len(labels), device=labels.device) if regions.weights is None else regions.weights[image]
        factors = class_weights.to(own)[(labels - 1).clamp(min=0)]
        weights.append(torch.where(labels > 0, own * factors, own))
    return replace(regions, weights=weights)


def losses_by_class(
    detector: FasterRCNN, images: Sequence[Tensor], targets: Sequence[Target], class_weights: Tensor
) -> Judged:
    """Losses whose class and box terms of regions are weighed by class; those of proposals are as they were. Without
    the intervals of an IntervalRCNN, v is 1.

    Args:
        detector: in training mode.
        images, targets: as of `detector.losses`.
        class_weights: (C,) float32.

    Raises:
        ValueError, RuntimeError: as `detector.losses`.
    """
    if not detector.training:
        raise RuntimeError("losses need training mode: call .train() first")
    check_paired(images, targets)
    check_boxes(targets, detector.num_classes)
    batch = detector.batch(images)
    features = detector.features(batch.tensors)
    translated = [detector.translated(target) for target in targets]
    proposals = propose(detector.framework.rpn, batch, features)
    matches = match(detector.framework.rpn.proposal_matcher, proposals.anchors, translated)
    losses = detector.proposal_criterion(proposals, matches, translated)
    regions = weighed(draw_regions(detector.framework.roi_heads, proposals.boxes, translated), class_weights)
    labels = torch.cat(regions.labels)
    objects = labels > 0
    if isinstance(detector, IntervalRCNN):
        logits, sides, offsets = detector.read(features, regions.boxes, batch.image_sizes)
        losses |= detector.region_losses(logits, sides, offsets, regions, translated)
        v = detector.quality(sides.detach()[objects])
    else:
        logits, deltas = predicted(detector.framework.roi_heads, features, regions.boxes, batch.image_sizes)
        losses |= region_losses(logits, deltas, regions)
        v = torch.ones(int(objects.sum()), device=logits.device)
    p = logits.detach()[objects].softmax(dim=1).gather(1, labels[objects][:, None])[:, 0]
    return Judged(losses, labels[objects] - 1, p * v)
