"""Weights that no detector can have end in a sentence, whatever is computed with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import Tensor

from casl.errors import CaslError, DataError
from casl.models.backbone import build_backbone
from casl.models.convert.conversion import Wish, convert_from, convert_to
from casl.models.weights import read_state
from tests.models.convert.cases import condinst

Change = Callable[[dict[str, Tensor]], object]
STEM = "backbone.body.conv1.0.weight"
TABLE = "backbone.body.layers.0.blocks.0.attn.relative_position_bias_table"


@pytest.fixture(scope="module")
def warmup() -> Mapping[str, Tensor]:
    state = condinst("resnet_micro", channels=32, towers=1, mask_channels=16).state_dict()
    return {key: value for key, value in state.items() if not key.startswith(("mask_", "backbone.body.layer"))}


def put(key: str, change: Callable[[Tensor], Tensor]) -> Change:
    return lambda state: state.update({key: change(state[key])})


HARMS: dict[str, tuple[Change, str]] = {
    "no scales": (put("head.scales", lambda v: v[:0]), r"head.scales is \(0,\); in every detector of casl it is \(n\)"),
    "scales of no list": (put("head.scales", lambda v: v[0]), r"head.scales is \(\)"),
    "4 channels": (put(STEM, lambda v: torch.cat([v, v[:, :1]], 1)), r"is \(12, 4, 3, 3\); .* it is \(n, 3, n, n\)"),
    "1 channel": (put(STEM, lambda v: v[:, :1]), r"is \(12, 1, 3, 3\)"),
    "whole numbers": (put(STEM, lambda v: v.to(torch.int8)), r"holds whole numbers \(torch.int8\)"),
    "3 sides": (put("head.bbox_pred.bias", lambda v: v[:3]), r"head.bbox_pred.bias is \(3,\); .* it is \(4\)"),
    "one class of no list": (put("head.cls_logits.bias", lambda v: v[0]), r"head.cls_logits.bias is \(\)"),
    "p6 of nothing": (lambda s: s.pop("fpn.output5.weight"), r"pyramid is not whole: it lacks fpn.output5.weight\."),
    "a level less": (lambda s: s.pop("fpn.lateral4.weight"), r"it lacks fpn.lateral4.weight\."),
    "a table of no window": (lambda s: s.update({TABLE: torch.ones(48, 3)}), r"is \(48, 3\); .* it is \(49, n\)"),
}


@pytest.mark.parametrize("kind", ["detectron2", "torchvision"])
@pytest.mark.parametrize("harm", HARMS)
def test_what_no_detector_can_be_is_said(harm: str, kind: str, warmup: Mapping[str, Tensor]) -> None:
    change, said = HARMS[harm]
    state = dict(warmup)
    convert_to(kind, state, Wish(into="fcos", classes=8))
    change(state)
    with pytest.raises(DataError, match=said):
        convert_to(kind, state, Wish(into="fcos", classes=8))


@pytest.mark.parametrize(
    ("kind", "key", "said"),
    [
        ("detectron2", "backbone.bottom_up.body.conv1.0.weight", r"is \(0, 3, 3, 3\)"),
        ("detectron2", "head.bbox_pred.bias", r"is \(0,\)"),
        ("detectron2", "backbone.fpn_output5.weight", r"is \(0, 32, 3, 3\)"),
        ("torchvision", "head.regression_head.bbox_reg.bias", r"is \(0,\)"),
        ("torchvision", "backbone.fpn.layer_blocks.2.0.weight", r"fpn.output5.weight is \(0, 32, 3, 3\)"),
    ],
)
def test_neither_do_others_bring_it(kind: str, key: str, said: str, warmup: Mapping[str, Tensor]) -> None:
    state, _ = convert_to(kind, warmup, Wish(into="fcos"))
    convert_from(kind, state)
    with pytest.raises(DataError, match=said):
        convert_from(kind, {**state, key: state[key][:0]})


def test_no_shape_of_any_tensor_ends_in_a_traceback(warmup: Mapping[str, Tensor]) -> None:
    refused = 0
    for key, value in warmup.items():
        for other in (torch.tensor(1.0), value[:0] if value.dim() else value, value[None]):
            for kind in ("detectron2", "torchvision"):
                with suppress(CaslError):
                    state, _ = convert_to(kind, {**warmup, key: other}, Wish(into="fcos", classes=4))
                    convert_from(kind, state)
                    continue
                refused += 1
    assert refused > 50


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("patch_embed.proj.weight", torch.ones(32, 48)),
        ("patch_embed.proj.weight", torch.ones(32, 4, 4, 4)),
        ("layers.0.blocks.0.attn.relative_position_bias_table", torch.ones(48, 1)),
        ("layers.0.blocks.0.attn.relative_position_bias_table", torch.tensor(1.0)),
    ],
)
def test_a_swin_of_odd_shapes_is_refused_before_timm_resizes_it(key: str, value: Tensor) -> None:
    state = build_backbone("swin_mini").body.state_dict()
    with pytest.raises(DataError, match="does not fit swin_mini"):
        convert_from("timm", {**state, key: value}, "swin_mini")


@pytest.mark.parametrize(
    ("key", "harmed"),
    [("_blocks.0", "_blocks.x.y"), ("_blocks.0._bn1.bias", "_blocks.0._bn9.bias"), ("_bn0.bias", "_bn7.bias")],
)
def test_odd_names_of_efficientnet_lite_are_refused(key: str, harmed: str) -> None:
    state = {"_conv_stem.weight": torch.ones(1), "_bn0.bias": torch.ones(1)}
    state |= {f"_blocks.{n}._bn1.bias": torch.ones(1) for n in range(16)}
    with pytest.raises(DataError, match=r"does not fit lite0|the backbone has 16"):
        convert_from("timm", {name.replace(key, harmed): value for name, value in state.items()}, "lite0")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("value", [torch.eye(3).to_sparse(), torch.ones(3, device="meta")], ids=["sparse", "meta"])
def test_only_plain_tensors_are_read(value: Tensor, tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.ones(2), "b": value}}, tmp_path / "a.pth")
    with pytest.raises(DataError, match="b is the first of 1"):
        read_state(tmp_path / "a.pth")
