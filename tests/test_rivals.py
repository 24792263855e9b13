"""Rivals in profile smoke, as a user runs them: some cells, and at length `make rivals PROFILE=smoke`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ablations import rivals
from ablations.profiles import SMOKE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # minutes alone, more where others compute too
FIXED, AVERAGED = pytest.param(rivals.STAC, marks=pytest.mark.long), rivals.SOFT  # teachers of methods


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("rivals"))


def run(made: Path, *words: str) -> Path:
    """A folder with a store in it, in which the table has been run."""
    typed = ["run", "rivals", "--profile", "smoke", "--store", str(made / "store"), *words]
    done = subprocess.run([sys.executable, "-m", "casl", *typed], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return made


def reported(folder: Path) -> dict[str, Any]:
    places = ["--store", str(folder / "store"), "--reports", str(folder / "reports")]
    report = ["report", "rivals", "--profile", "smoke", *places]
    subprocess.run([sys.executable, "-m", "casl", *report], capture_output=True, check=True)
    table: dict[str, Any] = json.loads((folder / "reports" / "smoke" / "rivals.json").read_text())
    return table


@pytest.mark.parametrize("row", [AVERAGED, FIXED])
def test_one_method_is_measured_without_the_others(row: str, tmp_path: Path) -> None:
    table = reported(run(tmp_path, "--cell", row, rivals.STUDENT))
    cells = {c["row"]: c for c in table["cells"] if c["column"] == rivals.STUDENT}
    assert [name for name, cell in cells.items() if cell["status"] == "done"] == [row]
    assert 0.0 <= cells[row]["value"] <= 100.0 and "with all stages that it needs" in cells[row]["note"]


@pytest.mark.long
def test_every_method_is_measured_and_told_beside_its_cost(folder: Path) -> None:
    table = reported(folder)
    assert table["rows"] == list(rivals.models(SMOKE))
    for cell in table["cells"]:
        assert cell["status"] == "done" and 0.0 <= cell["value"] <= 100.0
    assert len({cell["key"] for cell in table["cells"]}) == len(table["cells"]) == len(table["rows"]) + 3
    assert sum(cell["column"] == rivals.TEACHER for cell in table["cells"]) == 3
    assert sum("with all stages that it needs" in cell["note"] for cell in table["cells"]) == len(table["rows"])


@pytest.mark.long
def test_student_and_teacher_of_a_method_are_different_weights(folder: Path) -> None:
    joint = [path for path in (folder / "store" / "stages").glob("joint-*") if (path / "teacher.safetensors").exists()]
    assert len(joint) == 6  # three trainings and the beginning of each, which other lengths would share
    for path in joint:
        assert (path / "teacher.safetensors").read_bytes() != (path / "model.safetensors").read_bytes()
