"""Tables read back from their reports are the tables that were written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from casl.report.index import refresh_index
from casl.report.render import to_json, write_table
from casl.report.stored import read_table, stored_tables
from casl.report.table import Table
from casl.report.wording import headline, untold
from casl.spec.ablation import Origin
from casl.spec.run import DRAWS
from tests.report.sample import cells, done, full, gappy, stage_of, table, tabled

NUMBERS = {("a", "x", "ap_det", "AP"): ([1.0, None, 3.5], 2.0), ("b", "x", "ap_det", "AP"): (None, 7.0)}


def read(folder: Path, ids: dict[str, str] | None = None) -> tuple[list[Table], list[str]]:
    return stored_tables(folder, lambda name: folder / "store" / name, (ids or {}).get)


@pytest.mark.parametrize(
    "written",
    [
        full(),
        gappy(),
        tabled("table8", NUMBERS, baseline="a", figure="bars", note="by others"),
        replace(full(), origin=Origin("./mine.py", "ab12"), options=(("size", "96"),), notes=("a note",)),
    ],
    ids=["full", "gappy", "quoted", "of a file"],
)
def test_a_table_is_read_back_as_it_was_written(written: Table, tmp_path: Path) -> None:
    write_table(written, tmp_path)
    ids = {r.name: r.mlflow_run_id for c in written.cells for r in c.repetitions if r.mlflow_run_id}
    assert read(tmp_path, ids) == ([written], [])


def test_a_file_that_does_not_say_what_cells_share_is_taken_for_independent_and_says_so(tmp_path: Path) -> None:
    made = tabled(
        "mine", {("a", "x", "ap_det", "AP"): ([1.0, 2.0], None), ("b", "x", "ap_det", "AP"): ([2.0, 4.0], None)}
    )
    record = json.loads(to_json(made))
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(record))
    assert untold(read_table(file)) == "" == untold(made)
    for cell in record["cells"]:
        for repetition in cell["repetitions"]:
            del repetition["shares"]
    file.write_text(json.dumps(record))
    old = read_table(file)
    assert "taken for independent" in untold(old) and untold(old) in headline(old)
    assert all(cell.shares == {0: (), 1: ()} for cell in old.cells)


def test_runs_are_those_that_mlflow_has_now(tmp_path: Path) -> None:
    write_table(full(), tmp_path)
    ((found,), _) = read(tmp_path)
    assert not any(c.mlflow_run_id or any(r.mlflow_run_id for r in c.repetitions) for c in found.cells)


def test_draws_come_from_the_store(tmp_path: Path) -> None:
    one = cells()
    written = table([one], [done(stage_of(c), AP=20.0) for c in one])
    write_table(written, tmp_path)
    folder = tmp_path / "store" / stage_of(one[1]).name
    folder.mkdir(parents=True)
    (folder / DRAWS).write_text("[19.5, 20.5]")
    ((found,), _) = read(tmp_path)
    assert [c.draws for c in found.cells] == [{}, {0: (19.5, 20.5)}, {}, {}]


@pytest.mark.parametrize("damage", ["cut", "field", "shape"])
def test_a_table_that_cannot_be_read_is_named_and_the_others_are_read(tmp_path: Path, damage: str) -> None:
    write_table(full(), tmp_path)
    write_table(tabled("table7", NUMBERS), tmp_path)
    path = tmp_path / "table7.json"
    record = json.loads(path.read_text())
    if damage == "field":
        del record["row_axis"]
    record["cells"] = [7] if damage == "shape" else record["cells"]
    path.write_text(json.dumps(record)[: 40 if damage == "cut" else None])
    found, said = read(tmp_path)
    assert [t.name for t in found] == ["table4"]
    assert len(said) == 1 and "table7.json" in said[0] and "casl report" in said[0]


def test_tables_are_in_the_order_of_the_registry_then_yours(tmp_path: Path) -> None:
    for name in ("mine", "table10", "table2", "another"):
        write_table(tabled(name, NUMBERS), tmp_path)
    (tmp_path / "claims.json").write_text('{"claims": []}')
    assert [t.name for t in read(tmp_path)[0]] == ["table2", "table10", "another", "mine"]


def test_a_table_that_another_command_writes_meanwhile_is_in_the_index(tmp_path: Path) -> None:
    write_table(full(), tmp_path)
    calls: list[list[Table]] = []

    def slow() -> list[Table]:
        tables = read(tmp_path)[0]
        if not calls:
            write_table(tabled("table7", NUMBERS), tmp_path)  # another command, after this one has read
        calls.append(tables)
        return tables

    refresh_index([], tmp_path, slow)
    assert 'id="table7"' in (tmp_path / "index.html").read_text()
    assert len(calls) == 2, "and no more often than that"
