"""What the R-CNNs minimise: torchvision's losses term by term, with a weight for each box.

torchvision computes them inside its heads, where no term can be weighted. What is drawn and in which order random
numbers are asked for is torchvision's. Without weights, and with weights of 1, losses and gradients are its own bit for
bit.

Source: torchvision/models/detection/rpn.py and roi_heads.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import keypoints_to_heatmap, project_masks_on_boxes
from torchvision.models.detection.rpn import concat_box_prediction_layers

from casl.models.detector import Target, box_weights
from casl.models.frameworks.matching import BACKGROUND, LEFT_OUT, Matches
from casl.models.locations import matched_weights

BETA = 1 / 9  # offset below which a box loss is quadratic


@dataclass(frozen=True)
class Proposals:
    """What the proposal network says of a batch.

    Attributes:
        objectness: (B * A, 1) logits of the anchors of all images.
        offsets: (B * A, 4) from the anchors, as torchvision's BoxCoder writes them.
        anchors: (A, 4) XYXY for each image.
        boxes: (R, 4) XYXY for each image, the best proposals, without gradient.
    """

    objectness: Tensor
    offsets: Tensor
    anchors: list[Tensor]
    boxes: list[Tensor]


@dataclass(frozen=True)
class Regions:
    """Regions drawn from the proposals and boxes of a batch, which the heads learn from.

    Attributes:
        boxes: (R, 4) XYXY for each image.
        matches: (R,) int64 for each image, row of the box it is matched with; without meaning on background.
        labels: (R,) int64 for each image, 0 is background.
        offsets: (R, 4) for each image, from the region to its box.
        weights: (R,) float32 for each image, what the loss terms of a region are multiplied by: the weight of its box,
            on background 1 unless a method puts a soft weight there. None for 1 everywhere.
    """

    boxes: list[Tensor]
    matches: list[Tensor]
    labels: list[Tensor]
    offsets: list[Tensor]
    weights: list[Tensor] | None = None

    def of_objects(self) -> Regions:
        """Those that are matched with a box."""
        rows = [torch.where(labels > 0)[0] for labels in self.labels]

        def kept(values: list[Tensor]) -> list[Tensor]:
            return [value[index] for value, index in zip(values, rows, strict=True)]

        weights = None if self.weights is None else kept(self.weights)
        return Regions(kept(self.boxes), kept(self.matches), kept(self.labels), kept(self.offsets), weights)


def propose(rpn: Any, batch: ImageList, features: dict[str, Tensor]) -> Proposals:
    """What torchvision's proposal network `rpn` finds in a batch."""
    levels = list(features.values())
    objectness, offsets = rpn.head(levels)
    anchors = rpn.anchor_generator(batch, levels)
    counts = [level.shape[1] * level.shape[2] * level.shape[3] for level in objectness]
    objectness, offsets = concat_box_prediction_layers(objectness, offsets)
    decoded = rpn.box_coder.decode(offsets.detach(), anchors).view(len(anchors), -1, 4)
    boxes, _ = rpn.filter_proposals(decoded, objectness, batch.image_sizes, counts)
    return Proposals(objectness, offsets, anchors, boxes)


def proposal_losses(
    rpn: Any, proposals: Proposals, matches: Sequence[Matches], targets: Sequence[Target]
) -> dict[str, Tensor]:
    """Losses of a sample of the anchors, drawn by `rpn`.

    Args:
        rpn: torchvision's proposal network, for its sampler and its coding of boxes.
        proposals: of a batch.
        matches: of the anchors of each image.
        targets: of each image.

    Returns:
        "loss_objectness", binary cross-entropy, and "loss_rpn_box", smooth L1 of positives; both divided by the number
        of drawn anchors, whatever their weights.
    """
    labels = [_objectness(found) for found in matches]
    wanted = [_matched_boxes(found, target["boxes"]) for found, target in zip(matches, targets, strict=True)]
    offsets = torch.cat(rpn.box_coder.encode(wanted, proposals.anchors))
    positives, negatives = (torch.where(torch.cat(drawn))[0] for drawn in rpn.fg_bg_sampler(labels))
    drawn = torch.cat([positives, negatives])
    weights = _joined([found.weights for found in matches])
    box = _smooth_l1(proposals.offsets[positives], offsets[positives], _picked(weights, positives))
    objectness = functional.binary_cross_entropy_with_logits(
        proposals.objectness.flatten()[drawn], torch.cat(labels)[drawn], _picked(weights, drawn)
    )
    return {"loss_objectness": objectness, "loss_rpn_box": box / len(drawn)}


def draw_regions(heads: Any, boxes: Sequence[Tensor], targets: Sequence[Target]) -> Regions:
    """Regions that torchvision's `heads` draw from proposed boxes (R, 4) of each image and the boxes of the targets."""
    drawn, matches, labels, offsets = heads.select_training_samples(list(boxes), targets)
    weights = box_weights(targets)
    if weights is None:
        return Regions(drawn, matches, labels, list(offsets))
    of_regions = [
        matched_weights(of_boxes, torch.where(label > 0, row, BACKGROUND))
        for of_boxes, label, row in zip(weights, labels, matches, strict=True)
    ]
    return Regions(drawn, matches, labels, list(offsets), of_regions)


