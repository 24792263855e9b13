"""Which process works on which trial: several at once, dead ones, trials that failed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from casl.errors import SpecError, StoreError
from casl.spec.search import Trial
from casl.tune.search import losers
from casl.tune.space import Space
from casl.tune.storage import default_url, open_storage
from tests.tune.searches import trials


def take_all(root: str, values: Any) -> None:
    """Work on a study until nothing is left, telling which values were had."""
    book = trials(Path(root))
    with book.working() as me:
        while cohort := book.take(me, new=True):
            for trial in cohort:
                values.put(trial.value)
                book.end(trial.number, "done", 1.0)


def test_processes_on_one_study_never_have_the_same_value(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    values: Any = context.Queue()
    workers = [context.Process(target=take_all, args=(str(tmp_path), values)) for _ in range(2)]
    for worker in workers:
        worker.start()
    had = [values.get(timeout=120) for _ in range(9)]
    for worker in workers:
        worker.join(120)
    assert [w.exitcode for w in workers] == [0, 0]
    assert values.empty() and sorted(had) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])


@pytest.mark.parametrize(
    "space",
    [
        Space(low=-1.3, high=0.8, step=1 / 3),  # Optuna's last multiple is 0.6999999999999998
        Space(low=1.0, high=1.0001, step=1e-4 / 3),  # of which twelve digits are further off than Optuna allows
        Space(low=1 / 3, high=2 / 3, points=4),
        Space(low=1 / 3, high=2 / 3, points=4, log=True),
    ],
)
def test_values_of_more_than_twelve_digits_are_tried(space: Space, tmp_path: Path) -> None:
    count = len(space.grid())
    book = trials(tmp_path, space=space, batch=count, trials=count)
    with book.working() as me:
        assert sorted(trial.value for trial in book.take(me, new=True)) == space.grid()
    assert sorted(trial.value for trial in trials(tmp_path, space=space, trials=count).all()) == space.grid()


def test_trials_of_a_killed_process_are_taken_up_and_those_of_a_living_one_are_not(tmp_path: Path) -> None:
    book = trials(tmp_path)
    script = (
        "import sys, time; from pathlib import Path; from tests.tune.searches import trials\n"
        "book = trials(Path(sys.argv[1]))\n"
        "with book.working() as me:\n"
        "    book.take(me, new=True); print('taken', flush=True); time.sleep(600)"
    )
    other = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None and other.stdout.readline() == b"taken\n"
        theirs = [t.value for t in book.all()]
        with book.working() as me:
            mine = [t.value for t in book.take(me, new=True)]
            assert len(theirs) == len(mine) == 2 and not set(theirs) & set(mine)
            assert book.take(me, new=False) == []
            other.kill()
            other.wait()
            assert [t.value for t in book.take(me, new=False)] == theirs
    finally:
        other.kill()
        other.wait()
    assert len(book.all()) == 4


def test_a_cohort_that_was_being_chosen_is_chosen_to_its_end(tmp_path: Path) -> None:
    peaceful, killed = trials(tmp_path / "a", batch=3), trials(tmp_path / "b", batch=3)
    with peaceful.working() as me:
        expected = [t.value for t in peaceful.take(me, new=True)]
    half = trials(tmp_path / "b", batch=3, trials=2)
    with half.working() as me:
        assert len(half.take(me, new=True)) == 2
    with killed.working() as me:
        assert [t.value for t in killed.take(me, new=True)] == expected


def test_what_failed_is_tried_again_by_the_next_run_and_not_by_the_same(tmp_path: Path) -> None:
    book = trials(tmp_path, trials=2)
    with book.working() as me:
        values = {t.value for t in book.take(me, new=True)}
        for trial in book.all():
            book.end(trial.number, "failed", reason="disk full")
        assert book.take(me, new=True) == []
    with book.working() as me:
        assert {t.value for t in book.take(me, new=True)} == values


def test_a_study_is_read_by_the_names_that_studies_in_stores_have(tmp_path: Path) -> None:
    """A database as a killed search leaves it; if a name moves, the trials in users' stores are lost."""
    storage = open_storage(default_url(tmp_path))
    theirs = optuna.create_study(storage=storage, study_name="study", direction="maximize")
    theirs.set_user_attr("casl.measures", "m")
    kept: dict[str, Any] = {"cohort": 0, "owner": {"token": "0" * 16, "host": socket.gethostname(), "pid": 1}}
    grid = {"delta": optuna.distributions.FloatDistribution(0.1, 0.9, step=0.1)}
    done = {"rung 1": [3.0], "figures": {"final": [4.0]}, "stages": {"final, seed 0": "evaluate-1"}, "reason": "why"}
    states = [(0.5, TrialState.COMPLETE, done), (0.1, TrialState.RUNNING, {})]
    for value, state, attributes in states:
        theirs.add_trial(
            optuna.trial.create_trial(
                state=state,
                value=4.0 if attributes else None,
                params={"delta": value},
                distributions=grid,
                user_attrs=kept | attributes,
                intermediate_values={1: 3.0} if attributes else {},
            )
        )
    book = trials(tmp_path)
    with book.working() as me:
        assert [(t.number, t.value) for t in book.take(me, new=True)] == [(1, 0.1)]
    first = book.all()[0]
    assert (first.state, first.cohort, first.reason, first.rungs) == ("done", 0, "why", {1: (3.0,)})
    assert (first.figures, first.stages) == ({"final": (4.0,)}, {"final, seed 0": "evaluate-1"})


