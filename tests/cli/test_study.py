"""The options of a study, and what they ask for."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import pytest

from casl.cli import main, parser
from casl.cli.study import request_of
from casl.study.request import StudyRequest


def requested(words: str) -> StudyRequest:
    return request_of(parser().parse_args(shlex.split(words)))


@pytest.mark.parametrize("verb", ["plan", "run", "report", "sync", "costs"])
def test_a_table_alone_asks_for_what_python_asks_for_by_it(verb: str) -> None:
    assert requested(f"{verb} table4 mine.py") == StudyRequest(("table4", "mine.py"))


def test_tables_that_are_named_by_an_option_ask_for_the_same() -> None:
    assert requested("store explain warmup-1 --tables table4") == StudyRequest(("table4",))
    assert requested("store export --tables table4 -o x.tar") == StudyRequest(("table4",))


def test_every_option_of_a_study_is_asked_for() -> None:
    words = (
        "run table4 --profile smoke --data sets/coins --crowds-are-objects --seeds 3 --store S --provider detectron2 "
        "--size 96 --rule B --batch-size 4 --iters-1x 50 --set warmup.threshold=0.4 --set finetune.lr=1e-3 "
        "--only-seed 0"
    )
    whole = StudyRequest(
        tables=("table4",),
        profile="smoke",
        data=Path("sets/coins"),
        crowds_are_objects=True,
        seeds=3,
        store=Path("S"),
        provider="detectron2",
        size=96,
        rule="B",
        batch_size=4,
        iters_1x=50,
        values=("warmup.threshold=0.4", "finetune.lr=1e-3"),
        only_seed=0,
    )
    assert requested(f"{words} --cell 'F 2x' 'W 3x'") == dataclasses.replace(whole, cell=("F 2x", "W 3x"))
    assert requested(f"{words} --row 'F 2x' --row 'F 3x'") == dataclasses.replace(whole, rows=("F 2x", "F 3x"))


def test_warnings_about_data_are_printed_before_what_refuses_the_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, store = str(tmp_path / "coins"), str(tmp_path / "store")
    assert main(["data", "scenes", data, "--labeled", "3", "--unlabeled", "3", "--val", "3"]) == 0
    capsys.readouterr()
    study = ["plan", "table4", "--profile", "smoke", "--store", store, "--data", data]
    assert main([*study, "--size", "5"]) == 2
    out, err = capsys.readouterr()
    assert out.startswith("data set coins: 3 labeled (entities)")
    assert err.startswith("warning: ") and err.index("cannot be learned") < err.index("from 32 to 4096 px")
    assert main([*study, "--json"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("{") and "data set coins" in err
