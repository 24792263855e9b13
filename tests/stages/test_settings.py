"""From the spec's Model to the settings of a detector."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from casl.catalog import DETECTORS, load
from casl.errors import SpecError
from casl.models.detect import InferenceSettings
from casl.spec.kinds import Model
from casl.stages.detectors import settings_of

SHAPE = Model("fcos", "resnet_nano", 2, channels=32, mask_channels=16, ranges=(16, 32, 64, 128), clip="projected")


def settings(detector: str, non_overlap: bool = False, options: Any = (), **changes: Any) -> Any:
    model = replace(SHAPE, detector=detector, **changes)
    return settings_of(load("detector", detector), model, non_overlap=non_overlap, options=options)


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_takes_the_shape_of_a_profile(name: str) -> None:
    needed = {"panoptic_fpn": {"stuff": 4}, "keypoint_rcnn": {"keypoints": 7}}
    made = settings(name, **needed.get(name.removeprefix("d2_"), {}))
    assert (made.channels, made.ranges) == (32, (16, 32, 64, 128))
    assert getattr(made, "clip", "projected") == "projected"
    assert getattr(made, "mask_channels", 16) == 16
    assert getattr(made, "rois", None) is None


def test_what_a_detector_has_is_set() -> None:
    assert settings("fcos", towers=2).towers == 2
    assert settings("retinanet", head_norm=True).head_norm
    assert settings("faster_rcnn", rois=40).rois == 40
    entity = settings("condinst", entity_head=True, non_overlap=True)
    assert entity.kernel_head and entity.bank and entity.non_overlap and not entity.bias_on_box
    assert entity.inference == InferenceSettings()
    assert settings("condinst").inference == InferenceSettings(threshold_on_product=True)


@pytest.mark.parametrize(
    ("detector", "changes", "message"),
    [
        ("retinanet", {"towers": 2}, "'retinanet' knows nothing of 'towers'.*it has head_norm"),
        ("fcos", {"head_norm": True}, "'fcos' knows nothing of 'head_norm'.*it has towers"),
        ("mask_rcnn", {"stuff": 4}, "knows nothing of 'stuff'.*it has rois, towers"),
        ("fcos", {"entity_head": True}, "'fcos' knows nothing of 'entity_head'"),
        ("fcos", {"non_overlap": True}, "'fcos' knows nothing of 'non_overlap'"),
        ("fcos", {"options": [("radus", 2.0)]}, "did you mean 'radius'"),
        ("fcos", {"options": [("channels", 64)]}, "unknown option of fcos 'channels'"),
    ],
)
def test_what_a_detector_has_not_is_refused(detector: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        settings(detector, **changes)


def test_options_reach_the_settings_and_their_own_checks() -> None:
    assert settings("fcos", options=(("box_quality", "iou"), ("radius", 2))).radius == 2
    with pytest.raises(SpecError, match="unknown box quality"):
        settings("fcos", options=(("box_quality", "none"),))
