"""Converted weights in torchvision's own models, against ours, to 1e-5 of the largest magnitude."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import detection, resnet50, swin_t
from torchvision.models.detection.retinanet import RetinaNetHead

from casl.models.backbone import build_backbone
from casl.models.condinst import CondInst
from casl.models.convert.conversion import Wish, convert_from, convert_to
from casl.models.detect import InferenceSettings
from casl.models.fcos import FCOS
from tests.models.convert.cases import condinst, distance, fcos, photo, stirred
from tests.models.frameworks.cases import CASES

NEAR = 1e-5
# without suppression: torchvision clips boxes before it, AdelaiDet and we after
EVERYTHING = InferenceSettings(0.0, nms=1.0, max_detections=50)


def theirs(name: str, classes: int = 3, **more: Any) -> Any:
    """torchvision's own detector that reads our small images as they are."""
    size = {"min_size": 96, "max_size": 128}
    model = getattr(detection, f"{name}_resnet50_fpn")(
        weights=None, weights_backbone=None, num_classes=classes, **size, **more
    )
    return model.eval()


def load(model: nn.Module, state: dict[str, Tensor]) -> set[str]:
    """Fill a model; nothing may be superfluous. Returns what kept its values, counters of batch norms aside."""
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    return {key for key in missing if not key.endswith("num_batches_tracked")}


def full_size(name: str) -> Any:
    """A framework of ours, of torchvision's own size."""
    build, settings = CASES[name]
    changes: dict[str, Any] = {"keypoints": 17} if name == "keypoint_rcnn" else {}
    changes |= {} if name in ("retinanet", "faster_rcnn") else {"towers": 4}
    full = replace(settings, channels=256, ranges=(64, 128, 256, 512), **changes)
    return build(build_backbone("resnet50"), 3, full)


@pytest.fixture(scope="module")
def ours() -> FCOS:
    return fcos()


@pytest.fixture(scope="module")
def warmup() -> CondInst:
    return condinst()


@torch.no_grad()
def test_an_fcos_computes_in_torchvision_what_it_does_here(ours: FCOS) -> None:
    state, report = convert_to("torchvision", ours.state_dict(), Wish())
    model = theirs("fcos")
    assert not load(model, state) and not report.left_in_target
    batch = ours.preprocess([photo()])
    levels = list(model.backbone(batch).values())
    for found, wanted in zip(levels, ours.features(batch), strict=True):
        assert distance(found, wanted) < NEAR
    head, wanted = model.head(levels), ours.head(ours.features(batch))
    joined = {
        "cls_logits": wanted.logits,
        "bbox_ctrness": wanted.center,
        "bbox_regression": [w + w.new_tensor([-0.5, -0.5, 0.5, 0.5])[:, None, None] for w in wanted.ltrb],
    }
    for name, maps in joined.items():
        expected = torch.cat([m.flatten(2) for m in maps], dim=2).transpose(1, 2)
        assert distance(head[name], expected) < NEAR, name


@torch.no_grad()
def test_its_boxes_and_scores_in_torchvision_are_those_here(ours: FCOS) -> None:
    state, _ = convert_to("torchvision", ours.state_dict(), Wish())
    model = theirs("fcos", score_thresh=0.0, nms_thresh=1.0, detections_per_img=50, topk_candidates=1000)
    load(model, state)
    found = model([photo() / 255.0])[0]
    wanted = ours.predict([photo()], [(96, 128)], EVERYTHING)[0]
    assert len(found["scores"]) == len(wanted["scores"]) == 50
    assert distance(found["boxes"], wanted["boxes"]) < NEAR
    assert distance(found["scores"], wanted["scores"]) < NEAR
    assert torch.equal(found["labels"], wanted["labels"])


def test_there_and_back_an_fcos_is_what_it_was(ours: FCOS) -> None:
    state, _ = convert_to("torchvision", ours.state_dict(), Wish())
    back, report = convert_from("torchvision", state, "resnet50")
    for key, value in ours.state_dict().items():
        if key.startswith(("fpn.lateral2", "fpn.output2")):
            assert key in report.left_in_target
        elif key == "head.scales":
            assert torch.equal(back[key], torch.ones(5))
        elif key.startswith("head.bbox_pred"):
            torch.testing.assert_close(back[key], value * 1.25)
        else:
            assert torch.equal(back[key], value), key


@torch.no_grad()
def test_an_fcos_of_torchvision_computes_here_what_it_does_there() -> None:
    torch.manual_seed(3)
    model = stirred(theirs("fcos"))
    nn.init.constant_(model.head.regression_head.bbox_reg.bias, 3.0)
    state, report = convert_from("torchvision", model.state_dict(), "resnet50")
    ours = fcos().eval()
    missing, unexpected = ours.load_state_dict(state, strict=False)
    assert not unexpected and set(missing) == set(report.left_in_target)
    model.score_thresh, model.nms_thresh, model.detections_per_img = 0.0, 1.0, 50
    found, wanted = ours.predict([photo()], [(96, 128)], EVERYTHING)[0], model([photo() / 255.0])[0]
    assert distance(found["boxes"], wanted["boxes"]) < NEAR
    assert distance(found["scores"], wanted["scores"]) < NEAR


