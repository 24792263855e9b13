"""EfficientNet-Lite backbones: their maps, their input, and which of their stages stay fixed."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from casl import catalog
from casl.errors import SpecError
from casl.models.backbone import Backbone, build_backbone
from casl.models.convert.conversion import Wish, convert_from, convert_to
from casl.models.fcos import FCOS, FCOSSettings
from casl.models.frameworks.retinanet import RetinaNetSettings
from casl.models.frameworks.retinanet import build as retinanet

LITES = ("lite0", "lite1", "lite2")
SMALL: dict[str, Any] = {"channels": 16, "ranges": (16, 32, 64, 128)}


def fcos(backbone: Backbone) -> FCOS:
    return FCOS(backbone, 2, FCOSSettings(**SMALL, towers=1))


def scene() -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    torch.manual_seed(5)
    images = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(2)]
    boxes = torch.tensor([[4.0, 4, 30, 30], [20, 24, 60, 50]])
    return images, [{"boxes": boxes, "labels": torch.tensor([0, 1])} for _ in images]


@pytest.mark.parametrize("name", LITES)
def test_maps_have_strides_4_to_32_for_any_size(name: str) -> None:
    backbone = build_backbone(name).eval()
    with torch.no_grad():
        maps = backbone(torch.zeros(2, 3, 96, 65))
    sizes = [(96 // stride, -(-65 // stride)) for stride in (4, 8, 16, 32)]
    assert [tuple(m.shape) for m in maps] == [(2, c, *s) for c, s in zip(backbone.channels, sizes, strict=True)]


@torch.no_grad()
def test_maps_are_what_timms_classifier_has_after_blocks_1_2_4_and_6() -> None:
    whole = timm.create_model(catalog.row("backbone", "lite1").timm).eval()
    backbone = build_backbone("lite1").eval()
    backbone.body.load_state_dict({k: v for k, v in whole.state_dict().items() if k in backbone.body.state_dict()})
    x = image = torch.randn(1, 3, 96, 64)
    x = whole.bn1(whole.conv_stem(x))
    after = [x := block(x) for block in whole.blocks]
    for found, wanted in zip(backbone(image), (after[1], after[2], after[4], after[6]), strict=True):
        assert torch.equal(found, wanted)


STAGES = [
    {"conv_stem", "bn1", "blocks.0"},
    {"blocks.1"},
    {"blocks.2"},
    {"blocks.3", "blocks.4"},
    {"blocks.5", "blocks.6"},
]


def owner(name: str) -> str:
    """backbone.body.blocks.3.0.bn1.weight -> blocks.3"""
    parts = name.removeprefix("backbone.").removeprefix("body.").split(".")
    return ".".join(parts[:2]) if parts[0] == "blocks" else parts[0]


@pytest.mark.parametrize("frozen", range(6))
@pytest.mark.parametrize("norm", [False, True])
def test_a_step_moves_all_stages_but_the_frozen_ones(frozen: int, norm: bool) -> None:
    torch.manual_seed(0)
    model = fcos(build_backbone("lite0", frozen_stages=frozen, frozen_norm=norm)).train()
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    optimizer = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=0.1)
    torch.stack(list(model.losses(*scene()).values())).sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    moved = {name for name, value in model.backbone.state_dict().items() if not torch.equal(value, before[name])}
    fixed = set().union(*STAGES[:frozen])
    assert {owner(name) for name in moved} == set().union(*STAGES[frozen:]) - ({"bn1"} if norm else set())
    assert not {owner(name) for name in moved} & fixed
    assert any("running_mean" in name for name in moved) == (not norm and frozen < 5)
    assert not any(".bn" in name for name in moved) or not norm


@pytest.mark.parametrize("frozen", range(6))
def test_no_gradient_is_recorded_below_the_last_frozen_stage(frozen: int) -> None:
    backbone = build_backbone("lite0", frozen_stages=frozen, frozen_norm=frozen > 0).train()
    maps = backbone(torch.randn(2, 3, 64, 64))
    assert [m.grad_fn is not None for m in maps] == [stage >= frozen for stage in range(1, 5)]


@pytest.mark.parametrize("name", [n for n, row in catalog.BACKBONES.items() if not row.arguments])
def test_mean_and_deviation_are_those_that_timm_trained_with(name: str) -> None:
    row = catalog.BACKBONES[name]
    published = timm.get_pretrained_cfg(row.timm)
    assert row.mean == pytest.approx([255 * value for value in published.mean])
    assert row.std == pytest.approx([255 * value for value in published.std])


def test_detectors_normalise_as_their_backbone_says() -> None:
    black, white = torch.zeros(3, 32, 32, dtype=torch.uint8), torch.full((3, 32, 32), 255, dtype=torch.uint8)
    for model in (fcos(build_backbone("lite0")), retinanet(build_backbone("lite0"), 2, RetinaNetSettings(**SMALL))):
        seen: list[Tensor] = []
        model.backbone.register_forward_pre_hook(lambda module, inputs, seen=seen: seen.append(inputs[0]))
        model.eval().predict([black, white], [(32, 32), (32, 32)])
        assert torch.equal(seen[0][0], torch.full((3, 32, 32), -1.0))
        assert torch.equal(seen[0][1], torch.full((3, 32, 32), 1.0))


@torch.no_grad()
def test_the_stem_is_turned_for_bgr_by_the_backbones_own_deviation() -> None:
    model = fcos(build_backbone("lite0"))
    state, report = convert_to("detectron2", model.state_dict(), Wish(backbone="lite0"))
    assert any("MODEL.PIXEL_MEAN [127.5, 127.5, 127.5], MODEL.PIXEL_STD [1.0, 1.0, 1.0]" in n for n in report.needs)
    key = "backbone.bottom_up.body.conv_stem.weight"
    raw = torch.rand(1, 3, 64, 64) * 255
    ours = nn.functional.conv2d((raw - 127.5) / 127.5, model.state_dict()["backbone.body.conv_stem.weight"])
    torch.testing.assert_close(nn.functional.conv2d((raw - 127.5).flip(1), state[key]), ours, rtol=1e-4, atol=1e-4)
    back, _ = convert_from("detectron2", state, "lite0")
    torch.testing.assert_close(
        back["backbone.body.conv_stem.weight"], model.state_dict()["backbone.body.conv_stem.weight"]
    )


def test_without_the_backbones_name_its_input_is_not_guessed() -> None:
    with pytest.raises(SpecError, match="name the backbone with --backbone"):
        convert_to("detectron2", fcos(build_backbone("lite0")).state_dict(), Wish())
    _, report = convert_to("torchvision", fcos(build_backbone("lite0")).state_dict(), Wish(backbone="lite0"))
    assert "image_mean [0.5, 0.5, 0.5], image_std [0.5, 0.5, 0.5]" in report.needs
