"""What an experiment shows: its description, its searches and its models."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, unquote

from casl.spec.search import Search, Trial
from casl.tracking.address import compare_page, list_page
from casl.tracking.experiment import (
    Listed,
    best,
    compared_pair,
    description,
    landing,
    main_metric,
    searches,
    tables_of,
    views,
)
from casl.tracking.models import wanted


def cell(name: str, place: str, ap: float, table: str = "table4", metric: str = "ap_det") -> Listed:
    figures = {f"{metric}/AP": ap, f"{metric}/AP50": 2 * ap}
    return Listed(f"evaluate-{name}", f"evaluate {name}", ("7", f"run_{name}"), {table: [place]}, figures)


def warmup(name: str, iters: int, *, whole: bool = True, places: int = 1) -> Listed:
    uses = {"table4": [f"place {n}" for n in range(places)]}
    return Listed(f"warmup-{name}", name, ("7", f"run_{name}"), uses, {}, iters, whole)


RUNS = [
    cell("low", "F 1x / W 1x", 20.0),
    cell("high", "F 3x / W 5x", 31.5),
    cell("other", "Swin / AP^e", 90.0, metric="ap_e"),
    warmup("long", 60, places=9),
    warmup("short", 12),
    warmup("trunk", 6, whole=False, places=25),
]


def test_the_best_cell_is_the_highest_by_the_metric_most_cells_print() -> None:
    assert main_metric("table4", RUNS) == "ap_det/AP"
    found = best("table4", "ap_det/AP", RUNS)
    assert found is not None
    assert found.name == "evaluate-high"
    assert best("table5", "ap_det/AP", RUNS) is None


def test_tables_are_in_the_order_of_their_numbers() -> None:
    runs = [cell("a", "x", 1.0, table) for table in ("table10", "delta", "table2")]
    assert tables_of(runs) == ["delta", "table2", "table10"]


def test_the_shortest_and_longest_warmup_are_compared_and_no_beginnings_of_others() -> None:
    pair = compared_pair("table4", RUNS)
    assert pair is not None
    assert [r.iters for r in pair] == [12, 60]
    assert compared_pair("table4", RUNS[:4]) is None


def links_of(text: str) -> dict[str, str]:
    return dict(re.findall(r"\[([^\]]+)\]\(([^)]+)\)", text))


def asked(link: str) -> dict[str, str]:
    """What an address asks MLflow's pages for."""
    return {name: values[0] for name, values in parse_qs(link.partition("?")[2]).items()}


def test_the_first_line_leads_to_the_table_its_best_run_and_a_comparison() -> None:
    first, *rest = description("7", RUNS, {}).splitlines()
    links = links_of(first)
    assert "/runs/run_high?" in links["F 3x / W 5x: 31.5 ap_det/AP"]
    compared = links["two warmups compared"]
    assert compared.startswith("#/compare-runs?runs="), "MLflow finds them in front only"
    assert json.loads(asked(compared)["runs"]) == ["run_short", "run_long"]
    assert json.loads(asked(compared)["experiments"]) == ["7"]
    assert asked(links["all its runs"])["searchFilter"] == "tags.`table4` LIKE '%'"
    assert asked(links["warmups"])["searchFilter"] == "tags.`kind` = 'warmup'"
    assert rest[0] == "", "MLflow shows the first paragraph and folds the rest"


def view_of(link: str, runs: Sequence[Listed]) -> dict[str, Any]:
    """The view that an address opens, as the experiment keeps it."""
    kept: dict[str, Any] = json.loads(views(runs)[f"mlflow.sharedViewState.{asked(link)['viewStateShareKey']}"])
    return kept


def test_the_link_of_a_table_filters_its_cells_and_puts_the_best_first() -> None:
    wanted = view_of(links_of(description("7", RUNS, {}))["Table 4"], RUNS)
    assert wanted["searchFilter"] == "tags.`table4` LIKE '%' AND tags.`kind` = 'evaluate'"
    assert (wanted["orderByKey"], wanted["orderByAsc"]) == ("metrics.`ap_det/AP`", False)
    columns = wanted["selectedColumns"]
    assert columns[:2] == ["metrics.`ap_det/AP`", "metrics.`ap_e/AP`"], "the metric of most cells first"
    assert {"tags.`cell`", "tags.`kind`", "params.`warmup.iters`"} <= set(columns)


