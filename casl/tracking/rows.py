"""Many runs at once into the tables of a database of MLflow's.

MLflow's client has no call for several runs, and writes one in about 70 statements and a dozen transactions: a tenth
of a second of the processor, half a second by the wall where the disk syncs. So what its calls would leave in its
tables is written here through its own classes of them, with one transaction for many runs. `benchmarks/mirror.py` says
how much faster that is, and `tests/tracking/test_rows.py` holds that a run reads the same, whichever way it came.
"""

from __future__ import annotations

import math
import shutil
import sys
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from casl.tracking.draft import CONTEXT, SOURCE, Draft, Point, artifacts, profile_of, source_of
from casl.tracking.owner import OWNER

NAME = "casl.name"
UNKNOWN_USER = "unknown"  # what MLflow's client says where no tag names one
Row = dict[str, Any]


class Rows:
    """The tables of one database. Open MLflow itself first, since it makes them and brings them up to date."""

    def __init__(self, uri: str) -> None:
        from mlflow.store.db.utils import create_sqlalchemy_engine

        self.engine = create_sqlalchemy_engine(uri)

    def names(self, owner: str) -> set[str]:
        """Names of the stages of a store that have runs here, deleted ones included."""
        from mlflow.store.tracking.dbmodels.models import SqlTag
        from sqlalchemy import select

        own = select(SqlTag.run_uuid).where(SqlTag.key == OWNER, SqlTag.value == owner)
        with self.engine.connect() as connection:
            found = connection.execute(select(SqlTag.value).where(SqlTag.key == NAME, SqlTag.run_uuid.in_(own)))
            return {value for (value,) in found}

    def write(self, experiment: str, root: str, drafts: Sequence[Draft]) -> None:
        """Write runs, all of them or none.

        Args:
            experiment: id of the experiment they go to. root: where it keeps files.
        """
        from mlflow.store.tracking.dbmodels import models
        from mlflow.utils.uri import append_to_uri_path
        from sqlalchemy import insert

        places = {d.run_id: append_to_uri_path(root, d.run_id, "artifacts") for d in drafts}
        for draft in drafts:  # before the rows, so that a run that is there has its files
            _copy_files(draft, places[draft.run_id])
        with self.engine.begin() as connection:
            data, inputs, tags = _data(connection, int(experiment), drafts)
            for table, rows in (
                (models.SqlRun, [_run(d, int(experiment), places[d.run_id]) for d in drafts]),
                (models.SqlTag, [_named(d, name, value) for d in drafts for name, value in d.tags.items()]),
                (models.SqlParam, [_named(d, name, value) for d in drafts for name, value in d.params.items()]),
                (models.SqlMetric, [_metric(d, point) for d in drafts for point in d.points]),
                (models.SqlLatestMetric, [_metric(d, point) for d in drafts for point in _latest(d)]),
                (models.SqlDataset, data),
                (models.SqlInput, inputs),
                (models.SqlInputTag, tags),
            ):
                if rows:
                    connection.execute(insert(table), rows)


def _copy_files(draft: Draft, place: str) -> None:
    """Copy a run's files to its place; into a folder of this machine plainly, a fifth of what MLflow's checks cost."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    parts = urlsplit(place)
    is_folder = parts.scheme in ("", "file") and not parts.netloc
    for path, within in artifacts(draft.folder):
        if not is_folder:
            get_artifact_repository(place).log_artifact(str(path), within or None)
            continue
        target = Path(unquote(parts.path)) / within / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _run(draft: Draft, experiment: int, place: str) -> Row:
    return {
        "run_uuid": draft.run_id,
        "name": draft.title,
        "source_type": "UNKNOWN",
        "source_name": "",
        "entry_point_name": "",
        "user_id": UNKNOWN_USER,
        "status": draft.status,
        "start_time": draft.started,
        "end_time": draft.ended,
        "deleted_time": None,
        "source_version": "",
        "lifecycle_stage": "active",
        "artifact_uri": place,
        "experiment_id": experiment,
    }


def _named(draft: Draft, name: str, value: str) -> Row:
    return {"run_uuid": draft.run_id, "key": name, "value": value}


def _metric(draft: Draft, point: Point) -> Row:
    """SQL has no infinity; for NaN MLflow has a column."""
    name, value, when, step = point
    most = sys.float_info.max
    number = 0.0 if math.isnan(value) else min(max(value, -most), most)
    return {
        "run_uuid": draft.run_id,
        "key": name,
        "value": number,
        "timestamp": when,
        "step": step,
        "is_nan": math.isnan(value),
    }


def _latest(draft: Draft) -> Iterator[Point]:
    """Of every metric its last point, which MLflow keeps once more."""
    found: dict[str, Point] = {}
    for point in draft.points:
        name, value, when, step = point
        known = found.get(name)
        if known is None or (step, when, value) > (known[3], known[2], known[1]):
            found[name] = point
    yield from found.values()


def _data(connection: Any, experiment: int, drafts: Sequence[Draft]) -> tuple[list[Row], list[Row], list[Row]]:
    """Rows of data sets that the experiment does not have yet, of which run read which, and of what for."""
    from mlflow.store.tracking.dbmodels.models import SqlDataset
    from sqlalchemy import select

    columns = (SqlDataset.name, SqlDataset.digest, SqlDataset.dataset_uuid)
    found = connection.execute(select(*columns).where(SqlDataset.experiment_id == experiment))
    known = {(name, digest): number for name, digest, number in found}
    data: list[Row] = []
    inputs: list[Row] = []
    tags: list[Row] = []
    for draft in drafts:
        for (name, digest), use in {(d.name, d.digest): d for d in reversed(draft.data)}.items():
            if (name, digest) not in known:
                known[name, digest] = uuid.uuid4().hex
                data.append(
                    {
                        "dataset_uuid": known[name, digest],
                        "experiment_id": experiment,
                        "name": name,
                        "digest": digest,
                        "dataset_source_type": SOURCE,
                        "dataset_source": source_of(use),
                        "dataset_profile": profile_of(use),
                    }
                )
            edge = uuid.uuid4().hex
            ends = {"source_type": "DATASET", "source_id": known[name, digest], "destination_type": "RUN"}
            inputs.append({"input_uuid": edge, **ends, "destination_id": draft.run_id})
            tags.append({"input_uuid": edge, "name": CONTEXT, "value": use.context})
    return data, inputs, tags