def region_losses(logits: Tensor, offsets: Tensor, regions: Regions) -> dict[str, Tensor]:
    """Losses of classes and boxes.

    Args:
        logits: (R, C + 1), background first, of the regions of all images.
        offsets: (R, 4 * (C + 1)) likewise, for every class.
        regions: these.

    Returns:
        "loss_cls", cross-entropy divided by the number of regions, in which background counts with its weight, as in
        Soft Teacher, and an object as one whatever its weight; "loss_box", smooth L1 of objects divided by the number
        of regions.
    """
    labels, weights = torch.cat(regions.labels), _joined(regions.weights)
    rows = torch.where(labels > 0)[0]
    found = offsets.reshape(len(logits), -1, 4)[rows, labels[rows]]
    box = _smooth_l1(found, torch.cat(regions.offsets)[rows], _picked(weights, rows))
    return {"loss_cls": class_loss(logits, regions), "loss_box": box / len(labels)}


def class_loss(logits: Tensor, regions: Regions) -> Tensor:
    """ "loss_cls" of `region_losses`, of logits (R, C + 1)."""
    labels, weights = torch.cat(regions.labels), _joined(regions.weights)
    loss = _cross_entropy(logits, labels, weights)
    if weights is None:
        return loss
    counted = torch.where(labels > 0, 1.0, weights).sum().clamp(min=1.0)
    return loss * (len(labels) / counted)


def mask_loss(logits: Tensor, objects: Regions, masks: Sequence[Tensor]) -> Tensor:
    """Binary cross-entropy, the mean over the cells of all masks; 0 without any.

    Args:
        logits: (P, C + 1, m, m).
        objects: P regions, none of background.
        masks: (N, h, w) for each image.
    """
    size = logits.shape[-1]
    of_images = zip(masks, objects.boxes, objects.matches, strict=True)
    targets = torch.cat([project_masks_on_boxes(m, boxes, rows, size) for m, boxes, rows in of_images])
    if not targets.numel():
        return logits.sum() * 0
    labels, weights = torch.cat(objects.labels), _joined(objects.weights)
    cells = None if weights is None else weights[:, None, None]
    return functional.binary_cross_entropy_with_logits(
        logits[torch.arange(len(labels), device=labels.device), labels], targets, cells
    )


def keypoint_loss(logits: Tensor, objects: Regions, keypoints: Sequence[Tensor]) -> Tensor:
    """Cross-entropy over the cells of a region, the mean over visible keypoints inside their region; 0 without any.

    Args:
        logits: (P, K, m, m).
        objects: P regions, none of background.
        keypoints: (N, K, 3) for each image.
    """
    of_images = zip(keypoints, objects.boxes, objects.matches, strict=True)
    maps = [keypoints_to_heatmap(points[rows], boxes, logits.shape[-1]) for points, boxes, rows in of_images]
    cells = torch.cat([cell.flatten() for cell, _ in maps])
    visible = torch.where(torch.cat([seen.flatten() for _, seen in maps]))[0]
    if not len(visible):
        return logits.sum() * 0
    weights = _joined(objects.weights)
    if weights is not None:
        weights = weights.repeat_interleave(logits.shape[1])[visible]
    return _cross_entropy(logits.flatten(2).flatten(0, 1)[visible], cells[visible], weights)


def _objectness(matches: Matches) -> Tensor:
    """(A,) float: 1 at positives, 0 on background, -1 where nothing is learned, as torchvision's sampler wants it."""
    return torch.where(matches.boxes == LEFT_OUT, -1.0, matches.positive.float())


def _matched_boxes(matches: Matches, boxes: Tensor) -> Tensor:
    """(A, 4); without meaning where nothing is matched, zeros in an image without boxes."""
    if not len(boxes):
        return boxes.new_zeros(len(matches.boxes), 4)
    return boxes[matches.boxes.clamp(min=0)]


def _joined(weights: Sequence[Tensor | None] | None) -> Tensor | None:
    """Weights of all images; None if they have none."""
    given = [of_image for of_image in weights or () if of_image is not None]
    return torch.cat(given) if given else None


def _picked(weights: Tensor | None, rows: Tensor) -> Tensor | None:
    return None if weights is None else weights[rows]


def _smooth_l1(found: Tensor, wanted: Tensor, weights: Tensor | None) -> Tensor:
    """Sum over boxes (P, 4), each times its weight."""
    if weights is None:
        return functional.smooth_l1_loss(found, wanted, beta=BETA, reduction="sum")
    return (functional.smooth_l1_loss(found, wanted, beta=BETA, reduction="none") * weights[:, None]).sum()


def _cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """Mean over rows, each times its weight."""
    if weights is None:
        return functional.cross_entropy(logits, labels)
    # log-probabilities are weighted before the mean is taken in one pass, so that weights of 1 change no bit
    return functional.nll_loss(functional.log_softmax(logits, dim=1) * weights[:, None], labels)
