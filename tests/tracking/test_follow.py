"""Runs appear in MLflow while a plan runs; whatever happens to MLflow, the run never notices and nothing is lost."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from casl.spec.run import Use
from casl.tracking.follow import GIVE_UP_S, follow
from casl.tracking.mirror import Mirror
from casl.tracking.server import make_database, quiet_mlflow
from tests.tracking.shelf import FINETUNE, LABELED, LABELER, PSEUDO, VAL, WARMUP, Shelf

SOON_S = 0.05
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mlflow")
    with quiet_mlflow():
        make_database(f"sqlite:///{folder / 'mlflow.db'}", folder / "files")
    return folder / "mlflow.db"


@pytest.fixture
def shelf(tmp_path: Path, blank: Path) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path / "store")
    shutil.copy(blank, shelf.root / "mlflow.db")
    yield shelf


def await_true(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_a_run_is_there_before_the_plan_ends(shelf: Shelf) -> None:
    mirror = Mirror(shelf.root)
    with follow(mirror, shelf.run, {VAL.name: [Use("table4", "a")]}, every_s=SOON_S) as tell:
        shelf.commit(VAL)
        tell(VAL.name)
        assert await_true(lambda: mirror.run_id(VAL.name) is not None)
        first = mirror.run_id(VAL.name)
        shelf.commit(LABELED)
        tell(LABELED.name)
        assert await_true(lambda: mirror.run_id(LABELED.name) is not None)
    assert mirror.sync(shelf.runs.values(), {VAL.name: [Use("table4", "a")]}) == 0, (
        "the last sync finds nothing to send"
    )
    assert mirror.run_id(VAL.name) == first
    assert mirror.sent == {VAL.name, LABELED.name}, "and what was sent meanwhile counts as sent by this run"


def test_a_database_that_is_busy_loses_nothing_and_blocks_nobody(shelf: Shelf) -> None:
    mirror = Mirror(shelf.root)
    with closing(sqlite3.connect(shelf.root / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with follow(mirror, shelf.run, {}, every_s=SOON_S) as tell:
            for stage in (LABELED, VAL):
                shelf.commit(stage)
                tell(stage.name)
            time.sleep(0.3)
    assert mirror.run_id(VAL.name) is None
    assert mirror.sync(shelf.runs.values(), {}) == 2


def test_a_server_that_comes_back_gets_what_waited(shelf: Shelf) -> None:
    mirror, away = Mirror(shelf.root), shelf.root / "mlflow.db"
    (held := away.with_name("held.db")).write_bytes(away.read_bytes())
    away.write_text("not a database, and longer than the header of one would be " * 9)
    with follow(mirror, shelf.run, {}, every_s=SOON_S) as tell:
        shelf.commit(LABELER)
        tell(LABELER.name)
        time.sleep(0.5)
        held.replace(away)
        assert await_true(lambda: mirror.run_id(LABELER.name) is not None)


def test_an_error_of_the_run_comes_through_and_the_environment_is_as_before(shelf: Shelf) -> None:
    before = dict(os.environ)
    with pytest.raises(ZeroDivisionError), follow(Mirror(shelf.root), shelf.run, {}, every_s=60.0) as tell:
        tell(VAL.name)
        raise ZeroDivisionError
    assert dict(os.environ) == before


def test_a_plan_that_ends_at_once_does_not_wait_for_the_next_batch(shelf: Shelf) -> None:
    before, begun = set(threading.enumerate()), time.monotonic()
    with follow(Mirror(shelf.root), shelf.run, {}, every_s=10_000.0) as tell:
        for stage in (WARMUP, FINETUNE, PSEUDO):
            tell(stage.name)
    assert time.monotonic() - begun < GIVE_UP_S
    assert set(threading.enumerate()) <= before, "the sender has ended, it was not given up"


def test_following_imports_no_mlflow_before_something_ended(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom casl.tracking.mirror import Mirror\n"
        "from casl.tracking.follow import follow\n"
        f"with follow(Mirror(Path({str(tmp_path)!r})), print, {{}}, every_s=0.01): time.sleep(0.2)\n"
        "print('mlflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "False\n", done.stderr


KILLED = """
import os, signal, sys, time
from pathlib import Path
from casl.tracking.mirror import Mirror
from casl.tracking.follow import follow
from tests.tracking.shelf import LABELED, VAL, Shelf
shelf = Shelf(Path(sys.argv[1]))
mirror = Mirror(shelf.root)
with follow(mirror, shelf.run, {}, every_s=0.01) as tell:
    for stage in (LABELED, VAL):
        shelf.commit(stage)
        tell(stage.name)
    while not mirror.run_id(LABELED.name):
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_is_completed_by_the_next_sync_without_doubles(shelf: Shelf) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(shelf.root)], cwd=ROOT, check=False, timeout=120)
    shelf.commit(LABELED)
    shelf.commit(VAL)
    mirror = Mirror(shelf.root)
    assert mirror.sync(shelf.runs.values(), {}) <= 1
    from mlflow import MlflowClient

    with quiet_mlflow():
        client = MlflowClient(mirror.uri)
        found = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert sorted(r.data.tags["casl.name"] for r in found) == sorted([LABELED.name, VAL.name])
    assert {r.info.status for r in found} == {"FINISHED"}
