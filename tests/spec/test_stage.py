from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest

from casl import catalog
from casl.errors import SpecError
from casl.spec import Ablation, Evaluate, Finetune, Labeler, Model, Profile, Recipe, Scenes, Stage, Warmup, ancestors
from casl.spec.freeze import freeze, thaw

RECIPE = Recipe(lr=1e-3, batch=16, sizes=(64,), max_size=96)
MODEL = Model(detector="fcos", backbone="resnet_micro", classes=1)
DATA = Scenes(split="labeled", count=8, size=64)
LABELER = Labeler(model=MODEL, data=DATA, labels="objects", recipe=RECIPE, schedule=((9, 1.0),))


@dataclass(frozen=True)
class Toy(Stage):
    number: float = 0.5
    value: Any = None


def last_cell(profile: str) -> Evaluate:
    built: Profile = catalog.load("profile", profile)
    table: Ablation = catalog.load("ablation", "table4")
    return table.build(built)[-1].evaluation


def test_a_key_stays_what_it_was() -> None:
    # if one of these moves, every stored result of the users is lost: raise HASH_SCHEMA or a VERSION on purpose only
    assert DATA.key == "4c44b25354d61fe64862cb3831510eab3f4e8c8bdfeba44153963dad50a50542"
    assert LABELER.key == "61b5eef644f50d2c4a5433b080ea20bc1c6006aa23366ed7e544621443aa08c2"


def test_numbers_that_mean_the_same_have_one_key() -> None:
    assert Toy(number=0.1 + 0.25).key == Toy(number=0.35).key
    assert Toy(number=2.0).key == Toy(number=2).key
    assert Toy(number=0.35).key != Toy(number=0.36).key


def test_a_field_at_its_default_is_not_part_of_the_key() -> None:
    assert "number" not in Toy().payload()["fields"]
    assert Toy(number=0.5).key == Toy().key


def test_a_field_that_equals_its_default_but_is_of_another_type_is_hashed() -> None:
    assert replace(MODEL, frozen_stages=0) == MODEL
    assert Toy(value=False).key != Toy(value=None).key


@pytest.mark.parametrize("value", [[1], {1: 2}, object(), b"x", {1}])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(SpecError, match="no place in a key"):
        _ = Toy(value=value).key


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_must_be_finite(value: float) -> None:
    with pytest.raises(SpecError, match="finite"):
        _ = Toy(number=value).key


def test_a_changed_field_changes_the_key_and_the_keys_of_all_that_use_it() -> None:
    other = replace(LABELER, seed=1)
    assert other.key != LABELER.key
    assert Toy(value=other).key != Toy(value=LABELER).key


def test_a_new_version_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Toy().key
    monkeypatch.setattr(Toy, "VERSION", 2)
    assert Toy().key != before


@pytest.mark.parametrize("profile", ["smoke", "mini", "paper"])
def test_a_frozen_stage_thaws_to_an_equal_one(profile: str) -> None:
    stage = last_cell(profile)
    thawed = thaw(json.loads(json.dumps(freeze(stage))))
    assert thawed == stage
    assert thawed.key == stage.key


def test_ancestors_come_before_their_users_and_once() -> None:
    names = [s.name for s in ancestors(last_cell("smoke"))]
    kinds = [n.partition("-")[0] for n in names]
    assert len(set(names)) == len(names)
    method = ["labeler", "pseudolabel", "warmup", "finetune", "evaluate"]
    assert [kind for kind in kinds if kind in method] == method
    # the classifiers of the labeler's and the target's backbone, each before the training that starts from it
    assert kinds.count("pretrain") == 2
    assert kinds.index("pretrain") < kinds.index("labeler")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: replace(MODEL, detector="condinsts"), "did you mean 'condinst'"),
        (lambda: replace(MODEL, backbone="resnet5"), "did you mean 'resnet50'"),
        (lambda: replace(MODEL, classes=0), "classes must be at least 1"),
        (lambda: replace(MODEL, detector="faster_rcnn", towers=2), "'faster_rcnn' has no towers, got 2; it has rois"),
        (lambda: replace(MODEL, detector="fcos", head_norm=True), "'fcos' has no head_norm"),
        (lambda: replace(MODEL, detector="mask_rcnn", stuff=3), "'mask_rcnn' has no stuff"),
        (lambda: replace(MODEL, options=(("assing", "topn"),)), "unknown option of detector 'fcos' 'assing'"),
        (lambda: replace(MODEL, options=(("towers", 2),)), "unknown option of detector 'fcos' 'towers'"),
        (lambda: replace(MODEL, ranges=(64, 32, 128, 256)), "four rising"),
        (lambda: replace(RECIPE, lr=0.0), "lr must be positive"),
        (lambda: replace(RECIPE, batch=0), "batch must be at least 1"),
        (lambda: replace(RECIPE, optimizer="adam"), "did you mean 'adamw'"),
        (lambda: replace(RECIPE, augmentation="storng"), "did you mean 'strong'"),
        (lambda: replace(RECIPE, sizes=()), "short sides"),
        (lambda: replace(LABELER, schedule=()), "at least one iteration"),
        (lambda: replace(LABELER, schedule=((0, 1.0),)), "rise from 1"),
        (lambda: replace(LABELER, parts=("bakbone",)), "did you mean 'backbone'"),
        (lambda: replace(LABELER, model=replace(MODEL, classes=9)), "the model has 9 classes, its data 8"),
        (lambda: warmup(1.5), r"in \[0, 1\], got 1.5"),
        (lambda: warmup(-0.1), r"in \[0, 1\]"),
        (lambda: Scenes(split="train", count=3, size=64), "unknown split 'train'"),
        (lambda: Scenes(split="val", count=0, size=64), "at least 1"),
        (lambda: Evaluate(LABELER, DATA, "objects", "ap_dat", 64, 96), "did you mean 'ap_det'"),
    ],
)
def test_an_impossible_spec_is_refused_when_it_is_written(change: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        change()


def warmup(threshold: float) -> Warmup:
    return Warmup(MODEL, DATA, "objects", RECIPE, ((9, 1.0),), threshold=threshold)


def test_kinds_do_not_share_keys() -> None:
    finetune = Finetune(**{f.name: getattr(LABELER, f.name) for f in fields(LABELER)})
    assert finetune.key != LABELER.key


def test_an_option_that_a_detector_knows_enters_the_key_and_none_leaves_it_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = catalog.DETECTORS["fcos"]
    monkeypatch.setitem(catalog.DETECTORS, "fcos", replace(known, settings=(*known.settings, "assign", "topk")))
    chosen = replace(MODEL, options=(("assign", "topn"), ("topk", 9)))
    assert replace(LABELER, model=chosen).key != LABELER.key
    assert replace(LABELER, model=replace(chosen, options=())).key == LABELER.key
    with pytest.raises(SpecError, match="sorted by name and each is given once"):
        replace(MODEL, options=(("topk", 9), ("assign", "topn")))
    with pytest.raises(SpecError, match="did you mean 'assign'"):
        replace(MODEL, options=(("asign", "topn"),))
