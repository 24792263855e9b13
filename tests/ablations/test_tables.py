"""The registry against the paper and against the counts of method reference sec. 7."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ablations import htc, table8
from ablations.profiles import MINI
from casl import catalog
from casl.errors import SpecError
from casl.runner.plan import Counts, make_plan
from casl.runner.store import Store
from casl.spec import Ablation, Cell, Finetune, Profile, SceneData, Warmup, labeler, pseudo_label

TABLES = [f"table{n}" for n in range(1, 11)]
OTHERS = {*table8.CONTRASTED, *table8.JOINT}  # what the reference, which counts CA-SSL's stages, takes as quoted


def built(table: str, profile: str = "paper") -> tuple[Cell, ...]:
    ablation: Ablation = catalog.load("ablation", table)
    chosen: Profile = catalog.load("profile", profile)
    return ablation.build(chosen)


def counted(tmp_path: Path, *tables: str) -> Counts:
    profile: Profile = catalog.load("profile", "paper")
    ablations: list[Ablation] = [catalog.load("ablation", t) for t in tables]
    cells = {
        a.name: tuple(c for c in a.build(profile) if c.paper is not None and c.row not in OTHERS) for a in ablations
    }
    units = {a.name: a.unit for a in ablations}
    return make_plan(cells, Store(tmp_path / "store"), units, profile.epochs).counts


@pytest.mark.parametrize("profile", list(catalog.PROFILES))
@pytest.mark.parametrize("table", list(catalog.ABLATIONS))
def test_every_ablation_can_be_built_under_every_profile(table: str, profile: str) -> None:
    cells = built(table, profile)
    assert len({(c.row, c.column, c.metric, c.figure) for c in cells}) == len(cells)
    assert all(c.stage is not None or c.note for c in cells)


@pytest.mark.parametrize(
    ("table", "cells", "total"),
    # number of published figures and their sum, read off the paper
    [
        ("table1", 4, 41.0 + 41.9 + 35.9 + 40.0),
        (
            "table2",
            17,
            41.9
            + 35.3
            + 35.9
            + 40.0
            + 33.4
            + 40.2
            + 46.8
            + 43.0
            + 41.4
            + 46.9
            + 47.1
            + 48.1
            + 45.0
            + 42.5
            + 48.2
            + 45.2
            + 43.7,
        ),
        ("table3", 30, None),
        ("table4", 25, None),
        ("table5", 10, 38.0 + 39.1 + 40.6 + 41.4 + 42.1 + 36.1 + 37.3 + 38.8 + 39.6 + 40.2),
        ("table6", 8, 40.2 + 48.2 + 40.6 + 48.6 + 40.2 + 48.6 + 40.6 + 49.1),
        ("table7", 8, 40.2 + 48.2 + 40.7 + 48.8 + 41.4 + 49.7 + 42.0 + 50.6),
        ("table8", 26, None),
        ("table9", 15, None),
        ("table10", 16, None),
    ],
)
def test_every_published_figure_is_there(table: str, cells: int, total: float | None) -> None:
    published = [c.paper for c in built(table) if c.paper is not None]
    assert len(published) == cells
    if total is not None:
        assert sum(published) == pytest.approx(total)


# Stages a table runs without sharing: labeler, pseudolabel, warmup, finetune, evaluate. One differs from the
# reference's counts: Table 2 evaluates boxes and masks of a warmup as two stages (17, not 15).
NAIVE = {
    "table1": (2, 2, 4, 0, 4),
    "table2": (3, 3, 4, 11, 17),
    "table3": (5, 5, 5, 0, 5),
    "table4": (25, 25, 25, 25, 25),
    "table5": (5, 5, 5, 0, 10),
    "table6": (4, 4, 4, 4, 8),
    "table7": (4, 4, 4, 4, 8),
    "table8": (3, 3, 3, 6, 6),
    "table9": (4, 4, 4, 5, 5),
    "table10": (8, 8, 8, 16, 16),
}
KINDS = ("labeler", "pseudolabel", "warmup", "finetune", "evaluate")


@pytest.mark.parametrize("table", TABLES)
def test_a_table_without_sharing_runs_as_many_stages_as_the_reference_counts(tmp_path: Path, table: str) -> None:
    naive = counted(tmp_path, table).naive_stages
    assert tuple(naive.get(kind, 0) for kind in KINDS) == NAIVE[table]


def test_all_tables_together_run_what_the_reference_counts(tmp_path: Path) -> None:
    counts = counted(tmp_path, *TABLES)
    # the reference counts the box and the mask evaluation of each of two warmups in Table 2 as one; they are two stages
    assert sum(counts.naive_stages.values()) == 365 + 2
    assert sum(counts.unique_stages.values()) == 189 + 2
    assert counts.unique_stages == {"labeler": 7, "pseudolabel": 10, "warmup": 23, "finetune": 62, "evaluate": 87 + 2}
    assert counts.naive_epochs == pytest.approx(7968)
    assert counts.unique_epochs == pytest.approx(3648)
    assert counts.shared_epochs == pytest.approx(3096)


@pytest.mark.parametrize("profile", ["paper", "mini", "smoke"])
def test_htc_plus_plus_takes_backbone_and_neck_of_a_warmup_with_its_backbone_on_the_large_split(profile: str) -> None:
    without, having = (c for c in built("table8", profile) if c.row == table8.HTC[0])
    (swin,) = (
        c for c in built("table8", profile) if c.row.startswith("CA-SSL, 3.66M, Swin-T") and c.evaluation.model.init
    )
    assert [c.paper for c in (without, having)] == [58.2, 60.9]
    base, model = without.evaluation.model, having.evaluation.model
    warm, other = model.init, swin.evaluation.model.init
    assert isinstance(warm, Warmup) and isinstance(other, Warmup)
    fresh: dict[str, Any] = {"init": None, "classifier": base.classifier, "pretrained": base.pretrained}
    assert replace(model, **fresh).key == base.key
    assert model.model.detector == "htc" and model.parts == ("backbone", "neck")
    assert model.model.backbone == warm.model.backbone == catalog.load("profile", profile).backbones["swin_l"]
    assert warm.data.key == other.data.key and warm.recipe == other.recipe  # the large split, strong augmentation
    assert having.evaluation.applied == without.evaluation.applied == htc.PLUS


@pytest.mark.parametrize(
    "places",
    [
        # the default chain R0 = 48.2, in six tables
        [("table2", "Entities (P, A)", "AP^det"), ("table4", "F 3x", "W 5x"), ("table7", "Tiny", "finetuned AP^det")],
        # the ImageNet baseline 46.8
        [
            ("table2", "ImageNet", "AP^det"),
            ("table8", "CA-SSL, 1.74M, Swin-T FCOS", "train2017 only"),
            ("table9", "none", "AP^det"),
            ("table10", "FCOS (E)", "ImageNet"),
        ],
        # the large, strong chain 51.5
        [
            ("table8", "CA-SSL, 3.66M, Swin-T FCOS", "with unlabeled"),
            ("table9", "all", "AP^det"),
            ("table10", "FCOS (E)", "ours"),
        ],
    ],
)
def test_cells_that_are_the_same_run_in_the_paper_are_the_same_stage(places: list[tuple[str, str, str]]) -> None:
    keys, papers = set(), set()
    for table, row, column in places:
        cell = next(c for c in built(table) if (c.row, c.column) == (row, column) and c.metric == "ap_det")
        assert cell.stage is not None
        keys.add(cell.stage.key)
        papers.add(cell.paper)
    assert len(keys) == len(papers) == 1


def test_quoted_rows_are_those_that_casl_cannot_train() -> None:
    quoted = {c.row for c in built("table8") if c.stage is None}
    assert quoted == set(table8.QUOTED) and len(quoted) + len(OTHERS) == 10
    assert all(c.stage for t in TABLES if t != "table8" for c in built(t))


def test_htc_without_masks_or_stuff_is_quoted_or_says_so() -> None:
    photos: Profile = catalog.load("profile", "photos")
    boxes = replace(photos, data=replace(photos.data, has_masks=False))
    for table, rows in (("htc_8", set(htc.ROWS) - {htc.CASCADE}), ("table8", {table8.HTC[0]})):
        ablation: Ablation = catalog.load("ablation", table)
        of_htc = [c for c in ablation.build(boxes) if c.row in rows]
        assert of_htc and all(c.stage is None and "has boxes only" in c.note for c in of_htc)
        of_htc = [c for c in ablation.build(photos) if c.row in rows]
        assert of_htc and all("without semantic branch: photographs has no stuff" in c.note for c in of_htc)
        assert all(c.evaluation.model.model.stuff == 0 for c in of_htc)


@pytest.mark.parametrize(("profile", "way"), [("smoke", "scaled"), ("mini", "scaled"), ("paper", "replicate")])
def test_the_last_two_rows_of_table_9_differ_in_where_the_classifier_starts(profile: str, way: str) -> None:
    rows: dict[str, list[Cell]] = {c.row: [] for c in built("table9", profile)}
    for cell in built("table9", profile):
        rows[cell.row].append(cell)
    head, every = (rows[name][0].evaluation.model for name in ("backbone + neck + head", "all"))
    assert "classifier" not in head.parts and "classifier" in every.parts
    assert every.classifier == way
    assert replace(every, parts=head.parts, classifier=head.classifier).key == head.key
    assert all(("near p/C" in cell.note) == (way == "scaled") for cell in rows["all"])


def test_more_images_than_a_split_has_are_refused_and_not_tried() -> None:
    assert isinstance(MINI.data, SceneData)
    labeled = MINI.data.labeled
    few = replace(MINI, data=replace(MINI.data, unlabeled={**MINI.data.unlabeled, "tiny": labeled - 1}))
    teacher = labeler(few, labels="objects")
    with pytest.raises(SpecError, match=f"{labeled} images of a split of {labeled - 1} were asked for"):
        pseudo_label(few, teacher, first=labeled)
    rows = {c.row for c in catalog.load("ablation", "reasons").build(few)}
    assert not any("as many images" in row or row.startswith("Table 1") for row in rows) and len(rows) > 4


def test_a_suspect_is_tried_beside_the_tables_own_cells_and_is_all_that_differs() -> None:
    pairs: dict[tuple[str, str], Any] = {(c.row, c.column): c.evaluation.model for c in built("reasons", "mini")}
    *rows, start, like = dict.fromkeys(row for row, _ in pairs)
    first, second = rows[::2], rows[1::2]
    assert all(row.startswith("Table ") for row in first) and all(row.startswith("the same") for row in second)
    t1, t2, t6 = ({(c.row, c.column): c for c in built(t, "mini")} for t in ("table1", "table2", "table6"))
    shown = [t2["Objects (P, A)", "AP^det"], t1["pseudo labels", "class-agnostic"]]
    shown += [t1["pseudo labels", "class-specific"], t2["Entities (P, A)", "AP^det"]]
    shown += [t2["Entities (P, A)", "PQ"], t6["F strong", "W weak"]]
    assert [pairs[row, "this"].key for row in first] == [c.evaluation.model.key for c in shown]

    new, given = pairs[second[0], "against"], pairs[first[0], "against"]
    assert replace(new, parts=given.parts).key == given.key and "classifier" not in new.parts
    for row in second[1:3]:
        assert pairs[row, "this"].data.data.count == pairs[row, "against"].data.count
    for side in ("this", "against"):
        for n in (3, 4):
            assert pairs[second[n], side].init.data == pairs[first[n], side].init.data.data
        assert replace(pairs[second[5], side], schedule=pairs[first[5], side].schedule).key == pairs[first[5], side].key

    for row in (start, like):
        assert replace(pairs[row, "this"], pretrained=pairs[row, "against"].pretrained) == pairs[row, "against"]
        assert (pairs[row, "this"].pretrained.method, pairs[row, "against"].pretrained.kind) == ("DenseCL", "pretrain")
    new, given = (pairs[like, side].pretrained for side in ("this", "against"))
    assert (new.data, new.iters, new.seed) == (given.data, given.iters, given.seed)


@pytest.mark.parametrize("profile", list(catalog.PROFILES))
@pytest.mark.parametrize(("table", "cells"), [("table2", 3), ("table8", 2), ("table9", 6), ("table10", 8)])
def test_controls_start_without_warmup_and_stand_apart_from_the_papers_cells(
    table: str, cells: int, profile: str
) -> None:
    ours = [c for c in built(table, profile) if c.paper is None]
    without_stuff = {"table2": 1, "table10": 2} if profile == "photos" else {}  # no PQ and no entities to control
    assert len(ours) == cells - without_stuff.get(table, 0)
    for cell in ours:
        model = cell.evaluation.model
        assert "no warmup" in cell.row + cell.column
        assert isinstance(model, Finetune) and model.init is None


@pytest.mark.parametrize("table", ["table2", "table8", "table9", "table10"])
def test_a_control_that_is_as_long_is_the_baseline_of_its_place_for_as_many_iterations(table: str) -> None:
    """In a profile whose iterations do not follow the scale, to the iteration."""
    cells = built(table, "mini")
    warmed = [c.evaluation.model for c in cells if c.stage and c.paper is not None]
    both = {m.iters + m.init.iters for m in warmed if isinstance(m, Finetune) and m.init is not None}
    long = [c for c in cells if c.paper is None and c.evaluation.model.iters != 3 * MINI.iters_1x]
    assert {c.evaluation.model.iters for c in long} == both and len(both) == 1
    assert all("as many iterations as warmup and finetune" in c.note for c in long)


def test_a_control_is_as_many_epochs_where_they_follow_the_scale_and_says_so() -> None:
    (note,) = (c.note for c in built("table8") if c.row == "no warmup, strong, as long")
    both = 5 * round(90_000 * 3_660_000 / 123_403) + 3 * 90_000
    assert note == (
        f"8x on labeled images: as many epochs as warmup and finetune, 720,000 iterations to their {both:,}"
    )
    (tiny,) = {c.note for c in built("table2") if c.paper is None}
    assert tiny == "8x on labeled images: as many iterations as warmup and finetune"


def test_tables_8_and_9_have_the_strong_baseline_beside_the_papers_weak_one() -> None:
    for table, weak in (("table8", "CA-SSL, 3.66M, Swin-T FCOS"), ("table9", "none")):
        models = {c.row: c.evaluation.model for c in built(table, "mini") if c.stage and "with unl" not in c.column}
        strong, plain = models["no warmup, strong"], models[weak]
        assert strong.recipe.augmentation == "strong_labeled" and plain.recipe.augmentation == "weak"
        assert replace(strong, recipe=plain.recipe).key == plain.key
