"""All tables of certainty-aware pseudo labels in profile smoke, as a user runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from casl.catalog import DISSERTATION
from casl.report.table import PUBLISHED
from tests.smoke import shared_store, tables_of

pytestmark = pytest.mark.slow
TABLES = [name for name in DISSERTATION if name.startswith("certain_")]
SOME = ["certain_3_4", "certain_tail"]  # the parts of the method, and classes that are rare


@pytest.mark.parametrize("tables", [SOME, pytest.param(TABLES, marks=pytest.mark.long)], ids=["some", "all"])
def test_every_cell_is_measured_or_quoted(
    tables: list[str], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for name, table in tables_of(tables, shared_store(tmp_path_factory), tmp_path).items():
        states = {cell["status"] for cell in table["cells"]}
        assert states <= {"done", PUBLISHED} and "done" in states, name
        for cell in table["cells"]:
            assert cell["status"] == PUBLISHED or 0.0 <= cell["value"] <= 100.0
