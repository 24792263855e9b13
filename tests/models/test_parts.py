"""Which part owns which tensor, and starting one detector from another."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from casl.errors import SpecError
from casl.models.backbone import build_backbone
from casl.models.fcos import FCOS, FCOSSettings
from casl.models.parts import RARE, SURE, part_of, transfer
from casl.rows import PARTS


def detector(num_classes: int, seed: int, channels: int = 16, controller: nn.Module | None = None) -> FCOS:
    torch.manual_seed(seed)
    settings = FCOSSettings(channels=channels, towers=1)
    return FCOS(build_backbone("resnet_micro"), num_classes, settings, controller)


def state(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


SOURCE = state(detector(1, seed=0))


@pytest.mark.parametrize(
    ("key", "part"),
    [
        ("backbone.body.layer1.0.conv1.weight", "backbone"),
        ("fpn.lateral2.weight", "neck"),
        ("fpn.p6.bias", "neck"),
        ("head.cls_tower.0.weight", "head"),
        ("head.box_tower.1.bias", "head"),
        ("head.bbox_pred.weight", "head"),
        ("head.ctrness.weight", "head"),
        ("head.scales", "head"),
        ("head.controller.weight", "head"),
        ("mask_branch.tower.0.weight", "head"),
        ("head.cls_logits.weight", "classifier"),
        ("head.cls_logits.bias", "classifier"),
        ("framework.head.regression_head.bbox_reg.weight", "head"),
        ("framework.head.classification_head.cls_logits.weight", "classifier"),
        ("framework.rpn.head.cls_logits.weight", "head"),
        ("framework.roi_heads.box_predictor.cls_score.bias", "classifier"),
        ("semantic.levels.0.0.weight", "head"),
    ],
)
def test_every_tensor_has_a_part(key: str, part: str) -> None:
    assert part_of(key) == part


def test_the_tensors_of_a_detector_fall_into_four_parts() -> None:
    assert {part_of(key) for key in SOURCE} == set(PARTS)
    with pytest.raises(SpecError, match="unknown tensor 'roi_heads"):
        part_of("roi_heads.weight")


def test_a_class_agnostic_model_fills_a_class_specific_one() -> None:
    target = detector(6, seed=1)
    report = transfer(SOURCE, target, PARTS, "replicate")
    after = target.state_dict()
    assert report.replicated == ("head.cls_logits.weight", "head.cls_logits.bias")
    assert set(report.loaded) == set(SOURCE) - set(report.replicated)
    assert report.left == report.unused == ()
    assert all(torch.equal(after[key], SOURCE[key]) for key in report.loaded)
    for key in report.replicated:
        assert after[key].shape[0] == 6
        assert all(torch.equal(row, SOURCE[key][0]) for row in after[key])


def test_replicated_classes_predict_what_the_one_class_did() -> None:
    source, target = detector(1, seed=0).eval(), detector(3, seed=1).eval()
    transfer(SOURCE, target, PARTS)
    images = [torch.full((3, 64, 64), 90.0)]
    with torch.no_grad():
        one = source.head(source.features(source.preprocess(images)))
        three = target.head(target.features(target.preprocess(images)))
    torch.testing.assert_close(three.logits[0], one.logits[0].expand(-1, 3, -1, -1))
    torch.testing.assert_close(three.ltrb[0], one.ltrb[0])


def summed(way: str, classes: int, wanted: Tensor) -> Tensor:
    """(len(wanted), C) probabilities of the classes where the one class of the source has the `wanted` one."""
    target = detector(classes, seed=1)
    transfer(SOURCE, target, PARTS, way)
    weight, bias = SOURCE["head.cls_logits.weight"], SOURCE["head.cls_logits.bias"]
    seen = (
        weight * ((wanted.logit() - bias) / weight.square().sum())[:, None, None, None]
    )  # weight · seen + bias = logit
    one = functional.conv2d(seen, weight, bias).sigmoid()
    torch.testing.assert_close(one.flatten(), wanted)
    after = target.state_dict()
    return functional.conv2d(seen, after["head.cls_logits.weight"], after["head.cls_logits.bias"]).sigmoid().flatten(1)


@pytest.mark.parametrize("classes", [1, 2, 8, 80])
def test_scaled_classes_together_are_about_as_probable_as_the_one_was(classes: int) -> None:
    wanted = torch.cat([torch.tensor([RARE, SURE]), torch.linspace(RARE, SURE, 60)])
    found = summed("scaled", classes, wanted)
    torch.testing.assert_close(found, found[:, :1].expand_as(found))
    share = found.sum(1) / wanted
    torch.testing.assert_close(share[:2], torch.ones(2), rtol=1e-4, atol=0)
    assert float(share.min()) > 0.39 and float(share.max()) < 1.0001
    copied = summed("replicate", classes, wanted)
    torch.testing.assert_close(copied.sum(1), classes * wanted)


def test_a_scaled_classifier_is_reported_as_replicated_and_a_fitting_one_is_taken_as_it_is() -> None:
    names = ("head.cls_logits.weight", "head.cls_logits.bias")
    assert transfer(SOURCE, detector(6, seed=1), PARTS, "scaled").replicated == names
    target = detector(1, seed=1)
    assert transfer(SOURCE, target, PARTS, "scaled").replicated == ()
    assert all(torch.equal(target.state_dict()[name], SOURCE[name]) for name in names)


def test_a_random_classifier_is_the_targets_own() -> None:
    target = detector(6, seed=1)
    before = state(target)
    report = transfer(SOURCE, target, PARTS, "random")
    assert report.left == report.unused == ("head.cls_logits.weight", "head.cls_logits.bias")
    assert all(torch.equal(target.state_dict()[key], before[key]) for key in report.left)


@pytest.mark.parametrize("parts", [("backbone",), ("backbone", "neck"), ("head",), ()])
def test_only_the_parts_asked_for_are_copied(parts: tuple[str, ...]) -> None:
    target = detector(1, seed=1)
    before = state(target)
    report = transfer(SOURCE, target, parts)
    for key, value in target.state_dict().items():
        expected = SOURCE if part_of(key) in parts else before
        assert torch.equal(value, expected[key])
    assert {part_of(key) for key in report.loaded} == set(parts)
    assert set(report.left) == set(report.unused) == {key for key in SOURCE if part_of(key) not in parts}


def test_a_controller_that_the_source_lacks_is_left() -> None:
    target = detector(1, seed=1, controller=nn.Conv2d(16, 9, 1))
    report = transfer(SOURCE, target, PARTS)
    assert report.left == ("head.controller.weight", "head.controller.bias")
    back = transfer(state(target), detector(1, seed=2), PARTS)
    assert back.unused == report.left


def test_a_shape_that_does_not_fit_is_named_and_changes_nothing() -> None:
    target = detector(1, seed=1, channels=24)
    before = state(target)
    with pytest.raises(SpecError, match=r"fpn.lateral2.weight of part 'neck'.* \(16, 32, 1, 1\), .* \(24, 32, 1, 1\)"):
        transfer(SOURCE, target, ("backbone", "neck"))
    assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())


def test_a_class_specific_classifier_is_not_replicated() -> None:
    with pytest.raises(SpecError, match="Only a class-agnostic classifier can be replicated"):
        transfer(state(detector(3, seed=0)), detector(6, seed=1), PARTS)


def test_another_backbone_or_a_foreign_checkpoint_is_refused() -> None:
    other = FCOS(build_backbone("resnet10t"), 1, FCOSSettings(channels=16, towers=1))
    with pytest.raises(SpecError, match="backbone"):
        transfer(SOURCE, other, ("backbone",))
    half = {key: value for key, value in SOURCE.items() if "layer4" not in key}
    with pytest.raises(SpecError, match=r"lacks 'backbone.body.layer4"):
        transfer(half, detector(1, seed=1), ("backbone",))
    with pytest.raises(SpecError, match="nothing of part 'head'"):
        transfer({"fc.weight": torch.zeros(1)}, detector(1, seed=1), ("head",))


def test_a_frozen_backbone_and_a_trainable_one_can_be_exchanged() -> None:
    settings = FCOSSettings(channels=16, towers=1)
    frozen = FCOS(build_backbone("resnet_micro", frozen_norm=True), 1, settings)
    there = transfer(SOURCE, frozen, ("backbone",))
    assert all(key.endswith("num_batches_tracked") or part_of(key) != "backbone" for key in there.unused)
    back = transfer(state(frozen), detector(1, seed=1), ("backbone",))
    assert all(key.endswith("num_batches_tracked") or part_of(key) != "backbone" for key in back.left)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(SpecError, match="did you mean 'backbone'"):
        transfer(SOURCE, detector(1, seed=1), ("backbones",))
    with pytest.raises(SpecError, match="did you mean 'replicate'"):
        transfer(SOURCE, detector(1, seed=1), PARTS, "replicated")
