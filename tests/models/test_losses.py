"""FCOS losses against figures produced by AdelaiDet (adet/modeling/fcos, adet/utils, adet/layers)."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from casl.models.head import HeadOutput, flatten_levels
from casl.models.locations import Assignment, assign, locations, stack_assignments
from casl.models.losses import centerness, fcos_losses, focal_sum, giou_sum, iou_giou

STRIDES = (8, 16, 32, 64, 128)
BOXES = torch.tensor([[16.0, 16, 80, 80], [0, 0, 256, 256], [100, 100, 108, 116], [40, 60, 200, 180]])
LABELS = torch.tensor([3, 7, 1, 5])
PREDICTED = torch.tensor([[1.0, 2, 3, 4], [2, 2, 2, 2], [5, 1, 1, 5], [0, 0, 0, 0]])
TARGET = torch.tensor([[2.0, 2, 2, 2], [2, 2, 2, 2], [1, 5, 5, 1], [1, 1, 1, 1]])


def example(num_classes: int, boxes: Tensor = BOXES, labels: Tensor = LABELS) -> tuple[HeadOutput, Assignment]:
    grid = [locations(256 // stride, 256 // stride, stride) for stride in STRIDES]
    sides = [256 // stride for stride in STRIDES]
    labels = labels if num_classes > 1 else torch.zeros_like(labels)
    target = assign(grid, STRIDES, (64, 128, 256, 512), boxes, labels, None, num_classes)
    output = HeadOutput(
        logits=[torch.full((1, num_classes, side, side), -4.595120, requires_grad=True) for side in sides],
        ltrb=[torch.full((1, 4, side, side), 2.0, requires_grad=True) for side in sides],
        center=[torch.zeros(1, 1, side, side, requires_grad=True) for side in sides],
        kernels=None,
    )
    return output, stack_assignments([target])


def values(losses: dict[str, Tensor]) -> list[float]:
    return [losses[name].item() for name in ("loss_cls", "loss_box", "loss_center")]


def test_centre_ness_is_one_in_the_middle_and_falls_to_the_sides() -> None:
    ltrb = torch.tensor([[1.0, 2, 3, 4], [2, 2, 2, 2], [0.5, 1, 4, 1]])
    torch.testing.assert_close(centerness(ltrb), torch.tensor([0.408248, 1.0, 0.353553]), atol=1e-5, rtol=0)
    assert centerness(ltrb[:0]).shape == (0,)


def test_iou_is_smoothed_by_one_and_giou_is_built_on_it() -> None:
    iou, giou = iou_giou(PREDICTED, TARGET)
    torch.testing.assert_close(iou, torch.tensor([0.448276, 1, 0.072464, 0.2]), atol=1e-5, rtol=0)
    torch.testing.assert_close(giou, torch.tensor([0.381609, 1, -0.247536, 0.2]), atol=1e-5, rtol=0)


def test_box_loss_is_a_weighted_sum() -> None:
    weight = torch.tensor([0.5, 1, 0.25, 1])
    assert giou_sum(PREDICTED, TARGET, weight).item() == pytest.approx(1.421079, abs=1e-5)
    assert giou_sum(PREDICTED, TARGET).item() == pytest.approx(4 - 0.381609 - 1 + 0.247536 - 0.2, abs=1e-5)


def test_focal_loss_of_two_locations_by_hand() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])  # probabilities .75 .5 / .5 .5
    targets = torch.tensor([[1.0, 0.0], [0.0, 0.0]])  # class 0, background
    found = 0.25 * 0.25**2 * -math.log(0.75)
    missed = 0.75 * 0.5**2 * -math.log(0.5)
    assert focal_sum(logits, targets).item() == pytest.approx(found + 3 * missed, abs=1e-6)


@pytest.mark.parametrize(("num_classes", "loss_cls"), [(80, 1.133219), (1, 1.128441)])
def test_losses_equal_the_reference(num_classes: int, loss_cls: float) -> None:
    output, target = example(num_classes)
    assert int(target.positive.sum()) == 17
    assert centerness(target.ltrb[target.positive]).sum().item() == pytest.approx(12.862030, abs=1e-5)
    assert values(fcos_losses(output, target)) == pytest.approx([loss_cls, 0.758003, 0.693147], abs=1e-5)


def test_losses_with_iou_as_quality_equal_the_reference() -> None:
    output, target = example(80)
    assert values(fcos_losses(output, target, "iou")) == pytest.approx([1.133219, 0.758502, 0.693147], abs=1e-5)


def test_the_quality_target_gives_no_gradient_to_the_boxes() -> None:
    output, target = example(80)
    fcos_losses(output, target, "iou")["loss_center"].backward()  # type: ignore[no-untyped-call]
    assert all(level.grad is None for level in output.ltrb)


def test_without_objects_box_losses_are_zero_and_still_reach_every_prediction() -> None:
    output, target = example(80, BOXES[:0], LABELS[:0])
    losses = fcos_losses(output, target)
    assert losses["loss_box"].item() == losses["loss_center"].item() == 0
    assert losses["loss_cls"].item() > 0
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    for level in (*output.ltrb, *output.center):
        assert level.grad is not None and level.grad.abs().sum() == 0


def test_a_part_divides_by_the_sums_of_the_whole() -> None:
    # the other part has as many positives of as much centre-ness, so half of each loss is this part's
    output, target = example(80)
    half = fcos_losses(output, target, whole=(2 * 17, 2 * 12.862030))
    assert values(half) == pytest.approx([1.133219 / 2, 0.758003 / 2, 0.693147 / 2], abs=1e-5)


def test_only_positives_get_a_box_gradient() -> None:
    output, target = example(80)
    fcos_losses(output, target)["loss_box"].backward()  # type: ignore[no-untyped-call]
    moved = flatten_levels([level.grad for level in output.ltrb if level.grad is not None]).abs().sum(2) > 0
    assert torch.equal(moved, target.positive)
