"""Facts of stage kinds: what runner, tracking and command line ask a stage instead of knowing its kind."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from casl.errors import SpecError
from casl.spec import (
    Evaluate,
    Finetune,
    Folder,
    Labeler,
    Model,
    PseudoLabel,
    Recipe,
    SceneData,
    Scenes,
    Stage,
    Train,
    Warmup,
)
from casl.spec.data_kinds import Pretrain
from casl.spec.freeze import kind_named, kinds, trainings_for_people
from casl.spec.stage import split_name

RECIPE = Recipe(lr=1e-3, batch=4, sizes=(64,), max_size=96)
AGNOSTIC = Model(detector="condinst", backbone="resnet_micro", classes=1)
LABELED, UNLABELED = Scenes("labeled", 10, 64), Scenes("unlabeled", 246, 64)
LABELER = Labeler(AGNOSTIC, LABELED, "entities", RECIPE, ((216, 1.0),))
PSEUDO = PseudoLabel(LABELER, UNLABELED, 64, 96)
WARMUP = Warmup(AGNOSTIC, PSEUDO, "pseudo", RECIPE, ((240, 1.0), (360, 0.1)), threshold=0.3)
FINETUNE = Finetune(replace(AGNOSTIC, detector="fcos"), LABELED, "objects", RECIPE, ((216, 1.0),), init=WARMUP)
EVALUATE = Evaluate(FINETUNE, Scenes("val", 5, 64), "objects", "ap_det", 64, 96)
FOLDER = Folder("val", "objects", "0123456789abcdef", 3, 70, drawn=7)
PRETRAIN = Pretrain("resnet18", LABELED, size=48, batch=32, iters=200, lr=0.1)


@pytest.mark.parametrize(
    ("stage", "title", "brief"),
    [
        (LABELED, "scenes labeled · 10 images · 64 px · seed 0", "labeled images"),
        (FOLDER, "folder val · objects · 7 of 70 images · 01234567", "val images"),
        (LABELER, "labeler 216 it · condinst resnet_micro · seed 0", "labeler 216 it"),
        (WARMUP, "warmup 360 it · condinst resnet_micro · δ 0.3 · seed 0", "warmup 360 it"),
        (PSEUDO, "pseudo labels of 246 images ← labeler 216 it · seed 0", "pseudo labels"),
        (
            replace(FINETUNE, parts=("backbone", "neck"), seed=2, recipe=replace(RECIPE, augmentation="strong")),
            "finetune 216 it ← warmup 360 it · fcos resnet_micro · strong · from backbone, neck · seed 2",
            "finetune 216 it",
        ),
        (EVALUATE, "evaluate ap_det · finetune 216 it ← warmup 360 it · seed 0", "evaluate"),
        (PRETRAIN, PRETRAIN.name, "pretrain"),
    ],
    ids=lambda value: value.kind if isinstance(value, Stage) else "",
)
def test_titles_tell_stages_apart(stage: Stage, title: str, brief: str) -> None:
    assert (stage.title, stage.brief) == (title, brief)


def test_work_is_iterations_of_trainings_and_images_of_all_else() -> None:
    units = [s.work(12).units for s in (LABELED, FOLDER, PRETRAIN, LABELER, PSEUDO, WARMUP, FINETUNE, EVALUATE)]
    assert units == [10, 7, 200, 12, 246, 12, 12, 5]
    assert [s.work(1).batch for s in (LABELED, LABELER, PSEUDO)] == [float("inf"), 1.0, 4.0]


def test_likeness_goes_from_the_same_recipe_to_the_same_kind() -> None:
    same, near, wide = WARMUP.work(1).alike
    slower = replace(WARMUP, recipe=replace(RECIPE, lr=1e-4)).work(1).alike
    assert slower[0] != same and slower[1:] == (near, wide)
    assert LABELER.work(1).alike[1] == near and LABELER.work(1).alike[2] != wide
    mask = replace(EVALUATE, metric="ap_seg").work(1).alike
    assert mask[1] != EVALUATE.work(1).alike[1] and mask[2] == EVALUATE.work(1).alike[2]


@pytest.mark.parametrize(
    ("stage", "ranks"),
    [
        (LABELED, 1),
        (PRETRAIN, 1),
        (PSEUDO, 6),
        (WARMUP, 4),
        (replace(FINETUNE, model=replace(AGNOSTIC, detector="mask_rcnn")), 1),
        (EVALUATE, 1),
    ],
    ids=lambda value: value.kind if isinstance(value, Stage) else "",
)
def test_a_stage_is_shared_out_where_that_gives_the_same_result(stage: Stage, ranks: int) -> None:
    assert stage.ranks(6) == ranks, "a batch of 4 images has work for 4 processes"


def test_a_stage_names_the_data_sets_that_it_reads_itself() -> None:
    found = [(s.kind, [(use.name, use.context, use.stage) for use in s.reads()]) for s in (LABELED, PSEUDO, WARMUP)]
    assert found == [
        ("scenes", []),
        ("pseudolabel", [("scenes unlabeled", "labeling", UNLABELED.name)]),
        ("warmup", [("pseudo labels", "training", PSEUDO.name)]),
    ]
    assert WARMUP.reads()[0].profile == {"images": 246, "threshold": 0.3, "labeler": LABELER.name}


def test_a_share_of_a_folder_is_other_data_than_the_folder() -> None:
    whole = replace(FOLDER, drawn=0).read_by("evaluation", "objects")[0]
    share = FOLDER.read_by("evaluation", "objects")[0]
    assert (whole.digest, whole.profile["images"]) == (FOLDER.digest, 70)
    assert (share.digest, share.profile["images"]) == (FOLDER.key[:32], 7)


def test_what_stands_for_data_is_no_stage_of_the_method() -> None:
    assert {name for name, kind in kinds().items() if not kind.of_method} == {"scenes", "folder", "pretrain"}
    assert {name for name, kind in kinds().items() if not kind.needs_torch} == {"scenes", "folder"}


def test_an_unknown_kind_has_the_facts_of_any_stage() -> None:
    assert kind_named("distilled") is Stage
    assert kind_named("evaluate") is Evaluate
    assert trainings_for_people() == "a labeler, a warmup, a finetune or a joint"


def test_a_name_has_the_kind_and_the_beginning_of_the_key() -> None:
    assert split_name(WARMUP.name) == ("warmup", WARMUP.key[:16])


@dataclass(frozen=True)
class Distilled(Train):
    """A kind that casl does not have: labeled and unlabeled images in each batch."""

    unlabeled: Stage = UNLABELED


def test_a_new_training_has_every_fact_without_a_line_elsewhere() -> None:
    distilled = Distilled(AGNOSTIC, LABELED, "objects", RECIPE, ((240, 1.0), (360, 0.1)))
    assert distilled.title == "distilled 360 it · condinst resnet_micro · seed 0"
    assert distilled.inputs() == (LABELED, UNLABELED)
    assert (distilled.of_method, distilled.needs_torch, distilled.ranks(2), distilled.work(360).units) == (
        True,
        True,
        2,
        360,
    )
    assert distilled.work(360).alike[1] == LABELER.work(1).alike[1], "as fast as another training of its detector"
    assert [use.name for use in distilled.reads()] == ["scenes labeled"]


def test_a_metric_of_maps_needs_a_detector_that_has_them() -> None:
    with pytest.raises(
        SpecError, match=r"'miou' judges maps of stuff, and 'fcos' has none; d2_panoptic_fpn, panoptic_f"
    ):
        replace(EVALUATE, metric="miou", labels="panoptic")


def test_scenes_with_hidden_shares_are_another_stage_and_plain_ones_the_same_as_ever() -> None:
    plain = Scenes("val", 5, 64)
    assert replace(plain, hidden=False).key == plain.key != replace(plain, hidden=True).key
    assert "hidden" not in plain.payload()["fields"] and "hidden shares" in replace(plain, hidden=True).title


def test_scenes_of_lookalikes_are_another_stage_with_the_same_splits_and_no_keypoints() -> None:
    data = SceneData(labeled=3, unlabeled={"tiny": 4}, val=5, size=64)
    for split in ("labeled", "unlabeled", "val"):
        plain, alike = data.split(split, "objects"), data.lookalikes().split(split, "objects")
        assert isinstance(plain, Scenes) and alike == replace(plain, shapes="lookalikes") and alike.key != plain.key
        assert "shapes" not in plain.payload()["fields"] and "lookalikes" in alike.title
    assert (data.keypoints, data.lookalikes().keypoints) == (Scenes.keypoints, 0)
    with pytest.raises(SpecError, match="did you mean 'lookalikes'"):
        Scenes("val", 1, 64, shapes="lookalike")
