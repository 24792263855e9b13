"""The recall of labelers and warmups under a table, from a made-up one."""

from __future__ import annotations

import json
from typing import Any

from casl.report.recall import recall_lines, section
from casl.report.render import to_json
from casl.report.table import Table
from casl.report.table_page import to_html, to_markdown
from tests.report.sample import cells, done, stage_of, table


def made(figures: tuple[str, ...] = ("AP",)) -> Table:
    seeds = [cells(seed, ["ap_e"], figures) for seed in range(2)]
    return table(seeds, [done(stage_of(c), AP=30.0, AP50=50.0) for same in seeds for c in same[:-1]])


def recall(seed: int) -> dict[str, Any]:
    return {"metric": "ar_e", "AR1": 10.0 + seed, "AR10": 20.0, "AR100": -1.0 if seed else 40.0}


def of(found: Table) -> dict[str, Any]:
    """Both seeds of the first cell, one of the second; the third is of no labeler or warmup."""
    first, second, third = ([one.name for one in cell.repetitions] for cell in found.cells[:3])
    return {n: recall(seed) for seed, n in enumerate(first)} | {
        second[0]: recall(0), second[1]: "not counted: gone", third[0]: None, third[1]: None
    }  # fmt: skip


def test_a_line_is_the_mean_over_the_seeds_that_have_a_value() -> None:
    found = made()
    lines = recall_lines(found, of(found).__getitem__)
    assert [(line.row, line.column, line.metric) for line in lines] == [
        ("F 1x", "W 1x", "ar_e"),
        ("F 1x", "W 2x", "ar_e"),
    ]
    assert [[line.text(figure) for figure in ("AR1", "AR10", "AR100")] for line in lines] == [
        ["10.5 ± 0.7", "20.0 ± 0.0", "40.0"],
        ["10.0", "20.0", "40.0"],
    ]
    assert [line.notes for line in lines] == [(), ("seed 1: not counted: gone",)]


def test_pages_and_json_show_it_apart_from_the_table_and_say_what_is_missing() -> None:
    found = made()
    lines = recall_lines(found, of(found).__getitem__)
    written = to_markdown(found, lines)
    assert "| finetune | warmup | recall | AR@1 | AR@10 | AR@100 |" in written
    assert r"| F 1x | W 1x | ar\_e | 10.5 ± 0.7 | 20.0 ± 0.0 | 40.0 |" in written
    assert "- F 1x, W 2x: seed 1: not counted: gone" in written
    assert written.index("## Ours") < written.index("## Recall without classes") < written.index("## Again")
    assert "AR@100</th>" in to_html(found, b"", lines)
    assert json.loads(to_json(found, lines))["recall"][0]["values"]["AR1"] == [10.0, 11.0]
    assert to_json(found, []) == to_json(found) and "recall" not in json.loads(to_json(found))


def test_figures_of_one_evaluation_have_one_line_and_a_cell_without_result_none() -> None:
    found = made(("AP", "AP50"))
    names = [one.name for cell in found.cells for one in cell.repetitions]
    lines = recall_lines(found, dict.fromkeys(names, recall(0)).__getitem__)
    measured = {(c.row, c.column) for c in found.cells if c.status in ("done", "partial")}
    assert [(line.row, line.column) for line in lines] == sorted(measured)
    assert section(found, []) == []
