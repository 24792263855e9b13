"""A Faster R-CNN whose classes and boxes learn from two sets, and its box head as a teacher."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from casl.models.frameworks.rcnn_losses import Regions, region_losses
from casl.models.frameworks.two_sets import (
    background_probability,
    focal_loss,
    losses_of_sets,
    predicted,
    refined,
    softened,
)
from casl.models.two_sets import emptied
from tests.models.frameworks.cases import batch, scene, small, without_objects


def rcnn() -> Any:
    return small("faster_rcnn")


def regions(labels: list[int], weights: list[Tensor] | None = None) -> Regions:
    count = len(labels)
    boxes, rows = torch.zeros(count, 4), torch.zeros(count, dtype=torch.int64)
    return Regions([boxes], [rows], [torch.tensor(labels, dtype=torch.int64)], [torch.zeros(count, 4)], weights)


def test_s6_background_weighs_as_the_teacher_is_sure_of_it_and_the_loss_is_divided_by_all_weights() -> None:
    terms, labels = torch.tensor([0.2, 0.7, 0.3, 1.5, 0.05]), [1, 1, 0, 0, 0]
    right = (-terms).exp()  # probabilities of the labels that have these cross-entropies
    logits = torch.stack([torch.where(torch.tensor(labels) == place, right, 1 - right).log() for place in (0, 1)], 1)
    soft = softened(regions(labels), [torch.tensor([0.05, 0.1, 0.9, 0.2, 0.99])])
    assert soft.weights is not None and soft.weights[0].tolist() == pytest.approx([1, 1, 0.9, 0.2, 0.99])
    offsets = torch.zeros(5, 8)
    assert float(region_losses(logits, offsets, soft)["loss_cls"]) == pytest.approx(0.371516, abs=1e-5)
    assert float(region_losses(logits, offsets, regions(labels))["loss_cls"]) == pytest.approx(0.55)


def test_u1_focal_loss_on_the_softmax_divided_by_the_number_of_regions() -> None:
    logits = torch.tensor([[2.0, 0, -1], [0, 1, 0.5], [0.2, 0.1, 3]])
    assert float(focal_loss(logits, regions([0, 1, 2]), 1.5)) == pytest.approx(0.083334, abs=1e-6)
    assert float(focal_loss(logits, regions([0, 1, 2]), 0.0)) == pytest.approx(0.319906, abs=1e-6)
    assert float(functional.cross_entropy(logits, torch.arange(3))) == pytest.approx(0.319906, abs=1e-6)
    assert float(focal_loss(logits[:0], regions([]), 1.5)) == 0.0


def test_a_certain_region_has_a_gradient_that_is_a_number() -> None:
    logits = torch.tensor([[200.0, 0, 0], [0, 200, 0]], requires_grad=True)
    focal_loss(logits, regions([0, 0]), 1.5).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None and torch.isfinite(logits.grad).all()


def seeded(losses: Any, *arguments: Any, **options: Any) -> dict[str, Tensor]:
    torch.manual_seed(4)
    found: dict[str, Tensor] = losses(*arguments, **options)
    return found


def test_one_set_is_the_detectors_own_losses_bit_for_bit() -> None:
    model, (images, targets) = rcnn(), batch(scene(), without_objects(40, 48), scene())
    own, sets = seeded(model.losses, images, targets), seeded(losses_of_sets, model, images, targets, targets)
    assert own.keys() == sets.keys() and all(torch.equal(own[key], sets[key]) for key in own)


def test_boxes_of_regions_learn_from_the_second_set_and_all_else_from_the_first() -> None:
    model, (images, targets) = rcnn(), batch(scene(), scene())
    classes = [{**t, "boxes": t["boxes"][:1], "labels": t["labels"][:1]} for t in targets]
    own = seeded(model.losses, images, classes)
    sets = seeded(losses_of_sets, model, images, classes, targets)
    assert all(torch.equal(own[key], sets[key]) for key in own if key != "loss_box")
    assert not torch.equal(own["loss_box"], sets["loss_box"])
    doubt = seeded(losses_of_sets, model, images, classes, classes, lambda boxes: [torch.zeros(len(b)) for b in boxes])
    focal = seeded(losses_of_sets, model, images, classes, classes, focal=1.5)
    for changed in (doubt, focal):
        assert [key for key in own if not torch.equal(own[key], changed[key])] == ["loss_cls"]
    assert float(focal["loss_cls"]) < float(own["loss_cls"])


@pytest.mark.parametrize("empty", ["classes", "boxes", "both"])
def test_a_set_without_any_box_has_losses_and_gradients_that_are_numbers(empty: str) -> None:
    model, (images, targets) = rcnn(), batch(scene(), scene())
    classes = targets if empty == "boxes" else emptied(targets)
    boxes = targets if empty == "classes" else emptied(targets)
    for options in ({}, {"focal": 1.5}, {"background": lambda regions: [torch.zeros(len(b)) for b in regions]}):
        losses = losses_of_sets(model, images, classes, boxes, **options)
        assert all(torch.isfinite(value) for value in losses.values())
        if empty != "classes":
            assert losses["loss_box"].item() == 0.0
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients and all(torch.isfinite(gradient).all() for gradient in gradients)


def pyramid(model: Any, image: Tensor) -> dict[str, Tensor]:
    with torch.no_grad():
        features: dict[str, Tensor] = model.features(model.batch([image]).tensors)
    return features


def test_a_box_is_refined_by_the_offsets_of_its_class() -> None:
    model, boxes, labels = rcnn().eval(), scene()[1]["boxes"], torch.tensor([1, 0])
    features = pyramid(model, scene()[0])
    found = refined(model, features, boxes, labels, (64, 64))
    _, offsets = predicted(model.framework.roi_heads, features, [boxes], [(64, 64)])
    for row, label in enumerate(labels.tolist()):
        x1, y1, x2, y2 = boxes[row].tolist()
        dx, dy, dw, dh = (offsets[row, 4 * (label + 1) :][:4] / torch.tensor([10.0, 10, 5, 5])).tolist()
        width, height = (x2 - x1) * math.exp(dw), (y2 - y1) * math.exp(dh)
        x, y = (x1 + x2) / 2 + dx * (x2 - x1), (y1 + y2) / 2 + dy * (y2 - y1)
        wanted = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        assert found[row].tolist() == pytest.approx([min(max(side, 0), 64) for side in wanted], abs=1e-3)
    assert refined(model, features, boxes[:0], labels[:0], (64, 64)).shape == (0, 4)


def test_background_is_what_the_head_leaves_to_no_class() -> None:
    model = rcnn().eval()
    heads, features, boxes = model.framework.roi_heads, pyramid(model, scene()[0]), scene()[1]["boxes"]
    logits, offsets = predicted(heads, features, [boxes], [(64, 64)])
    heads.score_thresh, heads.nms_thresh = -1.0, 2.0
    _, (scores,), (labels,) = heads.postprocess_detections(logits, offsets, [boxes], [(64, 64)])
    found = background_probability(model, features, boxes, (64, 64))
    assert sorted(labels.tolist()) == [1, 1, 2, 2] and found.dtype == torch.float32
    assert float(found.sum()) == pytest.approx(len(boxes) - float(scores.sum()), abs=1e-5)
    away = torch.tensor([[-90.0, -90, -70, -70], [500, 500, 600, 600]])
    assert torch.isfinite(background_probability(model, features, away, (64, 64))).all()
