"""Frozen stages are computed once an image, and change no bit by it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from casl.models import frozen
from casl.models.backbone import Backbone, build_backbone
from casl.models.frozen import Maps


@pytest.fixture(autouse=True)
def maps(monkeypatch: pytest.MonkeyPatch) -> Maps:
    fresh = Maps()
    monkeypatch.setattr(frozen.Frozen.__call__, "__defaults__", (fresh,))
    return fresh


def images(count: int = 3, seed: int = 0) -> Tensor:
    drawn = torch.rand(count, 3, 64, 96, generator=torch.Generator().manual_seed(seed))
    return drawn.to(memory_format=torch.channels_last)


def built(name: str = "lite0", frozen_stages: int = 3, **arguments: float) -> Backbone:
    torch.manual_seed(0)
    backbone = build_backbone(name, frozen_stages=frozen_stages, **arguments)  # type: ignore[arg-type]
    return backbone.to(memory_format=torch.channels_last).train()


def equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("stages", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", ["lite0", "resnet10t"])
def test_the_maps_are_those_of_the_body_and_remembered_ones_are_the_same_bits(
    name: str, stages: int, maps: Maps
) -> None:
    backbone = built(name, stages)
    backbone.body.eval()  # learning norms would count batches of another size
    whole = backbone.body(images())
    first, again = backbone(images()), backbone(images())
    assert (maps.computed, maps.found) == (3, 3)
    assert equal(first, again)
    for ours, theirs in zip(first, whole, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)  # images alone against together


def test_a_training_step_is_the_same_whether_maps_were_remembered_or_not(maps: Maps) -> None:
    def weights(limit: int) -> dict[str, Tensor]:
        maps.__init__(limit)  # type: ignore[misc]
        backbone = built()
        optimizer = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], lr=0.1)
        for seed in (0, 1, 0):
            optimizer.zero_grad()
            torch.stack([m.square().mean() for m in backbone(images(2, seed))]).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        assert maps.found == (2 if limit else 0)
        return backbone.state_dict()

    one, other = weights(1 << 30), weights(0)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_other_frozen_weights_give_other_maps_however_they_were_written(maps: Maps) -> None:
    backbone = built()
    before = backbone(images())
    with torch.no_grad():
        next(backbone.body.parameters()).mul_(2)
    changed = backbone(images())
    assert not torch.equal(before[0], changed[0]) and maps.found == 0
    backbone.load_state_dict(built().state_dict())
    assert equal(backbone(images()), before)


def test_images_that_differ_in_one_value_or_in_shape_are_told_apart(maps: Maps) -> None:
    backbone = built()
    changed = images(1).clone()
    changed[0, 2, 63, 95] += 1e-7
    for batch in (images(1), changed, images(1).permute(0, 1, 3, 2).contiguous(), images(1)[:, :, :32]):
        backbone(batch)
    assert (maps.computed, maps.found) == (4, 0)


def test_a_second_model_with_the_same_frozen_weights_finds_the_maps_of_the_first(maps: Maps) -> None:
    backbone = built()
    wanted = backbone(images())
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.requires_grad:
                parameter.zero_()
    assert equal(built()(images()), wanted) and maps.found == 3
    assert equal(copy.deepcopy(built())(images()), wanted) and maps.found == 6


def test_no_more_is_kept_than_the_limit(maps: Maps) -> None:
    backbone = built()
    backbone(images(1))
    maps.limit_bytes = maps._held
    backbone(images(3))
    backbone(images(3))
    assert (maps.computed, maps.found) == (5, 2)


@pytest.mark.parametrize("broken", ["nothing frozen", "dropped paths", "counting norms", "prediction"])
def test_what_does_not_depend_on_the_image_alone_is_not_remembered(broken: str, maps: Maps) -> None:
    backbone = built(
        frozen_stages=0 if broken == "nothing frozen" else 3, drop_path=0.5 if broken == "dropped paths" else 0.0
    )
    if broken == "counting norms":
        stages = [[backbone.body.get_submodule(n) for n in ("conv_stem", "bn1", "blocks.0")]]
        stages[0].append(nn.BatchNorm2d(16))
        backbone = Backbone(backbone.body, backbone.channels, stages=stages, frozen=1)
    if broken == "prediction":
        backbone.eval()
    backbone(images())
    assert (maps.computed, maps.found) == (0, 0)
