"""Joining cells with runs: means, gaps and what they say."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from casl.errors import SpecError
from casl.spec.run import DRAWS, Run
from tests.report.sample import cells, done, evaluation, failed, full, stage_of, table, tabled


def test_one_seed_is_its_own_mean_without_spread() -> None:
    first = full().cells[0]
    assert (first.value, first.std, first.values, first.seeds, first.status) == (20.0, None, (20.0,), 1, "done")
    assert first.difference == pytest.approx(-25.3)


def test_mean_and_sample_deviation_over_seeds() -> None:
    seeds = [cells(seed) for seed in range(3)]
    runs = [done(stage_of(one[0]), AP=ap) for one, ap in zip(seeds, (20.0, 22.0, 27.0), strict=True)]
    first = table(seeds, runs).cells[0]
    assert first.value == pytest.approx(23.0)
    assert first.std == pytest.approx(math.sqrt((9 + 1 + 16) / 2))
    assert (first.seeds, first.status, first.note) == (3, "done", "")
    assert [(r.seed, r.value) for r in first.repetitions] == [(0, 20.0), (1, 22.0), (2, 27.0)]


def test_missing_seeds_make_a_cell_partial_and_are_named() -> None:
    seeds = [cells(seed) for seed in range(3)]
    runs = [done(stage_of(seeds[1][0]), AP=20.0), failed(stage_of(seeds[2][0]), "loss is nan")]
    first = table(seeds, runs).cells[0]
    assert (first.value, first.std, first.seeds, first.status) == (20.0, None, 1, "partial")
    assert first.name == stage_of(seeds[1][0]).name, "the link leads to a seed that was measured"
    assert "1 of 3 seeds measured" in first.note
    assert "seed 0: not run" in first.note
    assert "seed 2: failed" in first.note


def test_draws_of_the_images_belong_to_the_headline_alone(tmp_path: Path) -> None:
    (tmp_path / DRAWS).write_text("[19.0, 21.0]")
    one = cells(figures=("AP", "AP50"))
    run = replace(done(stage_of(one[0]), AP=20.0, AP50=40.0), folder=tmp_path)
    headline, other = table([one], [run]).cells[:2]
    assert (headline.draws, other.value, other.draws) == ({0: (19.0, 21.0)}, 40.0, {})


def test_a_figure_that_an_older_measurement_lacks_is_not_run_and_the_note_says_how_to_have_it() -> None:
    one = cells(figures=("AP", "AP70"))
    older, newer = done(stage_of(one[0]), AP=20.0), done(stage_of(one[0]), AP=20.0, AP70=11.0)
    whole, figure = table([one], [older]).cells[:2]
    assert (whole.status, whole.value) == ("done", 20.0)
    assert (figure.status, figure.value) == ("not run", None)
    assert "measured before AP70 was counted; run it with --rerun-moved" in figure.note
    assert table([one], [newer]).cells[1].value == 11.0


def test_what_a_measurement_notes_stands_with_its_cell() -> None:
    one = cells()
    run = replace(done(stage_of(one[0]), AP=2.0), facts={"note": "bottom of every box at its centre"})
    assert table([one], [run]).cells[0].note == "bottom of every box at its centre"


def test_an_undefined_figure_stays_out_of_the_mean() -> None:
    seeds = [cells(seed) for seed in range(2)]
    runs = [done(stage_of(seeds[0][0]), AP=-1.0), done(stage_of(seeds[1][0]), AP=30.0)]
    first = table(seeds, runs).cells[0]
    assert (first.value, first.values, first.seeds, first.status) == (30.0, (30.0,), 1, "done")
    assert "seed 0: undefined" in first.note
    alone = table([seeds[0]], runs[:1]).cells[0]
    assert (alone.value, alone.difference, alone.status) == (None, None, "done")


def test_a_failed_evaluation_says_why_and_where_its_log_is() -> None:
    one = cells()
    stage = stage_of(one[0])
    first = table([one], [failed(stage, "loss is nan\n  log: elsewhere")]).cells[0]
    assert (first.status, first.value) == ("failed", None)
    assert first.note == f"failed: {stage.name}: loss is nan; log: work/{stage.name}/log.txt"


def test_a_failed_ancestor_blocks_exactly_the_cells_made_from_it() -> None:
    one = cells()
    model = stage_of(one[0]).model
    found = table([one], [failed(model, "out of memory")]).cells
    assert [c.status for c in found] == ["blocked", "not run", "not run", "not run"]
    assert found[0].note == f"blocked by {model.name}: out of memory; log: work/{model.name}/log.txt"


def test_a_blocked_run_names_a_stage_that_is_no_ancestor_of_its_own() -> None:
    one, segment = cells(), evaluation("F 9x", "W 9x", 7).model
    stage = stage_of(one[0])
    blocked = replace(failed(stage, segment.name), status="blocked")
    first = table([one], [blocked, failed(segment, "killed")]).cells[0]
    assert (first.status, first.note.split(";")[0]) == ("blocked", f"blocked by {segment.name}: killed")


def test_a_running_stage_shows_in_the_cells_that_wait_for_it() -> None:
    one = cells()
    stage, model = stage_of(one[0]), stage_of(one[1]).model
    runs = [replace(done(stage), status="running"), replace(done(model), status="running")]
    found = table([one], runs).cells
    assert [(c.status, c.note) for c in found[:3]] == [
        ("running", "running"),
        ("running", f"running: {model.name}"),
        ("not run", "not run"),
    ]


def test_cells_keep_commit_dirt_and_run_id() -> None:
    one = cells()
    run: Run = replace(done(stage_of(one[0]), AP=1.0), dirty=True)
    first = table([one], [run], {stage_of(one[0]).name: "abc"}).cells[0]
    assert (first.commit, first.dirty, first.mlflow_run_id, first.key) == ("c0ffee", True, "abc", stage_of(one[0]).key)


def test_headings_keep_the_order_of_the_cells() -> None:
    made = full()
    assert (made.rows, made.columns) == (("F 1x", "F 2x"), ("W 1x", "W 2x"))
    assert made.measured == 4


def test_an_unknown_figure_is_named_with_the_known_ones() -> None:
    one = cells(figures=("AP5",))
    with pytest.raises(SpecError, match=r"unknown figure of ap_det 'AP5'; known: AP, AP50"):
        table([one], [done(stage_of(one[0]), AP=1.0, AP50=2.0)])


def test_seeds_must_agree_on_the_cells() -> None:
    with pytest.raises(SpecError, match="depend on the seed"):
        table([cells(0), cells(1)[::-1]], [])


def test_a_cell_that_quotes_the_paper_is_neither_measured_nor_missing() -> None:
    quoted = {("theirs", "AP", "ap_det", "AP"): (None, 46.8), ("ours", "AP", "ap_det", "AP"): ([20.0, None], 50.8)}
    found = tabled("table8", quoted, note="published by its authors")
    theirs, ours = found.cells
    assert (theirs.status, theirs.value, theirs.paper, theirs.difference) == ("published", None, 46.8, None)
    assert (theirs.key, theirs.name, theirs.mlflow_run_id, theirs.commit) == ("", "", None, "")
    assert (theirs.note, theirs.repetitions, theirs.values) == ("published by its authors", (), ())
    assert (ours.status, ours.by_seed) == ("partial", {0: 20.0})
    assert (found.measured, found.measurable, len(found.cells)) == (0, 1, 2)


def test_the_note_of_a_cell_stays_with_its_measured_number() -> None:
    one = tuple(replace(c, note="ImageNet stand-in: random initialisation") for c in cells())
    found = table([one], [done(stage_of(one[0]), AP=20.0), failed(stage_of(one[1]), "no disk")]).cells
    assert (found[0].value, found[0].note) == (20.0, "ImageNet stand-in: random initialisation")
    assert found[1].note.startswith("ImageNet stand-in: random initialisation; failed: evaluate-")
    assert found[2].note == "ImageNet stand-in: random initialisation", "the status says that it is not run"


def test_columns_keep_the_order_of_every_row_when_the_first_row_has_gaps() -> None:
    spots = [
        ("ImageNet", "AP"),
        ("Objects", "warmup AP"),
        ("Objects", "AP"),
        ("Entities", "warmup AP^e"),
        ("Entities", "AP"),
    ]
    found = tabled("table2", {(row, column, "ap_det", "AP"): ([1.0], None) for row, column in spots})
    assert found.columns == ("warmup AP", "warmup AP^e", "AP")
    assert found.rows == ("ImageNet", "Objects", "Entities")


def test_rows_that_disagree_on_the_order_keep_all_their_columns() -> None:
    spots = [("a", "x"), ("a", "y"), ("b", "y"), ("b", "x")]
    found = tabled("odd", {(row, column, "ap_det", "AP"): ([1.0], None) for row, column in spots})
    assert sorted(found.columns) == ["x", "y"]


def test_a_baseline_that_is_neither_row_nor_column_is_refused() -> None:
    with pytest.raises(SpecError, match=r"unknown baseline of table10 'Imagenet'; known: ImageNet, a, ours"):
        tabled("table10", {("a", c, "ap_det", "AP"): ([1.0], None) for c in ("ImageNet", "ours")}, baseline="Imagenet")


def test_commits_are_listed_once_and_with_their_changes() -> None:
    one = cells()
    clean, other = done(stage_of(one[0]), AP=1.0), replace(done(stage_of(one[1]), AP=1.0), commit="beef", dirty=True)
    assert table([one], [clean, other, done(stage_of(one[2]), AP=2.0)]).commits == ("c0ffee", "beef + changes")
