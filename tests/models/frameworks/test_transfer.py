"""Which tensors of a warmup reach a framework, counted."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from casl.errors import SpecError
from casl.models.backbone import build_backbone
from casl.models.condinst import CondInstSettings
from casl.models.condinst import build as build_condinst
from casl.models.frameworks.adapter import Framework
from casl.models.parts import part_of, transfer
from casl.rows import PARTS
from tests.models.frameworks.cases import NAMES, R_CNNS, small

NECK = ("backbone", "neck")
P2 = {f"fpn.{layer}2.{tensor}" for layer in ("lateral", "output") for tensor in ("weight", "bias")}
TOP = {f"fpn.{level}.{tensor}" for level in ("p6", "p7") for tensor in ("weight", "bias")}
LEVELS = 3  # P3..P5, each with a lateral and an output convolution of weight and bias


def warmup(top_from: str = "p5") -> nn.Module:
    torch.manual_seed(11)
    settings = CondInstSettings(channels=32, towers=1, mask_channels=16, mask_convs=1, top_from=top_from)
    return build_condinst(build_backbone("resnet_micro"), 1, settings)


def state(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def under(tensors: dict[str, Tensor], *prefixes: str) -> set[str]:
    return {key for key in tensors if key.startswith(prefixes)}


SOURCE = state(warmup())
BODY = len(build_backbone("resnet_micro").state_dict())


def of_stages(*names: str) -> set[str]:
    return {f"framework.roi_heads.{stage}.{name}" for stage in range(3) for name in names}


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_has_a_part(name: str) -> None:
    parts = {key: part_of(key) for key in state(small(name))}
    assert set(parts.values()) == set(PARTS)
    classifiers = {key.rsplit(".", 1)[0] for key, part in parts.items() if part == "classifier"}
    boxes = {"framework.roi_heads.box_predictor.cls_score", "framework.roi_heads.box_predictor.bbox_pred"}
    masks = {"framework.roi_heads.mask_predictor.mask_fcn_logits"}
    assert (
        classifiers
        == {
            "retinanet": {"framework.head.classification_head.cls_logits"},
            "faster_rcnn": boxes,
            "mask_rcnn": boxes | masks,
            "keypoint_rcnn": boxes,
            "panoptic_fpn": boxes | masks | {"semantic.classes"},
            "cascade_rcnn": of_stages("box_predictor.cls_score"),
            "htc": of_stages("box_predictor.cls_score", "mask_predictor.mask_fcn_logits") | {"semantic.classes"},
        }[name]
    )


@pytest.mark.parametrize("name", NAMES)
def test_parts_with_outputs_a_class_are_the_classifier(name: str) -> None:
    two, five = state(small(name)), state(small(name, num_classes=5))
    differ = {key for key in two if two[key].shape != five[key].shape}
    assert {part_of(key) for key in differ} == {"classifier"}


@pytest.mark.parametrize("name", R_CNNS)
def test_an_r_cnn_takes_backbone_and_p3_to_p5_and_keeps_its_own_p2(name: str) -> None:
    target = small(name)
    before = state(target)
    report = transfer(SOURCE, target, NECK)
    assert len(report.loaded) == BODY + LEVELS * 2 * 2
    assert set(report.left) == P2 | under(before, "framework.", "semantic.")
    assert set(report.unused) == P2 | TOP | under(SOURCE, "head.", "mask_branch.")
    assert report.replicated == ()
    after = target.state_dict()
    assert all(torch.equal(after[key], SOURCE[key]) for key in report.loaded)
    assert all(torch.equal(after[key], before[key]) for key in report.left)
    assert not torch.equal(after["fpn.lateral2.weight"], SOURCE["fpn.lateral2.weight"])


def test_retinanet_takes_the_whole_pyramid_it_has() -> None:
    target = small("retinanet")
    before = state(target)
    report = transfer(SOURCE, target, NECK)
    assert len(report.loaded) == BODY + LEVELS * 2 * 2 + len(TOP)
    assert set(report.left) == under(before, "framework.")
    assert set(report.unused) == P2 | under(SOURCE, "head.", "mask_branch.")
    assert all(torch.equal(target.state_dict()[key], SOURCE[key]) for key in report.loaded)


@pytest.mark.parametrize(("ours", "warmed"), [("c5", "p5"), ("p5", "c5")])
def test_p6_is_left_where_it_reads_another_map(ours: str, warmed: str) -> None:
    target = small("retinanet", top_from=ours)
    before = state(target)
    source = state(warmup(warmed))
    report = transfer(source, target, NECK)
    p6 = {"fpn.p6.weight", "fpn.p6.bias"}
    assert len(report.loaded) == BODY + LEVELS * 2 * 2 + len(TOP) - len(p6)
    assert set(report.left) == p6 | under(before, "framework.")
    assert p6 < set(report.unused)


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_is_accounted_for_once(name: str) -> None:
    target = small(name)
    report = transfer(SOURCE, target, NECK)
    assert sorted([*report.loaded, *report.left]) == sorted(target.state_dict())
    assert sorted([*report.loaded, *report.unused]) == sorted(SOURCE)


@pytest.mark.parametrize("name", NAMES)
def test_backbone_alone_leaves_the_neck(name: str) -> None:
    report = transfer(SOURCE, small(name), ("backbone",))
    assert len(report.loaded) == BODY
    assert {part_of(key) for key in report.loaded} == {"backbone"}


@pytest.mark.parametrize("name", NAMES)
def test_a_framework_fills_another_of_its_kind_entirely(name: str) -> None:
    source = state(small(name, seed=1))
    target = small(name, seed=2)
    report = transfer(source, target, PARTS)
    assert set(report.loaded) == set(source)  # P2 too: an R-CNN has trained it
    assert report.left == report.unused == report.replicated == ()


def test_a_warmup_has_no_head_for_a_framework() -> None:
    target: Framework = small("retinanet")
    before = state(target)
    with pytest.raises(SpecError, match="the source has nothing of part 'classifier'"):
        transfer(SOURCE, target, PARTS)
    assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())