def test_the_first_page_has_all_runs_by_the_figure_that_most_evaluations_print() -> None:
    first = view_of(landing(RUNS).address("7"), RUNS)
    assert (first["searchFilter"], first["orderByKey"], first["orderByAsc"]) == ("", "metrics.`ap_det/AP`", False)
    assert view_of(landing(RUNS[3:]).address("7"), RUNS[3:])["orderByKey"] == "attributes.start_time"


def test_an_address_with_a_view_says_nothing_that_mlflow_would_take_instead_of_it() -> None:
    assert set(asked(landing(RUNS).address("7"))) == {"workflowType", "viewStateShareKey"}


def test_the_description_lists_the_best_cells_of_a_table_in_order() -> None:
    line = next(line for line in description("7", RUNS, {}).splitlines() if line.startswith("- Table 4, ap_det/AP"))
    assert [*links_of(line)] == ["F 3x / W 5x", "F 1x / W 1x"]
    assert line.endswith(" 20.0")


def test_every_address_says_the_mode_and_models_have_one() -> None:
    links = links_of(description("7", RUNS, {"casl-table4": "`@best`"}))
    assert all("workflowType=machine_learning" in link for link in links.values())
    assert links["casl-table4"].startswith("#/models/casl-table4")


def test_searches_are_two_a_table_one_a_kind_and_what_failed() -> None:
    assert [search.name for search in searches(RUNS)] == [
        *("table4", "table4-all", "contrasts", "labelers", "pseudolabels", "warmups", "finetunes", "joints", "failed")
    ]


def test_an_unchanged_experiment_has_an_unchanged_description() -> None:
    assert description("7", RUNS, {}) == description("7", list(RUNS), {})


def test_addresses_survive_quoting() -> None:
    assert "attributes.run_id IN ('a','b')" in unquote(list_page("7", ["a", "b"]))
    assert '["a", "b"]' in unquote(compare_page([("7", "a"), ("7", "b")]))
    assert not re.search(r"[()\[\] \"]", compare_page([("7", "a"), ("7", "b")])), "these end a Markdown link"
    assert not re.search(r"[()\[\] \"]", list_page("7", ["a", "b"]))


def test_a_best_detector_for_each_metric_and_default_parts_are_registered() -> None:
    trained = {"evaluate-high": "finetune-high", "evaluate-low": "finetune-low", "evaluate-other": "warmup-long"}
    found = {(w.name, w.alias): w.stage for w in wanted("casl mini scenes", RUNS, trained)}
    assert found == {
        ("casl-mini-scenes-table4", "best"): "finetune-high",
        ("casl-mini-scenes-table4", "best-ap_det"): "finetune-high",
        ("casl-mini-scenes-table4", "best-ap_e"): "warmup-long",
        ("casl-mini-scenes-warmup", "default"): "warmup-long",
    }


SEARCH = Search(
    "s", "delta", "warmup.threshold", 0.3, "mini", "scenes", True, "table4: F 3x / W 5x", "final", {}, 1, {}
)  # fmt: skip


def searched(objective: str) -> list[Listed]:
    """Runs of a search over two values: labels scored once, and by value a warmup's number and a final one."""
    search = replace(SEARCH, objective=objective)
    trials = [Trial(n, value, "done") for n, value in enumerate((0.15, 0.45))]
    values = [[search.place(t, f"{role}, seed 0") for t in trials] for role in ("scores", "warmup", "final")]
    scores = replace(cell("scores", "", 90.0, metric="ap_e"), places={search.slug: values[0]})
    warm = [cell(f"warm{n}", p, 40.0 + n, search.slug, "ap_e") for n, p in enumerate(values[1])]
    final = [cell(f"final{n}", p, 20.0 - n, search.slug) for n, p in enumerate(values[2])]
    return [scores, *warm, *(final if objective == "final" else [])]


def test_the_best_of_a_search_is_that_of_its_objective() -> None:
    """Not the labeler's own number, which is one for all values, nor that of the warmups."""
    runs = searched("final")
    assert "delta 0.15: 20.0 ap_det/AP" in links_of(description("7", runs, {}))
    trained = {run.name: f"finetune-{run.name}" for run in runs}
    assert {(w.alias, w.stage) for w in wanted("x", runs, trained)} == {
        ("best", "finetune-evaluate-final0"), ("best-ap_det", "finetune-evaluate-final0"),
    }  # fmt: skip


def test_a_search_by_labels_alone_has_no_best_run_and_registers_none() -> None:
    runs = searched("proxy")
    assert "best" not in description("7", runs, {}).splitlines()[0]
    assert wanted("x", runs, {run.name: "labeler-x" for run in runs}) == []
    assert "search-delta-all" in [search.name for search in searches(runs)], "they are listed all the same"
