"""Classes that labels lack, and classes whose objects an evaluation looks for, on the built-in scenes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ablations.held_out import FEWEST, held_out
from casl import catalog
from casl.data.scenes import write_scenes
from casl.errors import SpecError
from casl.metrics.recall import ar_det_a
from casl.report.paper import joined
from casl.report.render import write_table
from casl.spec import Evaluate, Scenes, evaluate, labeler
from casl.spec.context import Context
from casl.spec.data_kinds import Folder
from casl.stages.evaluate import _above
from casl.stages.forms import form_of
from casl.stages.sources import open_split
from tests.golden.studies import on_disk
from tests.runner.stores import NANO

HELD = (1, 5)
WHOLE = Scenes("labeled", 12, 64)
LESS = replace(WHOLE, without=HELD)


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    """The scenes, found under both stages' names: their bytes are the same."""
    write_scenes(tmp_path / "set", WHOLE.split, WHOLE.count, WHOLE.size, WHOLE.seed)
    inputs = {WHOLE.name: tmp_path, LESS.name: tmp_path}
    return Context(tmp_path, inputs, {}, "cpu", lambda *_: None, lambda _: None)


def test_labels_lack_the_classes_and_images_and_other_objects_stay(ctx: Context) -> None:
    whole, less = open_split(WHOLE, "objects", ctx), open_split(LESS, "objects", ctx)
    assert (less.images, less.classes) == (whole.images, whole.classes)
    ids = {sorted(whole.category_ids)[place] for place in HELD}
    kept = [[r["id"] for r in records if r["category_id"] not in ids] for records in whole.annotations]
    assert [[r["id"] for r in records] for records in less.annotations] == kept
    assert 0 < sum(map(len, kept)) < sum(map(len, whole.annotations))


def test_an_evaluation_judges_by_the_classes_that_it_names(ctx: Context) -> None:
    split = open_split(WHOLE, "objects", ctx)
    form = form_of(catalog.row("metric", "ar_det_a"), split, HELD)
    for i in range(len(split)):
        boxes = torch.as_tensor(split.labels(i).boxes) + 1.5
        form.add(i, {"boxes": boxes, "scores": torch.linspace(0.9, 0.1, len(boxes)), "labels": torch.zeros(len(boxes))})
    ids = [sorted(split.category_ids)[place] for place in HELD]
    expected = ar_det_a(split.coco(), form.results, classes=ids)
    assert form.judge(ar_det_a) == expected != ar_det_a(split.coco(), form.results)
    interval = catalog.load_place(catalog.row("metric", "ar_det_a").interval)
    assert np.mean(form.draws(interval)) == pytest.approx(expected["AR100"], abs=6)


def test_only_predictions_above_a_score_are_judged() -> None:
    scores = torch.tensor([0.9, 0.3, 0.31, 0.1])
    found = {"boxes": torch.arange(16.0).view(4, 4), "scores": scores, "semantic": torch.zeros(5, 5)}
    left = _above(found, 0.3)
    assert left["boxes"].tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]] and left["semantic"].shape == (5, 5)


def test_keys_tell_such_stages_apart_and_leave_others_as_they_are() -> None:
    plain = evaluate(NANO, labeler(NANO, labels="objects"), "ar_det_a")
    some = evaluate(NANO, labeler(NANO, labels="objects", without=HELD), "ar_det_a", classes=HELD, above=0.3)
    assert evaluate(NANO, labeler(NANO, labels="objects", without=()), "ar_det_a", classes=()).key == plain.key
    assert some.key != plain.key and some.model.key != plain.model.key
    assert "classes 1, 5" in some.title and "score > 0.3" in some.title and "without classes 1, 5" in LESS.title


@pytest.mark.parametrize("wrong", [(5, 1), (1, 1), (-1,), (8,)])
def test_classes_that_do_not_exist_are_refused(wrong: tuple[int, ...]) -> None:
    with pytest.raises(SpecError, match="rising positions from 0 to 7"):
        replace(WHOLE, without=wrong)


def test_what_has_no_classes_cannot_lack_some() -> None:
    with pytest.raises(SpecError, match="labels of objects"):
        labeler(NANO, labels="entities", without=HELD)
    with pytest.raises(SpecError, match="labels of objects"):
        Folder("labeled", "panoptic", "d", 8, 4, without=HELD)
    with pytest.raises(SpecError, match=r"'ap_seg' cannot be told .* ap_det, ar_det_a, ar_seg_a can"):
        evaluate(NANO, labeler(NANO, labels="objects"), "ap_seg", classes=HELD)
    with pytest.raises(SpecError, match=r"positions from 0 to 7, got \(1, 8\)"):
        evaluate(NANO, labeler(NANO, labels="objects"), "ap_det", classes=(1, 8))


@pytest.mark.parametrize(("classes", "held"), [(1, ()), (2, ()), (3, (1,)), (8, (1, 5)), (9, (1, 5))])
def test_the_rule_holds_out_every_fourth_class(classes: int, held: tuple[int, ...]) -> None:
    assert held_out(classes) == held and FEWEST == 3


def test_the_table_holds_the_same_classes_out_of_labels_and_looks_for_them() -> None:
    cells = catalog.load("ablation", "held_out").build(NANO)
    stages = [c.stage for c in cells if isinstance(c.stage, Evaluate)]
    taught = {s.model.data for c, s in zip(cells, stages, strict=True) if c.row.startswith("labeler")}
    assert {d.without for d in taught if isinstance(d, Scenes)} == {HELD, ()} and len(taught) == 2
    assert {s.classes for c, s in zip(cells, stages, strict=True) if c.column.startswith("held out")} == {HELD}
    assert {s.above for c, s in zip(cells, stages, strict=True) if c.row.startswith("labels")} == {NANO.threshold}


def test_a_set_of_few_classes_says_that_it_is_not_measured(tmp_path: Path) -> None:
    profile, table = NANO.with_data(replace(on_disk("masks"), classes=2)), catalog.load("ablation", "held_out")
    cells = table.build(profile)
    assert [c.stage for c in cells] == [None, None] and "has 2 classes" in cells[0].note
    written = {path.suffix: path for path in write_table(joined(table, profile, [cells], {}, {}), tmp_path)}
    text = written[".md"].read_text()
    assert "| labeler without classes | *–* | *–* |" in text and "not measured: masks has 2 classes" in text
    assert "(published)" not in text + written[".html"].read_text() + written[".tex"].read_text()
