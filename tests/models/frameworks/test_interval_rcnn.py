"""Faster R-CNN with a head of intervals: what it minimises, what it predicts, and that it learns."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from casl.errors import SpecError
from casl.models.backbone import build_backbone
from casl.models.detect import InferenceSettings
from casl.models.frameworks.by_class import losses_by_class
from casl.models.frameworks.interval_rcnn import IntervalRCNN, IntervalSettings, build
from casl.models.frameworks.rcnn_losses import Regions
from casl.models.intervals import interval_loss, place_sides, refinement_loss
from casl.models.parts import part_of, transfer
from casl.rows import PARTS
from tests.models.frameworks.cases import SMALL, batch, scene, small, total, without_objects

EVERYTHING = InferenceSettings(score_threshold=0.0, nms=0.5, max_detections=1000)


def interval(seed: int = 0, **changes: Any) -> IntervalRCNN:
    torch.manual_seed(seed)
    return build(build_backbone("resnet_micro"), 2, IntervalSettings(**SMALL, **changes))


def losses(model: Any, *pairs: Any) -> dict[str, Tensor]:
    torch.manual_seed(3)
    found: dict[str, Tensor] = model.losses(*batch(*pairs))
    return found


@pytest.mark.parametrize("intervals", [4, 30])
def test_before_learning_the_loss_of_intervals_is_four_times_ln_2_of_each_object_whatever_their_number(
    intervals: int,
) -> None:
    model = interval(intervals=intervals)
    made = Regions(
        boxes=[torch.tensor([[5.0, 7, 31, 35], [30, 30, 60, 60], [0, 0, 9, 9]])],
        matches=[torch.tensor([0, 1, 0])],
        labels=[torch.tensor([1, 2, 0])],
        offsets=[torch.zeros(3, 4)],
    )
    logits, sides, offsets = torch.zeros(3, 3), torch.zeros(3, 4, intervals), torch.zeros(3, 4, intervals)
    boxes = scene()[1]["boxes"]
    found = model.region_losses(logits, sides, offsets, made, [{"boxes": boxes}])
    assert float(found["loss_box"]) == pytest.approx(2 * 4 * math.log(2) / 3)
    wanted = place_sides(made.boxes[0][:2], boxes, intervals)
    refined = refinement_loss(torch.zeros(2, 4), wanted).sum() / 3
    torch.testing.assert_close(found["loss_box_offset"], refined)
    softmax = interval(intervals=intervals, form="softmax").region_losses(
        logits, sides, offsets, made, [{"boxes": boxes}]
    )
    assert float(softmax["loss_box"]) == pytest.approx(2 * 4 * math.log(intervals) / intervals / 3)
    random = torch.randn(3, 4, intervals, generator=torch.Generator().manual_seed(1))
    by_hand = interval_loss(random[:2], wanted.index).sum() / intervals / 3
    torch.testing.assert_close(
        model.region_losses(logits, random, offsets, made, [{"boxes": boxes}])["loss_box"], by_hand
    )


def test_proposals_and_classes_are_those_of_faster_rcnn() -> None:
    model, plain = interval(), small("faster_rcnn")
    assert losses(model, scene()).keys() - losses(plain, scene()).keys() == {"loss_box_offset"}
    sizes = {n: tuple(v.shape) for n, v in model.framework.roi_heads.side_predictor.named_parameters()}
    width = plain.framework.roi_heads.box_predictor.cls_score.in_features
    assert sizes["logits.weight"] == sizes["offsets.weight"] == (4 * 30, width), "4 K logits and 4 K offsets"
    drawn = model.framework.roi_heads.side_predictor.logits.weight
    assert 0.0009 < float(drawn.detach().std()) < 0.0011


def test_images_without_objects_give_losses_of_zero_with_gradients() -> None:
    model = interval()
    found = losses(model, without_objects())
    assert float(found["loss_box"]) == float(found["loss_box_offset"]) == 0.0
    torch.autograd.backward(total(found))
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


def test_weights_of_boxes_multiply_their_terms_and_ones_change_no_bit() -> None:
    model, (image, target) = interval(), scene()
    plain = losses(model, (image, target))
    ones = losses(model, (image, target | {"weights": torch.ones(2)}))
    assert all(torch.equal(value, ones[name]) for name, value in plain.items())
    twice = losses(model, (image, target | {"weights": torch.full((2,), 2.0)}))
    for name in ("loss_box", "loss_box_offset"):
        torch.testing.assert_close(twice[name], 2 * plain[name])


def test_classes_of_weight_one_change_no_bit_and_others_weigh_what_is_of_them() -> None:
    models: list[Any] = [interval(), small("faster_rcnn")]
    for model in models:
        plain = losses(model, scene(), without_objects())
        torch.manual_seed(3)
        judged = losses_by_class(model, *batch(scene(), without_objects()), torch.ones(2))
        assert all(torch.equal(value, judged.losses[name]) for name, value in plain.items())
        assert set(judged.labels.tolist()) == {0, 1} and judged.certainty.requires_grad is False
        assert ((judged.certainty > 0) & (judged.certainty < 1)).all()
        torch.manual_seed(3)
        more = losses_by_class(model, *batch(scene(), without_objects()), torch.tensor([3.0, 3.0])).losses
        torch.testing.assert_close(more["loss_box"], 3 * plain["loss_box"])
        assert torch.equal(more["loss_objectness"], plain["loss_objectness"])
        assert torch.equal(more["loss_rpn_box"], plain["loss_rpn_box"])
        assert plain["loss_cls"] < more["loss_cls"] < 3 * plain["loss_cls"], "background counts as before"


def certain(score: str) -> dict[str, Tensor]:
    """What a head of random certainty finds."""
    model = interval(score=score).eval()
    random = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for layer in (model.framework.roi_heads.box_predictor, model.framework.roi_heads.side_predictor.logits):
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=random) * 0.3)
    (found,) = model.predict([scene()[0]], [(64, 64)], EVERYTHING)
    return found


def test_scores_are_those_of_the_rule_and_boxes_stand_in_their_order() -> None:
    p, pv, root = (certain(rule) for rule in ("p", "pv", "root"))
    for found in (p, pv, root):
        assert torch.equal(found["scores"], found["scores"].sort(descending=True).values)
        assert ((found["scores"] >= 0) & (found["scores"] <= 1)).all() and len(found["scores"]) > 5
    assert torch.equal(pv["boxes"], root["boxes"]) and torch.equal(pv["labels"], root["labels"])
    torch.testing.assert_close(pv["scores"].sqrt(), root["scores"])
    assert not torch.equal(p["boxes"], root["boxes"]), "v decides which of two boxes suppresses the other"
    assert float(p["scores"][0]) > float(pv["scores"][0])


def test_boxes_of_one_class_that_overlap_are_suppressed() -> None:
    found = certain("root")
    iou = box_iou(found["boxes"], found["boxes"]) * (found["labels"][:, None] == found["labels"])
    assert float((iou - torch.eye(len(iou))).max()) <= 0.5 + 1e-6


def test_all_parts_go_over_to_a_student() -> None:
    teacher, student = interval(seed=0), interval(seed=1)
    report = transfer(teacher.state_dict(), student, PARTS)
    assert report.left == report.unused == report.replicated == ()
    assert part_of("framework.roi_heads.side_predictor.logits.weight") == "head"
    assert part_of("framework.roi_heads.box_predictor.weight") == "classifier"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"intervals": 1}, "2 to 1,000 intervals, got 1"),
        ({"span": 0.0}, "span is the length"),
        ({"score": "rot"}, "did you mean 'root'"),
        ({"form": "literal"}, "unknown form of the interval loss 'literal'"),
        ({"rois": 2}, "draw at least 4"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        IntervalSettings(**changes)
    assert replace(IntervalSettings(), intervals=2).intervals == 2


@pytest.mark.slow
@pytest.mark.parametrize("form", ["bce", "softmax"])
def test_a_scene_is_learned_by_heart(form: str) -> None:
    model = interval(form=form)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for step in range(150):
        torch.manual_seed(step)
        optimiser.param_groups[0]["lr"] = 2e-3 if step < 110 else 2e-4
        loss = total(model(*batch(scene(), without_objects())))
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    (found,) = model.eval().predict([scene()[0]], [(64, 64)])
    for box, label in zip(scene()[1]["boxes"], scene()[1]["labels"].tolist(), strict=True):
        place = (found["labels"] == label).nonzero()[0, 0]
        assert found["scores"][place] > 0.3
        assert box_iou(found["boxes"][place, None], box[None]) > 0.65
