"""Boxes whose regression died in training."""

from __future__ import annotations

import torch

from casl.models.backbone import build_backbone
from casl.models.fcos import FCOSSettings, build
from casl.models.head import DeadSides


def test_a_side_that_hardly_any_finding_location_moves_is_named() -> None:
    """Of 64 locations of P3 all find something. At first two sides are at zero; then half of all seen are not."""
    model = build(build_backbone("resnet_nano"), 2, FCOSSettings(channels=16, towers=1)).eval()
    watched = DeadSides(model)
    assert not watched.names
    image, size = [torch.zeros(3, 64, 64)], [(64, 64)]
    box, scores = model.head.bbox_pred.bias, model.head.cls_logits.bias
    assert box is not None and scores is not None
    with torch.no_grad():
        box.copy_(torch.tensor([1.0, -100.0, 1.0, -100.0]))
        scores.fill_(-100.0)
        model.predict(image, size)
        assert not watched.names, "nothing was found"
        scores.fill_(0.0)
        model.predict(image, size)
        assert list(watched.names) == ["top", "bottom"]
        box.fill_(1.0)
        model.predict(image, size)
    assert not watched.names


def test_a_model_without_such_a_head_has_none() -> None:
    model = torch.nn.Linear(1, 1)
    watched = DeadSides(model)
    model(torch.ones(1))
    assert not watched.names
