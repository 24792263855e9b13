"""A search in MLflow, against a real SQLite database read back through MLflow's own client."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from casl.errors import TrackingError
from casl.runner.store import Store
from casl.tracking.mirror import Mirror
from casl.tracking.server import make_database, quiet_mlflow
from casl.tracking.study import sync_search
from tests.report.test_search import search
from tests.runner.stores import committed, scenes


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mlflow")
    with quiet_mlflow():
        make_database(f"sqlite:///{folder / 'mlflow.db'}", folder / "files")
    return folder / "mlflow.db"


@pytest.fixture
def store(tmp_path: Path, blank: Path) -> Store:
    store = Store(tmp_path / "a user's store")
    shutil.copy(blank, store.root / "mlflow.db")
    return store


def runs_of(mirror: Mirror) -> list[Any]:
    with quiet_mlflow():
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=mirror.uri)
        ids = [e.experiment_id for e in client.search_experiments()]
        return list(client.search_runs(ids, filter_string="tags.`casl.study` != ''"))


FOUND = search([(10.0, 20.0), (11.0, 21.0), (12.0, 22.0)])


def test_every_finished_trial_is_a_run_in_the_studys_run(store: Store) -> None:
    mirror = Mirror(store.root)
    running = replace(FOUND.trials[2], state="running")
    pruned = replace(FOUND.trials[1], state="pruned", rungs={1: (4.0, 6.0), 3: (7.0, 9.0)})
    ids = sync_search(mirror, replace(FOUND, trials=(FOUND.trials[0], pruned, running)), "the note")
    runs = {r.info.run_id: r for r in runs_of(mirror)}
    (parent,) = (r for r in runs.values() if r.data.tags["kind"] == "search")
    assert sorted(ids) == [0, 1] and len(runs) == 3
    assert {runs[i].data.tags["mlflow.parentRunId"] for i in ids.values()} == {parent.info.run_id}
    assert runs[ids[0]].data.metrics["objective"] == 15.0 and runs[ids[0]].data.metrics["final/seed 1"] == 20.0
    assert runs[ids[0]].data.params["delta"] == "0.2"
    assert runs[ids[1]].info.status == "KILLED" and runs[ids[1]].data.metrics["warmup rung"] == 8.0
    assert parent.data.metrics["best objective"] == 15.0 and parent.data.metrics["best delta"] == 0.2


def test_a_second_sync_adds_nothing_and_a_later_one_what_is_new(store: Store) -> None:
    mirror = Mirror(store.root)
    first = sync_search(mirror, replace(FOUND, trials=FOUND.trials[:2]))
    again = sync_search(mirror, replace(FOUND, trials=FOUND.trials[:2]))
    more = sync_search(mirror, FOUND)
    assert first == again and {n: more[n] for n in first} == first
    assert len(runs_of(mirror)) == 4
    (parent,) = (r for r in runs_of(mirror) if r.data.tags["kind"] == "search")
    assert parent.data.metrics["best objective"] == 17.0


def test_what_a_killed_sync_left_is_replaced(store: Store) -> None:
    mirror = Mirror(store.root)
    ids = sync_search(mirror, FOUND)
    with quiet_mlflow():
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=mirror.uri)
        client.update_run(ids[1], status="RUNNING")
    assert sync_search(mirror, FOUND)[1] != ids[1]
    assert len(runs_of(mirror)) == 4


def test_a_trial_links_to_the_runs_of_its_stages(store: Store) -> None:
    mirror, stage = Mirror(store.root), scenes()
    committed(store, stage)
    mirror.sync([store.run(stage.name)], {}, None)
    trial = replace(FOUND.trials[0], stages={"labels, seed 0": stage.name})
    ids = sync_search(mirror, replace(FOUND, trials=(trial,)))
    (run,) = (r for r in runs_of(mirror) if r.info.run_id == ids[0])
    assert f"runs/{mirror.run_id(stage.name)}" in run.data.tags["mlflow.note.content"]
    assert stage.name in run.data.tags.values()


def test_a_server_that_is_away_is_an_error_that_says_nothing_is_lost(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="nothing is lost"):
        sync_search(Mirror(tmp_path, "http://127.0.0.1:9"), FOUND)
