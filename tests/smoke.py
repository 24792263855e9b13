"""Tables of profile smoke as a user runs them, into one store: what they have in common is trained once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NO_MLFLOW = ("--mlflow", "http://127.0.0.1:9")  # none answers there; what it is sent is another test's matter


def shared_store(factory: pytest.TempPathFactory) -> Path:
    """The store of all tests of one session, of pytest-xdist's processes too; stages of other tests may be in it."""
    base = factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "smoke"


def tables_of(names: list[str], store: Path, reports: Path, *part: str) -> dict[str, dict[str, Any]]:
    """Name -> JSON of each table, after `casl run` and `casl report`. part: options that leave cells out of the run."""
    places = [*names, "--profile", "smoke", "--store", str(store), *NO_MLFLOW]
    for words in (["run", *places, *part], ["report", *places, "--reports", str(reports)]):
        done = subprocess.run([sys.executable, "-m", "casl", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return {name: json.loads((reports / "smoke" / f"{name}.json").read_text()) for name in names}
