"""The page on kinds of errors, from a made-up table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from casl.metrics import error_types
from casl.report import markdown
from casl.report.error_kinds import KINDS, drawing, error_kinds, page, to_json, write_errors
from casl.report.table import Table
from tests.report.sample import cells, done, inked, stage_of, table


def made(metric: str = "ap_det") -> Table:
    seeds = [cells(seed, [metric]) for seed in range(2)]
    return table(seeds, [done(stage_of(c), AP=30.0, PQ=1.0, AR100=1.0) for same in seeds for c in same])


def figures(found: Table) -> dict[str, Any]:
    """The n-th evaluation gains n + k points of the k-th kind and has 1,000 k errors of it; the last one is gone."""
    names = [one.name for cell in found.cells for one in cell.repetitions]
    counted: dict[str, Any] = {
        name: {
            "AP50": 40.0 + n,
            "gains": {kind: float(n + k) for k, kind in enumerate(KINDS)},
            "counts": {kind: 1000 * k for k, kind in enumerate(KINDS)},
        }
        for n, name in enumerate(names)
    }
    return counted | {names[-1]: "not counted: gone"}


def test_the_kinds_are_those_of_the_metric() -> None:
    assert KINDS == error_types.KINDS


def test_a_line_has_the_means_over_the_seeds_that_there_are() -> None:
    found = made()
    kinds = error_kinds(found, figures(found).__getitem__)
    assert kinds is not None
    first, last = kinds.lines[0], kinds.lines[-1]
    assert (first.place, first.ap, first.gains["both"]) == ("F 1x / W 1x", (40.0, 41.0), (2.0, 3.0))
    assert len(last.ap) == 1 and last.notes == ("seed 1: not counted: gone",)
    written = markdown.write(page(kinds, "x.png"))
    gains, counts = (line for line in written.splitlines() if line.startswith("| F 1x | W 1x |"))
    assert gains.startswith("| F 1x | W 1x | 40.5 ± 0.7 | 0.5 ± 0.7 | 1.5 ± 0.7 |")
    assert counts == "| F 1x | W 1x | 0 | 1,000 | 2,000 | 3,000 | 4,000 | 5,000 |"
    assert "F 2x / W 2x: seed 1: not counted: gone" in written and "SMALL PROFILE" in written


@pytest.mark.parametrize("metric", ["ap_det_a", "ap_seg_a", "ap_e"])
def test_what_a_metric_without_classes_cannot_see_has_no_number(metric: str) -> None:
    found = made(metric)
    kinds = error_kinds(found, figures(found).__getitem__)
    assert kinds is not None
    line = kinds.lines[0]
    assert [*line.gains] == [*line.counts] == ["localisation", "duplicate", "background", "missed"]
    gains, counts = (li for li in markdown.write(page(kinds, "x.png")).splitlines() if li.startswith("| F 1x | W 1x |"))
    assert gains.startswith("| F 1x | W 1x | 40.5 ± 0.7 | – | 1.5 ± 0.7 | – | 3.5 ± 0.7 |")
    assert counts == "| F 1x | W 1x | – | 1,000 | – | 3,000 | 4,000 | 5,000 |"


def test_cells_without_a_number_are_named_and_have_no_line() -> None:
    found = made()
    counted = figures(found)
    gone = [one.name for one in found.cells[1].repetitions]
    kinds = error_kinds(found, lambda name: "not run" if name in gone else counted[name])
    assert kinds is not None
    written = markdown.write(page(kinds, "x.png"))
    assert not any(line.startswith("| F 1x | W 2x |") for line in written.splitlines())
    assert "F 1x / W 2x: seed 0: not run" in written and '"F 1x"' in to_json(kinds)
    assert len(json.loads(to_json(kinds))["lines"]) == len(kinds.counted) + 1


def test_files_are_written_twice_with_the_same_bytes(tmp_path: Path) -> None:
    found = made()
    paths = write_errors(found, figures(found).__getitem__, tmp_path)
    before = [path.read_bytes() for path in paths]
    assert [p.name for p in paths] == [f"errors-table4.{suffix}" for suffix in ("md", "html", "json", "png", "svg")]
    write_errors(found, figures(found).__getitem__, tmp_path)
    assert [path.read_bytes() for path in paths] == before
    cell = json.loads(before[2])["lines"][0]
    assert (cell["ap"], cell["gains"]["missed"], cell["counts"]["missed"]) == ([40.0, 41.0], [5.0, 6.0], [5000, 5000])


def test_evaluations_without_predictions_leave_a_page_that_says_why(tmp_path: Path) -> None:
    (first, *_) = write_errors(made(), lambda name: "not counted: gone", tmp_path)
    written = first.read_text()
    assert "all: seed 0: not counted: gone" in written and "| AP50 |" not in written


@pytest.mark.parametrize("metric", ["pq", "ar_det_a"])
def test_a_table_without_ap_of_boxes_or_masks_has_no_page(tmp_path: Path, metric: str) -> None:
    assert write_errors(made(metric), lambda name: {}, tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_long_title_is_not_cut_off_by_a_narrow_picture() -> None:
    found = made()
    kinds = error_kinds(replace(found, title="What a warmup gains, by many words " * 4), figures(found).__getitem__)
    assert kinds is not None
    last, width = inked(drawing(kinds).png)
    assert last < width - 3
