"""Runs that are written into a database many at once, against what MLflow's own client writes of the same results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from casl.spec.run import Run
from casl.spec.stage import Stage
from casl.tracking.rows import Rows
from casl.tracking.run import Writer
from casl.tracking.server import artifact_root, make_database, open_client, quiet_mlflow
from casl.tracking.text import describe
from tests.tracking.shelf import EVALUATE, FINETUNE, LABELED, PSEUDO, VAL, WARMUP, Shelf

USES = {"table4": ["F 3x / W 5x"], "table10": ["a", "b"]}
CURVES = b"iteration,loss,lr\n0,1.5,0.1\n5,1.5,\n7,0.5,0.1\n7,0.5,0.1\n9,"  # a point twice, and half a last line
FILES = {
    "curves.csv": CURVES,
    "system.csv": b"iteration,cpu\n0,12.5\n1,80.0\n",
    "log.txt": b"begun\n",
    "pictures/val 0.png": b"no picture",
    "weights.safetensors": b"x",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    root = tmp_path_factory.mktemp("rows") / "a user's store #1"
    with quiet_mlflow():
        make_database(f"sqlite:///{root / 'mlflow.db'}", artifact_root(root))
    return Shelf(root)


def results(store: Shelf) -> list[tuple[Run, Stage]]:
    done = [
        (store.commit(LABELED), LABELED),
        (store.commit(FINETUNE, FILES, metrics={"final_loss": -1.0}), FINETUNE),
        (
            store.commit(EVALUATE, metrics={"AP": 31.5, "AP50": float("nan"), "AP75": float("inf"), "APs": -1.0}),
            EVALUATE,
        ),
        (store.commit(PSEUDO, started=""), PSEUDO),
    ]
    return [*done, (store.fail(WARMUP, "out of memory"), WARMUP)]


def logged(store: Shelf, *, at_once: bool) -> dict[str, Any]:
    """Runs by the name of their stage, as MLflow's client reads them."""
    uri, root = f"sqlite:///{store.root / 'mlflow.db'}", artifact_root(store.root)
    with quiet_mlflow():
        client = open_client(uri, root)
        rows = Rows(uri) if at_once else None
        writer = Writer(client, f"at once: {at_once}", root.as_uri(), store.root, rows)
        ids = {}
        for run, stage in results(store):
            sheet = describe(run, stage, USES, {})
            ids[run.name] = writer.log(run, sheet, f"content of {run.name}", stage.reads())[1]
        writer.flush()
        return {name: client.get_run(number) for name, number in ids.items()}


def told(run: Any, store: Shelf, folder: Path) -> dict[str, Any]:
    """Everything about a run but its own id, the place of its files, and times that are those of the test."""
    with quiet_mlflow():
        client = open_client(f"sqlite:///{store.root / 'mlflow.db'}", artifact_root(store.root))
        info, number = dict(run.info), run.info.run_id
        place = info.pop("artifact_uri")
        assert place.replace(number, "") == f"{artifact_root(store.root).as_uri()}//artifacts"
        known = {k: v for k, v in info.items() if k not in ("run_id", "run_uuid", "experiment_id")}
        timed = run.info.start_time < 1_770_000_000_000  # the shelf's results are of January 2026; without: of now
        history = {
            name: [(m.value, m.step, m.timestamp if timed else 0) for m in client.get_metric_history(number, name)]
            for name in run.data.metrics
        }
        if client.list_artifacts(number):
            client.download_artifacts(number, "", str(folder))
        files = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
        inputs = [(dict(i.dataset), [dict(t) for t in i.tags]) for i in run.inputs.dataset_inputs]
    if not timed:
        known |= {"start_time": 0, "end_time": 0}
    # nan equals nothing: texts are compared
    return {
        "info": known,
        "data": repr(run.data.to_dictionary()),
        "history": repr(history),
        "files": files,
        "in": inputs,
    }


def test_a_run_reads_the_same_as_one_that_mlflows_client_wrote(store: Shelf, tmp_path: Path) -> None:
    ours, theirs = logged(store, at_once=True), logged(store, at_once=False)
    assert ours.keys() == theirs.keys() and len(ours) == 5
    for name in ours:
        for side in "ab":
            (tmp_path / name / side).mkdir(parents=True)
        a = told(ours[name], store, tmp_path / name / "a")
        b = told(theirs[name], store, tmp_path / name / "b")
        assert a == b, name
    assert {"curves.csv", "log.txt", "pictures/val 0.png"} <= {
        str(p.relative_to(tmp_path / FINETUNE.name / "a")) for p in (tmp_path / FINETUNE.name / "a").rglob("*")
    }


def test_runs_are_written_together_or_not_at_all(store: Shelf) -> None:
    from sqlalchemy.exc import IntegrityError

    uri, root = f"sqlite:///{store.root / 'mlflow.db'}", artifact_root(store.root)
    with quiet_mlflow():
        client = open_client(uri, root)
        writer = Writer(client, "halves", root.as_uri(), store.root, Rows(uri))
        run = store.commit(VAL)
        for _ in range(2):
            writer.log(run, describe(run, VAL, {}, {}), "content")
        writer.waiting[1] = writer.waiting[0]  # two of one id, which the table refuses
        with pytest.raises(IntegrityError):
            writer.flush()
        assert list(client.search_runs([writer.experiment_id])) == []


def test_names_of_one_stores_runs_are_known(store: Shelf) -> None:
    rows = Rows(f"sqlite:///{store.root / 'mlflow.db'}")
    assert FINETUNE.name in rows.names((store.root / "store-id").read_text().strip())
    assert rows.names("another store") == set()
