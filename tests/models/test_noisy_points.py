"""FCOS whose positives are judged by what the head says of them, for labels that are noisy."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from casl.errors import SpecError
from casl.models.fcos import FCOSSettings
from casl.models.head import HeadOutput, flatten_levels
from casl.models.locations import Assignment
from casl.models.losses import centerness, fcos_losses, giou_sum, judge_points
from casl.models.noisy import Rule, soft_focal
from tests.models.test_losses import example

RULE = Rule(0.5, 1.0, "literal")


def moved() -> tuple[HeadOutput, Assignment]:
    """Two images alike in their targets, unlike in what is predicted."""
    output, assignment = example(8)
    twice = Assignment(
        assignment.labels.repeat(2, 1), assignment.ltrb.repeat(2, 1, 1), assignment.gt_index.repeat(2, 1)
    )
    generator = torch.Generator().manual_seed(3)

    def random(maps: list[Tensor], low: float) -> list[Tensor]:
        shapes = [(2, *m.shape[1:]) for m in maps]
        return [(torch.rand(shape, generator=generator) * 3 + low).requires_grad_() for shape in shapes]

    return HeadOutput(random(output.logits, -3.0), random(output.ltrb, 0.5), random(output.center, -1.0), None), twice


def test_each_image_s_positives_are_judged_by_their_boxes_and_classes() -> None:
    output, assignment = moved()
    found, soft = judge_points(output, assignment, RULE)
    assert found.weights is not None
    boxes, logits = flatten_levels(output.ltrb).detach(), flatten_levels(output.logits).detach()
    sign = torch.tensor([-1.0, -1.0, 1.0, 1.0])
    for image in range(2):
        positive = assignment.positive[image]
        loc = box_iou(boxes[image, positive] * sign, assignment.ltrb[image, positive] * sign).diagonal()
        cls = logits[image, positive].sigmoid()[torch.arange(len(loc)), assignment.labels[image, positive]]
        torch.testing.assert_close(soft[image, positive], 0.5 * loc + 0.5 * cls)
        torch.testing.assert_close(found.weights[image, positive], RULE.judge(loc, cls)[1])
        assert found.weights[image, positive].mean().item() == pytest.approx(1.0, abs=1e-5)
        assert (soft[image, ~positive] == 0).all() and (found.weights[image, ~positive] == 1).all()


def test_losses_take_soft_targets_and_the_weights_and_keep_their_normalisers() -> None:
    output, assignment = moved()
    judged, soft = judge_points(output, assignment, RULE)
    losses = fcos_losses(output, judged, soft=soft)
    assert judged.weights is not None
    positive, weights = assignment.positive, judged.weights
    targets = torch.zeros_like(flatten_levels(output.logits))
    targets[positive, assignment.labels[positive]] = soft[positive]
    terms = soft_focal(flatten_levels(output.logits), targets, 0.25) * weights[..., None]
    torch.testing.assert_close(losses["loss_cls"], terms.sum() / positive.sum())
    quality = centerness(assignment.ltrb[positive])
    boxes = giou_sum(flatten_levels(output.ltrb)[positive], assignment.ltrb[positive], quality * weights[positive])
    torch.testing.assert_close(losses["loss_box"], boxes / quality.sum())
    torch.autograd.backward(list(losses.values()))


def test_weights_of_boxes_and_of_judgement_multiply() -> None:
    output, assignment = moved()
    double = replace(assignment, weights=torch.where(assignment.positive, 2.0, 1.0))
    plain, twice = (judge_points(output, given, RULE)[0].weights for given in (assignment, double))
    assert plain is not None and twice is not None
    torch.testing.assert_close(twice[assignment.positive], 2 * plain[assignment.positive])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"clean": "relased"}, "did you mean 'released'"),
        ({"clean_alpha": 2.0}, "got 2.0"),
        ({"clean_gamma": -1.0}, "gamma"),
    ],
)
def test_settings_out_of_range_are_one_sentence(changes: dict[str, float], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        FCOSSettings(**changes)  # type: ignore[arg-type]
