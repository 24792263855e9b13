"""Chapter 4's tables: some, and at length all in profile smoke, as a user runs them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ablations.pretraining import BOXES, CLASSES, CLS, NONE
from casl.report.render import to_json
from casl.runner.store import Store
from tests.smoke import measured, tables_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # minutes alone, more where others compute too
# table -> cells that are measured
MEASURED = {"pre_4_2": 28, "pre_4_3": 9, "pre_4_4": 6, "pre_4_5": 28, "pre_budget": 12, "pre_cls": 10}
SOME = ("pre_4_2", "pre_budget")


@pytest.fixture(
    scope="module", params=[SOME, pytest.param(tuple(MEASURED), marks=pytest.mark.long)], ids=["some", "all"]
)
def tables(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("pretraining")
    if request.param != SOME:
        return tables_of([*request.param], folder)
    return {name: json.loads(to_json(table)) for name, table in measured([*SOME], Store(folder)).items()}


def test_every_cell_is_measured_or_quoted_with_its_reason(tables: dict[str, dict[str, Any]]) -> None:
    for name, table in tables.items():
        for cell in table["cells"]:
            where = (name, cell["row"], cell["column"])
            assert cell["status"] in ("done", "published"), where
            assert cell["note"], where
            if cell["status"] == "done" and cell["value"] is not None:
                assert 0.0 <= cell["value"] <= 100.0, where
    done = {name: sum(c["status"] == "done" for c in table["cells"]) for name, table in tables.items()}
    assert done == {name: MEASURED[name] for name in tables}


def test_starts_differ_and_are_judged_on_the_same_target(tables: dict[str, dict[str, Any]]) -> None:
    if "pre_4_5" in tables:
        whole = {c["row"]: c["value"] for c in tables["pre_4_5"]["cells"] if c["column"] == "mIoU"}
        assert len({whole[row] for row in (NONE, CLS, CLASSES, BOXES)}) == 4
    keys = {(c["row"], c["key"]) for c in tables["pre_4_2"]["cells"] if c["key"]}
    assert len(keys) == len({row for row, _ in keys}) == 7, "one evaluation a row"
    once = {c["key"] for c in tables["pre_budget"]["cells"] if c["row"] == CLASSES}
    assert once == {key for row, key in keys if row == CLASSES}, "budgets share the start of Table 4.2"
