"""Table 4 of profile smoke through the command line, and what is compared between launchers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def command(store: Path, *more: str, python: str = sys.executable) -> list[str]:
    study = ["table4", "--profile", "smoke", "--store", str(store), "--device", "cpu"]
    return [python, "-m", "casl", "run", *study, *more]


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """This one, with the code under test first."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def run(
    store: Path, *more: str, within: Mapping[str, str] | None = None, python: str = sys.executable
) -> subprocess.CompletedProcess[str]:
    line = command(store, *more, python=python)
    return subprocess.run(line, env=environment(within or {}), capture_output=True, text=True, check=False)


def values(store: Path) -> list[tuple[str, str, str, float]]:
    """Every cell of table4.json: row, column, key, value."""
    study = ["table4", "--profile", "smoke", "--store", str(store), "--reports", str(store / "reports")]
    report = [sys.executable, "-m", "casl", "report", *study]
    subprocess.run(report, env=environment({}), check=True, capture_output=True)
    cells: list[dict[str, Any]] = json.loads((store / "reports" / "smoke" / "table4.json").read_text())["cells"]
    return [(cell["row"], cell["column"], cell["key"], cell["value"]) for cell in cells]
