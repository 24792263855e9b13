"""All tables of certainty-aware pseudo labels in profile smoke, as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from casl.catalog import DISSERTATION
from casl.report.table import PUBLISHED

pytestmark = pytest.mark.slow
TABLES = [name for name in DISSERTATION if name.startswith("certain_")]
SOME = ["certain_3_4", "certain_tail"]  # the parts of the method, and classes that are rare


@pytest.mark.parametrize("tables", [SOME, pytest.param(TABLES, marks=pytest.mark.long)], ids=["some", "all"])
def test_every_cell_is_measured_or_quoted(tables: list[str], tmp_path: Path) -> None:
    places = ["--profile", "smoke", "--store", str(tmp_path / "store")]
    for words in (["run", *tables, *places], ["report", *tables, *places, "--reports", str(tmp_path / "reports")]):
        done = subprocess.run([sys.executable, "-m", "casl", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    for name in tables:
        table: dict[str, Any] = json.loads((tmp_path / "reports" / "smoke" / f"{name}.json").read_text())
        states = {cell["status"] for cell in table["cells"]}
        assert states <= {"done", PUBLISHED} and "done" in states, name
        for cell in table["cells"]:
            assert cell["status"] == PUBLISHED or 0.0 <= cell["value"] <= 100.0
