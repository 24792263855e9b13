"""Stores that were copied or moved with their MLflow: everything is found again, and nothing is written elsewhere."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from casl.errors import TrackingError
from casl.spec.run import Use
from casl.tracking.home import settle
from casl.tracking.mirror import Mirror
from casl.tracking.models import fetch
from casl.tracking.owner import OWNER, store_id
from casl.tracking.server import default_uri, make_database, quiet_mlflow, ui_command
from tests.tracking.shelf import FINETUNE, LABELED, LABELER, VAL, Shelf
from tests.tracking.test_mirror import PNG, _await, closed_port
from tests.tracking.test_models import MODEL, TRAINED, evaluation, trained

EXPERIMENT = "casl smoke scenes"
NAMES = {"copied": "a user's copy #2", "moved": "moved & on"}


def copy(store: Path) -> Path:
    target = store.with_name(NAMES["copied"])
    subprocess.run(["cp", "-a", store, target], check=True)
    return target


def move(store: Path) -> Path:
    return store.rename(store.with_name(NAMES["moved"]))


WAYS = pytest.mark.parametrize("way", [copy, move], ids=["copied", "moved"])


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose name needs quoting everywhere, with a run, pictures and a registered model in its MLflow."""
    root = tmp_path_factory.mktemp("synced") / "a user's store #1"
    shelf = Shelf(root)
    shelf.commit(LABELED)
    shelf.commit(VAL, {"pictures/a.png": PNG})
    trained(shelf, TRAINED)
    shelf.commit(evaluation(TRAINED), metrics={"AP": 10.0})
    uses = {name: [Use("table4", "F 1x / W 1x")] for name in (TRAINED.name, evaluation(TRAINED).name)}
    Mirror(root, experiment=EXPERIMENT).sync(shelf.runs.values(), uses)
    return root


@pytest.fixture
def original(synced: Path, tmp_path: Path) -> Path:
    """The same at a place of the test's own, as if it had been made there."""
    root = tmp_path / "made" / synced.name
    root.parent.mkdir()
    subprocess.run(["cp", "-a", synced, root], check=True)
    assert settle(root, default_uri(root))
    return root


def shelf_at(root: Path) -> Shelf:
    """The results of the store at a place, and a new one with a picture."""
    shelf = Shelf(root)
    shelf.commit(LABELED)
    shelf.commit(VAL, {"pictures/a.png": PNG})
    shelf.commit(TRAINED)
    shelf.commit(evaluation(TRAINED), metrics={"AP": 10.0})
    shelf.commit(LABELER, {"pictures/new.png": PNG})
    return shelf


