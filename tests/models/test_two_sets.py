"""Dense students whose classes and boxes learn from two sets of pseudo labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from casl.models.condinst import CondInst
from casl.models.fcos import FCOS
from casl.models.head import flatten_levels
from casl.models.locations import Assignment, Grid
from casl.models.two_sets import emptied, losses_of_sets, softened
from tests.models.test_condinst import Target, batch, nothing, scene
from tests.models.test_condinst import small as condinst
from tests.train.test_divided import fcos

OF_CLASSES, OF_BOXES = ("loss_cls", "loss_center"), ("loss_box", "loss_mask")


def detector(name: str) -> FCOS:
    model = condinst() if name == "condinst" else fcos()
    assert isinstance(model, FCOS)
    return model.train()


def seeded(losses: Any, *arguments: Any) -> dict[str, Tensor]:
    torch.manual_seed(3)
    found: dict[str, Tensor] = losses(*arguments)
    return found


def only(target: Target, row: int) -> Target:
    return {name: values[row : row + 1] for name, values in target.items()}


@pytest.mark.parametrize("name", ["fcos", "condinst"])
def test_one_set_is_the_detectors_own_losses_bit_for_bit(name: str) -> None:
    model, (images, targets) = detector(name), batch(scene(), scene(96, 64), nothing())
    own = seeded(model.losses, images, targets)
    sets = seeded(losses_of_sets, model, images, targets, targets)
    assert own.keys() == sets.keys() and all(torch.equal(own[key], sets[key]) for key in own)


@pytest.mark.parametrize("name", ["fcos", "condinst"])
def test_classes_learn_from_the_first_set_and_boxes_and_masks_from_the_second(name: str) -> None:
    model, (images, targets) = detector(name), batch(scene(), scene())
    classes, boxes = [only(t, 0) for t in targets], [only(t, 1) for t in targets]
    found = seeded(losses_of_sets, model, images, classes, boxes)
    first, second = seeded(model.losses, images, classes), seeded(model.losses, images, boxes)
    for key, value in found.items():
        assert torch.equal(value, (first if key in OF_CLASSES else second)[key]), key
    assert not torch.equal(first["loss_box"], second["loss_box"])


@pytest.mark.parametrize("name", ["fcos", "condinst"])
@pytest.mark.parametrize("empty", ["classes", "boxes", "both"])
def test_a_set_without_any_box_has_losses_and_gradients_that_are_numbers(name: str, empty: str) -> None:
    model, (images, targets) = detector(name), batch(scene(), scene())
    classes = targets if empty == "boxes" else emptied(targets)
    boxes = targets if empty == "classes" else emptied(targets)
    doubt = (lambda grid: torch.full((2, len(grid.points)), 0.5)) if empty == "both" else None
    losses = losses_of_sets(model, images, classes, boxes, doubt)
    assert all(torch.isfinite(value) for value in losses.values())
    if empty != "classes":
        assert all(losses[key].item() == 0.0 for key in OF_BOXES if key in losses)
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients and all(torch.isfinite(gradient).all() for gradient in gradients)


def test_soft_background_multiplies_the_class_terms_of_background_and_no_normaliser() -> None:
    model, (images, targets) = detector("fcos"), batch(scene(), scene())
    doubt: list[Tensor] = []

    def background(grid: Grid) -> Tensor:
        doubt.append(torch.rand(2, len(grid.points), generator=torch.Generator().manual_seed(0)))
        return doubt[0]

    plain = losses_of_sets(model, images, targets, targets)
    soft = losses_of_sets(model, images, targets, targets, background)
    output = model.outputs(model.preprocess(images))
    assignment = model.assign(model.grid(output), targets)
    logits = flatten_levels(output.logits)
    wanted = torch.nn.functional.one_hot(assignment.labels, 3)[..., :2].float()
    terms = sigmoid_focal_loss(logits, wanted).sum(-1)
    weights = torch.where(assignment.positive, 1.0, doubt[0])
    torch.testing.assert_close(soft["loss_cls"], (terms * weights).sum() / assignment.positive.sum())
    assert all(torch.equal(soft[key], plain[key]) for key in plain if key != "loss_cls")


def test_positives_keep_the_weights_of_their_boxes() -> None:
    index = torch.tensor([[0, -1, 1]])
    found = Assignment(torch.zeros(1, 3), torch.zeros(1, 3, 4), index, torch.tensor([[2.0, 1.0, 3.0]]))
    doubt = torch.tensor([[0.1, 0.2, 0.3]])
    torch.testing.assert_close(softened(found, doubt).weights, torch.tensor([[2.0, 0.2, 3.0]]))
    torch.testing.assert_close(softened(replace(found, weights=None), doubt).weights, torch.tensor([[1.0, 0.2, 1.0]]))


def test_results_of_some_detections_are_those_among_all() -> None:
    both: list[Any] = [detector("fcos").eval(), condinst().eval()]
    for model in both:
        torch.nn.init.constant_(model.head.cls_logits.bias, 0.0)
        torch.nn.init.constant_(model.head.bbox_pred.bias, 2.0)
        image = scene()[0]
        with torch.no_grad():
            output = model.outputs(model.preprocess([image]))
            found = model.detect(output)[0]
            (some,) = model.results(
                [found.select(torch.arange(len(found.scores)) % 3 == 1)], output, [image], [(64, 64)]
            )
        (every,) = model.predict([image], [(64, 64)])
        assert len(every["boxes"]) == len(found.scores) > 9, "no box lies outside"
        assert all(torch.equal(some[key], every[key][1::3]) for key in every)
        assert isinstance(model, CondInst) == ("masks" in every)
