"""Numbers shipped beside reports: a store takes them in, and they are those of the tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from casl.catalog import row
from casl.report.stored import read_tables
from casl.report.table import read_draws
from casl.runner.archive import read_archive
from casl.runner.store import Store

SHIPPED = sorted((Path(__file__).resolve().parents[2] / "reports" / "published").glob("*/numbers.tar"))


@pytest.mark.parametrize("archive", SHIPPED, ids=lambda path: path.parent.name)
def test_shipped_numbers_are_those_of_the_tables_beside_them(archive: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    outcome = read_archive(store, archive)
    assert outcome.damaged == {} and outcome.added
    reported = {
        (one.name, cell.figure, row("metric", cell.metric).headline == cell.figure): one.value
        for table in read_tables(archive.parent)
        for cell in table.cells
        for one in cell.repetitions
        if one.value is not None and one.name in outcome.added
    }
    assert {name for name, *_ in reported} == set(outcome.added), "numbers that no table reports"
    for (name, figure, drawn), value in reported.items():
        run = store.run(name)
        assert run.metrics[figure] == value
        assert not run.dirty and "predictions.json" not in run.files
        draws = read_draws(run.folder) if drawn else ()
        assert not draws or min(draws) < value < max(draws)


def test_some_numbers_are_shipped() -> None:
    assert SHIPPED
