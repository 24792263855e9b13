"""What the account says a target keeps is what it keeps: compared with torchvision's own models, name by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from casl.models.backbone import build_backbone
from casl.models.condinst import CondInst, CondInstSettings
from casl.models.convert.conversion import Wish, convert_to
from casl.models.fcos import FCOS, FCOSSettings
from casl.rows import PARTS
from tests.models.convert.test_torchvision import full_size, theirs

Weights = Mapping[str, Tensor]
BODY = "backbone.body."


@pytest.fixture(scope="module")
def sources() -> dict[str, Weights]:
    with torch.device("meta"):
        frameworks = {n: full_size(n).state_dict() for n in ("retinanet", "faster_rcnn", "mask_rcnn", "keypoint_rcnn")}
        warmup = CondInst(build_backbone("resnet50"), 1, CondInstSettings()).state_dict()
    warmup["head.scales"] = torch.ones(5)
    return {"condinst": warmup, "body": {k: v for k, v in warmup.items() if k.startswith(BODY)}, **frameworks}


@pytest.fixture(scope="module")
def targets() -> dict[str, Weights]:
    """torchvision's own, of four classes where the background is one."""
    names = ("fcos", "retinanet", "faster_rcnn", "mask_rcnn", "keypoint_rcnn")
    with torch.device("meta"):
        return {n: theirs(n.replace("_", ""), 4 if "rcnn" in n else 3).state_dict() for n in names}


def covers(pattern: str, key: str) -> bool:
    return key.startswith(pattern[:-1]) if pattern.endswith("*") else key == pattern


def check(state: Weights, account: Any, model: Weights) -> None:
    kept = {key for key in model if key not in state and not key.endswith("num_batches_tracked")}
    assert not [key for key in kept if not any(covers(p, key) for p in account.left_in_target)]
    for pattern in account.left_in_target:
        assert any(covers(pattern, key) for key in kept), pattern
        assert not any(covers(pattern, key) for key in state), pattern
    assert not set(state) - set(model)


def cases() -> list[tuple[str, str, tuple[str, ...]]]:
    dense, regions = ("fcos", "retinanet"), ("faster_rcnn", "mask_rcnn", "keypoint_rcnn")
    some = [(), ("backbone",), ("neck",)]
    found = [(s, i, p) for s in ("condinst", "faster_rcnn", "retinanet") for i in (*dense, *regions) for p in some]
    own = [(s, "fcos" if s == "condinst" else s) for s in ("condinst", "retinanet", *regions)]
    return found + [
        (s, i, p) for s, i in own for p in [*((part,) for part in PARTS[2:]), PARTS[1:], ("backbone", "head")]
    ]


@pytest.mark.parametrize(("source", "into", "parts"), cases())
def test_the_target_keeps_what_the_account_says_and_nothing_else(
    source: str, into: str, parts: tuple[str, ...], sources: Mapping[str, Weights], targets: Mapping[str, Weights]
) -> None:
    state, account = convert_to("torchvision", sources[source], Wish(into=into, parts=parts))
    check(state, account, targets[into])


@pytest.mark.parametrize("into", ["fcos", "retinanet", "mask_rcnn"])
def test_a_backbone_alone_names_the_whole_pyramid(
    into: str, sources: Mapping[str, Weights], targets: Mapping[str, Weights]
) -> None:
    state, account = convert_to("torchvision", sources["body"], Wish(into=into))
    check(state, account, targets[into])


def test_a_source_that_lacks_a_stage_says_so(sources: Mapping[str, Weights], targets: Mapping[str, Weights]) -> None:
    cut = {key: value for key, value in sources["condinst"].items() if ".layer3." not in key}
    state, account = convert_to("torchvision", cut, Wish(into="mask_rcnn"))
    assert account.left_in_target["backbone.body.layer3.*"] == "the source has none"
    check(state, account, targets["mask_rcnn"])
    _, there = convert_to("detectron2", cut, Wish(into="mask_rcnn"))
    assert there.left_in_target["backbone.bottom_up.res4.*"] == "the source has none"


@pytest.mark.parametrize("kind", ["detectron2", "torchvision"])
def test_sizes_that_are_no_default_are_said(kind: str, targets: Mapping[str, Weights]) -> None:
    with torch.device("meta"):
        small = FCOS(build_backbone("resnet50"), 3, FCOSSettings(channels=64, towers=2)).state_dict()
    small["head.scales"] = torch.ones(5)
    state, account = convert_to(kind, small, Wish())
    said = " ".join(account.needs)
    assert "64, 256 by default" in said or "64), 256 by default" in said
    assert "num_convs" in said and len([w for w in account.left_in_target.values() if "have 2 convolutions" in w]) == 8
    if kind == "torchvision":
        check(state, account, targets["fcos"])
    _, other = convert_to(kind, small, Wish(into="mask_rcnn", parts=("neck",)))
    assert any("64" in need and "256 by default" in need for need in other.needs)
    assert not any("num_convs" in need for need in other.needs)


@pytest.mark.parametrize(
    ("backbone", "said"),
    [
        ("resnet50", ["MODEL.RESNETS.DEPTH 50", "STRIDE_IN_1X1 False"]),
        ("resnext101", ["MODEL.RESNETS.DEPTH 101, NUM_GROUPS 32, WIDTH_PER_GROUP 8", "STRIDE_IN_1X1 False"]),
        ("resnet18", ["MODEL.RESNETS.DEPTH 18, RES2_OUT_CHANNELS 64"]),
        ("resnet26", ["of 2, 2, 2, 2 blocks with stride_in_1x1=False: MODEL.RESNETS has no such DEPTH"]),
    ],
)
def test_a_resnet_is_described_as_detectron2_can_build_it(backbone: str, said: list[str]) -> None:
    with torch.device("meta"):
        state = {f"backbone.{key}": value for key, value in build_backbone(backbone).state_dict().items()}
    _, account = convert_to("detectron2", state, Wish(into="mask_rcnn"))
    found = [need for need in account.needs if "INPUT" not in need]
    assert len(found) == len(said) and all(words in need for words, need in zip(said, found, strict=True))
