"""From the spec's Model to the settings of a detector."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from casl.catalog import DETECTORS, load, row
from casl.errors import SpecError
from casl.models.detect import InferenceSettings
from casl.models.detector import known_options
from casl.spec.context import Context
from casl.spec.records import Model
from casl.stages.detectors import build_detector, settings_of

SHAPE = Model("fcos", "resnet_nano", 2, channels=32, mask_channels=16, ranges=(16, 32, 64, 128), clip="projected")


def settings(detector: str, non_overlap: bool = False, boxes: str = "exact", **changes: Any) -> Any:
    model = replace(SHAPE, detector=detector, **changes)
    return settings_of(load("detector", detector), model, non_overlap=non_overlap, boxes=boxes)


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_takes_the_shape_of_a_profile(name: str) -> None:
    needed: dict[str, dict[str, Any]] = {"panoptic_fpn": {"stuff": 4}, "keypoint_rcnn": {"keypoints": 7}}
    made = settings(name, **needed.get(name.removeprefix("d2_"), {}))
    assert (made.channels, made.ranges) == (32, (16, 32, 64, 128))
    assert getattr(made, "clip", "projected") == "projected"
    assert getattr(made, "mask_channels", 16) == 16
    assert getattr(made, "rois", None) is None


@pytest.mark.parametrize("name", DETECTORS)
def test_the_row_of_a_detector_names_what_its_settings_have(name: str) -> None:
    known = known_options(load("detector", name).settings)
    assert set(row("detector", name).settings) <= {*known, "entity_head"}


def test_what_a_detector_has_is_set() -> None:
    assert settings("fcos", towers=2).towers == 2
    assert settings("retinanet", head_norm=True).head_norm
    assert settings("faster_rcnn", rois=40).rois == 40
    entity = settings("condinst", entity_head=True, non_overlap=True)
    assert entity.kernel_head and entity.bank and entity.non_overlap and not entity.bias_on_box
    assert entity.inference == InferenceSettings()
    assert (entity.max_per_image, settings("condinst").max_per_image) == (120, 250)  # EntitySeg's, AdelaiDet's
    assert settings("condinst").inference == InferenceSettings(threshold_on_product=True)


@pytest.mark.parametrize(("boxes", "inclusive"), [("exact", False), ("inclusive", True)])
def test_boxes_of_entities_are_counted_as_the_data_count_them(boxes: str, inclusive: bool) -> None:
    assert settings("condinst", non_overlap=True, boxes=boxes).inclusive_boxes is inclusive
    assert not settings("condinst", boxes=boxes).inclusive_boxes  # objects always have the regressed ones


@pytest.mark.parametrize("backbone", ["resnet_nano", "lite0", "swin_mini"])
@pytest.mark.parametrize("stages", [0, 2])
def test_every_kind_of_backbone_is_built_with_frozen_stages(backbone: str, stages: int) -> None:
    ctx = Context(Path(), {}, {}, "cpu", lambda *_: None, lambda _: None)
    made: Any = build_detector(replace(SHAPE, backbone=backbone, frozen_stages=stages), ctx, pretrained=False)
    learning = [p.requires_grad for p in made.backbone.parameters()]
    assert all(learning) if not stages else any(learning) and not all(learning)
    norms = [m for m in made.backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert bool(norms) == (backbone != "swin_mini" and not stages), "fixed ones are of another kind"


def test_what_the_settings_lack_is_refused() -> None:
    with pytest.raises(SpecError, match=r"'fcos' was to be built with non_overlap, .*they have bias_on_box, .*towers"):
        settings("fcos", non_overlap=True)


def test_options_reach_the_settings_and_their_own_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    known = replace(row("detector", "fcos"), settings=("towers", "box_quality", "radius", "radus"))
    monkeypatch.setitem(DETECTORS, "fcos", known)
    made = settings("fcos", options=(("box_quality", "iou"), ("radius", 2)))
    assert (made.box_quality, made.radius) == ("iou", 2)
    with pytest.raises(SpecError, match="unknown box quality"):
        settings("fcos", options=(("box_quality", "none"),))
    with pytest.raises(SpecError, match=r"unknown option of fcos 'radus'.*\n.*did you mean 'radius'"):
        settings("fcos", options=(("radus", 2.0),))
