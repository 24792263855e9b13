"""Boxes whose regression died in training."""

from __future__ import annotations

import torch

from casl.models.backbone import build_backbone
from casl.models.fcos import FCOSSettings, build
from casl.models.head import DeadSides


def test_a_side_that_is_zero_everywhere_is_named() -> None:
    model = build(build_backbone("resnet_nano"), 2, FCOSSettings(channels=16, towers=1)).eval()
    watched = DeadSides(model)
    assert not watched.names
    bias = model.head.bbox_pred.bias
    assert bias is not None
    with torch.no_grad():
        bias.copy_(torch.tensor([1.0, -100.0, 1.0, -100.0]))
        model.predict([torch.zeros(3, 64, 64)], [(64, 64)])
        assert list(watched.names) == ["top", "bottom"]
        bias.fill_(1.0)
        model.predict([torch.zeros(3, 64, 64)], [(64, 64)])
    assert not watched.names, "a side that once moved is alive"


def test_a_model_without_such_a_head_has_none() -> None:
    model = torch.nn.Linear(1, 1)
    watched = DeadSides(model)
    model(torch.ones(1))
    assert not watched.names
