"""HTC++ in parts: one cell of the whole, and at length `casl run htc_8 --profile smoke`."""

from __future__ import annotations

from pathlib import Path

import pytest

from ablations import htc
from casl.runner.store import Store
from tests.smoke import LABELING, measured, tables_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # minutes alone, more where others compute too


def test_the_whole_of_it_is_measured_after_a_warmup(tmp_path: Path) -> None:
    place = list(htc.ROWS)[-1], htc.COLUMNS[1]
    table = measured(["htc_8"], Store(tmp_path), LABELING, lambda cell: (cell.row, cell.column) == place)["htc_8"]
    (found,) = (cell for cell in table.cells if cell.value is not None)
    assert (found.row, found.column) == place and found.value is not None and 0.0 <= found.value <= 100.0


@pytest.mark.long
def test_every_part_is_measured_without_and_with_a_warmup(tmp_path: Path) -> None:
    table = tables_of(["htc_8"], tmp_path)["htc_8"]
    assert table["rows"] == list(htc.ROWS) and len(table["cells"]) == 2 * len(htc.ROWS)
    for cell in table["cells"]:
        assert cell["status"] == "done" and 0.0 <= cell["value"] <= 100.0
    assert len({cell["key"] for cell in table["cells"]}) == len(table["cells"])
    trained = list((tmp_path / "store" / "stages").glob("finetune-*"))
    assert len(trained) == 8  # two detectors with two starts, and the beginning that other lengths would share of each
