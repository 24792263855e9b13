"""Keys that users' stores are full of. If one moves, every stored result behind it is lost.

A change of these literals is right only with a raised VERSION or HASH_SCHEMA, in the same commit.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace

import pytest

from casl import catalog
from casl.spec import (
    Evaluate,
    Finetune,
    Folder,
    Labeler,
    Model,
    Pretrain,
    Profile,
    PseudoLabel,
    Recipe,
    Record,
    Scenes,
    Stage,
    Warmup,
    ancestors,
)
from casl.spec.schedule import times

RECIPE = Recipe(lr=1e-3, batch=16, sizes=(64,), max_size=96, ramp_iters=10)
MODEL = Model(detector="condinst", backbone="resnet_micro", classes=1, channels=64, ranges=(16, 32, 64, 128))
SCENES = Scenes(split="labeled", count=100, size=64)
FOLDER = Folder(split="val", labels="entities", digest="0" * 64, classes=7, count=30, drawn=4)
PRETRAIN = Pretrain(backbone="resnet18", data=SCENES, size=48, batch=32, iters=200, lr=0.1 + 0.2)
LABELER = Labeler(MODEL, SCENES, "entities", RECIPE, times(3, 108), pretrained=PRETRAIN)
PSEUDO = PseudoLabel(labeler=LABELER, data=replace(SCENES, split="unlabeled"), size=64, max_size=96)
WARMUP = Warmup(MODEL, PSEUDO, "pseudo", RECIPE, times(5, 108), seed=1, threshold=0.3)
FINETUNE = Finetune(
    replace(MODEL, detector="fcos", classes=8),
    SCENES,
    "objects",
    replace(RECIPE, optimizer="sgd", precision="mixed"),
    ((72, 1.0), (100, 0.1), (108, 0.01)),  # in full: a rule may be corrected, and the key of what was trained stays
    init=WARMUP,
    parts=("backbone", "neck"),
    classifier="random",
)
EVALUATE = Evaluate(model=FINETUNE, data=FOLDER, labels="entities", metric="ap_e", size=64, max_size=96)

GOLDEN = [
    (SCENES, "25da1575dd80c04e4d14fed038ea61c60e718e238c84a212e7fc47eca3a745ef"),
    (FOLDER, "82d11834b05255e924b62bfc218ecca57f84e539f51f4c7db985caffe49d0e2c"),
    (PRETRAIN, "7710a547a7cd34abd5380376402904ad07d5b9a5bc31ee28fccda1f0b520e66a"),
    (LABELER, "d3688c8e3ef65ce9033cde30a4c16119b7182b18ed709e4c4a03ea636a6c95f3"),
    (PSEUDO, "e249a6dadebd4da5f1c63fed1954de728bbafad52c851b5ffe941e6bacd13784"),
    (WARMUP, "389ab5c6a1032ebfdf4326aa281414d3a4c9c511b31a27aea92d919d100bfb4c"),
    (FINETUNE, "634e7f8a8edb585cfc1249eef126c54e5daae5adddb4f8882722682d497d83ad"),
    (EVALUATE, "6ea11351887fd7bbaf1a16897c49f4370b61f2a882a2c520b39260c99fb0c5be"),
]


@pytest.mark.parametrize(("stage", "key"), GOLDEN, ids=lambda v: v.kind if isinstance(v, Stage) else "")
def test_a_key_stays_what_it_was(stage: Stage, key: str) -> None:
    assert stage.key == key


def test_a_family_stays_what_it_was() -> None:
    """Stores name folders by it; it is the key of the same training of one iteration."""
    assert WARMUP.family == "4f56a4becb470b78d25e69969304c8f4cc033141fbddad89fe06142099923043"
    assert WARMUP.family == WARMUP.until(((1, 1.0),)).key


@pytest.mark.parametrize("profile", ["smoke", "paper"])
def test_a_key_is_the_digest_of_the_payload_as_any_json_writer_sorts_it(profile: str) -> None:
    chosen: Profile = catalog.load("profile", profile)
    for cell in catalog.load("ablation", "table10").build(chosen):
        for stage in ancestors(cell.stage) if cell.stage else ():
            text = json.dumps(stage.payload(), sort_keys=True)
            assert stage.key == hashlib.sha256(text.encode()).hexdigest()


def _stage_class(grown: bool) -> type[Stage]:
    if grown:

        @dataclass(frozen=True)
        class Kind(Stage):
            seed: int
            model: Record
            added: float = 0.5
            also: tuple[str, ...] = ("a", "b")
            origin: Stage | None = None

        return Kind

    @dataclass(frozen=True)
    class Kind(Stage):  # type: ignore[no-redef]
        seed: int
        model: Record

    return Kind


def _record_class(grown: bool) -> type[Record]:
    if grown:

        @dataclass(frozen=True)
        class Part(Record):
            width: int
            added: int = 0
            switched: bool = False

        return Part

    @dataclass(frozen=True)
    class Part(Record):  # type: ignore[no-redef]
        width: int

    return Part


@pytest.mark.parametrize(("grown_stage", "grown_record"), [(True, False), (False, True), (True, True)])
def test_new_fields_at_their_defaults_leave_a_key_unchanged(grown_stage: bool, grown_record: bool) -> None:
    before = _stage_class(False)(seed=1, model=_record_class(False)(width=4))  # type: ignore[call-arg]
    after = _stage_class(grown_stage)(seed=1, model=_record_class(grown_record)(width=4))  # type: ignore[call-arg]
    assert after.key == before.key


@pytest.mark.parametrize("field", ["added", "also", "origin"])
def test_a_new_field_that_is_set_changes_the_key(field: str) -> None:
    plain = _stage_class(True)(seed=1, model=_record_class(True)(width=4))  # type: ignore[call-arg]
    value = {"added": 0.25, "also": ("a",), "origin": SCENES}[field]
    assert replace(plain, **{field: value}).key != plain.key
