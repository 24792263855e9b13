"""Recall and AP of classes in `casl report`, over a store of made-up results with predictions of scenes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from casl import catalog
from casl.cli import main
from casl.cli.further import GONE, MEMORY, OF_SOME, RULES, Further
from casl.metrics.recall import ar_det_a
from casl.report.stored import read_tables
from casl.runner.store import Store
from casl.spec import Cell, Evaluate, Profile, evaluate
from casl.spec.run import PREDICTIONS
from tests.golden.studies import write_store
from tests.stages.test_kept import lay

SMOKE: Profile = catalog.load("profile", "smoke")


def evaluations(table: str) -> list[Evaluate]:
    return [c.stage for c in catalog.load("ablation", table).build(SMOKE) if c.stage]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Evaluate, dict[str, float]]:
    """A store, the evaluation of table 1 whose predictions it kept, and its recall."""
    tmp_path = tmp_path_factory.mktemp("kept")
    root = tmp_path / "store"
    write_store(root)
    found = next(s for s in evaluations("table1") if (root / "stages" / s.name).exists() and s.metric == "ap_det_a")
    (root / "stages" / found.name).rename(tmp_path / "aside")
    gt, dt = lay(root / "stages", found)
    (root / "stages" / found.name / PREDICTIONS).rename(tmp_path / "aside" / PREDICTIONS)
    (root / "stages" / found.name).rmdir()
    (tmp_path / "aside").rename(root / "stages" / found.name)
    return root, found, ar_det_a(gt, dt)


def report(root: Path, *words: str) -> Path:
    reports = root.parent / "reports"
    assert main(["report", *words, "--profile", "smoke", "--store", str(root), "--reports", str(reports)]) == 0
    return reports / "smoke"


def read(path: Path) -> Any:
    return json.loads(path.read_bytes())


def test_recall_is_counted_from_predictions_and_what_has_none_says_so(
    store: tuple[Path, Evaluate, dict[str, float]],
) -> None:
    root, judged, expected = store
    folder = report(root, "table1")
    lines = read(folder / "table1.json")["recall"]
    counted = [line for line in lines if line["metric"]]
    assert [line["column"] for line in counted] == ["class-agnostic"]
    assert {name: [expected[name]] for name in ("AR1", "AR10", "AR100")} == counted[0]["values"]
    assert all(line["notes"] == [GONE] for line in lines if not line["metric"]) and len(lines) > 1
    assert "## Recall without classes" in (folder / "table1.md").read_text()
    # a damaged memory is counted again
    for damage in ("", "7", '{"rules": 1, "recall": 7}', '{"rules": 1, "recall": {"metric": "ar_det_a"}}'):
        (root / MEMORY / f"{judged.name}.json").write_text(damage)
        report(root, "table1")
        assert read(folder / "table1.json")["recall"] == lines
    # a second report counts nothing anew, and shows the same
    kept, before = root / "stages" / judged.name / PREDICTIONS, (folder / "table1.html").read_bytes()
    kept.rename(kept.with_suffix(".aside"))
    assert (report(root, "table1") / "table1.html").read_bytes() == before
    kept.with_suffix(".aside").rename(kept)


def test_finetuned_models_have_no_recall_beside_them(store: tuple[Path, Evaluate, dict[str, float]]) -> None:
    folder = report(store[0], "table4")
    assert "recall" not in read(folder / "table4.json")


def test_ap_of_classes_is_a_page_of_its_own_that_is_asked_for(
    store: tuple[Path, Evaluate, dict[str, float]],
) -> None:
    root, _, _ = store
    assert not (report(root, "table1") / "classes-table1.md").exists()
    folder = report(root, "table1", "--per-class")
    assert sorted(p.suffix for p in folder.glob("classes-table1.*")) == [".html", ".json", ".md", ".png", ".svg"]
    assert report(root, "table4") == folder  # the index is made from the tables alone, whatever lies beside them
    assert "classes-table1.html" in (folder / "index.html").read_text()


def test_pages_beside_a_table_are_no_tables(
    store: tuple[Path, Evaluate, dict[str, float]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = report(store[0], "table1", "--errors", "--per-class", "--curves")
    assert report(store[0], "table1") == folder and "cannot be read" not in capsys.readouterr().err
    assert [table.name for table in read_tables(folder)].count("table1") == 1


def test_kinds_of_errors_are_a_page_of_their_own_that_is_asked_for(
    store: tuple[Path, Evaluate, dict[str, float]],
) -> None:
    root, judged, _ = store
    folder = report(root, "table1", "--errors")
    assert sorted(p.suffix for p in folder.glob("errors-table1.*")) == [".html", ".json", ".md", ".png", ".svg"]
    lines = read(folder / "errors-table1.json")["lines"]
    (counted,) = (line for line in lines if line["ap"])
    assert counted["column"] == "class-agnostic" and "classification" not in counted["counts"]
    assert len(counted["counts"]["missed"]) == 1
    assert all(line["notes"] == [GONE] for line in lines if not line["ap"]) and len(lines) > 1
    assert "errors-table1.html" in (folder / "index.html").read_text() + (folder / "table1.html").read_text()
    for damage in ('{"rules": 1, "errors": {"AP50": 7}}', '{"rules": 1, "errors": {"AP50": 7, "counts": 0}}'):
        (root / MEMORY / f"{judged.name}.json").write_text(damage)
        report(root, "table1", "--errors")
        assert read(folder / "errors-table1.json")["lines"] == lines


def test_a_probe_of_a_backbone_has_no_recall_and_is_no_error(store: tuple[Path, Evaluate, dict[str, float]]) -> None:
    root, _, _ = store
    cell = Cell("random", "crops", "linear_probe", evaluate(SMOKE, None, "linear_probe"))
    assert Further(Store(root), {}, {}).recall(cell) is None


def test_a_cell_about_some_classes_has_the_ap_of_these(store: tuple[Path, Evaluate, dict[str, float]]) -> None:
    root, judged, _ = store
    runs: dict[str, Any] = {}
    run = Store(root).run(judged.name)
    whole = replace(judged, metric="ap_det")
    some = replace(whole, classes=(0, 3))
    assert run is not None
    further = Further(Store(root), runs, {})
    counted = [{"name": f"class {n}", "objects": n, "ap": 10.0 * n, "ap50": 12.0 * n} for n in range(8)]
    for evaluation in (whole, some):
        runs[evaluation.name] = replace(run, name=evaluation.name)
        memory = root / MEMORY / f"{evaluation.name}.json"
        memory.parent.mkdir(exist_ok=True)
        memory.write_text(json.dumps({"rules": RULES, "classes": counted}))
    of_all, of_some = (further.by_class(Cell("labels", "all", "ap_det", stage)) for stage in (whole, some))
    assert of_all == counted and of_some == [counted[0], counted[3]]


def test_a_cell_about_some_classes_has_no_errors_of_all(store: tuple[Path, Evaluate, dict[str, float]]) -> None:
    root, judged, _ = store
    cell = Cell("labels", "disc", "ap_det", replace(judged, metric="ap_det", classes=(0,)))
    assert Further(Store(root), {}, {}).errors(cell) == OF_SOME
