"""The command: searches of real stages, resumed, killed, and by two processes at once."""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from casl.cli import parser
from casl.cli.study import open_study
from casl.runner.archive import read_archive, write_archive
from casl.runner.store import Store
from tests.tune.searches import casl_tune, result

RATES = ("finetune.lr", "--low", "0.01", "--high", "0.03", "--step", "0.02")
NOWHERE = "http://127.0.0.1:9"  # no MLflow answers there: searches must do without
WARM = ("warmup.lr", "--low", "0.01", "--high", "0.06", "--step", "0.01", "--objective", "warmup", "--rungs", "1,2")


def places(root: Path) -> list[str]:
    return ["--profile", "nano", "--store", str(root / "store"), "--reports", str(root / "reports")]


def outcome(record: dict[str, Any]) -> list[dict[str, Any]]:
    """What a search came to, apart from times."""
    return [{k: v for k, v in t.items() if k not in ("started", "ended")} for t in record["trials"]]


@pytest.fixture(scope="module")
def offline() -> list[str]:
    return ["--mlflow", NOWHERE, "--launcher", "inline"]


@pytest.fixture(scope="module")
def first_search(tmp_path_factory: pytest.TempPathFactory, offline: list[str]) -> Path:
    """A search over RATES; to read only."""
    root = tmp_path_factory.mktemp("first")
    assert casl_tune(*RATES, *places(root), *offline) == 0
    return root


@pytest.fixture
def searched(first_search: Path, tmp_path: Path) -> Path:
    """The same at a place of the test's own."""
    return shutil.copytree(first_search, tmp_path, dirs_exist_ok=True)


@pytest.fixture
def labelled(first_search: Path, tmp_path: Path) -> Path:
    """A store that has data, labeler and labels of that search, and nothing else of it."""
    stages = Store(tmp_path / "store").stages
    for name in Store(first_search / "store").names():
        if not name.startswith(("warmup", "finetune", "evaluate")):
            shutil.copytree(first_search / "store" / "stages" / name, stages / name)
    return tmp_path


def test_a_search_tries_every_value_and_a_second_one_does_no_work(
    searched: Path, tmp_path: Path, offline: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    first, store = result(searched / "reports"), Store(searched / "store")
    assert sorted(t["value"] for t in first["trials"]) == [0.01, 0.03]
    for trial in first["trials"]:
        final = store.run(trial["stages"]["final, seed 0"])
        assert trial["figures"]["final"] == [final.metrics["AP"]]
        assert len(trial["figures"]["proxy"]) == 1
    assert len([n for n in store.names() if n.startswith("labeler")]) <= 2  # the labeler, and its trunk
    before = {n: store.run(n).started for n in store.names()}
    capsys.readouterr()
    assert casl_tune(*RATES, *places(tmp_path), *offline, "--json") == 0
    out, said = capsys.readouterr()
    assert outcome(json.loads(out)) == outcome(first)
    assert f"optuna-dashboard sqlite:///{tmp_path.resolve()}/store/optuna.db" in said
    to_paste = next(line.partition("casl run ")[2] for line in said.splitlines() if line.startswith("its table: "))
    assert f"--set finetune.recipe.lr={json.loads(out)['best']['value']:g}" in to_paste
    understood = parser().parse_args(["run", *shlex.split(to_paste)])
    assert open_study(understood).plan().nodes, "and it can be planned"
    assert {n: store.run(n).started for n in store.names()} == before


def test_another_sampler_answers_from_the_store(searched: Path, tmp_path: Path, offline: list[str]) -> None:
    names, first = Store(tmp_path / "store").names(), result(tmp_path / "reports")
    assert casl_tune(*RATES, *places(tmp_path), *offline, "--sampler", "random", "--pruner", "none") == 0
    again = result(tmp_path / "reports")
    assert Store(tmp_path / "store").names() == names and again["name"] != first["name"]
    finals = [{t["value"]: t["figures"]["final"] for t in r["trials"]} for r in (first, again)]
    assert finals[0] == finals[1]


def test_a_pruned_trial_has_no_stage_after_its_rung_and_rungs_share_their_beginnings(
    labelled: Path, tmp_path: Path, offline: list[str]
) -> None:
    assert casl_tune(*WARM, *places(tmp_path), *offline, "--pruner", "halving", "--batch", "4", "--trials", "4") == 0
    trials = result(tmp_path / "reports", argument="warmup.lr")["trials"]
    store = Store(tmp_path / "store")
    reached = sorted(len(t["rungs"]) for t in trials)
    assert reached == [1, 1, 2, 2]
    assert [t["state"] for t in trials].count("done") == 1
    for trial in trials:
        assert store.is_done(trial["stages"]["warmup, seed 0"]) == (trial["state"] == "done")
    best_at_1x = sorted(trials, key=lambda t: (-t["rungs"]["1"][0], t["number"]))[:2]
    assert all("2" in t["rungs"] for t in best_at_1x)


def test_seeds_are_averaged(labelled: Path, tmp_path: Path, offline: list[str]) -> None:
    arguments = ("finetune.lr", "--choices", "0.01,0.03", "--seeds", "2", "--objective", "proxy")
    assert casl_tune(*arguments, *places(tmp_path), *offline) == 0
    found = result(tmp_path / "reports")
    assert [len(t["figures"]["proxy"]) for t in found["trials"]] == [2, 2]
    assert not [n for n in Store(tmp_path / "store").names() if n.startswith(("warmup", "finetune"))]


def test_a_threshold_that_leaves_no_label_ends_before_any_training(
    labelled: Path, tmp_path: Path, offline: list[str]
) -> None:
    arguments = ("delta", "--low", "0.98", "--high", "0.99", "--step", "0.01", "--objective", "warmup")
    assert casl_tune(*arguments, *places(tmp_path), *offline) == 0
    found = result(tmp_path / "reports", argument="delta")
    assert [(t["state"], t["reason"][:21]) for t in found["trials"]] == [("pruned", "no label scores above")] * 2
    assert not [n for n in Store(tmp_path / "store").names() if n.startswith("warmup")]


def test_a_labelers_numbers_from_elsewhere_are_told_before_any_work(
    first_search: Path, tmp_path: Path, offline: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """F1 of labels is counted on predictions, which an export of numbers leaves where they are."""
    scores = result(first_search / "reports")["trials"][0]["stages"]["scores, seed 0"]
    write_archive(Store(first_search / "store"), [scores], tmp_path / "numbers.tar", numbers=True)
    store = Store(tmp_path / "store")
    read_archive(store, tmp_path / "numbers.tar")
    assert casl_tune(*RATES, *places(tmp_path), *offline) == 2
    said = capsys.readouterr().err
    assert f"has {scores} as numbers from elsewhere" in said and "name a new store with --store" in said
    assert store.names() == [scores]


def test_each_trial_that_fails_gives_the_reason_of_its_own_stages(
    labelled: Path, tmp_path: Path, offline: list[str]
) -> None:
    rates = ("finetune.lr", "--choices", "1e6,1e9", "--pruner", "none", "--trials", "2")
    assert casl_tune(*rates, *places(tmp_path), *offline) == 1
    store, named = Store(tmp_path / "store"), {}
    for trial in result(tmp_path / "reports")["trials"]:
        assert trial["state"] == "failed"
        name = trial["reason"].partition(":")[0]
        named[float(trial["value"])] = float(dict(store.run(name).stage)["recipe"]["lr"])
    assert named == {1e6: 1e6, 1e9: 1e9}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dleta"], "did you mean 'delta'"),
        (["finetune.lr"], "--low and --high"),
        (["delta", "--sampler", "tpo"], "did you mean 'tpe'"),
        (["delta", "--pruner", "medain"], "did you mean 'median'"),
        (["delta", "--objective", "ap"], "known: final, proxy, warmup"),
        (["delta", "--cell", "F 3x", "W 6x"], "unknown cell of table4 'F 3x / W 6x'"),
        (["delta", "--table", "2"], "Write --cell"),
        (["delta", "--table", "tabel4"], "did you mean 'table4'"),
        (["delta", "--launcher", "lokal"], "did you mean 'local'"),
        (["delta", "--trials", "0"], "--trials must be at least 1"),
        (["delta", "--rungs", "one"], "lengths in x"),
        (["delta", "--profile", "paper"], "data that is not here"),
        (["delta", "--storage", "nowhere"], "cannot open the Optuna storage"),
    ],
)
def test_a_wrong_command_is_explained_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert casl_tune(*arguments, "--store", str(tmp_path / "store"), "--reports", str(tmp_path)) == 2
    assert message in capsys.readouterr().err
    assert Store(tmp_path / "store").names() == []


