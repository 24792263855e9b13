"""What an experiment shows: its description, its searches and its models."""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qs, unquote

from casl.tracking.address import compare_page, list_page
from casl.tracking.experiment import Listed, best, compared_pair, description, main_metric, searches, tables_of
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
    assert asked(links["warmups"])["searchFilter"] == "tags.`casl.kind` = 'warmup'"
    assert rest[0] == "", "MLflow shows the first paragraph and folds the rest"


def test_the_link_of_a_table_filters_its_cells_and_puts_the_best_first() -> None:
    wanted = asked(links_of(description("7", RUNS, {}))["Table 4"])
    assert wanted["searchFilter"] == "tags.`table4` LIKE '%' AND tags.`casl.kind` = 'evaluate'"
    assert (wanted["orderByKey"], wanted["orderByAsc"]) == ("metrics.`ap_det/AP`", "false")


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