@torch.no_grad()
@pytest.mark.parametrize("name", ["retinanet", "mask_rcnn"])
def test_backbone_and_neck_of_a_warmup_start_torchvisions_frameworks(name: str, warmup: CondInst) -> None:
    state, report = convert_to("torchvision", warmup.state_dict(), Wish(into=name))
    model = theirs(name.replace("_", ""), 4)
    if name == "retinanet":  # its own P6 reads C5
        model.backbone.fpn.extra_blocks = type(model.backbone.fpn.extra_blocks)(256, 256)
    kept = load(model, state)
    stated = tuple(pattern.removesuffix("*") for pattern in report.left_in_target)
    assert kept and all(key.startswith(stated) for key in kept)
    batch = warmup.preprocess([photo()])
    wanted = warmup.features(batch)
    found = list(model.backbone(batch).values())
    pairs = zip(found, wanted, strict=True) if name == "retinanet" else zip(found[1:4], wanted[:3], strict=True)
    assert max(distance(f, w) for f, w in pairs) < NEAR
    assert "fpn.lateral2.weight" in report.left_in_source and "head.controller.weight" in report.left_in_source


@torch.no_grad()
@pytest.mark.parametrize("name", ["retinanet", "faster_rcnn"])
def test_a_finetuned_framework_becomes_torchvisions_whole_model(name: str) -> None:
    ours = full_size(name)
    state, report = convert_to("torchvision", stirred(ours).state_dict(), Wish())
    model = theirs(name.replace("_", ""), 3 if name == "retinanet" else 4)
    if name == "retinanet":
        model.backbone.fpn.extra_blocks = type(model.backbone.fpn.extra_blocks)(256, 256)
    assert not load(model, state) and not report.left_in_target and not report.adapted
    selection = model if name == "retinanet" else model.roi_heads
    selection.score_thresh, selection.detections_per_img = 0.0, 50
    limits = InferenceSettings(0.0, nms=0.5, max_detections=50)
    found, wanted = model([photo() / 255.0])[0], ours.predict([photo()], [(96, 128)], limits)[0]
    assert len(found["scores"]) == len(wanted["scores"]) == 50
    assert distance(found["scores"], wanted["scores"]) < NEAR
    assert distance(found["boxes"], wanted["boxes"]) < NEAR


def test_a_retinanet_with_norms_says_what_head_it_needs_and_comes_back_whole() -> None:
    build, settings = CASES["retinanet"]
    ours = build(build_backbone("resnet_micro"), 3, replace(settings, channels=64, head_norm=True)).state_dict()
    there, report = convert_to("torchvision", ours, Wish())
    assert not report.left_in_source and any("nn.GroupNorm, 8)" in said for said in report.needs)
    head = RetinaNetHead(64, 9, 3, norm_layer=partial(nn.GroupNorm, 8))
    head.load_state_dict({k.removeprefix("head."): v for k, v in there.items() if k.startswith("head.")})
    back, _ = convert_from("torchvision", there)
    assert back.keys() == ours.keys() and all(torch.equal(back[key], ours[key]) for key in ours)


@pytest.mark.parametrize("name", ["retinanet", "faster_rcnn", "mask_rcnn", "keypoint_rcnn"])
def test_every_framework_has_torchvisions_names_and_shapes_and_gets_its_own_back(name: str) -> None:
    with torch.device("meta"):
        ours = full_size(name).state_dict()
        wanted = theirs(name.replace("_", ""), 3 if name == "retinanet" else 4).state_dict()
    there, report = convert_to("torchvision", ours, Wish())
    shapes = {key: value.shape for key, value in wanted.items() if "extra_blocks" not in key}
    assert {key: value.shape for key, value in there.items() if "extra_blocks" not in key} == shapes
    assert not report.left_in_source and not report.left_in_target
    back, _ = convert_from("torchvision", there)
    assert {key: value.shape for key, value in back.items()} == {key: value.shape for key, value in ours.items()}


@torch.no_grad()
def test_bare_backbones_are_torchvisions_classifiers_without_a_classifier() -> None:
    ours = stirred(build_backbone("resnet50"))
    state, report = convert_to("torchvision", {f"backbone.{k}": v for k, v in ours.state_dict().items()}, Wish())
    model = resnet50(weights=None).eval()
    assert load(model, state) == {"fc.weight", "fc.bias"} and set(report.left_in_target) == {"fc.*"}
    image = torch.randn(1, 3, 64, 64)
    x = model.maxpool(model.relu(model.bn1(model.conv1(image))))
    assert distance(model.layer4(model.layer3(model.layer2(model.layer1(x)))), ours(image)[3]) < NEAR


@torch.no_grad()
@pytest.mark.parametrize("size", [(256, 264)])
def test_swin_computes_in_torchvision_what_it_does_here(size: tuple[int, int]) -> None:
    """With a last stage above 7 x 7 cells, below which torchvision does not shift."""
    ours = stirred(build_backbone("swin_t"))
    state, report = convert_to("torchvision", {f"backbone.{k}": v for k, v in ours.state_dict().items()}, Wish())
    model = swin_t(weights=None).eval()
    assert {key.split(".")[0] for key in load(model, state)} == {"norm", "head"}
    assert {f"backbone.body.norm{i}.{k}" for i in range(4) for k in ("weight", "bias")} == set(report.left_in_source)
    x = photo(*size)[None].float() / 255
    wanted = ours(x)
    for stage in range(4):
        x = model.features[2 * stage + 1](model.features[2 * stage](x))
        found = ours.body.get_submodule(f"norm{stage}")(x).permute(0, 3, 1, 2)
        assert distance(found, wanted[stage]) < NEAR