def test_the_verb_costs_no_import_of_optuna_torch_or_mlflow() -> None:
    script = (
        "import sys, argparse; from casl.cli import tune; import casl.tune.request, casl.tune.space\n"
        "tune.add(argparse.ArgumentParser().add_subparsers(), argparse.ArgumentParser(add_help=False))\n"
        "loaded = {'optuna', 'torch', 'mlflow', 'numpy'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def start(root: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.tune.searches", *arguments, *places(root), "--jobs", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    quiet = subprocess.DEVNULL
    return subprocess.Popen([*command, "--mlflow", NOWHERE], stdout=quiet, stderr=quiet, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize(("most", "trials"), [(2, 4), pytest.param(6, 6, marks=pytest.mark.long)])
def test_a_search_killed_again_and_again_comes_to_the_same(tmp_path: Path, most: int, trials: int) -> None:
    arguments = (*WARM, "--sampler", "tpe", "--pruner", "halving", "--trials", str(trials))
    assert start(tmp_path / "peace", *arguments).wait(300) == 0
    source, kills, store = random.Random(most), 0, tmp_path / "war" / "store"
    while kills < most:
        running = start(tmp_path / "war", *arguments)
        while running.poll() is None and not any(store.glob("work/*/*")):
            time.sleep(0.05)
        try:
            running.wait(source.uniform(0, 4))
            break
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGKILL)
            running.wait()
            kills += 1
    assert start(tmp_path / "war", *arguments).wait(300) == 0
    found = [outcome(result(tmp_path / d / "reports", argument="warmup.lr")) for d in ("peace", "war")]
    assert found[0] == found[1]


@pytest.mark.slow
def test_two_commands_on_one_study_share_its_trials(tmp_path: Path, offline: list[str]) -> None:
    arguments = (*WARM, "--batch", "1", "--pruner", "none", "--trials", "4")
    both = [start(tmp_path, *arguments) for _ in range(2)]
    assert [one.wait(300) for one in both] == [0, 0]
    assert casl_tune(*arguments, *places(tmp_path), *offline) == 0
    trials = result(tmp_path / "reports", argument="warmup.lr")["trials"]
    assert len({t["value"] for t in trials}) == len(trials) == 4
    assert {t["state"] for t in trials} == {"done"}