def test_a_study_that_measures_something_else_is_refused(tmp_path: Path) -> None:
    trials(tmp_path, measures="AP of one thing")
    with pytest.raises(SpecError, match="measures something else"):
        trials(tmp_path, measures="AP of another")


def test_a_study_that_casl_did_not_make_is_refused(tmp_path: Path) -> None:
    storage = open_storage(default_url(tmp_path))
    optuna.create_study(storage=storage, study_name="theirs").enqueue_trial({"delta": 0.1})
    optuna.load_study(storage=storage, study_name="theirs").ask({"delta": optuna.distributions.FloatDistribution(0, 1)})
    with pytest.raises(SpecError, match="not made by casl"):
        trials(tmp_path, "theirs")


@pytest.mark.parametrize("url", ["nowhere", "nonsense://host/name", "sqlite:////proc/nowhere/study.db"])
def test_a_storage_that_cannot_be_opened_is_explained(url: str) -> None:
    with pytest.raises(StoreError, match=r"cannot .*(storage|make)"):
        open_storage(url)


@pytest.mark.parametrize("damage", ["text", "pages"])
def test_a_damaged_database_is_named_with_what_to_remove(tmp_path: Path, damage: str) -> None:
    url, path = default_url(tmp_path), tmp_path / "optuna.db"
    open_storage(url)
    whole = path.read_bytes()
    path.write_bytes(b"not a database " * 9 if damage == "text" else whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(StoreError, match=r"optuna\.db is damaged.*\n  remove .*optuna\.db"):
        open_storage(url)
    path.unlink()
    assert open_storage(url).get_all_studies() == []


def test_a_journal_file_serves_as_well(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "study.journal"))
    optuna.create_study(storage=storage, study_name="s")
    assert storage.get_all_studies()[0].study_name == "s"


def make(root: str) -> None:
    open_storage(default_url(Path(root)))


def test_a_database_made_by_many_at_once_or_by_a_killed_one_is_whole(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    first = context.Process(target=make, args=(str(tmp_path),))
    first.start()
    first.join(1.5)
    if first.pid and first.is_alive():
        os.kill(first.pid, signal.SIGKILL)
    first.join()
    many = [context.Process(target=make, args=(str(tmp_path),)) for _ in range(2)]
    for one in many:
        one.start()
    for one in many:
        one.join(120)
    assert [one.exitcode for one in many] == [0, 0]
    assert open_storage(default_url(tmp_path)).get_all_studies() == []


def trial(number: int, *values: float) -> Trial:
    return Trial(number, number / 10, "running", rungs={1: values})


def test_a_median_stops_what_is_below_it_once_five_others_are_known() -> None:
    few = {n: trial(n, float(n)) for n in range(5)}
    assert losers("median", 1, few, list(few.values())) == []
    many = {n: trial(n, float(n)) for n in range(6)}  # of 0: 1..5, median 3; of 2: 0, 1, 3, 4, 5, median 3
    assert losers("median", 1, many, list(many.values())) == [0, 1, 2]


def test_halving_keeps_the_better_half_and_seeds_are_averaged() -> None:
    cohort = {n: trial(n, a, b) for n, (a, b) in enumerate([(9, 1), (4, 4), (6, 6), (0, 2), (3, 3)])}
    assert losers("halving", 1, cohort, list(cohort.values())) == [3, 4]
    assert losers("none", 1, cohort, list(cohort.values())) == []


def test_a_verdict_is_the_same_after_some_of_it_was_carried_out() -> None:
    cohort = {n: trial(n, float(n)) for n in range(4)}
    before = losers("halving", 1, cohort, list(cohort.values()))
    cohort[0] = replace(cohort[0], state="pruned")
    assert losers("halving", 1, cohort, list(cohort.values())) == before == [0, 1]
