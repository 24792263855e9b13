"""What every entry of the catalog offers, and which options a detector knows."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from casl.catalog import DETECTORS, load
from casl.errors import SpecError
from casl.models.backbone import build_backbone
from casl.models.condinst import CondInstSettings
from casl.models.detector import Builder, check_options, known_options
from casl.models.fcos import FCOS, FCOSSettings
from casl.models.fcos import build as build_fcos

FROM_THE_SPEC = ("channels", "towers", "ranges", "clip")


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_of_the_catalog_says_its_settings(name: str) -> None:
    build: Builder[Any, Any] = load("detector", name)
    assert isinstance(build, Builder)
    settings = build.settings()
    assert replace(settings.inference, max_detections=7).max_detections == 7
    assert {"channels", "ranges"} <= {f.name for f in fields(build.settings)}


def test_a_builder_builds_and_refuses_to_without_a_class() -> None:
    settings = FCOSSettings(channels=16, towers=1)
    built = build_fcos(build_backbone("resnet_nano"), 3, settings)
    assert isinstance(built, FCOS) and (built.num_classes, built.settings) == (3, settings)
    with pytest.raises(SpecError, match="at least one class, got 0"):
        build_fcos(build_backbone("resnet_nano"), 0, settings)


def test_options_are_the_plain_settings_that_nothing_else_sets() -> None:
    options = known_options(FCOSSettings, FROM_THE_SPEC)
    assert options["radius"] == 1.5 and options["box_quality"] == "ctrness"
    assert not {"inference", *FROM_THE_SPEC} & options.keys()
    assert known_options(CondInstSettings)["max_per_image"] == 250


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([("box_qualty", "iou")], r"unknown option of fcos 'box_qualty'.*\n.*did you mean 'box_quality'"),
        ([("towers", 2)], "unknown option of fcos 'towers'"),
        ([("radius", 1.0), ("radius", 2.0)], "'radius' of fcos is given twice"),
        ([("radius", "wide")], "is 1.5 by default, and 'wide' is of another type: give a value of type float"),
        ([("bias_on_box", 1)], "of type bool"),
    ],
)
def test_options_a_detector_does_not_have_are_refused(options: list[tuple[str, Any]], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        check_options("fcos", options, known_options(FCOSSettings, FROM_THE_SPEC))


def test_a_whole_number_will_do_for_a_real_one() -> None:
    check_options("fcos", [("radius", 2)], known_options(FCOSSettings))
