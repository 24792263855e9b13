"""Stages of a cascade against torchvision's own heads with the same thresholds, and against figures by hand."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image

from casl.errors import SpecError
from casl.models.detect import InferenceSettings
from casl.models.frameworks.cascade_rcnn import CascadeRCNNSettings, refined, selected
from casl.models.frameworks.rcnn_losses import draw_regions
from tests.models.frameworks.cases import batch, scene, small, total, without_objects

SIZES = [(64, 64), (40, 48)]


def prepared(model: Any) -> tuple[dict[str, Tensor], list[Tensor], list[dict[str, Tensor]]]:
    """Maps, proposed boxes near and far from the objects, and targets in torchvision's terms."""
    images, targets = batch(scene(), without_objects(40, 48))
    features = model.features(model.batch(images).tensors)
    draw = torch.Generator().manual_seed(3)
    objects = targets[0]["boxes"].repeat(30, 1) + torch.randn(60, 4, generator=draw) * 4
    corner = torch.rand(40, 2, generator=draw) * 30
    far = torch.cat([corner, corner + 8 + 10 * torch.rand(40, 2, generator=draw)], 1)
    boxes = [clip_boxes_to_image(torch.cat([objects, far]), SIZES[0]), clip_boxes_to_image(far, SIZES[1])]
    return features, boxes, [model.translated(target) for target in targets]


class ForEveryClass(nn.Module):
    """Offsets of all classes alike, as torchvision's loss wants them."""

    def __init__(self, predictor: Any) -> None:
        super().__init__()
        self.predictor = predictor

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        logits, offsets = self.predictor(crops)
        return logits, offsets.repeat(1, logits.shape[1])


def torchvisions(model: Any, number: int) -> Any:
    """RoIHeads of torchvision, built from scratch, with the weights of a stage."""
    heads = model.framework.roi_heads[number]
    step = 10.0 * (number + 1)
    return RoIHeads(
        copy.deepcopy(heads.box_roi_pool),
        copy.deepcopy(heads.box_head),
        ForEveryClass(copy.deepcopy(heads.box_predictor)),
        fg_iou_thresh=(0.5, 0.6, 0.7)[number],
        bg_iou_thresh=(0.5, 0.6, 0.7)[number],
        batch_size_per_image=model.settings.regions,
        positive_fraction=0.25,
        bbox_reg_weights=(step, step, step / 2, step / 2),
        score_thresh=0.05,
        nms_thresh=0.5,
        detections_per_img=100,
    )


def test_losses_of_all_stages_are_those_of_three_heads_of_torchvisions_in_a_row() -> None:
    model: Any = small("cascade_rcnn", rois=64)
    features, boxes, targets = prepared(model)
    torch.manual_seed(4)
    losses = model.region_losses(features, SIZES, boxes, targets)
    torch.manual_seed(4)
    for number, weight in enumerate((1.0, 0.5, 0.25)):
        heads = torchvisions(model, number)
        before = torch.get_rng_state()
        _, theirs = heads(features, boxes, SIZES, targets)
        torch.testing.assert_close(losses[f"loss_cls_{number + 1}"], weight * theirs["loss_classifier"])
        torch.testing.assert_close(losses[f"loss_box_{number + 1}"], weight * theirs["loss_box_reg"])
        assert theirs["loss_box_reg"] > 0
        torch.set_rng_state(before)
        drawn, *_ = heads.select_training_samples(boxes, targets)
        _, offsets = heads.box_predictor(heads.box_head(heads.box_roi_pool(features, drawn, SIZES)))
        moved = heads.box_coder.decode(offsets.detach(), drawn)[:, 1].split([len(of_image) for of_image in drawn])
        boxes = [clip_boxes_to_image(of_image, size) for of_image, size in zip(moved, SIZES, strict=True)]
    assert len(losses) == 6


def at_iou(wanted: list[float]) -> Tensor:
    """Boxes inside [0, 0, 40, 40] that overlap it as wanted: narrower by that factor."""
    return torch.tensor([[0.0, 0.0, 40.0 * iou, 40.0] for iou in wanted])


def test_a_region_is_an_object_to_the_stages_whose_iou_it_has() -> None:
    model: Any = small("cascade_rcnn", rois=64)
    truth = torch.tensor([[0.0, 0.0, 40.0, 40.0]])
    target = {"boxes": truth, "labels": torch.tensor([2])}
    overlaps = [0.45, 0.55, 0.65, 0.75]
    for number, expected in enumerate(([0, 2, 2, 2], [0, 0, 2, 2], [0, 0, 0, 2])):
        regions = draw_regions(model.framework.roi_heads[number], [at_iou(overlaps)], [target])
        found = {
            round(float(box_iou(truth, box[None])), 2): label
            for box, label in zip(regions.boxes[0], regions.labels[0].tolist(), strict=True)
        }
        assert found == dict(zip(overlaps, expected, strict=True)) | {1.0: 2}  # the box itself is drawn too


