"""Chapter 4's tables: cases B6 to B10 of published numbers, the fair pair, and what data lack."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ablations import pre_4_2, pre_4_3, pre_4_4, pre_4_5
from ablations.pretraining import (
    BOXES,
    CLASSES,
    CLS,
    NONE,
    class_only,
    detection,
    fewer,
    gain,
    objects_an_image,
    share_left,
    source,
    starts,
    target,
)
from ablations.profiles import GPU, MINI, PAPER, PHOTOS, SMOKE
from casl import catalog
from casl.data.scene_shapes import THINGS
from casl.errors import SpecError
from casl.report.layout import gains
from casl.report.paper import joined
from casl.spec import Evaluate, Finetune, Folder, Pretrain, Probe, Profile, Scenes, Train, Warmup, evaluate
from casl.spec.ablation import Cell
from tests.golden.studies import on_disk

TABLES = ("pre_4_2", "pre_4_3", "pre_4_4", "pre_4_5", "pre_budget", "pre_cls")
PAIRS = {"disc, ring": (0, 4), "square, pillow": (1, 5), "triangle, pentagon": (3, 7)}


def cells(table: str, profile: Profile) -> tuple[Cell, ...]:
    found: tuple[Cell, ...] = catalog.load("ablation", table).build(profile)
    return found


def test_b6_objects_an_image_of_the_published_sets() -> None:
    found = {name: objects_an_image(name) for name in ("OpenImages", "ImageNet-LOC", "COCO")}
    assert found == {
        "OpenImages": pytest.approx(8.391, abs=5e-4),
        "ImageNet-LOC": pytest.approx(1.152, abs=5e-4),
        "COCO": pytest.approx(6.357, abs=5e-4),
    }
    notes = {c.row: c.note for c in cells("pre_4_2", MINI) if c.row in ("ImageNet-LOC", "COCO")}
    assert "1.2 objects an image" in notes["ImageNet-LOC"] and "6.4 objects an image" in notes["COCO"]


def test_b7_published_gains_over_imagenet_cls() -> None:
    at_seventy = {row: gain(pre_4_2.PUBLISHED[row][1], pre_4_2.PUBLISHED[CLS][1]) for row in pre_4_2.PUBLISHED}
    assert (at_seventy["OpenImages"], at_seventy["COCO"], at_seventy["ImageNet-LOC"]) == (4.8, 4.4, 3.7)
    assert gain(pre_4_2.PUBLISHED["OpenImages"][0], pre_4_2.PUBLISHED[CLS][0]) == 2.2
    assert (pre_4_5.published_gain("OpenImages"), pre_4_5.published_gain("ImageNet-LOC")) == (2.9, 2.6)


@pytest.mark.parametrize(
    ("table", "figure", "expected"), [("pre_4_2", "AP70", 4.8), ("pre_4_2", "AP50", 2.2), ("pre_4_5", "mIoU", 2.9)]
)
def test_b7_is_what_reports_make_of_the_published_numbers(table: str, figure: str, expected: float) -> None:
    ablation = replace(catalog.load("ablation", table), baseline=CLS)
    shown = joined(ablation, MINI, [cells(table, MINI)], {}, {})
    place = next(i for i, c in enumerate(shown.cells) if (c.row, c.figure) == (BOXES, figure))
    assert gains(shown)[place].paper == pytest.approx(expected)


def test_b8_share_of_the_gain_that_is_left_without_the_category() -> None:
    assert pre_4_3.left("Vehicle") == pytest.approx(0.8619, abs=5e-5)
    assert pre_4_3.left("Animal") == pytest.approx(0.5243, abs=5e-5)
    assert share_left(10, 10, 14) == 0 and share_left(10, 14, 14) == 1
    notes = {c.column: c.note for c in cells("pre_4_3", MINI) if c.row == pre_4_3.WITHOUT and c.paper}
    assert "86% of the published gain is left" in notes["Vehicle"] and "52% of" in notes["Animal"]


def test_b9_fewer_objects_are_missed() -> None:
    found = pre_4_4.fewer_missed()
    assert found == {
        "occluded low": pytest.approx(0.3129, abs=5e-5),
        "occluded medium": pytest.approx(0.3121, abs=5e-5),
    }
    assert fewer(10, 10) == 0 and fewer(10, 0) == 1
    assert all("31% fewer" in c.note for c in cells("pre_4_4", MINI) if c.row == BOXES)


def test_b10_the_gain_at_iou_seven_is_twice_that_at_five() -> None:
    assert pre_4_2.ratio_of_gains() == pytest.approx(2.1818, abs=5e-5)
    assert any("2.2 times that at .5" in c.note for c in cells("pre_4_2", MINI) if c.row == BOXES)


@pytest.mark.parametrize("profile", [SMOKE, MINI, GPU], ids=lambda p: p.name)
def test_scenes_measure_every_row_of_ours(profile: Profile) -> None:
    assert {c.stage for t in ("pre_4_4", "pre_budget", "pre_cls") for c in cells(t, profile)} & {None} == set()
    measured = {t: {c.row for c in cells(t, profile) if c.stage} for t in TABLES}
    assert measured["pre_4_2"] == {NONE, CLS, CLASSES, BOXES, *pre_4_2.SIZES, pre_4_2.HALF}
    assert measured["pre_4_5"] == {NONE, CLS, CLASSES, BOXES}
    assert {c.column for c in cells("pre_4_3", profile) if c.stage} == set(PAIRS)
    assert {c.note for t in TABLES for c in cells(t, profile)} & {""} == set()


@pytest.mark.parametrize("profile", [MINI, PAPER, PHOTOS.with_data(on_disk("masks"))], ids=lambda p: p.name)
def test_class_only_and_detection_differ_in_boxes_alone(profile: Profile) -> None:
    if profile.name == "photos":
        truth = {("unlabeled_gt", "objects"): Folder("unlabeled_gt", "objects", "d" * 64, 7, 90)}
        data = on_disk("masks")
        profile = profile.with_data(replace(data, folders={**data.folders, **truth}))
    rows = starts(profile)
    crops, boxes = rows[CLASSES], rows[BOXES]
    assert isinstance(crops, Pretrain) and isinstance(boxes, Warmup)
    assert crops.data == boxes.data == source(profile) and crops.iters == boxes.iters
    assert crops.before == boxes.pretrained and crops.backbone == boxes.model.backbone
    assert crops.frozen_stages == boxes.model.frozen_stages
    assert crops.weights == ("random" if boxes.pretrained else boxes.model.weights)
    after = [target(profile, CLASSES, crops), target(profile, BOXES, boxes)]
    assert after[1].parts == ("backbone",) and after[0].init is None and after[0].pretrained == crops
    assert after[0].model.frozen_stages == after[1].model.frozen_stages and not any(t.reads_weights for t in after)
    assert {f: getattr(after[0], f) for f in ("data", "recipe", "schedule", "seed")} == {
        f: getattr(after[1], f) for f in ("data", "recipe", "schedule", "seed")
    }


def test_the_source_is_seen_by_no_target_and_by_no_stand_in() -> None:
    seen = source(MINI)
    assert isinstance(seen, Scenes) and isinstance(MINI.pretrain, Pretrain) and isinstance(MINI.pretrain.data, Scenes)
    assert (seen.count, seen.shapes) == (MINI.pretrain.data.count, "things")
    assert len({seen.seed, MINI.data.split("val", "objects").seed, MINI.pretrain.data.seed}) == 3  # type: ignore[attr-defined]
    quarter, four = source(MINI, 0.25), source(MINI, 4)
    assert isinstance(quarter, Scenes) and isinstance(four, Scenes)
    assert (quarter.count, four.count) == (64, 1016)


def test_a_row_without_boxes_of_any_kind_begins_at_random() -> None:
    for profile in (MINI, PHOTOS):
        none = target(profile, NONE, None)
        assert none.pretrained is None and none.model.weights == "random" and none.model.frozen_stages == 0


def test_detection_without_a_category_lacks_the_classes_that_are_judged() -> None:
    found = [cell for cell in cells("pre_4_3", MINI) if cell.row == pre_4_3.WITHOUT and cell.stage is not None]
    assert found
    for cell in found:
        model = cell.evaluation.model.init
        assert isinstance(model, Warmup) and isinstance(model.data, Scenes)
        assert model.data.without == cell.evaluation.classes == PAIRS[cell.column]
        assert cell.column == ", ".join(THINGS[place].name for place in model.data.without)


def test_budgets_are_once_twice_and_once_and_once() -> None:
    models = {c.row: c.evaluation.model for c in cells("pre_budget", MINI)}
    once, twice, both = (models[row] for row in pre_4_2.BUDGET)
    assert isinstance(once.pretrained, Pretrain) and isinstance(twice.pretrained, Pretrain)
    assert isinstance(both, Finetune) and isinstance(both.init, Warmup)
    assert twice.pretrained.iters == 2 * once.pretrained.iters == 2 * both.init.iters
    assert both.init.pretrained == once.pretrained
    assert once.pretrained.data == twice.pretrained.data == both.init.data


def test_probes_of_a_row_judge_the_backbone_that_its_targets_start_from() -> None:
    for profile in (MINI, PAPER):
        probes = {c.row: c.stage for c in cells("pre_cls", profile) if c.column == "fine-tuned"}
        for row, start in starts(profile).items():
            stage = probes[row]
            assert isinstance(stage, Probe) and stage.tuned == profile.iters_1x and not isinstance(start, str)
            plain = target(profile, row, start)
            assert stage.start == (start or plain.pretrained)
            assert stage.weights == (plain.model.weights if stage.start is None else "random")


def test_planned_sets_say_what_they_lack_before_anything_is_trained() -> None:
    photos = {c.note for t in TABLES for c in cells(t, PHOTOS) if c.stage is None}
    assert "not measured: photographs has no labeled images beside those of the target" in photos
    assert "not measured: photographs has no panoptic annotations with stuff" in photos
    paper = {c.note for t in TABLES for c in cells(t, PAPER) if c.stage is None}
    assert "not measured: coco has no record of how much of an object others hide" in paper
    assert "not measured: there are 1,740,000 source images and no more" in paper
    assert "not measured: which of the source's 500 classes are vehicle is not known" in paper
    vehicles = {c.row: c.stage for c in cells("pre_4_3", PAPER) if c.column == "Vehicle"}
    boxes = vehicles[BOXES]
    assert isinstance(boxes, Evaluate) and boxes.classes == tuple(range(1, 9))
    assert [c.paper for c in cells("pre_4_3", PAPER)] == [84.52, 86.83, 87.2, 82.98, 83.95, 84.83]


def test_a_set_on_disk_does_without_stuff_hidden_shares_and_super_categories() -> None:
    profile = MINI.with_data(on_disk("boxes", masks=False))
    for table, sentence in (
        ("pre_4_4", "boxes has no record of how much of an object others hide"),
        ("pre_4_5", "boxes has no panoptic annotations with stuff"),
        ("pre_4_3", "boxes has no labeled images beside those of the target"),
    ):
        assert all(c.stage is None for c in cells(table, profile))
        assert any(sentence in c.note for c in cells(table, profile)), table


def test_a_category_that_the_data_do_not_have_is_refused() -> None:
    seen = source(MINI)
    assert isinstance(seen, Scenes)
    with pytest.raises(SpecError, match="rising positions from 0 to 7, got \\(3, 8\\)"):
        replace(seen, without=(3, 8))
    with pytest.raises(SpecError, match="positions from 0 to 7, got \\(8,\\)"):
        evaluate(MINI, target(MINI, CLS, None), "ap_det", classes=(8,))


def test_a_class_only_start_after_none_is_the_profiles_own_weights() -> None:
    seen = source(PAPER)
    assert isinstance(seen, Folder)
    crops = class_only(PAPER, seen, 9)
    assert crops.weights == "imagenet" and isinstance(detection(PAPER, seen), Train)
