"""What `casl run` says at its end: the best cell of a table, and the next command; on results that are made up."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from casl.cli import main, parser
from casl.cli.ending import best_cell, print_ending
from casl.cli.study import open_study
from casl.cli.workers import next_command
from casl.runner.schedule import Summary
from casl.runner.store import Store
from casl.spec import Cell, evaluate, finetune
from tests.runner.stores import NANO, RECORD


def cells(seed: int) -> tuple[Cell, ...]:
    profile = NANO.with_seed(seed)
    ends = {n: evaluate(profile, finetune(profile, None, schedule=n), "ap_det") for n in (1, 2, 3)}
    return tuple(Cell(f"F {length}x", "AP", "ap_det", end) for length, end in ends.items())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def measured(store: Store, cell: Cell, value: float) -> None:
    assert cell.stage is not None
    work = store.work(cell.stage.name)
    work.mkdir(parents=True)
    store.commit(cell.stage, {**RECORD, "metrics": {"AP": value, "AP50": 99.0}})


def test_the_best_cell_is_the_highest_mean_of_those_with_every_seed(store: Store) -> None:
    seeds = [cells(0), cells(1)]
    found: list[list[float]] = [[10.0, 30.0, 90.0], [20.0, 31.0]]  # the second repetition has no third cell
    for seed, values in zip(seeds, found, strict=True):
        for cell, value in zip(seed, values, strict=False):
            measured(store, cell, value)
    assert best_cell("mine", seeds, store) == "mine: F 2x / AP, ap_det AP 30.5, mean of 2 seeds"


def test_what_there_was_nothing_to_measure_on_is_never_best(store: Store) -> None:
    one, two, _ = cells(0)
    measured(store, one, -1.0)
    assert best_cell("mine", [(one,)], store) == ""
    measured(store, two, 0.0)
    assert best_cell("mine", [(one, two)], store) == "mine: F 2x / AP, ap_det AP 0.0"


WORDS = ["run", "dissertation", "--profile", "smoke", "--seeds", "2", "--rule", "B", "--set", "delta=0.4"]


def test_the_next_command_repeats_what_chose_the_study(tmp_path: Path) -> None:
    where = str(tmp_path / "a store")
    options = parser().parse_args([*WORDS, "--store", where])
    said = f"casl report dissertation --profile smoke --seeds 2 --rule B --set delta=0.4 --store '{where}'"
    assert next_command("report", options) == said
    assert main(["plan", *WORDS[1:], "--store", where]) == 0, "and its words are understood"


@pytest.mark.parametrize(
    "words",
    [
        "--device cpu",
        "--cell 'F 2x' 'W 3x' --only-seed 1 --launcher slurm --option slurm.partition=gpu --option slurm.qos=high",
        "--jobs 3 --loaders 2 --weights folder --bits native",
    ],
)
def test_to_run_again_is_to_run_in_the_same_way(words: str) -> None:
    typed = f"casl run table4 --profile smoke {words}"
    options = parser().parse_args([*shlex.split(typed)[1:], "--rerun-moved", "--json"])
    assert next_command("run", options) == typed
    assert next_command("report", options) == "casl report table4 --profile smoke"


@pytest.mark.parametrize(("summary", "verb"), [(Summary(), "report"), (Summary(failed=["a"]), "run")])
def test_after_a_failure_the_next_command_is_the_same_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], summary: Summary, verb: str
) -> None:
    options = parser().parse_args(["run", "table4", "--profile", "smoke", "--store", str(tmp_path)])
    study = open_study(options, make=False)
    print_ending(replace(study, cells={}), options, summary)
    assert capsys.readouterr().out == f"next     casl {verb} table4 --profile smoke --store {tmp_path}\n"
