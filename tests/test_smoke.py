"""The whole of Table 4 in profile smoke, as a user runs it: once in peace, once killed at ten random moments."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
KILLS = 10


def command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "casl", "run", "table4", "--profile", "smoke", "--store", str(folder / "store")]


def table(folder: Path) -> dict[str, Any]:
    places = ["--store", str(folder / "store"), "--reports", str(folder / "reports")]
    report = [sys.executable, "-m", "casl", "report", "table4", "--profile", "smoke", *places]
    subprocess.run(report, check=True, capture_output=True)
    result: dict[str, Any] = json.loads((folder / "reports" / "smoke" / "table4.json").read_text())
    return result


@pytest.fixture(scope="module")
def peaceful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("peaceful")
    done = subprocess.run(command(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_all_25_cells_are_measured_and_traceable(peaceful: Path) -> None:
    cells = table(peaceful)["cells"]
    assert len(cells) == 25
    for cell in cells:
        assert cell["status"] == "done" and cell["seeds"] == 1
        assert 0.0 <= cell["value"] <= 100.0
        assert cell["mlflow_run_id"] and cell["key"]
    assert len({cell["key"] for cell in cells}) == 25
    assert len({cell["value"] for cell in cells}) > 5


def test_a_second_run_trains_nothing(peaceful: Path) -> None:
    done = subprocess.run(command(peaceful), capture_output=True, text=True, check=True)
    assert "to run       0 stages" in done.stdout
    assert "MLflow: 0 new runs" in done.stdout


def test_predictions_and_pseudo_labels_can_be_looked_at(peaceful: Path) -> None:
    stages = peaceful / "store" / "stages"
    assert len(list(stages.glob("evaluate-*/pictures/predictions.png"))) == 25
    assert len(list(stages.glob("pseudolabel-*/pictures/pseudo_labels.png"))) == 1


def test_killed_at_ten_random_moments_the_numbers_are_the_same_bit_for_bit(peaceful: Path, tmp_path: Path) -> None:
    draw = random.Random(0)
    for _ in range(KILLS):
        running = subprocess.Popen(command(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(draw.uniform(1.0, 10.0))
        os.kill(running.pid, signal.SIGKILL)  # the runner only: its workers must go by themselves
        running.wait()
    subprocess.run(command(tmp_path), check=True, capture_output=True)
    expected = {(c["row"], c["column"]): c["value"] for c in table(peaceful)["cells"]}
    assert {(c["row"], c["column"]): c["value"] for c in table(tmp_path)["cells"]} == expected
