"""What detectors cost. Oracles: convolutions counted by hand and by hooks, torchvision's detectors of the same kind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import detection

from casl.spec.records import Model
from casl.stages.costs import _find, _fresh, _image, cost, images_a_second, multiply_adds

SMALL = Model("fcos", "resnet_nano", 3, channels=16)


def test_a_convolution_has_the_multiply_adds_of_the_formula() -> None:
    layer = nn.Conv2d(6, 10, kernel_size=3, stride=2, padding=1, groups=2)
    outputs, inputs_of_each = 10 * 16 * 24, 6 // 2 * 3 * 3
    assert multiply_adds(lambda: layer(torch.zeros(1, 6, 32, 48))) == outputs * inputs_of_each


def test_a_detector_has_those_of_its_convolutions_at_the_size_it_pads_to() -> None:
    detector, counted = _fresh(SMALL, "cpu"), []

    def count(layer: nn.Module, _: Any, out: torch.Tensor) -> None:
        assert isinstance(layer, nn.Conv2d)
        high, wide = layer.kernel_size
        counted.append(out.numel() * layer.in_channels // layer.groups * high * wide)

    for layer in detector.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count)
    _find(detector, _image(60, 70, "cpu"))
    assert cost(SMALL, 60, 70).multiply_adds == cost(SMALL, 64, 96).multiply_adds == sum(counted) > 0


@pytest.mark.parametrize(
    ("name", "theirs", "classes"),
    [
        ("fcos", detection.fcos_resnet50_fpn, 91),
        ("retinanet", detection.retinanet_resnet50_fpn, 90),
        ("faster_rcnn", detection.fasterrcnn_resnet50_fpn, 91),
        ("mask_rcnn", detection.maskrcnn_resnet50_fpn, 91),
    ],
)
def test_parameters_are_those_of_torchvision(name: str, theirs: Any, classes: int) -> None:
    """An R-CNN there counts the background as a class. Our FCOS has AdelaiDet's scale of each level, and a P2 in its
    pyramid that it does not read."""
    with torch.device("meta"):  # numbers of parameters need no values
        other = theirs(weights=None, weights_backbone=None, num_classes=classes)
    expected = sum(parameter.numel() for parameter in other.parameters())
    p2 = (256 * 256 + 256) + (256 * 256 * 9 + 256)
    detector = _fresh(Model(name, "resnet50", classes - ("rcnn" in name)), "cpu")
    assert sum(p.numel() for p in detector.parameters()) == expected + (p2 + 5 if name == "fcos" else 0)


def test_masks_are_paid_for_with_as_many_objects_as_a_test_allows() -> None:
    masks, boxes = (cost(Model(name, "resnet_nano", 1, channels=16), 64, 64) for name in ("condinst", "fcos"))
    assert masks.multiply_adds > 1.05 * boxes.multiply_adds and masks.parameters > boxes.parameters


def test_speed_is_a_positive_number_of_images() -> None:
    assert images_a_second(SMALL, 64, 64, "cpu", repeats=2) > 0
