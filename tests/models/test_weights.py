"""Weights of boxes in FCOS and CondInst: against losses of single locations, and that weights of 1 change no bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from casl.models.fcos import FCOS
from casl.models.locations import Assignment, matched_weights
from casl.models.losses import fcos_losses, focal_sum
from tests.models.frameworks.cases import NAMES, without_objects
from tests.models.frameworks.cases import batch as batch_of_frameworks
from tests.models.frameworks.cases import scene as scene_of_frameworks
from tests.models.frameworks.cases import small as framework
from tests.models.test_condinst import ENTITY, nothing
from tests.models.test_condinst import batch as masked_batch
from tests.models.test_condinst import scene as masked_scene
from tests.models.test_condinst import small as condinst
from tests.models.test_fcos import SMALL, scene
from tests.models.test_fcos import small as fcos

Batch = tuple[list[Tensor], list[dict[str, Tensor]]]
DETECTORS: dict[str, tuple[Callable[[], Any], Callable[[], Batch]]] = {
    "fcos": (fcos, scene),
    "fcos by iou": (lambda: fcos(settings=replace(SMALL, box_quality="iou")), scene),
    "condinst": (condinst, lambda: masked_batch(masked_scene(), nothing(), masked_scene())),
    "entity": (lambda: condinst(**ENTITY), lambda: masked_batch(masked_scene(), masked_scene(96, 80))),
    "few drawn": (lambda: condinst(max_per_image=2), lambda: masked_batch(masked_scene(), masked_scene())),
    **{
        name: (
            lambda name=name: framework(name),  # type: ignore[misc]
            lambda: batch_of_frameworks(scene_of_frameworks(), without_objects()),
        )
        for name in NAMES
    },
}


def trained(name: str, weights: Callable[[int], Tensor | None]) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Losses and gradients with weights of so many boxes; None leaves a target as it is."""
    make, data = DETECTORS[name]
    model = make().train()
    images, targets = data()
    for target in targets:
        if (chosen := weights(len(target["labels"]))) is not None:
            target["weights"] = chosen
    torch.manual_seed(3)
    losses = model.losses(images, targets)
    torch.autograd.backward(list(losses.values()))
    return losses, [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("name", DETECTORS)
def test_weights_of_one_change_no_bit_of_losses_and_gradients(name: str) -> None:
    losses, gradients = trained(name, lambda count: None)
    weighted, others = trained(name, torch.ones)
    assert losses.keys() == weighted.keys()
    assert all(torch.equal(losses[key], weighted[key]) for key in losses)
    assert len(gradients) == len(others)
    assert all(torch.equal(a, b) for a, b in zip(gradients, others, strict=True))
    double, _ = trained(name, lambda count: torch.full((count,), 2.0))
    for key in losses.keys() - {"loss_semantic"}:
        assert not torch.equal(losses[key], double[key]), key


def by_hand(
    model: FCOS, images: list[Tensor], targets: list[dict[str, Tensor]]
) -> tuple[Assignment, dict[str, Tensor]]:
    """Every location's own class, box and centre-ness loss, from the formulas of the papers, not normalised."""
    output = model.outputs(model.preprocess(images))
    assignment = model.assign(model.grid(output), [{n: v for n, v in t.items() if n != "weights"} for t in targets])

    def rows(levels: list[Tensor]) -> Tensor:
        return torch.cat([level.flatten(2) for level in levels], 2).transpose(1, 2)

    wanted = torch.eye(model.num_classes + 1)[assignment.labels][..., :-1]
    p = rows(output.logits).sigmoid()
    found = -0.25 * (1 - p) ** 2 * p.log() * wanted - 0.75 * p**2 * (1 - p).log() * (1 - wanted)
    a, b = rows(output.ltrb), assignment.ltrb
    left, top, right, bottom = torch.minimum(a, b).unbind(-1)
    shared = (left + right) * (top + bottom)
    left, top, right, bottom = torch.maximum(a, b).unbind(-1)
    hull = (left + right) * (top + bottom)
    both = sum((x[..., 0] + x[..., 2]) * (x[..., 1] + x[..., 3]) for x in (a, b)) - shared
    giou = (shared + 1) / (both + 1) - (hull - both) / hull
    sides = assignment.ltrb
    quality = (
        (sides[..., 0::2].amin(-1) / sides[..., 0::2].amax(-1))
        * (sides[..., 1::2].amin(-1) / sides[..., 1::2].amax(-1))
    ).sqrt()
    q = rows(output.center)[..., 0].sigmoid()
    center = -quality * q.log() - (1 - quality) * (1 - q).log()
    terms = {"loss_cls": found.sum(-1), "loss_box": (1 - giou) * quality, "loss_center": center, "quality": quality}
    return assignment, {key: value.detach() for key, value in terms.items()}


@pytest.mark.parametrize("weights", [(0.0, 1.0), (1.0, 2.0), (0.25, 3.0)])
def test_a_weight_counts_the_locations_of_its_box_that_often(weights: tuple[float, float]) -> None:
    model = fcos()
    images, targets = scene()
    assignment, terms = by_hand(model, images, targets)
    counts = {(0, k): w for k, w in enumerate(weights)}
    positives = [(b, place) for b, place in assignment.positive.nonzero().tolist()]
    assert {int(assignment.gt_index[b, place]) for b, place in positives} == {0, 1}
    factor = torch.ones(assignment.labels.shape)
    for b, place in positives:
        factor[b, place] = counts[b, int(assignment.gt_index[b, place])]
    targets[0]["weights"] = torch.tensor(weights)
    losses = model.losses(images, targets)
    chosen = assignment.positive
    sums = {n: (factor * v)[chosen].sum() for n, v in terms.items() if n != "loss_cls"}
    torch.testing.assert_close(losses["loss_cls"].detach(), (factor * terms["loss_cls"]).sum() / len(positives))
    torch.testing.assert_close(losses["loss_center"].detach(), sums["loss_center"] / len(positives))
    torch.testing.assert_close(losses["loss_box"].detach(), sums["loss_box"] / terms["quality"][chosen].sum())


def test_soft_background_weighs_class_terms_only_and_no_normaliser() -> None:
    model = fcos()
    images, targets = scene()
    assignment, terms = by_hand(model, images, targets)
    soft = torch.rand(assignment.labels.shape, generator=torch.Generator().manual_seed(0))
    soft[assignment.positive] = 1.0
    output = model.outputs(model.preprocess(images))
    plain, weighted = fcos_losses(output, assignment), fcos_losses(output, replace(assignment, weights=soft))
    expected = (soft * terms["loss_cls"]).sum() / assignment.positive.sum()
    torch.testing.assert_close(weighted["loss_cls"].detach(), expected)
    assert torch.equal(plain["loss_box"], weighted["loss_box"])
    assert torch.equal(plain["loss_center"], weighted["loss_center"])


def test_focal_loss_of_soft_background_by_hand() -> None:
    """Weights 1 - .02, 1 - .6, 1 - .3 of background at logits -2, 1, 0."""
    logits, nothing_there = torch.tensor([[-2.0], [1.0], [0.0]]), torch.zeros(3, 1)
    assert focal_sum(logits, nothing_there).item() == pytest.approx(0.657719, abs=1e-6)
    weighted = focal_sum(logits, nothing_there, torch.tensor([0.98, 0.4, 0.7]))
    assert weighted.item() == pytest.approx(0.302862, abs=1e-6)


def test_what_is_matched_with_no_box_has_the_weight_one() -> None:
    matches = torch.tensor([1, -1, 0, -2, 1])
    assert matched_weights(torch.tensor([0.5, 0.0]), matches).tolist() == [0.0, 1.0, 0.5, 1.0, 0.0]
    assert matched_weights(torch.zeros(0), torch.tensor([-1, -1])).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("name", ["fcos", "retinanet"])
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (torch.ones(3), r"\(3,\) weights of torch.float32 for 2 boxes"),
        (torch.ones(2, dtype=torch.float64), "float64 for 2 boxes: one float32 each"),
        (torch.tensor([1.0, -0.5]), "at least 0, got"),
        (torch.tensor([1.0, math.nan]), "finite"),
    ],
)
def test_weights_that_do_not_fit_are_refused(name: str, weights: Tensor, message: str) -> None:
    make, data = DETECTORS[name]
    images, targets = data()
    targets[0]["weights"] = weights
    with pytest.raises(ValueError, match=message):
        make().train().losses(images, targets)
