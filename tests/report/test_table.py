"""Joining cells with runs: means, gaps and what they say."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from casl.errors import SpecError
from casl.spec.run import Run
from tests.report.sample import cells, done, evaluation, failed, full, table


def test_one_seed_is_its_own_mean_without_spread() -> None:
    first = full().cells[0]
    assert (first.value, first.std, first.values, first.seeds, first.status) == (20.0, None, (20.0,), 1, "done")
    assert first.difference == pytest.approx(-25.3)


def test_mean_and_sample_deviation_over_seeds() -> None:
    seeds = [cells(seed) for seed in range(3)]
    runs = [done(one[0].stage, AP=ap) for one, ap in zip(seeds, (20.0, 22.0, 27.0), strict=True)]
    first = table(seeds, runs).cells[0]
    assert first.value == pytest.approx(23.0)
    assert first.std == pytest.approx(math.sqrt((9 + 1 + 16) / 2))
    assert (first.seeds, first.status, first.note) == (3, "done", "")
    assert [(r.seed, r.value) for r in first.repetitions] == [(0, 20.0), (1, 22.0), (2, 27.0)]


def test_missing_seeds_make_a_cell_partial_and_are_named() -> None:
    seeds = [cells(seed) for seed in range(3)]
    runs = [done(seeds[1][0].stage, AP=20.0), failed(seeds[2][0].stage, "loss is nan")]
    first = table(seeds, runs).cells[0]
    assert (first.value, first.std, first.seeds, first.status) == (20.0, None, 1, "partial")
    assert first.name == seeds[1][0].stage.name, "the link leads to a seed that was measured"
    assert "1 of 3 seeds measured" in first.note
    assert "seed 0: not run" in first.note
    assert "seed 2: failed" in first.note


def test_an_undefined_figure_stays_out_of_the_mean() -> None:
    seeds = [cells(seed) for seed in range(2)]
    runs = [done(seeds[0][0].stage, AP=-1.0), done(seeds[1][0].stage, AP=30.0)]
    first = table(seeds, runs).cells[0]
    assert (first.value, first.values, first.seeds, first.status) == (30.0, (30.0,), 1, "done")
    assert "seed 0: undefined" in first.note
    alone = table([seeds[0]], runs[:1]).cells[0]
    assert (alone.value, alone.difference, alone.status) == (None, None, "done")


def test_a_failed_evaluation_says_why_and_where_its_log_is() -> None:
    one = cells()
    stage = one[0].stage
    first = table([one], [failed(stage, "loss is nan\n  log: elsewhere")]).cells[0]
    assert (first.status, first.value) == ("failed", None)
    assert first.note == f"failed: {stage.name}: loss is nan; log: work/{stage.name}/log.txt"


def test_a_failed_ancestor_blocks_exactly_the_cells_made_from_it() -> None:
    one = cells()
    model = one[0].stage.model
    found = table([one], [failed(model, "out of memory")]).cells
    assert [c.status for c in found] == ["blocked", "not run", "not run", "not run"]
    assert found[0].note == f"blocked by {model.name}: out of memory; log: work/{model.name}/log.txt"


def test_a_blocked_run_names_a_stage_that_is_no_ancestor_of_its_own() -> None:
    one, segment = cells(), evaluation("F 9x", "W 9x", 7).model
    stage = one[0].stage
    blocked = replace(failed(stage, segment.name), status="blocked")
    first = table([one], [blocked, failed(segment, "killed")]).cells[0]
    assert (first.status, first.note.split(";")[0]) == ("blocked", f"blocked by {segment.name}: killed")


def test_a_running_stage_shows_in_the_cells_that_wait_for_it() -> None:
    one = cells()
    stage, model = one[0].stage, one[1].stage.model
    runs = [replace(done(stage), status="running"), replace(done(model), status="running")]
    found = table([one], runs).cells
    assert [(c.status, c.note) for c in found[:3]] == [
        ("running", "running"),
        ("running", f"running: {model.name}"),
        ("not run", "not run"),
    ]


def test_cells_keep_commit_dirt_and_run_id() -> None:
    one = cells()
    run: Run = replace(done(one[0].stage, AP=1.0), dirty=True)
    first = table([one], [run], {one[0].stage.name: "abc"}).cells[0]
    assert (first.commit, first.dirty, first.mlflow_run_id, first.key) == ("c0ffee", True, "abc", one[0].stage.key)


def test_headings_keep_the_order_of_the_cells() -> None:
    made = full()
    assert (made.rows, made.columns) == (("F 1x", "F 2x"), ("W 1x", "W 2x"))
    assert made.measured == 4


def test_an_unknown_figure_is_named_with_the_known_ones() -> None:
    one = cells(figures=("AP5",))
    with pytest.raises(SpecError, match=r"unknown figure of ap_det 'AP5'; known: AP, AP50"):
        table([one], [done(one[0].stage, AP=1.0, AP50=2.0)])


def test_seeds_must_agree_on_the_cells() -> None:
    with pytest.raises(SpecError, match="depend on the seed"):
        table([cells(0), cells(1)[::-1]], [])
