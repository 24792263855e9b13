"""Stores that send to one MLflow: each has its own runs, experiments and models there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from casl.errors import TrackingError
from casl.spec.run import Use
from casl.tracking.mirror import Mirror
from casl.tracking.owner import OWNER, STORE_ID, store_id
from casl.tracking.server import make_database, quiet_mlflow
from tests.tracking.shelf import LABELED, VAL, Shelf
from tests.tracking.test_models import EXPERIMENT, MODEL, TRAINED, client, evaluation, trained

USES = {name: [Use("table4", "F 1x / W 1x")] for name in (TRAINED.name, evaluation(TRAINED).name)}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of one database for all."""
    folder = tmp_path_factory.mktemp("shared")
    address = f"sqlite:///{folder / 'mlflow.db'}"
    with quiet_mlflow():
        make_database(address, folder / "files")
    return address


def measured(root: Path, ap: float, host: str) -> Shelf:
    """A store with one detector, measured."""
    shelf = Shelf(root)
    shelf.commit(LABELED, host=host)
    shelf.commit(VAL, host=host)
    trained(shelf, TRAINED)
    shelf.commit(evaluation(TRAINED), metrics={"AP": ap}, host=host)
    return shelf


def sync(shelf: Shelf, address: str, experiment: str = EXPERIMENT) -> Mirror:
    mirror = Mirror(shelf.root, address, experiment)
    assert mirror.sync(shelf.runs.values(), USES) == 4
    assert mirror.sync(shelf.runs.values(), USES) == 0
    return mirror


def runs_in(mirror: Mirror, experiment: str) -> list[Any]:
    found = client(mirror).get_experiment_by_name(experiment)
    return list(client(mirror).search_runs([found.experiment_id]))


def test_two_stores_never_share_an_experiment_or_a_best_model(tmp_path: Path, shared: str) -> None:
    stores = [measured(tmp_path / name, ap, name) for name, ap in (("one", 10.0), ("two", 30.0), ("three", 20.0))]
    mirrors = [sync(shelf, shared) for shelf in stores]
    names = [mirror.place for mirror in mirrors]
    assert names == [EXPERIMENT, *(f"{EXPERIMENT} {store_id(shelf.root)[:8]}" for shelf in stores[1:])]
    for shelf, mirror, name in zip(stores, mirrors, names, strict=True):
        assert {run.data.tags[OWNER] for run in runs_in(mirror, name)} == {store_id(shelf.root)}
        best = client(mirror).get_model_version_by_alias(f"{name.replace(' ', '-')}-table4", "best")
        assert best.run_id == mirror.run_id(TRAINED.name)
    assert client(mirrors[0]).get_model_version_by_alias(MODEL, "best").run_id == mirrors[0].run_id(TRAINED.name)


def test_a_store_in_the_place_of_another_takes_nothing_from_it(tmp_path: Path, shared: str) -> None:
    """As on two machines whose stores have the same path."""
    first = sync(measured(tmp_path / "store", 10.0, "here"), shared, "casl same path")
    place = first.place
    before = {run.info.run_id for run in runs_in(first, place)}
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    second = sync(measured(tmp_path / "store", 30.0, "there"), shared, "casl same path")
    assert (place, second.place) == ("casl same path", f"casl same path {store_id(tmp_path / 'store')[:8]}")
    assert {run.info.run_id for run in runs_in(first, place)} == before


def test_an_experiment_that_no_store_has_is_taken(tmp_path: Path, shared: str) -> None:
    shelf = measured(tmp_path / "store", 10.0, "here")
    asked = Mirror(shelf.root, shared, "casl by hand")
    client(asked).create_experiment("casl by hand", artifact_location=(tmp_path / "files").as_uri())
    assert sync(shelf, shared, "casl by hand").place == "casl by hand"


def test_an_id_stays_with_a_store_that_is_moved(tmp_path: Path) -> None:
    Shelf(tmp_path / "store")
    known = store_id(tmp_path / "store")
    (tmp_path / "store").rename(tmp_path / "moved")
    assert store_id(tmp_path / "moved") == known


def test_processes_that_ask_at_once_get_one_id(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from casl.tracking.owner import store_id; print(store_id(Path('.')))"
    started = [
        subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert len({process.communicate()[0] for process in started}) == 1
    assert [path.name for path in tmp_path.iterdir()] == [STORE_ID]


@pytest.mark.parametrize("content", ["", "0" * 31, "{}", "\0" * 64])
def test_a_damaged_id_is_named_with_what_to_remove(tmp_path: Path, content: str) -> None:
    (tmp_path / STORE_ID).write_text(content)
    with pytest.raises(TrackingError, match=r"(?s)store-id is damaged.*remove it"):
        store_id(tmp_path)
