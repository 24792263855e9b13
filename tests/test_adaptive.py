"""Adaptive labeling: one labeler and its target, and at length `casl run adaptive --profile smoke`."""

from __future__ import annotations

from pathlib import Path

import pytest

from casl.runner.store import Store
from tests.smoke import LABELING, measured, tables_of

pytestmark = pytest.mark.slow
ONE = ("70% of stage 3", "warmup AP^e")


def skipping(store: Path) -> int:
    """Labelers in a store that left blocks out."""
    return sum("watched_usage" in path.read_text() for path in store.glob("stages/labeler-*/curves.csv"))


def test_a_labeler_and_its_target_are_measured(tmp_path: Path) -> None:
    found = measured(["adaptive"], Store(tmp_path), LABELING, lambda cell: (cell.row, cell.column) == ONE)["adaptive"]
    assert [(c.row, c.column) for c in found.cells if c.value is not None] == [ONE] and skipping(tmp_path) >= 1


@pytest.mark.long
def test_every_labeler_and_its_target_are_measured(tmp_path: Path) -> None:
    table = tables_of(["adaptive"], tmp_path)["adaptive"]
    assert [cell["status"] for cell in table["cells"]] == ["done"] * 14
    assert skipping(tmp_path / "store") >= 3
