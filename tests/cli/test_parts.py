"""`--cell`, `--row` and `--only-seed`: a part of a study's tables."""

from __future__ import annotations

import json
import shlex
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import casl
from casl.cli import main, parser
from casl.cli.study import open_study
from casl.cli.workers import next_command
from casl.errors import SpecError

ROWS = ("CA-SSL", "STAC")


def planned(capsys: pytest.CaptureFixture[str], tmp_path: Path, *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["plan", *words, "--profile", "smoke", "--store", str(tmp_path / "store"), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_rows_are_all_cells_of_these(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [word for row in ROWS for word in ("--row", row)]
    some, whole = (planned(capsys, tmp_path, "rivals", "--seeds", "2", *words) for words in (rows, []))
    assert some["cells"] == 4 < whole["cells"], "two rows of one column and two seeds"
    names = {stage["name"] for stage in some["stages_to_run"]}
    assert names < {stage["name"] for stage in whole["stages_to_run"]}
    one = planned(capsys, tmp_path, "rivals", "--seeds", "2", *rows, "--only-seed", "1")
    assert one["cells"] == 2 and {stage["name"] for stage in one["stages_to_run"]} < names
    by_cell = [planned(capsys, tmp_path, "rivals", "--seeds", "2", "--cell", row, "AP^det") for row in ROWS]
    assert names == {stage["name"] for plan in by_cell for stage in plan["stages_to_run"]}


def test_a_row_of_one_table_leaves_the_others_out(tmp_path: Path) -> None:
    words = ["plan", "table1", "rivals", "table4", "--row", "STAC", "--row", "F 2x", "--profile", "smoke"]
    study = open_study(parser().parse_args([*words, "--store", str(tmp_path / "store")]), make=False)
    assert [*study.tables] == [*study.cells] == ["rivals", "table4"] and study.heading == "rivals, table4"
    assert {c.row for seeds in study.cells.values() for cells in seeds for c in cells} == {"STAC", "F 2x"}
    whole = open_study(parser().parse_args([*words[:1], "rivals", "table4", *words[-2:]]), make=False)
    assert study.name != whole.name, "the store remembers them apart"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("rivals --row 'Soft Techer'", "did you mean 'Soft Teacher'"),
        ("rivals table4 --row STAC --row 'F 22x'", "row of rivals, table4 'F 22x'"),
        ("table8 --row 'CA-SSL, 1.74M'", "known: 'CA-SSL, 1.74M, Swin-T FCOS', 'CA-SSL, 3.66M, Swin-L HTC++', "),
        (
            "table8 rivals --row STAC --row 'DetCo, 1.28M, R-50 Mask R-CNN'",
            "table8, rivals: DetCo, 1.28M, R-50 Mask R-CNN is only quoted from the paper",
        ),
        ("table8 --row 'DetCo, 1.28M, R-50 Mask R-CNN'", "only quoted from the paper; there is nothing to run"),
    ],
)
def test_a_row_without_anything_to_run_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, sentence: str
) -> None:
    where = ["--profile", "smoke", "--store", str(tmp_path / "store")]
    assert main(["plan", *shlex.split(words), *where]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())


def test_a_cell_and_a_row_are_too_much(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["plan", "rivals", "--row", "STAC", "--cell", "STAC", "AP^det"])
    assert "not allowed with argument" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["plan", "run", "tune"])
def test_a_second_cell_is_refused_and_does_not_take_the_firsts_place(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([verb, "table4", "--cell", "F 2x", "W 3x", "--cell", "F 3x", "W 3x"])
    assert "takes one cell, and was given two" in capsys.readouterr().err


def test_whole_tables_are_needed_to_add_seeds_until_claims_are_decided(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "claims", "--until", "decided", "--budget", "1h", "--row", "STAC"]) == 2
    assert "--cell, --row and --only-seed" in capsys.readouterr().err


def test_rows_are_repeated_in_the_next_command() -> None:
    typed = "casl run rivals --profile smoke --row CA-SSL --row 'no warmup'"
    assert next_command("run", parser().parse_args(shlex.split(typed)[1:])) == typed


def test_python_gives_each_value_of_a_repeated_option_by_itself(tmp_path: Path) -> None:
    smoke = partial(casl.Study, profile="smoke", store=tmp_path / "store")
    study = smoke("rivals", row=ROWS, option=["slurm.partition=gpu", "slurm.qos=high"])
    assert study.plan().attrs["cells"] == 2 and list(study.table().index) == list(ROWS)
    assert smoke("rivals", row="STAC").plan().attrs["cells"] == 1
    one = smoke("table4", cell=("F 2x", "W 3x"))
    assert one.table().shape == (1, 1), "also without what it is compared with"
    with pytest.raises(SpecError, match="row of rivals"):
        smoke("rivals", row=["STACK"])
