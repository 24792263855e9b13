"""HTC++ in parts in profile smoke, as a user runs it: one cell, and at length `casl run htc_8 --profile smoke`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ablations import htc

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # minutes alone, more where others compute too


def run(folder: Path, *words: str) -> dict[str, Any]:
    """The table, some or all of whose cells have been run."""
    places = ["htc_8", "--profile", "smoke", "--store", str(folder / "store")]
    typed = [sys.executable, "-m", "casl", "run", *places, *words]
    done = subprocess.run(typed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = ["report", *places, "--reports", str(folder / "reports")]
    subprocess.run([sys.executable, "-m", "casl", *report], capture_output=True, check=True)
    table: dict[str, Any] = json.loads((folder / "reports" / "smoke" / "htc_8.json").read_text())
    return table


def test_the_whole_of_it_is_measured_after_a_warmup(tmp_path: Path) -> None:
    row, column = list(htc.ROWS)[-1], htc.COLUMNS[1]
    found = [c for c in run(tmp_path, "--cell", row, column)["cells"] if c["status"] == "done"]
    assert [(c["row"], c["column"]) for c in found] == [(row, column)] and 0.0 <= found[0]["value"] <= 100.0


@pytest.mark.long
def test_every_part_is_measured_without_and_with_a_warmup(tmp_path: Path) -> None:
    table = run(tmp_path)
    assert table["rows"] == list(htc.ROWS) and len(table["cells"]) == 2 * len(htc.ROWS)
    for cell in table["cells"]:
        assert cell["status"] == "done" and 0.0 <= cell["value"] <= 100.0
    assert len({cell["key"] for cell in table["cells"]}) == len(table["cells"])
    trained = list((tmp_path / "store" / "stages").glob("finetune-*"))
    assert len(trained) == 8  # two detectors with two starts, and the beginning that other lengths would share of each
