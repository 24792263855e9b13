from __future__ import annotations

from dataclasses import replace

import pytest

from casl.errors import SpecError
from casl.spec import finetune, labeler, pseudo_label, warmup
from casl.spec.recipe import model
from tests.runner.stores import NANO


def test_one_profile_asks_for_one_stage_only_once() -> None:
    profile = replace(NANO)
    assert warmup(profile, schedule=2) is warmup(profile, schedule=2)
    assert warmup(profile).data is pseudo_label(profile, labeler(profile))


def test_what_differs_in_an_argument_or_the_profile_is_another_stage() -> None:
    profile = replace(NANO)
    first = warmup(profile, schedule=2)
    others = [
        warmup(profile, schedule=3),
        warmup(profile, schedule=2, threshold=0.5),
        warmup(profile.with_seed(1), schedule=2),
        warmup(replace(profile, threshold=0.25), schedule=2),
        warmup(profile, schedule=2, pseudo=pseudo_label(profile, labeler(profile, labels="objects"))),
    ]
    assert len({first.key, *(o.key for o in others)}) == 6


def test_equal_stages_given_as_arguments_lead_to_equal_stages() -> None:
    profile = replace(NANO)
    one, same = warmup(profile), warmup(replace(NANO))
    assert one is not same
    assert finetune(profile, one).key == finetune(profile, same).key


def test_an_argument_that_cannot_be_in_a_key_is_refused_as_ever() -> None:
    with pytest.raises(SpecError, match="no place in a key"):
        _ = finetune(NANO, warmup(NANO), parts=["backbone"]).key  # type: ignore[arg-type]


def test_parts_of_no_warmup_are_refused() -> None:
    with pytest.raises(SpecError, match=r"parts backbone of no warmup: give init, or leave parts out"):
        finetune(NANO, None, parts=("backbone",))


def test_a_pretrained_backbone_keeps_as_many_stages_fixed_as_its_row_says_unless_the_profile_says_it() -> None:
    names = {"swin_t": "lite0", "swin_l": "swin_l"}
    pretrained = replace(NANO, backbones=names, shape=replace(NANO.shape, weights="imagenet"))
    found = [model(pretrained, "fcos", name, 1).frozen_stages for name in names]
    assert found == [2, 0]
    wanted = replace(pretrained, shapes={"swin_t": {"frozen_stages": 0}})
    assert model(wanted, "fcos", "swin_t", 1).frozen_stages == 0
    assert (
        model(replace(pretrained, shape=replace(NANO.shape, frozen_stages=3)), "fcos", "swin_t", 1).frozen_stages == 3
    )
    assert model(replace(NANO, backbones=names), "fcos", "swin_t", 1).frozen_stages == 0