def contents(root: Path) -> dict[str, tuple[bytes, int]]:
    """Every file with its content and when it was written."""
    files = [p for p in sorted(root.rglob("*")) if p.is_file()]
    return {str(p.relative_to(root)): (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


def client(root: Path) -> Any:
    from mlflow import MlflowClient

    with quiet_mlflow():
        return MlflowClient(default_uri(root), registry_uri=default_uri(root))


def places(root: Path) -> list[Path]:
    """Every place of a file that the database names."""
    columns = [("experiments", "artifact_location"), ("runs", "artifact_uri"), ("model_versions", "source")]
    columns += [("model_versions", "storage_location"), ("logged_models", "artifact_location")]
    with closing(sqlite3.connect(root / "mlflow.db")) as connection:
        found = [v for t, c in columns for (v,) in connection.execute(f"SELECT {c} FROM {t}") if v]
    return [Path(unquote(urlsplit(v).path) if v.startswith("file:") else v) for v in found]


@WAYS
def test_what_is_logged_goes_into_the_store_at_hand_and_nothing_is_logged_twice(
    original: Path, way: Callable[[Path], Path]
) -> None:
    before, ids = contents(original), {n: Mirror(original).run_id(n) for n in (VAL.name, TRAINED.name)}
    root = way(original)
    shelf, mirror = shelf_at(root), Mirror(root, experiment=EXPERIMENT)
    assert mirror.sync(shelf.runs.values(), {LABELER.name: [Use("table4", "F 1x / W 1x")]}) == 1, "only the new one"
    assert {n: mirror.run_id(n) for n in ids} == ids, "so that links to runs still lead to them"
    assert (contents(original) == before) if way is copy else not original.exists()
    assert all(place.is_relative_to(root.resolve()) for place in places(root)) and len(places(root)) > 6
    assert way is not copy or store_id(root) != store_id(original), "two stores, as a shared server sees them"
    for name, picture in ((VAL.name, "a.png"), (LABELER.name, "new.png")):
        run = client(root).get_run(mirror.run_id(name))
        assert run.data.tags[OWNER] == store_id(root)
        assert str(root) in run.data.tags["mlflow.note.content"]
        assert [f.path for f in client(root).list_artifacts(run.info.run_id, "pictures")] == [f"pictures/{picture}"]
        assert (Path(unquote(urlsplit(run.info.artifact_uri).path)) / "pictures" / picture).read_bytes() == PNG
    assert mirror.sync(shelf.runs.values(), {}) == 0


@WAYS
def test_models_are_those_of_the_store_at_hand_and_are_not_registered_again(
    original: Path, way: Callable[[Path], Path], tmp_path: Path
) -> None:
    root = way(original)
    for weights in (original / "mlartifacts").rglob("model.safetensors"):
        weights.write_bytes(b"of another store")
    with fetch(root, None, f"models:/{MODEL}@best") as folder:
        assert (folder / "model.safetensors").read_bytes() == (
            root / "stages" / TRAINED.name / "model.safetensors"
        ).read_bytes()
    Mirror(root, experiment=EXPERIMENT).sync(shelf_at(root).runs.values(), {})
    assert len(client(root).search_model_versions(f"name = '{MODEL}'")) == 1


def test_a_store_that_is_where_it_was_is_left_alone(original: Path) -> None:
    before = contents(original)
    assert not settle(original, default_uri(original))
    assert contents(original) == before


def test_a_copy_of_a_copy_and_a_way_back(original: Path) -> None:
    first = copy(original)
    assert settle(first, default_uri(first))
    second = first.rename(first.with_name("second"))
    assert settle(second, default_uri(second))
    shutil.rmtree(original)
    home = second.rename(original)
    assert settle(home, default_uri(home)) and not settle(home, default_uri(home))
    assert Mirror(home).run_id(VAL.name) and len(list((home / "mlflow").iterdir())) == 1


def test_what_another_store_keeps_in_this_database_stays_there(original: Path, tmp_path: Path) -> None:
    other = Shelf(tmp_path / "other")
    elsewhere = Mirror(other.root, default_uri(original), experiment="of another store")
    elsewhere.sync([other.commit(FINETUNE, {"pictures/b.png": PNG})], {})
    root = move(original)
    assert settle(root, default_uri(root))
    run = client(root).search_runs([client(root).get_experiment_by_name("of another store").experiment_id])[0]
    assert run.data.tags[OWNER] == store_id(other.root)
    assert Path(urlsplit(run.info.artifact_uri).path).is_relative_to(other.root)


def test_databases_that_are_no_stores_own_are_not_looked_at(original: Path, tmp_path: Path) -> None:
    root, shared = copy(original), tmp_path / "shared.db"
    shutil.copy(original / "mlflow.db", shared)
    for uri in (f"sqlite:///{shared}", default_uri(original), "http://127.0.0.1:1", "postgresql://x/y"):
        assert not settle(root, uri)
    (empty := Shelf(tmp_path / "empty").root / "mlflow.db").touch()
    assert not settle(empty.parent, default_uri(empty.parent))


def test_a_database_that_is_held_is_not_written_past(original: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("casl.tracking.home.PATIENCE_S", 0.2)
    root = copy(original)
    before = contents(original)
    with closing(sqlite3.connect(root / "mlflow.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TrackingError, match=r"(?s)locked.*nothing is lost"):
            Mirror(root, experiment=EXPERIMENT).sync(shelf_at(root).runs.values(), {})
    assert contents(original) == before
    assert Mirror(root, experiment=EXPERIMENT).sync(shelf_at(root).runs.values(), {}) == 1


@pytest.mark.slow
@WAYS
def test_the_pages_show_pictures_after_a_copy_and_a_move(original: Path, way: Callable[[Path], Path]) -> None:
    root = way(original)
    mirror = Mirror(root, experiment=EXPERIMENT)
    mirror.sync(shelf_at(root).runs.values(), {})
    if way is copy:
        shutil.rmtree(original)
    port = closed_port()
    command, variables = ui_command(root, None, port)
    process = subprocess.Popen(command, env={**os.environ, **variables}, start_new_session=True)
    try:
        _await(f"http://127.0.0.1:{port}/health")
        for name, picture in ((VAL.name, "a.png"), (LABELER.name, "new.png")):
            asked = f"path=pictures/{picture}&run_uuid={mirror.run_id(name)}"
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/get-artifact?{asked}", timeout=20) as answer:
                assert answer.read() == PNG
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def test_a_database_outside_of_a_store_that_moved_says_what_to_do(tmp_path: Path) -> None:
    uri, store = f"sqlite:///{tmp_path / 'shared.db'}", Shelf(tmp_path / "store")
    with quiet_mlflow():
        make_database(uri, tmp_path / "files")
    Mirror(store.root, uri).sync([store.commit(VAL)], {})
    moved = Shelf(store.root.rename(tmp_path / "moved"))
    with pytest.raises(TrackingError, match=r"store/mlartifacts, which is gone.*\n.*--mlflow.*casl sync"):
        Mirror(moved.root, uri).sync([moved.commit(LABELED)], {})
