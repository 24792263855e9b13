"""Writing one run into MLflow, and finding what an interrupted sync left there."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from casl.errors import TrackingError
from casl.spec.run import Run
from casl.spec.stage import DataUse
from casl.tracking.experiment import NOTE_TAG
from casl.tracking.owner import OWNER, own_name, store_id
from casl.tracking.text import ARTIFACTS, PICTURES, Sheet, legal
from casl.tracking.usage import SYSTEM

CHUNK = 1000  # metric points a call, and
PARAMS = 100  # parameters a call: MLflow's limits
CONTENT = "casl.content"
_EXPERIMENT_TAGS = {"casl.mirror": "yes", "mlflow.experimentKind": "custom_model_development"}

Point = tuple[str, float, int]


class Writer:
    """Writes runs through one MlflowClient.

    experiment: where runs go. Where another store has one of that name they go to one of their own, whose name has
    the first digits of this store's id behind it. artifacts: where a new experiment keeps files; None leaves it to the
    server. store: whose runs these are, since several stores may share a server.
    """

    def __init__(self, client: Any, experiment: str, artifacts: str | None, store: Path) -> None:
        self.client = client
        self.owner = store_id(store)
        mine = _experiment(client, experiment, artifacts, self.owner)
        self.experiment_id = mine or _experiment(client, own_name(experiment, store), artifacts, self.owner)

    def name_of(self, experiment_id: str) -> str:
        """The name of an experiment."""
        return str(self.client.get_experiment(experiment_id).name)

    def adopt(self, run: Run, content: str) -> tuple[str, str] | None:
        """Find a run that an interrupted sync wrote and could not remember, and delete what is half written.

        Returns:
            Experiment and run id of a complete one with this very content; None if there is none. Every other run
            of this stage, half-made or outdated, is deleted.
        """
        experiments = self.client.search_experiments(filter_string="tags.`casl.mirror` = 'yes'")
        found = self.client.search_runs(
            [e.experiment_id for e in experiments],
            filter_string=f"tags.`casl.name` = '{run.name}' and tags.`{OWNER}` = '{self.owner}'",
        )
        whole = [r for r in found if r.info.status != "RUNNING" and r.data.tags.get(CONTENT) == content]
        for other in found:
            if other not in whole[:1]:
                self.client.delete_run(other.info.run_id)
        return (whole[0].info.experiment_id, whole[0].info.run_id) if whole else None

    def log(self, run: Run, sheet: Sheet, content: str, data: Sequence[DataUse] = ()) -> tuple[str, str]:
        """Write a new run; it counts as complete only by its final status, which comes last.

        Returns:
            Experiment and run id.
        """
        start = _milliseconds(run.started)
        end = start + round(1000 * run.seconds) if start is not None else None
        tags = {**sheet.tags, OWNER: self.owner, CONTENT: content}
        made = self.client.create_run(self.experiment_id, start_time=start, tags=tags, run_name=sheet.title)
        run_id: str = made.info.run_id
        points, damage = read_curves(run.folder / "curves.csv")
        samples, _ = read_curves(run.folder / SYSTEM)
        last = max((step for _, _, step in points), default=0)
        final = [(name, value, last) for name, value in sheet.metrics.items()]
        span = (start, end) if start and end else None
        self._log_numbers(run_id, sheet.params, [*points, *final], span)
        self._log_numbers(run_id, {}, [(f"system/{name}", value, step) for name, value, step in samples], span)
        self._log_data(run_id, data)
        if damage:
            self.client.set_tag(run_id, "casl.damage", damage)
        self._log_files(run_id, run.folder)
        self.client.set_terminated(run_id, "FINISHED" if run.status == "done" else "FAILED", end_time=end)
        return self.experiment_id, run_id

    def retag(self, run_id: str, tags: Mapping[str, str], old: Mapping[str, str]) -> bool:
        """Set tags that changed and delete those no longer wanted; False if the run is gone from MLflow."""
        from mlflow.exceptions import MlflowException

        try:
            if self.client.get_run(run_id).info.lifecycle_stage != "active":
                return False
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        for name, value in tags.items():
            if old.get(name) != value:
                self.client.set_tag(run_id, name, value)
        for name in old.keys() - tags.keys():
            self.client.delete_tag(run_id, name)
        return True

    def _log_numbers(
        self, run_id: str, params: Mapping[str, str], points: Sequence[Point], span: tuple[int, int] | None
    ) -> None:
        """Parameters, then points in chunks; the points' times, in ms, are spread evenly over span."""
        from mlflow.entities import Metric, Param

        first, last = span or 2 * (_milliseconds(datetime.now(UTC).isoformat()) or 0,)
        steps = max((step for _, _, step in points), default=0)
        metrics = iter(Metric(n, v, first + (last - first) * s // steps if steps else last, s) for n, v, s in points)
        items = iter(Param(name, value) for name, value in params.items())
        while chunk := list(islice(items, PARAMS)):
            self.client.log_batch(run_id, params=chunk)
        while chunk := list(islice(metrics, CHUNK)):
            self.client.log_batch(run_id, metrics=chunk)

    def _log_data(self, run_id: str, data: Sequence[DataUse]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = [
            DatasetInput(
                Dataset(d.name, d.digest, "casl", json.dumps({"stage": d.stage}), profile=json.dumps(dict(d.profile))),
                [InputTag("mlflow.data.context", d.context)],
            )
            for d in data
        ]
        if inputs:
            self.client.log_inputs(run_id, datasets=inputs)

    def present(self, experiment_id: str, tags: Mapping[str, str], old: Mapping[str, str]) -> None:
        """Set those tags of an experiment that changed; of a text too long for this server, its first paragraph.

        Tags that were set before and are no longer wanted are deleted.
        """
        from mlflow.exceptions import MlflowException

        for name in old.keys() - tags.keys():
            self.client.delete_experiment_tag(experiment_id, name)

        for name, value in tags.items():
            if old.get(name) == value:
                continue
            try:
                self.client.set_experiment_tag(experiment_id, name, value)
            except MlflowException as error:
                if error.error_code != "INVALID_PARAMETER_VALUE" or name != NOTE_TAG:
                    raise
                self.client.set_experiment_tag(experiment_id, name, value.split("\n\n")[0])

    def _log_files(self, run_id: str, folder: Path) -> None:
        for file in ARTIFACTS:
            if (folder / file).is_file():
                self.client.log_artifact(run_id, str(folder / file))
        if (folder / PICTURES).is_dir():
            self.client.log_artifacts(run_id, str(folder / PICTURES), artifact_path=PICTURES)


def read_curves(path: Path) -> tuple[list[Point], str]:
    """Points of a curves.csv: header iteration,<name>,..., one line an iteration, empty where there is no value.

    Returns:
        (name, value, iteration) of every finite value up to the first damaged line, and what is damaged ("" if
        nothing). A killed stage leaves half a last line, so a line without its end counts as damaged.
    """
    if not path.is_file():
        return [], ""
    points: list[Point] = []
    header, *lines = path.read_text().splitlines(keepends=True) or [""]
    names = [legal(name) for name in header.strip().split(",")[1:]]
    for number, line in enumerate(lines, start=2):
        try:
            points += _points(names, line)
        except ValueError:
            return points, f"{path.name} is damaged from line {number} on"
    return points, ""


def _points(names: list[str], line: str) -> list[Point]:
    if not line.endswith("\n"):
        raise ValueError("half a line")
    step, *texts = line.strip().split(",")
    pairs = list(zip(names, texts, strict=True))
    return [(name, float(text), int(step)) for name, text in pairs if text and math.isfinite(float(text))]


def _experiment(client: Any, name: str, artifacts: str | None, owner: str) -> str:
    """Id of a store's experiment, made or brought back from MLflow's trash if need be; empty if another store has it.

    One that no store has, as a person may have made it, is taken.
    """
    from mlflow.exceptions import MlflowException

    tags = {**_EXPERIMENT_TAGS, OWNER: owner}
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=artifacts, tags=tags))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another store's sync was faster
            if found is None:
                raise
    if found.tags.get(OWNER, owner) != owner:
        return ""
    _check_place(found)
    if found.lifecycle_stage != "active":
        client.restore_experiment(found.experiment_id)
    for tag, value in tags.items():
        if found.tags.get(tag) != value:
            client.set_experiment_tag(found.experiment_id, tag, value)
    return str(found.experiment_id)


def _check_place(experiment: Any) -> None:
    """MLflow keeps the absolute folder of an experiment's files: once a store moved, that of a shared one is gone."""
    place = urlsplit(experiment.artifact_location or "")
    folder = Path(unquote(place.path))
    if place.scheme == "file" and not folder.parent.exists():
        raise TrackingError(
            f"MLflow keeps files of experiment {experiment.name!r} in {folder}, which is gone: was a store moved?\n"
            "  name another database with --mlflow, or delete this one: `casl sync` logs every result again."
        )


def _milliseconds(moment: str) -> int | None:
    """UTC ISO 8601 to ms since 1970; None if unknown."""
    if not moment:
        return None
    when = datetime.fromisoformat(moment)
    return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)
