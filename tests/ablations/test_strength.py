"""Strength and fractions: ablations of our own about when a warmup gains."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ablations import fractions, strength
from ablations.controls import LONG
from ablations.profiles import MINI, PAPER
from casl.data.scenes import write_scene_set
from casl.errors import SpecError
from casl.spec import (
    Cell,
    Evaluate,
    Finetune,
    Profile,
    PseudoLabel,
    SceneData,
    Scenes,
    Warmup,
    evaluate,
    labeler,
    pseudo_label,
)
from casl.spec.data_sets import share_of
from casl.stages.dataset import open_data

assert isinstance(MINI.data, SceneData)
LABELED = MINI.data.labeled
LARGER = replace(MINI, labeler_sizes={"swin_l": 1.5})


def test_a_labeler_on_larger_images_labels_and_is_judged_on_them_and_its_target_is_not() -> None:
    trained = labeler(LARGER)
    labels = pseudo_label(LARGER, trained)
    assert (trained.recipe.sizes, trained.recipe.max_size, labels.sides) == ((96,), 144, (96, 144))
    assert trained.model.ranges == tuple(round(1.5 * r) for r in MINI.shape.ranges)
    assert evaluate(LARGER, trained, "ap_e").sides == (96, 144)
    assert labeler(LARGER, backbone="swin_b").recipe.sizes == (64,)
    models = [c.stage.model for c in built(strength.cells, LARGER) if isinstance(c.stage, Evaluate)]
    assert {m.recipe.max_size for m in models if isinstance(m, Warmup | Finetune)} == {96}


def test_a_target_is_tested_at_one_size_whatever_its_augmentation_is_trained_at() -> None:
    sides = {c.stage.sides for c in built(strength.cells, PAPER) if isinstance(c.stage, Evaluate)}
    assert sides == {PAPER.test_size}


def built(cells: Callable[[Profile], object], profile: Profile) -> list[Cell]:
    return list(cells(profile))  # type: ignore[call-overload, no-any-return]


def test_rows_of_strength_differ_in_labels_alone_and_the_last_is_the_truth_without_classes() -> None:
    warmups = {
        cell.row: cell.stage.model
        for cell in built(strength.cells, MINI)
        if isinstance(cell.stage, Evaluate) and isinstance(cell.stage.model, Warmup)
    }
    assert list(warmups) == ["R-101", "Swin-T", "Swin-S", "Swin-B", "Swin-L", strength.TRUTH]
    alike = {replace(w, data=None, labels="objects", threshold=0.0).key for w in warmups.values()}  # type: ignore[arg-type]
    assert len(alike) == 1
    truth = warmups[strength.TRUTH]
    assert isinstance(truth.data, Scenes) and truth.data.split == "unlabeled" and truth.labels == "objects"
    assert truth.model.classes == 1
    first = warmups["Swin-L"].data
    assert isinstance(first, PseudoLabel) and first.data == truth.data  # the same images


def test_labels_are_judged_against_the_truth_of_the_images_they_are_for() -> None:
    judged = [c.stage for c in built(strength.cells, MINI) if c.column == strength.LABELS]
    assert len(judged) == 5
    assert all(isinstance(s, Evaluate) and isinstance(s.data, Scenes) and s.data.split == "unlabeled" for s in judged)


def test_without_known_truth_there_is_neither_an_oracle_nor_a_judgement_of_labels() -> None:
    cells = built(strength.cells, PAPER)
    assert not {c.row for c in cells} & {strength.TRUTH} and not {c.column for c in cells} & {strength.LABELS}


def test_the_truth_of_a_set_on_disk_is_its_split_unlabeled_gt(tmp_path: Path) -> None:
    write_scene_set(tmp_path / "set", 8, 4, 2, 64, 0)
    opened = open_data(tmp_path / "set", tmp_path).data
    assert opened.knows("objects") and opened.knows("entities") and not opened.knows("panoptic")
    profile = MINI.with_data(opened)
    rows = {c.row: c for c in built(strength.cells, profile)}
    stage = rows[strength.TRUTH].stage
    assert isinstance(stage, Evaluate) and isinstance(stage.model, Finetune) and stage.model.init is not None
    assert stage.model.init.data == opened.folders["unlabeled_gt", "objects"]
    (tmp_path / "set/annotations/instances_unlabeled_gt.json").unlink()
    fewer = open_data(tmp_path / "set", tmp_path).data
    assert not fewer.knows("objects") and fewer.knows("entities")
    assert strength.TRUTH not in {c.row for c in built(strength.cells, MINI.with_data(fewer))}


def test_a_share_of_labels_is_that_of_labeler_baseline_and_finetune(tmp_path: Path) -> None:
    write_scene_set(tmp_path / "set", 40, 4, 2, 64, 0)
    on_disk = MINI.with_data(open_data(tmp_path / "set", tmp_path).data)
    for profile, all_of in ((MINI, LABELED), (on_disk, 40)):
        labeled: dict[str, set[int]] = defaultdict(set)
        for cell in built(fractions.cells, profile):
            assert isinstance(cell.stage, Evaluate)
            trained = cell.stage.model
            labeled[cell.row].add(trained.data.images)  # type: ignore[attr-defined]
            if trained.init is not None:
                assert isinstance(trained.init.data, PseudoLabel)
                labeled[cell.row].add(trained.init.data.labeler.data.images)  # type: ignore[attr-defined]
        assert labeled == {f"{p} %": {share_of(all_of, p)} for p in fractions.PERCENT}
        assert {c.column for c in built(fractions.cells, profile)} == {"no warmup", LONG, "warmup"}


def test_all_labels_are_the_stages_of_the_other_tables() -> None:
    keys = {c.stage.key for c in built(fractions.cells, MINI) if c.row == "100 %" and c.stage}
    from casl.spec import finetune, warmup

    assert evaluate(MINI, finetune(MINI, warmup(MINI)), "ap_det").key in keys


@pytest.mark.parametrize("percent", [0, -1, 100.1])
def test_a_share_is_a_percentage(percent: float) -> None:
    with pytest.raises(SpecError, match="more than 0 and at most 100 percent"):
        share_of(10, percent)
    assert share_of(3, 1) == 1
