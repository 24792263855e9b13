"""Confusable: equal trainings on standard scenes and on lookalikes, and classes of a set on disk that are confused."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from ablations import confusable, reasons, table2
from ablations.claims import CLAIMS
from ablations.controls import LONG
from ablations.profiles import GPU, MINI, PAPER, PHOTOS, SMOKE
from casl.errors import SpecError
from casl.report.claims import judge
from casl.runner.plan import make_plan
from casl.runner.store import Store
from casl.spec import Cell, Evaluate, FolderData, Profile, PseudoLabel, SceneData, Scenes, Train, ancestors
from tests.golden.studies import on_disk
from tests.report.sample import tabled

SIDES = (confusable.STANDARD, confusable.CONFUSABLE)
ROWS = (confusable.NONE, LONG, confusable.AGNOSTIC, confusable.SPECIFIC, confusable.RENEWED)
VOC = ("bird", "cat", "chair", "cow", "dog", "horse", "sheep")


def built(profile: Profile) -> list[Cell]:
    return list(confusable.cells(profile))


def sides(profile: Profile) -> tuple[Profile, Profile]:
    """With standard scenes and with lookalikes."""
    assert isinstance(profile.data, SceneData)
    return profile, replace(profile, data=profile.data.lookalikes())


def of_target(model: Train) -> int:
    """Iterations of a model and of what it begins with."""
    return model.iters + (of_target(model.init) if model.init is not None else 0)


def named(*names: str, truth: bool = False) -> FolderData:
    """A set on disk with these classes."""
    data = on_disk("masks")
    folders = {place: replace(folder, classes=len(names)) for place, folder in data.folders.items()}
    if truth:
        folders["unlabeled_gt", "objects"] = replace(folders["val", "objects"], split="unlabeled_gt")
    return replace(data, folders=folders, classes=len(names), names=names)


@pytest.mark.parametrize("profile", [SMOKE, MINI, GPU], ids=lambda p: p.name)
def test_both_sides_have_every_row_on_scenes(profile: Profile) -> None:
    columns: dict[str, list[str]] = defaultdict(list)
    for cell in built(profile):
        columns[cell.row].append(cell.column)
        assert isinstance(cell.stage, Evaluate)
        shapes = {s.shapes for s in ancestors(cell.stage) if isinstance(s, Scenes)} - {"others"}
        assert shapes == {"lookalikes" if cell.column.startswith(confusable.CONFUSABLE) else "things"}
    models = {f"{side} {metric}" for side in SIDES for metric in ("AP^det", "AP^det-a")}
    labels = {f"{side} labels {what}" for side in SIDES for what in ("AP^det-a", "found")}
    assert list(columns) == list(ROWS)
    assert {row: set(of) for row, of in columns.items()} == {
        **dict.fromkeys(ROWS, models),
        confusable.AGNOSTIC: models | labels,
        confusable.SPECIFIC: models | labels | {f"{side} labels AP^det" for side in SIDES},
    }


@pytest.mark.parametrize("profile", [SMOKE, MINI, PHOTOS, GPU, PAPER], ids=lambda p: p.name)
def test_targets_train_as_long_as_a_warmup_and_a_finetune_together(profile: Profile) -> None:
    models = confusable.targets(profile)
    assert list(models) == list(ROWS)
    assert of_target(models[confusable.NONE]) == 3 * profile.iters_1x
    assert {of_target(models[row]) for row in ROWS[1:]} == {8 * profile.iters_1x}


@pytest.mark.parametrize("profile", [SMOKE, MINI, GPU], ids=lambda p: p.name)
def test_sides_differ_in_their_scenes_alone(profile: Profile) -> None:
    plain, alike = ([s for m in confusable.targets(p).values() for s in ancestors(m)] for p in sides(profile))
    assert len(plain) == len(alike)
    for one, other in zip(plain, alike, strict=True):
        assert type(one) is type(other)
        if isinstance(one, Scenes) and isinstance(other, Scenes):
            assert one == replace(other, shapes=one.shapes)
        elif isinstance(one, Train) and isinstance(other, Train):
            for name in ("model", "labels", "recipe", "schedule", "seed", "parts", "classifier"):
                assert getattr(one, name) == getattr(other, name), (one.title, name)
            assert getattr(one, "threshold", None) == getattr(other, "threshold", None)


def test_labelers_are_of_one_strength_and_label_the_same_images() -> None:
    for profile in sides(MINI):
        without, having = confusable.pseudo_labels(profile).values()
        assert (without.labeler.model.classes, having.labeler.model.classes) == (1, Scenes.classes)
        assert replace(having.labeler, model=without.labeler.model) == without.labeler
        assert without.data == having.data and without.sides == having.sides
        models = confusable.targets(profile)
        for row, labels in ((confusable.AGNOSTIC, without), (confusable.SPECIFIC, having)):
            first = models[row].init
            assert first is not None and first.data == labels
        renewed = models[confusable.RENEWED]
        assert renewed.init == models[confusable.SPECIFIC].init and "classifier" not in renewed.parts


def test_labels_are_judged_against_the_truth_of_the_images_they_are_for() -> None:
    cells = [c for c in built(MINI) if " labels " in c.column]
    assert len(cells) == 10
    for cell in cells:
        assert isinstance(cell.stage, Evaluate) and isinstance(cell.stage.data, Scenes)
        assert cell.stage.data.split == "unlabeled"
        assert cell.stage.above == (MINI.threshold if cell.column.endswith("found") else 0.0)


def test_the_standard_half_is_made_of_stages_of_table_2_and_of_reasons() -> None:
    theirs = {s.key for table in (table2, reasons) for c in table.cells(MINI) if c.stage for s in ancestors(c.stage)}
    assert {s.key for m in confusable.targets(MINI).values() for s in ancestors(m)} <= theirs


def test_beside_these_tables_it_costs_4000_to_6000_iterations_a_seed(tmp_path: Path) -> None:
    tables = {"table2": table2.ABLATION.build(MINI), "reasons": reasons.ABLATION.build(MINI)}
    store = Store(tmp_path)
    before = make_plan(tables, store).counts.shared_iters
    after = make_plan({**tables, "confusable": confusable.ABLATION.build(MINI)}, store).counts.shared_iters
    assert 4_000 <= after - before <= 6_000


def test_a_set_on_disk_is_judged_on_its_confused_classes_and_on_the_others() -> None:
    cells = built(MINI.with_data(named(*VOC, truth=True)))
    chosen = {c.column: c.stage.classes for c in cells if isinstance(c.stage, Evaluate)}
    assert chosen == {
        "standard AP^det": (0, 2),
        "confusable AP^det": (1, 3, 4, 5, 6),
        "AP^det-a": (),
        "standard labels AP^det": (0, 2),
        "confusable labels AP^det": (1, 3, 4, 5, 6),
        "labels AP^det-a": (),
        "labels found": (),
    }
    assert {c.note for c in cells if c.column == "confusable AP^det" and c.row == confusable.AGNOSTIC} == {
        "cat, cow, dog, horse, sheep"
    }
    labels = [c.stage for c in cells if "labels" in c.column]
    assert all(isinstance(s, Evaluate) and s.data.split == "unlabeled_gt" for s in labels)  # type: ignore[attr-defined]
    trained = {c.stage.model for c in cells if isinstance(c.stage, Evaluate) and "labels" not in c.column}
    assert len(trained) == len(ROWS), "sides are two judgements of one model"


def test_a_group_counts_where_all_of_it_is_there() -> None:
    assert confusable.confused(named("dog", "cow", "cat", "horse")) == (0, 2)
    assert confusable.confused(named("cat", "cow", "horse")) == ()


@pytest.mark.parametrize(
    ("profile", "missing", "note"),
    [
        (PAPER, "confusable AP^det", "not measured: which classes of coco are easily confused is not known"),
        (MINI.with_data(named("car", "bus", "cat")), "confusable AP^det", "which classes of masks are easily confused"),
        (MINI.with_data(named("cat", "dog")), "standard AP^det", "masks has no class beside cat, dog"),
    ],
    ids=["planned", "no group", "nothing else"],
)
def test_a_side_without_classes_says_why_it_is_not_measured(profile: Profile, missing: str, note: str) -> None:
    cells = built(profile)
    unmeasured = [c for c in cells if c.stage is None]
    assert {c.column for c in unmeasured} == {missing} and len(unmeasured) == len(ROWS)
    assert all(note in c.note for c in unmeasured)
    assert all(c.stage.classes in ((), (0, 1)) for c in cells if isinstance(c.stage, Evaluate))
    assert not [c for c in cells if "labels" in c.column], "their truth is not known"


def test_the_claim_is_a_difference_of_differences() -> None:
    (claim,) = [c for c in CLAIMS if c.id == "agnostic-pays-when-confusable"]

    def verdict(gain: float) -> str:
        """Labels without classes gain so much on confusable classes, and 1 on the standard ones."""
        values = {
            (confusable.AGNOSTIC, "standard AP^det", "ap_det", "AP"): [31.0, 32.1, 33.0],
            (confusable.SPECIFIC, "standard AP^det", "ap_det", "AP"): [30.0, 31.0, 32.0],
            (confusable.AGNOSTIC, "confusable AP^det", "ap_det", "AP"): [20.0 + gain, 21.0 + gain, 22.1 + gain],
            (confusable.SPECIFIC, "confusable AP^det", "ap_det", "AP"): [20.0, 21.1, 22.0],
        }
        table = tabled("confusable", {place: (found, None) for place, found in values.items()})
        return judge([claim], [table])[0].verdict

    assert (verdict(5.0), verdict(1.0), verdict(-3.0)) == ("supported", "equivalent", "contradicted")


def test_classes_of_a_set_on_disk_are_found_by_their_names() -> None:
    data = named(*VOC)
    assert data.places_of("dog", "cat", "dog") == (1, 4)
    with pytest.raises(SpecError, match=r"unknown class of data set 'masks' 'sheeps'.*\n.*did you mean 'sheep'"):
        data.places_of("sheeps")
    with pytest.raises(SpecError, match="has 2 classes 'cat'"):
        named("cat", "cat").places_of("cat")


def test_pseudo_labels_of_both_kinds_stand_for_the_hidden_images() -> None:
    for labels in confusable.pseudo_labels(PAPER).values():
        assert isinstance(labels, PseudoLabel) and labels.data.count == 123_403  # type: ignore[attr-defined]