def test_offsets_are_coded_ten_twenty_and_thirty_fold() -> None:
    """The truth is 4 to the right of a region 20 wide, and 1.5 times as high."""
    region, truth = torch.tensor([[0.0, 0, 20, 20]]), torch.tensor([[4.0, -5, 24, 25]])
    for number, heads in enumerate(small("cascade_rcnn").framework.roi_heads, start=1):
        (offsets,) = heads.box_coder.encode([truth], [region])
        expected = torch.tensor([[10 * 4 / 20, 0.0, 0.0, 5 * torch.tensor(1.5).log()]]) * number
        torch.testing.assert_close(offsets, expected)
        torch.testing.assert_close(refined(heads, offsets, [region], [(64, 64)])[0], truth.clamp(min=0))


def test_a_stage_learns_from_its_own_losses_only() -> None:
    model: Any = small("cascade_rcnn", stage_weights=(0.0, 1.0, 0.0))
    torch.autograd.backward(total(model(*batch(scene()))))
    sums = [heads.box_predictor.bbox_pred.weight.grad.abs().sum() for heads in model.framework.roi_heads]
    assert [bool(value > 0) for value in sums] == [False, True, False]
    assert model.fpn.lateral3.weight.grad.abs().sum() > 0


def test_losses_of_a_stage_are_times_its_weight() -> None:
    results = []
    for weights in ((1.0, 1.0, 1.0), (1.0, 0.5, 0.25)):
        model = small("cascade_rcnn", stage_weights=weights)
        torch.manual_seed(1)
        results.append(model.losses(*batch(scene())))
    for stage, weight in (("1", 1.0), ("2", 0.5), ("3", 0.25)):
        for name in (f"loss_cls_{stage}", f"loss_box_{stage}"):
            torch.testing.assert_close(results[1][name], weight * results[0][name])


def test_scores_are_means_over_the_stages_of_what_each_says_of_the_boxes_it_was_given() -> None:
    model: Any = small("cascade_rcnn").eval()
    seen: list[tuple[Tensor, Tensor]] = []
    for heads in model.framework.roi_heads:
        heads.box_predictor.register_forward_hook(lambda module, given, told: seen.append(told))
    proposed: list[Tensor] = []
    model.framework.rpn.register_forward_hook(lambda module, given, told: proposed.extend(told[0]))
    settings = InferenceSettings(score_threshold=0.2, nms=0.5, max_detections=20)
    found = model.predict([scene()[0]], [(64, 64)], settings)[0]
    boxes = proposed[0]
    for number, (_, offsets) in enumerate(seen, start=1):
        centre, side = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        centre = centre + side * offsets[:, :2] / (10 * number)
        side = side * (offsets[:, 2:] / (5 * number)).exp()
        boxes = torch.cat([centre - side / 2, centre + side / 2], 1).clamp(0, 64)
    scores = sum(logits.softmax(1) for logits, _ in seen)[:, 1:] / 3  # type: ignore[index]
    rows, labels = torch.where(scores > 0.2)
    keep = batched_nms(boxes[rows], scores[rows, labels], labels, 0.5)[:20]
    assert len(seen) == 3 and len(keep) > 3
    torch.testing.assert_close(found["scores"], scores[rows, labels][keep])
    torch.testing.assert_close(found["boxes"], boxes[rows[keep]], atol=1e-4, rtol=1e-5)
    assert torch.equal(found["labels"], labels[keep])


def test_soft_nms_finds_what_hard_suppression_drops() -> None:
    boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 8], [9, 9, 9, 9]])
    probabilities = torch.tensor([[0.1, 0.9], [0.2, 0.8], [0.0, 1.0]])
    hard = selected(boxes, probabilities, InferenceSettings(nms=0.4))
    soft = selected(boxes, probabilities, InferenceSettings(nms=0.4, suppression="linear"))
    assert hard["boxes"].tolist() == [[0, 0, 4, 4]] and hard["labels"].tolist() == [1]  # a point is no box
    torch.testing.assert_close(soft["scores"], torch.tensor([0.9, 0.4]))


def test_regions_are_fewer_in_small_images() -> None:
    assert CascadeRCNNSettings().tested == 1000
    assert CascadeRCNNSettings(ranges=(32, 64, 128, 256)).tested == 250
    assert CascadeRCNNSettings(ranges=(16, 32, 64, 128)).tested == 100
    assert CascadeRCNNSettings(test_regions=7).tested == 7


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ious": (0.5, 1.0, 0.7)}, "IoU between 0 and 1"),
        ({"ious": ()}, "IoU between 0 and 1"),
        ({"stage_weights": (1.0, 0.5)}, "a weight of 0 or more, got .* for 3 stages"),
        ({"stage_weights": (1.0, -0.5, 0.25)}, "a weight of 0 or more"),
        ({"test_regions": 0}, "at least one region"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        small("cascade_rcnn", **changes)
