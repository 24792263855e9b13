"""Tables of certainty-aware pseudo labels: which cells are one run, lengths, shares and what differs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ablations import certain, certain_parts, certain_published
from ablations.profiles import GPU, MINI, PAPER, PHOTOS, SMOKE
from casl.catalog import DISSERTATION, load
from casl.spec import PARTS, Cell, Evaluate, Joint, Profile, Scenes, ancestors
from casl.spec.kinds import Finetune

TABLES = {name: load("ablation", name) for name in DISSERTATION if name.startswith("certain_")}
PARTS_OF = [f"certain_3_{n}" for n in (4, 5, 6, 7)]


def trained(cell: Cell) -> Joint | Finetune:
    assert isinstance(cell.stage, Evaluate) and isinstance(cell.stage.model, Joint | Finetune)
    return cell.stage.model


@pytest.mark.parametrize("profile", [SMOKE, MINI, PHOTOS, GPU, PAPER], ids=lambda p: p.name)
@pytest.mark.parametrize("name", TABLES)
def test_every_table_plans_in_every_profile(name: str, profile: Profile) -> None:
    for cell in TABLES[name].build(profile):
        assert cell.stage is not None or (cell.paper is not None and cell.note)
        assert cell.note


@pytest.mark.parametrize("profile", [MINI, PAPER], ids=lambda p: p.name)
def test_the_nineteen_rows_of_tables_3_4_to_3_7_are_sixteen_students(profile: Profile) -> None:
    cells = [cell for name in PARTS_OF for cell in TABLES[name].build(profile)]
    assert len({(id(c.paper), c.row, c.column) for c in cells}) >= 18 and len(cells) == 3 * 19
    assert len({trained(cell).key for cell in cells}) == 16


def test_the_full_method_is_one_run_in_all_tables_of_the_half_schedule() -> None:
    places = {
        "certain_3_3b": ("Single model", "AP"),
        "certain_3_4": ("CA + RE + DT", "AP"),
        "certain_3_5": ("Color + Blur + Cutout", "AP"),
        "certain_3_6": ("K 30", "AP"),
        "certain_3_7": ("gamma1 0.05, gamma2 0.6", "AP"),
        "certain_3_3a": ("Overall", "with"),
    }
    found = [c for name, place in places.items() for c in TABLES[name].build(MINI) if (c.row, c.column) == place]
    assert len({trained(cell).key for cell in found}) == 1 and {cell.paper for cell in found} == {22.5}
    sampling = TABLES["certain_3_3c"].build(MINI)[0], TABLES["certain_3_1c"].build(MINI)[-3]
    assert trained(sampling[0]).key == trained(sampling[1]).key
    low, plain = (
        next(c for c in TABLES["certain_3_2"].build(MINI) if c.row.startswith(row) and c.column == "2 %")
        for row in ("Ours (low", "Ours (thr")
    )
    assert trained(low).key == trained(plain).key and low.stage != plain.stage
    half = next(c for c in TABLES["certain_3_4"].build(MINI) if c.row == "CA + RE + DT")
    assert trained(half).key != trained(plain).key, "the ablations have half of the schedule"


def test_unbiased_teacher_has_what_it_published_for_few_labels_and_for_all() -> None:
    for name, expected in (("certain_3_2", [(4.0, 2_000)] * 4), ("certain_3_1a", [(2.0, 90_000)])):
        cells = [c for c in TABLES[name].build(PAPER) if c.row.startswith("Unbiased") and c.stage is not None]
        models = [model for cell in cells if isinstance(model := trained(cell), Joint)]
        assert [(model.unsup_weight, model.burn_in) for model in models] == expected


def test_published_lengths_stand_in_the_profile_of_the_paper() -> None:
    cells = {(c.row, c.column): c for c in TABLES["certain_3_2"].build(PAPER)}
    for column, teacher in (("1 %", 3_000), ("2 %", 6_000), ("5 %", 15_000), ("10 %", 30_000)):  # batches of 16
        student = trained(cells["Ours (threshold 0.05)", column])
        assert student.iters == 90_000 and student.init is not None and student.init.iters == teacher
        assert [until for until, _ in student.schedule] == [60_000, 80_000, 90_000]
    whole = {c.row: c for c in TABLES["certain_3_1a"].build(PAPER)}
    assert trained(whole["Ours (3x)"]).schedule[0][0] == 210_000 and trained(whole["Ours (3x)"]).iters == 270_000


def test_a_student_is_its_teacher_s_detector_on_its_labels_with_published_values() -> None:
    student = certain.student_of(certain.of_chapter(PAPER), certain.Student())
    assert (student.threshold, student.threshold_range) == (0.7, (0.4, 0.9))
    assert (student.threshold_power, student.weight_power, student.weight_range) == (0.05, 0.6, ())
    assert (student.sampling, student.parts, student.absent) == ("union", PARTS, "refuse")
    assert student.model.backbone == "resnet50" and student.recipe.optimizer == "sgd"
    assert student.unlabeled is not None and student.unlabeled.labeler == student.init  # type: ignore[attr-defined]
    small = certain.student_of(certain.of_chapter(MINI), certain.Student())
    assert small.weight_range == (0.1, 10.0) and small.absent == "leave out"
    assert small.model.backbone == MINI.backbone("resnet50")


def test_shares_are_ten_times_as_large_where_a_percent_is_hardly_an_image() -> None:
    images = {p.name: [certain.labeled_images(certain.with_share(p, n)) for n in (1, 2, 5, 10)] for p in (MINI, GPU)}
    assert images == {"mini": [4, 7, 18, 36], "gpu": [27, 53, 133, 267]}
    assert certain.labeled_images(certain.with_share(PAPER, 1)) == 1183


def test_long_tailed_scenes_are_learned_from_and_judged_by_usual_ones() -> None:
    for cell in TABLES["certain_tail"].build(MINI):
        scenes = [s for s in ancestors(cell.measurement) if isinstance(s, Scenes) and s.shapes == "things"]
        assert {s.split: s.tail for s in scenes} == {"labeled": 2.0, "unlabeled": 2.0, "val": 0.8}
    assert "in proportion to k^-2" in TABLES["certain_tail"].build(MINI)[0].note
    assert certain.long_tailed(PAPER) is PAPER


def test_an_intervals_row_has_a_teacher_with_as_many() -> None:
    for cell in TABLES["certain_3_6"].build(MINI):
        model = trained(cell)
        assert model.init is not None and model.model.options == model.init.model.options
        count = int(cell.row.removeprefix("K "))
        assert dict(model.model.options).get("intervals", 30) == count


def test_multi_scale_is_eight_to_ten_tenths_of_the_tested_side() -> None:
    assert certain.multi_scale(PAPER) == (640, 720, 800) and certain.multi_scale(MINI) == (51, 58, 64)
    single, multi = (certain_published.voc_student(certain.of_chapter(MINI), "tiny", m) for m in (False, True))
    assert single.recipe.sizes == (64,) and multi.recipe.sizes == (51, 58, 64)


def test_providers_do_not_matter_since_regions_must_be_ours() -> None:
    theirs = certain.of_chapter(MINI.with_provider("detectron2"))
    first, second = (certain.student_of(p, certain.Student()) for p in (theirs, certain.of_chapter(MINI)))
    assert first.key == second.key
    assert replace(certain_parts.HEADS["softmax"]).options == (("form", "softmax"),)
