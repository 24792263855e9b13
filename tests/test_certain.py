"""Tables of certainty-aware pseudo labels: some, and at length all in profile smoke, as a user runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from casl.catalog import DISSERTATION
from casl.report.table import PUBLISHED
from casl.runner.store import Store
from tests.smoke import measured, tables_of

pytestmark = pytest.mark.slow
TABLES = [name for name in DISSERTATION if name.startswith("certain_")]
SOME = ["certain_3_4", "certain_tail"]  # the parts of the method, and classes that are rare


def test_every_cell_of_some_tables_is_measured(tmp_path: Path) -> None:
    for name, table in measured(SOME, Store(tmp_path)).items():
        states = {cell.status for cell in table.cells}
        assert states <= {"done", PUBLISHED} and "done" in states, name
        values = [cell.value for cell in table.cells if cell.status == "done" and cell.value is not None]
        assert values and all(0.0 <= value <= 100.0 for value in values), name


@pytest.mark.long
def test_every_cell_is_measured_or_quoted(tmp_path: Path) -> None:
    for name, table in tables_of(TABLES, tmp_path).items():
        states = {cell["status"] for cell in table["cells"]}
        assert states <= {"done", PUBLISHED} and "done" in states, name
        for cell in table["cells"]:
            assert cell["status"] == PUBLISHED or 0.0 <= cell["value"] <= 100.0
