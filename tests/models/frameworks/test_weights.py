"""Losses of RetinaNet and the R-CNNs: torchvision's own bit for bit, and weights of boxes against figures by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import box_iou, sigmoid_focal_loss

from casl.models.frameworks.adapter import Framework
from casl.models.frameworks.matching import BACKGROUND, LEFT_OUT, match
from casl.models.frameworks.rcnn_losses import (
    Regions,
    keypoint_loss,
    mask_loss,
    proposal_losses,
    propose,
    region_losses,
)
from tests.models.frameworks.cases import ONE_STAGE, Target, batch, scene, small, without_objects

NAMES = {"classification": "loss_cls", "bbox_regression": "loss_box"}
R_CNN_NAMES = {"loss_classifier": "loss_cls", "loss_box_reg": "loss_box", "loss_rpn_box_reg": "loss_rpn_box"}


def prepared(model: Framework, images: list[Tensor], targets: list[Target]) -> tuple[Any, Any, list[Target]]:
    inputs = model.batch(images)
    return inputs, model.features(inputs.tensors), [model.translated(target) for target in targets]


def torchvisions(name: str, model: Framework, images: list[Tensor], targets: list[Target]) -> dict[str, Tensor]:
    """What torchvision's own loss functions say."""
    inputs, features, theirs = prepared(model, images, targets)
    if name == "retinanet":
        levels = list(features.values())
        anchors = model.framework.anchor_generator(inputs, levels)
        found = model.framework.compute_loss(theirs, model.framework.head(levels), anchors)
        return {NAMES[key]: value for key, value in found.items()}
    proposals, first = model.framework.rpn(inputs, features, theirs)
    _, second = model.framework.roi_heads(features, proposals, inputs.image_sizes, theirs)
    return {R_CNN_NAMES.get(key, key): value for key, value in (first | second).items()}


@pytest.mark.parametrize("name", ["retinanet", *ONE_STAGE])
def test_losses_and_gradients_are_torchvisions_bit_for_bit(name: str) -> None:
    images, targets = batch(scene(), without_objects(40, 48), scene())
    results = []
    for own in (True, False):
        model = small(name)
        torch.manual_seed(2)
        losses = model.losses(images, targets) if own else torchvisions(name, model, images, targets)
        losses.pop("loss_semantic", None)  # is not torchvision's
        torch.autograd.backward(list(losses.values()))
        results.append((losses, [p.grad for p in model.parameters() if p.grad is not None], torch.get_rng_state()))
    (mine, gradients, state), (theirs, others, their_state) = results
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    assert all(torch.equal(a, b) for a, b in zip(gradients, others, strict=True))
    assert torch.equal(state, their_state)


def test_retinanets_losses_are_sums_over_anchors_each_times_the_weight_of_its_box() -> None:
    model = small("retinanet")
    images, targets = batch(scene(), without_objects())
    targets[0]["weights"] = torch.tensor([0.0, 2.0])
    inputs, features, _ = prepared(model, images, targets)
    levels = list(features.values())
    outputs, anchors = model.framework.head(levels), model.framework.anchor_generator(inputs, levels)
    iou = box_iou(targets[0]["boxes"], anchors[0])
    best, rows = iou.max(0)
    fallback = (iou == iou.amax(1, keepdim=True)).any(0)  # a box without a good anchor has its best ones
    positive, ignored = (best >= 0.5) | fallback, (best >= 0.4) & (best < 0.5) & ~fallback
    assert {int(row) for row in rows[positive]} == {0, 1}
    weights = torch.where(positive, targets[0]["weights"][rows], 1.0)
    wanted = torch.eye(3)[torch.where(positive, targets[0]["labels"][rows], 2)][:, :2]
    focal = sigmoid_focal_loss(outputs["cls_logits"][0], wanted).sum(1)
    count = positive.sum()
    loss_cls = (focal * weights)[~ignored].sum() / count
    empty = sigmoid_focal_loss(outputs["cls_logits"][1], torch.zeros_like(wanted)).sum()
    x1, y1, x2, y2 = anchors[0][positive].unbind(1)
    a1, b1, a2, b2 = targets[0]["boxes"][rows[positive]].unbind(1)
    offsets = torch.stack(
        [
            ((a1 + a2) - (x1 + x2)) / 2 / (x2 - x1),
            ((b1 + b2) - (y1 + y2)) / 2 / (y2 - y1),
            ((a2 - a1) / (x2 - x1)).log(),
            ((b2 - b1) / (y2 - y1)).log(),
        ],
        dim=1,
    )
    apart = (outputs["bbox_regression"][0][positive] - offsets).abs().sum(1)
    losses = model.losses(images, targets)
    torch.testing.assert_close(losses["loss_cls"], (loss_cls + empty) / 2)
    torch.testing.assert_close(losses["loss_box"], (apart * weights[positive]).sum() / count / 2)


def logits_of(losses: list[float], labels: list[int], classes: int) -> Tensor:
    """(R, C + 1) logits whose cross-entropy at the labels is as given."""
    logits = torch.empty(len(losses), classes + 1)
    for row, loss, label in zip(logits, losses, labels, strict=True):
        row[:] = torch.log((1 - torch.tensor(-loss).exp()) / classes)
        row[label] = -loss
    return logits


