"""Rivals, ladder and thresholds: methods under one roof, at one budget."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import ModuleType
from typing import cast

import pytest

from ablations import fractions, ladder, rivals, table8, thresholds
from ablations.controls import LONG, STRONG, STRONG_LONG, as_long
from ablations.profiles import GPU, MINI, PAPER, PHOTOS, SMOKE
from casl.errors import SpecError
from casl.spec import (
    Cell,
    Contrast,
    Evaluate,
    Finetune,
    Folder,
    FolderData,
    Joint,
    Labeler,
    Profile,
    Scenes,
    Stage,
    Start,
    Train,
    Warmup,
    ancestors,
)
from casl.spec.data_sets import Data, PlannedData, SceneData, share_of

PROFILES = (SMOKE, MINI, PHOTOS, GPU, PAPER)
KINDS = {"labeled": ("objects", 500), "unlabeled": ("images", 2000), "val": ("objects", 800)}
ON_DISK = replace(
    PHOTOS,
    data=FolderData(
        name="set",
        folders={(s, kind): Folder(s, kind, f"{n:064d}", 20, n) for s, (kind, n) in KINDS.items()},
        classes=20,
        has_masks=False,
        has_entities=False,
    ),
)
JOINT = (rivals.STAC, rivals.SELF, rivals.NORMALISED, rivals.CERTAIN, rivals.SOFT, rivals.UNBIASED)


def built(cells: Callable[[Profile], Iterable[Cell]], profile: Profile) -> list[Cell]:
    return list(cells(profile))


def trained(cell: Cell) -> Train:
    assert isinstance(cell.stage, Evaluate) and isinstance(cell.stage.model, Train)
    return cell.stage.model


def of_target(model: Train) -> int:
    """Iterations of a model and of what it begins with."""
    return model.iters + (of_target(model.init) if model.init is not None else 0)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda p: p.name)
def test_targets_train_as_long_as_a_warmup_and_a_finetune_together(profile: Profile) -> None:
    models = rivals.models(profile)
    long = of_target(models[rivals.OURS])
    assert long == 8 * profile.iters_1x
    strongly = [row for row in map(rivals.STRONGLY.format, JOINT) if row in models]
    ours = (rivals.OURS_WEAK, rivals.OURS_LATE, rivals.OBJECTS, rivals.NAMED)
    for row in (LONG, STRONG_LONG, *ours, *JOINT, *strongly):
        assert of_target(models[row]) == long, row
    assert of_target(models[rivals.BOTH]) == long
    assert of_target(models[rivals.NONE]) == of_target(models[STRONG]) == 3 * profile.iters_1x


@pytest.mark.parametrize("profile", [p for p in PROFILES if p.finetune_recipe.batch == 16], ids=lambda p: p.name)
def test_fixed_teachers_and_averages_see_as_many_images_of_each_kind_as_the_two_stages(profile: Profile) -> None:
    models = rivals.models(profile)
    for row in (rivals.STAC, rivals.SELF, rivals.NORMALISED, rivals.CERTAIN):
        assert cast(Joint, models[row]).passes == (48 * profile.iters_1x, 80 * profile.iters_1x)
    if not profile.small:  # in a small profile averages begin with a burn-in
        assert cast(Joint, models[rivals.SOFT]).passes == (48 * profile.iters_1x, 80 * profile.iters_1x)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda p: p.name)
def test_all_targets_are_one_model_on_the_same_images(profile: Profile) -> None:
    models = rivals.models(profile)
    learned = {replace(m.model, weights="", frozen_stages=0) for m in models.values()}
    assert len(learned) == 1 and all(isinstance(m, Finetune | Joint) for m in models.values())
    assert len({m.data for m in models.values()}) == 1
    teachers = [s for row in JOINT for s in ancestors(models[row]) if isinstance(s, Labeler)]
    assert teachers and {t.model.backbone for t in teachers} == {profile.backbone(profile.labeler_backbone)}


@pytest.mark.parametrize("profile", PROFILES, ids=lambda p: p.name)
def test_joint_methods_are_tried_with_the_labeled_images_of_the_finetune_where_they_have_weaker_ones(
    profile: Profile,
) -> None:
    models = rivals.models(profile)
    rows = [row for row in map(rivals.STRONGLY.format, JOINT) if row in models]
    assert rows == [
        rivals.STRONGLY.format(row) for row in (rivals.STAC, rivals.SELF, rivals.SOFT)[: None if profile.small else 1]
    ]
    for row in rows:
        model, usual = models[row], models[row.removesuffix(rivals.STRONGLY.format(""))]
        assert model.recipe.augmentation == models[rivals.OURS].recipe.augmentation == "strong_labeled"
        assert isinstance(model, Joint) and isinstance(usual, Joint) and usual.recipe.augmentation == "weak"
        assert replace(model, recipe=usual.recipe, view_sizes=usual.view_sizes) == usual


def test_a_teacher_is_measured_where_it_is_an_average() -> None:
    columns = defaultdict(set)
    for cell in built(rivals.cells, MINI):
        columns[cell.column].add(cell.row)
    assert columns[rivals.TEACHER] == {
        rivals.SOFT,
        rivals.STRONGLY.format(rivals.SOFT),
        rivals.UNBIASED,
        rivals.BOTH,
    }
    assert columns[rivals.STUDENT] == set(rivals.models(MINI))


def test_what_a_method_costs_stands_beside_what_its_target_costs() -> None:
    assert MINI.iters_1x > 0
    spent = {row: rivals.spent(model) for row, model in rivals.models(MINI).items()}
    x = MINI.iters_1x
    assert f"target {8 * x:,} iterations, with all stages that it needs {11 * x:,}" in spent[rivals.STAC]
    assert f"target {8 * x:,} iterations, with all stages that it needs {8 * x:,}" in spent[rivals.SOFT]
    assert f"target {3 * x:,} iterations, with all stages that it needs {8 * x:,}" in spent[rivals.MOCO]
    assert spent[rivals.OURS].endswith("and those of the ImageNet stand-in")
    assert "stand-in" not in spent[rivals.MOCO]


def test_contrastive_starts_learn_as_long_as_a_warmup_and_see_no_label() -> None:
    for row, dense in ((rivals.MOCO, 0.0), (rivals.DENSE, 0.5)):
        (start,) = [s for s in ancestors(rivals.models(MINI)[row]) if isinstance(s, Contrast)]
        assert (start.dense, start.iters) == (dense, 5 * MINI.iters_1x)
    assert rivals.MOCO not in rivals.models(replace(MINI, contrast=None))


def test_a_rung_has_one_share_of_labels_for_teacher_and_target() -> None:
    labeled: dict[str, set[int]] = defaultdict(set)
    rows = set()
    for cell in built(ladder.cells, MINI):
        rows.add(cell.row)
        for stage in ancestors(trained(cell)):
            if isinstance(stage, Labeler | Finetune | Joint):
                labeled[cell.column].add(stage.data.images)  # type: ignore[attr-defined]
    assert labeled == {f"{p} %": {share_of(MINI.data.labeled, p)} for p in ladder.SMALL}  # type: ignore[union-attr]
    assert rows == set(ladder.ROWS)
    assert {c.column for c in built(ladder.cells, PAPER)} == {f"{p} %" for p in ladder.PERCENT}


FOUR = replace(cast(SceneData, MINI.data), labeled=4)
PLAN = replace(cast(PlannedData, PAPER.data), counts={**cast(PlannedData, PAPER.data).counts, "labeled": 4})
ALL_OF_FOUR = Folder("labeled", "objects", "0" * 64, 20, 4)
SHARES = (100, 0), (90, 0), (90, 1), (99, 2), (50, 0), (50, 1)  # percent, fold


def images_of(data: Stage) -> str:
    """Which images these are, whatever kind of labels is read."""
    if isinstance(data, Folder):
        return f"{data.digest.replace(data.labels, '')} {data.count} {data.drawn} {data.fold}"
    return data.key


@pytest.mark.parametrize("table", [ladder, fractions], ids=["ladder", "fractions"])
@pytest.mark.parametrize("profile", [MINI, ON_DISK, PAPER], ids=["scenes", "on disk", "planned"])
def test_every_seed_is_a_fold_that_its_methods_share(table: ModuleType, profile: Profile) -> None:
    """Shares are drawn anew for each of five seeds; what all labels are does not change with them."""
    drawn: dict[str, set[str]] = defaultdict(set)
    for seed in range(5):
        here: dict[str, set[str]] = defaultdict(set)
        for cell in built(table.cells, profile.with_seed(seed)):
            share = cell.column if table is ladder else cell.row
            for stage in ancestors(trained(cell)):
                if isinstance(stage, Labeler | Finetune | Joint):
                    here[share].add(images_of(stage.data))
        assert all(len(keys) == 1 for keys in here.values()), "teachers, labelers and targets of a fold see the same"
        for share, keys in here.items():
            drawn[share] |= keys
    assert {share: len(keys) for share, keys in drawn.items()} == {s: 1 if s == "100 %" else 5 for s in drawn}
    first = {c.stage.key for c in built(table.cells, profile) if c.stage}
    assert first == {c.stage.key for c in built(table.cells, profile.with_seed(0)) if c.stage}


@pytest.mark.parametrize("table", [ladder, fractions], ids=["ladder", "fractions"])
def test_scenes_that_a_start_was_trained_on_are_of_no_fold(table: ModuleType) -> None:
    """Scenes of one seed are alike in where their objects lie, so that a start would have seen them before."""
    seeds: dict[bool, set[int]] = {True: set(), False: set()}
    for seed in range(5):
        for cell in built(table.cells, MINI.with_seed(seed)):
            for stage in ancestors(trained(cell)):
                data = getattr(stage, "data", None)
                if isinstance(data, Scenes):
                    seeds[isinstance(stage, Start)].add(data.seed)
    assert len(seeds[False]) == 5 and seeds[True] and not seeds[True] & seeds[False]


def test_a_fold_is_of_fewer_than_all_images() -> None:
    with pytest.raises(SpecError, match="only fewer are drawn"):
        Folder("labeled", "objects", "0" * 64, 20, 500, fold=1)
    with pytest.raises(SpecError, match="fold"):
        Folder("labeled", "objects", "0" * 64, 20, 500, drawn=5, fold=-1)
    with pytest.raises(SpecError, match="only fewer are drawn"):
        Folder("labeled", "objects", "0" * 64, 20, 500, drawn=500, fold=1)
    assert "5 of 500 images · fold 2" in Folder("labeled", "objects", "0" * 64, 20, 500, drawn=5, fold=2).title


@pytest.mark.parametrize(
    "data",
    [replace(cast(FolderData, ON_DISK.data), folders={("labeled", "objects"): ALL_OF_FOUR}), FOUR, PLAN],
    ids=["on disk", "scenes", "planned"],
)
def test_a_share_that_is_rounded_to_all_images_has_no_folds(data: Data) -> None:
    whole, *folds = (data.labeled_share(percent, fold).split("labeled", "objects") for percent, fold in SHARES)
    assert {one.key for one in folds[:3]} == {whole.key} and len({one.key for one in folds}) == 3


def test_every_method_has_as_many_trials_of_its_threshold() -> None:
    tried: dict[str, list[float]] = defaultdict(list)
    for cell in built(thresholds.cells, MINI):
        model = trained(cell)
        reads = model if isinstance(model, Joint) else model.init
        assert isinstance(reads, Joint | Warmup)
        tried[cell.row].append(reads.threshold)
    assert len(tried) == 5 and all(values == list(thresholds.TRIED) for values in tried.values())


def test_rows_of_table_8_are_measured_or_say_why_not() -> None:
    cells = built(table8.cells, PAPER)
    measured = {c.row for c in cells if c.stage is not None and c.paper is not None}
    assert measured == {*table8.CONTRASTED, *table8.JOINT, *table8.OURS, table8.HTC[0]}
    for cell in cells:
        if cell.stage is None:
            assert cell.paper is not None and len(cell.note) > len("published by its authors")


def test_joint_rows_of_table_8_train_as_long_as_a_warmup_on_their_images_and_a_finetune() -> None:
    for profile, long in ((MINI, True), (PAPER, False)):  # paper's lengths are epochs, of more images than labeled ones
        rows = {c.row: c for c in built(table8.cells, profile) if c.column == table8.COLUMNS[1] and c.stage}
        for joint_row, ours in (
            ("Soft Teacher, 1.74M, Swin-T FCOS", "CA-SSL, 1.74M, Swin-T FCOS"),
            ("Self-training, 2.90M, R-50-FPN (SimCLR)", "CA-SSL, 3.66M, Swin-T FCOS"),
        ):
            first = trained(rows[ours]).init
            assert first is not None
            assert of_target(trained(rows[joint_row])) == as_long(profile, first) * profile.iters_1x
            assert (of_target(trained(rows[joint_row])) == of_target(trained(rows[ours]))) is long
