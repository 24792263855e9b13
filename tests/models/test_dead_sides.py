"""Boxes whose regression died in training, and the clip behind which it cannot."""

from __future__ import annotations

import pytest
import torch

from casl.errors import SpecError
from casl.models.backbone import build_backbone
from casl.models.fcos import FCOSSettings, build
from casl.models.head import CLIPS, DeadSides, FCOSHead
from casl.spec import Model


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


def test_a_projected_clip_is_a_relu_that_lets_gradients_lead_back() -> None:
    """Descent on y with a gradient below zero raises x; at or below zero only that is let through."""
    for clip, expected in (("relu", [0, 0, 3, -3, 0]), ("projected", [0, -3, 3, -3, -3])):
        x = torch.tensor([-1.0, -1.0, 2.0, 2.0, 0.0], requires_grad=True)
        y = CLIPS[clip](x)
        y.backward(torch.tensor([3.0, -3.0, 3.0, -3.0, -3.0]))  # type: ignore[no-untyped-call]
        assert y.tolist() == [0, 0, 2, 2, 0]
        assert x.grad is not None and x.grad.tolist() == expected, clip


@pytest.mark.parametrize(("clip", "moves"), [("relu", False), ("projected", True)])
def test_a_side_that_is_zero_everywhere_comes_back_behind_a_projected_clip_only(clip: str, moves: bool) -> None:
    torch.manual_seed(0)
    head = FCOSHead(8, 1, num_levels=1, towers=1, clip=clip)
    assert head.bbox_pred.bias is not None
    head.bbox_pred.bias.data = torch.tensor([1.0, 1.0, 1.0, -1.0])
    level, optimiser = torch.randn(1, 8, 4, 4), torch.optim.AdamW(head.parameters(), lr=0.05)
    for _ in range(100):
        optimiser.zero_grad()
        (head([level]).ltrb[0] - 2).square().mean().backward()
        optimiser.step()
    bottom = head([level]).ltrb[0][:, 3]
    assert bottom.gt(1.5).all() if moves else bottom.eq(0).all()


def test_heads_and_specs_know_the_same_clips_and_refuse_others() -> None:
    for clip in CLIPS:
        assert Model("fcos", "resnet_nano", 1, clip=clip).clip == clip
    for make in (lambda: FCOSHead(8, 1, clip="rellu"), lambda: Model("fcos", "resnet_nano", 1, clip="rellu")):
        with pytest.raises(SpecError, match=r"clip of distances.*rellu"):
            make()
