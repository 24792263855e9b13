"""What a source is, is judged once: parts of it convert as they do in the whole, and no option is ignored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from casl.errors import SpecError
from casl.models.convert.conversion import Wish, convert_from, convert_to
from casl.models.parts import part_of
from casl.rows import PARTS
from tests.models.convert.cases import condinst, fcos
from tests.models.convert.test_torchvision import full_size

Weights = Mapping[str, Tensor]


@pytest.fixture(scope="module")
def sources() -> dict[str, Weights]:
    """Name -> a state dict; those of frameworks have names and shapes only."""
    with torch.device("meta"):
        frameworks = {name: full_size(name).state_dict() for name in ("retinanet", "faster_rcnn", "mask_rcnn")}
    small = fcos("resnet_micro", classes=1, channels=32, towers=1).state_dict()
    warmup = condinst("resnet_micro", channels=32, towers=1, mask_channels=16).state_dict()
    return {"fcos": small, "condinst": warmup, **frameworks}


@pytest.mark.parametrize(
    ("source", "kind", "into"),
    [
        ("fcos", "torchvision", "fcos"),
        ("fcos", "detectron2", "fcos"),
        ("condinst", "torchvision", "fcos"),
        ("condinst", "detectron2", "fcos"),
        ("retinanet", "torchvision", "retinanet"),
        ("faster_rcnn", "torchvision", "faster_rcnn"),
        ("mask_rcnn", "torchvision", "mask_rcnn"),
    ],
)
def test_every_part_alone_becomes_what_it_does_in_the_whole(
    source: str, kind: str, into: str, sources: Mapping[str, Weights]
) -> None:
    state = sources[source]
    whole, account = convert_to(kind, state, Wish(into=into))
    origin = {**account.renamed, **{key: how["from"] for key, how in account.adapted.items()}}
    seen: set[str] = set()
    for part in PARTS:
        alone, _ = convert_to(kind, state, Wish(into=into, parts=(part,)))
        assert alone and set(alone) == {key for key in whole if part_of(origin.get(key, "backbone.")) == part}
        assert all(whole[key].is_meta or torch.equal(alone[key], whole[key]) for key in alone)
        seen |= set(alone)
    assert seen == set(whole)


@pytest.mark.parametrize("kind", ["detectron2", "torchvision"])
@pytest.mark.parametrize("source", ["faster_rcnn", "mask_rcnn", "fcos", "condinst", "retinanet"])
@pytest.mark.parametrize("parts", [(), ("backbone", "neck"), ("neck",)])
def test_p2_is_kept_where_it_was_trained(
    source: str, kind: str, parts: tuple[str, ...], sources: Mapping[str, Weights]
) -> None:
    state, account = convert_to(kind, sources[source], Wish(into="keypoint_rcnn", parts=parts))
    place = "backbone.fpn.inner_blocks.0.0" if kind == "torchvision" else "backbone.fpn_lateral2"
    trained = source.endswith("rcnn")
    assert (f"{place}.weight" in state) == trained
    assert ("fpn.lateral2.weight" in account.left_in_source) == (not trained and source != "retinanet")
    assert any("P2" in why for why in account.left_in_target.values()) != trained


@pytest.mark.parametrize(
    ("source", "kind", "wish", "said"),
    [
        (
            "fcos",
            "detectron2",
            {"into": "casl", "parts": ("backbone",)},
            "--parts changes nothing here: casl takes all",
        ),
        ("fcos", "detectron2", {"into": "casl", "classes": 80}, "--classes changes nothing here"),
        ("fcos", "detectron2", {"into": "casl", "input": "rgb"}, "--input changes nothing here"),
        ("fcos", "detectron2", {"into": "casl", "input": "bgr"}, "--input changes nothing here"),
        ("fcos", "detectron2", {"into": "casl", "own_names": True}, "--own-names changes nothing here"),
        ("fcos", "detectron2", {"into": "mask_rcnn", "classes": 80}, "takes backbone, neck of this fcos"),
        ("condinst", "torchvision", {"into": "mask_rcnn", "classes": 80}, "takes backbone, neck of this condinst"),
        ("fcos", "detectron2", {"parts": ("backbone", "neck"), "classes": 80}, "takes backbone, neck of this fcos"),
        ("faster_rcnn", "torchvision", {"classes": 80}, "about the classifier of an FCOS"),
        (
            "fcos",
            "torchvision",
            {"own_names": True},
            "--own-names changes nothing here: it is about detectron2's models",
        ),
        ("fcos", "torchvision", {"input": "rgb"}, "--input changes nothing here: it is about detectron2's models"),
        ("fcos", "detectron2", {"parts": ("neck",), "input": "rgb"}, "it is about the backbone, and neck is asked for"),
        ("fcos", "detectron2", {"parts": ("head",), "own_names": True}, "about the backbone, and head is asked for"),
        ("body", "detectron2", {"into": "mask_rcnn", "parts": ("neck",)}, "nothing of the neck: only backbone"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(
    source: str, kind: str, wish: dict[str, Any], said: str, sources: Mapping[str, Weights]
) -> None:
    body = {key: value for key, value in sources["fcos"].items() if key.startswith("backbone.")}
    with pytest.raises(SpecError, match=said):
        convert_to(kind, body if source == "body" else sources[source], Wish(**wish))


@pytest.mark.parametrize(("kind", "registered"), [("torchvision", False), ("timm", False), ("detectron2", True)])
@pytest.mark.parametrize("order", ["bgr", "rgb"])
def test_the_order_of_channels_is_asked_of_detectron2s_own_models_only(
    kind: str, registered: bool, order: str, sources: Mapping[str, Weights]
) -> None:
    state = sources["fcos"]
    if registered:
        state, _ = convert_to("detectron2", state, Wish(into="casl"))
        assert convert_from("detectron2", state)[0].keys() == sources["fcos"].keys()
    with pytest.raises(SpecError, match="--input changes nothing here"):
        convert_from(kind, state, "resnet_micro", source_input=order)


def test_needs_are_of_the_parts_that_are_converted(sources: Mapping[str, Weights]) -> None:
    whole = convert_to("detectron2", sources["faster_rcnn"], Wish(into="mask_rcnn"))[1].needs
    neck = convert_to("detectron2", sources["faster_rcnn"], Wish(into="mask_rcnn", parts=("neck",)))[1].needs
    assert any("INPUT.FORMAT" in need for need in whole) and not any("INPUT" in n or "RESNETS" in n for n in neck)
