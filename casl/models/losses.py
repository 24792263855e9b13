"""What FCOS minimises.

Source: AdelaiDet, adet/modeling/fcos/fcos_outputs.py and adet/layers/iou_loss.py. Differences from detectron2's and
torchvision's FCOS: intersection and union are smoothed by one (squared stride), and the box loss is weighted by the
centre-ness target.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from casl.models.exact import square_root
from casl.models.head import HeadOutput, flatten_levels
from casl.models.locations import Assignment
from casl.models.noisy import Rule, paired_iou, soft_focal

BOX_QUALITIES = ("ctrness", "iou")
FOCAL_ALPHA = 0.25  # share of the class loss that is about objects


def focal_sum(logits: Tensor, targets: Tensor, weights: Tensor | None = None, alpha: float = FOCAL_ALPHA) -> Tensor:
    """Sigmoid focal loss (gamma 2), summed over locations or anchors and classes.

    Args:
        logits: (M, C) float.
        targets: (M, C), 1 for the class of the object, 0 otherwise; rows of zeros are background.
        weights: (M,), None for 1.
        alpha: share of the terms of objects.
    """
    if weights is None:
        loss: Tensor = sigmoid_focal_loss(logits, targets, alpha, reduction="sum")
        return loss
    terms: Tensor = sigmoid_focal_loss(logits, targets, alpha, reduction="none")
    return (terms * weights[:, None]).sum()


def class_sum(logits: Tensor, assignment: Assignment, soft: Tensor | None = None) -> Tensor:
    """`focal_sum` of (B, L, C) logits of a batch; of soft targets (B, L), where there are any, the sum of `soft_focal`
    at the same alpha."""
    flat = logits.flatten(0, 1)
    targets = functional.one_hot(assignment.labels.flatten(), flat.shape[1] + 1)[:, :-1].to(flat.dtype)
    weights = None if assignment.weights is None else assignment.weights.flatten()
    if soft is None:
        return focal_sum(flat, targets, weights)
    terms = soft_focal(flat, targets * soft.flatten()[:, None], FOCAL_ALPHA)
    return (terms if weights is None else terms * weights[:, None]).sum()


@torch.no_grad()
def judge_points(output: HeadOutput, assignment: Assignment, rule: Rule) -> tuple[Assignment, Tensor]:
    """Positives judged by what the head says of them, image by image: NoisyAnchor's scores at FCOS' locations.

    Args:
        output: of the head.
        assignment: (B, L), of the same grid.
        rule: how.

    Returns:
        The assignment with the weights of positives in its weights, and (B, L) soft targets, 0 on background.
    """
    logits, ltrb = flatten_levels(output.logits), flatten_levels(output.ltrb)
    side = ltrb.new_tensor([-1.0, -1.0, 1.0, 1.0])  # boxes around a location of their own
    soft = torch.zeros_like(ltrb[..., 0])
    weights = torch.ones_like(soft) if assignment.weights is None else assignment.weights.clone()
    for image, positive in enumerate(assignment.positive):
        loc = paired_iou(ltrb[image, positive] * side, assignment.ltrb[image, positive] * side)
        cls = logits[image, positive, assignment.labels[image, positive]].sigmoid()
        soft[image, positive], factors = rule.judge(loc, cls)
        weights[image, positive] *= factors
    return replace(assignment, weights=weights), soft


def centerness(ltrb: Tensor) -> Tensor:
    """How central a location is in its box: 1 in the middle, towards 0 at a side.

    Args:
        ltrb: (P, 4) float, distances > 0 to left, top, right, bottom, any unit.

    Returns:
        (P,) float, square root of min/max of left and right times min/max of top and bottom.
    """
    horizontal, vertical = ltrb[:, 0::2], ltrb[:, 1::2]
    ratio = (horizontal.amin(1) / horizontal.amax(1)) * (vertical.amin(1) / vertical.amax(1))
    return square_root(ratio)


def iou_giou(predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU of boxes that share a location.

    Args:
        predicted: (P, 4) left, top, right, bottom in strides, >= 0.
        target: (P, 4) likewise, of positive area.

    Returns:
        (P,) IoU with one added to intersection and union, and (P,) that IoU less the unsmoothed empty share of the
        enclosing box.
    """

    def area(ltrb: Tensor) -> Tensor:
        return (ltrb[:, 0] + ltrb[:, 2]) * (ltrb[:, 1] + ltrb[:, 3])

    intersection = area(torch.minimum(predicted, target))
    enclosing = area(torch.maximum(predicted, target))
    union = area(predicted) + area(target) - intersection
    iou = (intersection + 1.0) / (union + 1.0)
    return iou, iou - (enclosing - union) / enclosing


def giou_sum(predicted: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Sum of 1 - GIoU, each times its weight (P,)."""
    loss = 1.0 - iou_giou(predicted, target)[1]
    return (loss if weight is None else loss * weight).sum()


def normalisers(assignment: Assignment, box_quality: str = "ctrness") -> tuple[Tensor, Tensor]:
    """What the losses of a batch are divided by, but for lower limits: the number of positives, and what weighs their
    boxes, the sum of their centre-ness or again their number.

    Both add up over the parts of a batch, and count every box once whatever its weight.
    """
    positive = assignment.positive
    count = positive.sum().float()
    return count, centerness(assignment.ltrb[positive]).sum() if box_quality == "ctrness" else count


def fcos_losses(
    output: HeadOutput,
    assignment: Assignment,
    box_quality: str = "ctrness",
    whole: tuple[float, float] | None = None,
    soft: Tensor | None = None,
) -> dict[str, Tensor]:
    """Class, box and centre-ness loss of a batch. Without any positive the last two are zero, with a gradient of zeros.

    Args:
        output: of the head.
        assignment: (B, L), of the same grid. Its weights multiply the terms of each location; soft weights of
            background multiply class terms, the only ones background has. No normaliser contains a weight.
        box_quality: "ctrness" weights the box loss by the centre-ness target and trains `center` to predict it; "iou"
            weights nothing and trains `center` to predict the IoU of the predicted box.
        whole: `normalisers` of the batch that this is a part of; losses of all parts then add up to those of the
            batch. None if this is all of it.
        soft: (B, L) what positives learn of their class instead of 1, None for 1.

    Returns:
        Scalars "loss_cls", "loss_box", "loss_center", all with weight one.

    Source: method of AdelaiDet; normalisers are the number of positives (at least 1) and the sum of centre-ness.
    """
    positive = assignment.positive
    logits = flatten_levels(output.logits)
    sums = None if whole is None else logits.new_tensor(whole)
    count = (positive.sum().float() if sums is None else sums[0]).clamp(min=1.0)
    weights = None if assignment.weights is None else assignment.weights[positive]
    predicted, target = flatten_levels(output.ltrb)[positive], assignment.ltrb[positive]
    if box_quality == "ctrness":
        quality = centerness(target)
        total = (quality.sum() if sums is None else sums[1]).clamp(min=1e-6)
        loss_box = giou_sum(predicted, target, quality if weights is None else quality * weights) / total
    else:
        quality = iou_giou(predicted, target)[0].detach()
        loss_box = giou_sum(predicted, target, weights) / count
    center = flatten_levels(output.center)[positive].squeeze(1)
    loss_center = functional.binary_cross_entropy_with_logits(center, quality, weights, reduction="sum") / count
    return {"loss_cls": class_sum(logits, assignment, soft) / count, "loss_box": loss_box, "loss_center": loss_center}
