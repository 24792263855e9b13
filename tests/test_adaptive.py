"""Adaptive labeling in profile smoke, as a user runs it: `casl run adaptive --profile smoke`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from casl.cli import main


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "count"),
    [(["--cell", "70% of stage 3", "warmup AP^e"], 1), pytest.param([], 14, marks=pytest.mark.long)],
    ids=["one", "all"],
)
def test_every_labeler_and_its_target_are_measured(cell: list[str], count: int, tmp_path: Path) -> None:
    places = ["--profile", "smoke", "--store", str(tmp_path / "store")]
    done = subprocess.run(
        [sys.executable, "-m", "casl", "run", "adaptive", *places, *cell], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert main(["report", "adaptive", *places, "--reports", str(tmp_path / "reports")]) == 0
    table = json.loads((tmp_path / "reports" / "smoke" / "adaptive.json").read_text())
    assert sum(cell["status"] == "done" for cell in table["cells"]) == count
    skipping = [
        p
        for p in (tmp_path / "store" / "stages").glob("labeler-*")
        if "watched_usage" in (p / "curves.csv").read_text()
    ]
    assert len(skipping) >= (3 if count == 14 else 1)