def regions(labels: list[int], weights: list[float] | None) -> Regions:
    """One image's; every box is one unit to the right of its region."""
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0]]).repeat(len(labels), 1)
    offsets = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(len(labels), 1)
    rows = torch.arange(len(labels))
    return Regions([boxes], [rows], [torch.tensor(labels)], [offsets], weights and [torch.tensor(weights)])  # type: ignore[arg-type]


def test_the_class_loss_divides_by_weights_of_background_as_soft_teacher_does() -> None:
    labels, losses = [1, 2, 0, 0, 0], [0.2, 0.7, 0.3, 1.5, 0.05]
    logits, still = logits_of(losses, labels, 2), torch.zeros(5, 12)
    plain = region_losses(logits, still, regions(labels, None))["loss_cls"]
    soft = region_losses(logits, still, regions(labels, [1.0, 1.0, 0.9, 0.2, 0.99]))["loss_cls"]
    assert (plain.item(), soft.item()) == pytest.approx((0.55, 0.371516), abs=1e-6)


def test_the_class_loss_does_not_divide_by_weights_of_objects() -> None:
    labels, losses = [1, 3, 0, 0], [0.4, 0.9, 0.1, 0.2]
    found = region_losses(logits_of(losses, labels, 3), torch.zeros(4, 16), regions(labels, [1.0, 5.408904, 1.0, 1.0]))
    assert found["loss_cls"].item() == pytest.approx(1.392003, abs=1e-6)


def test_the_box_loss_of_a_region_is_times_its_weight() -> None:
    labels, each = [1, 2, 0], 1.0 - 1 / 18  # |1| - beta / 2
    offsets, logits = torch.zeros(3, 12), torch.zeros(3, 3)
    for weights, expected in ((None, 2 * each), ([0.0, 3.0, 1.0], 3 * each), ([1.0, 2.0, 0.5], 3 * each)):
        found = region_losses(logits, offsets, regions(labels, weights))["loss_box"]
        assert found.item() == pytest.approx(expected / 3, abs=1e-6)


def test_the_mask_loss_of_a_region_is_times_its_weight() -> None:
    logits = torch.zeros(2, 3, 4, 4)
    logits[0, 1], logits[1, 2] = 2.0, -1.0
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[:, :5, :5] = True  # holds the whole of every region
    first, second = (-torch.tensor(x).sigmoid().log().item() for x in (2.0, -1.0))
    for weights, expected in ((None, first + second), ([0.0, 1.0], second), ([2.0, 0.5], 2 * first + second / 2)):
        found = mask_loss(logits, regions([1, 2], weights), [masks])
        assert found.item() == pytest.approx(expected / 2, abs=1e-5)


def test_the_keypoint_loss_of_a_region_is_times_its_weight() -> None:
    logits = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    points = torch.tensor(
        [[[0.5, 1.5, 2.0], [3.5, 3.5, 2.0]], [[2.5, 0.5, 2.0], [1.0, 1.0, 0.0]]]
    )  # the last is unseen
    of_cells = logits.flatten(2).log_softmax(2)
    terms = [-of_cells[0, 0, 4], -of_cells[0, 1, 15], -of_cells[1, 0, 2]]
    for weights in (None, [0.0, 1.0], [3.0, 0.5]):
        first, second = weights or (1.0, 1.0)
        expected = (first * (terms[0] + terms[1]) + second * terms[2]) / 3
        torch.testing.assert_close(keypoint_loss(logits, regions([1, 2], weights), [points]), expected)


def test_losses_of_proposals_are_sums_over_drawn_anchors_each_times_the_weight_of_its_box() -> None:
    model = small("faster_rcnn")
    images, targets = batch(scene(), without_objects())
    targets[0]["weights"] = torch.tensor([0.0, 3.0])
    inputs, features, theirs = prepared(model, images, targets)
    rpn = model.framework.rpn
    proposals = propose(rpn, inputs, features)
    matches = match(rpn.proposal_matcher, proposals.anchors, theirs)
    torch.manual_seed(1)
    losses = proposal_losses(rpn, proposals, matches, theirs)

    rows = torch.cat([found.boxes for found in matches])
    labels = [(found.boxes >= 0).float() - (found.boxes == LEFT_OUT).float() for found in matches]
    torch.manual_seed(1)
    positive, negative = (torch.cat(drawn).bool() for drawn in rpn.fg_bg_sampler(labels))
    assert set(rows[positive].tolist()) == {0, 1} and set(rows[negative].tolist()) == {BACKGROUND}
    drawn = positive | negative
    weights = torch.where(positive, torch.tensor([0.0, 3.0])[rows.clamp(min=0)], 1.0)
    logits = proposals.objectness.flatten()
    terms = torch.where(positive, -functional.logsigmoid(logits), -functional.logsigmoid(-logits))
    torch.testing.assert_close(losses["loss_objectness"], (weights * terms)[drawn].sum() / drawn.sum())
    wanted = rpn.box_coder.encode_single(theirs[0]["boxes"][rows[positive]], torch.cat(proposals.anchors)[positive])
    gap = (proposals.offsets[positive] - wanted).abs()
    smooth = torch.where(gap < 1 / 9, gap**2 * 4.5, gap - 1 / 18).sum(1)
    torch.testing.assert_close(losses["loss_rpn_box"], (smooth * weights[positive]).sum() / drawn.sum())
