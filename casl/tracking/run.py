"""Writing runs into MLflow, and finding what an interrupted sync left there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from casl.errors import TrackingError
from casl.spec.run import Run
from casl.spec.stage import DataUse
from casl.tracking.draft import CONTEXT, SOURCE, Draft, artifacts, draft_of, profile_of, source_of
from casl.tracking.experiment import NOTE_TAG
from casl.tracking.owner import OWNER, own_name, store_id
from casl.tracking.rows import Rows
from casl.tracking.text import TITLE_TAG, Sheet

CHUNK = 1000  # values a call, of which
PARAMS = 100  # may be parameters: MLflow's limits
CONTENT = "casl.content"
NO_PARAMS: Mapping[str, str] = {}
_EXPERIMENT_TAGS = {"casl.mirror": "yes", "mlflow.experimentKind": "custom_model_development"}


class Writer:
    """Writes runs through one MlflowClient; where MLflow is a database, many at once (casl/tracking/rows.py).

    experiment: where runs go. Where another store has one of that name they go to one of their own, whose name has
    the first digits of this store's id behind it. artifacts: where a new experiment keeps files; None leaves it to the
    server. store: whose runs these are, since several stores may share a server. rows: the database; None for a server,
    which takes one request after the other.
    """

    def __init__(self, client: Any, experiment: str, artifacts: str | None, store: Path, rows: Rows | None) -> None:
        self.client, self.rows = client, rows
        self.owner = store_id(store)
        mine = _experiment(client, experiment, artifacts, self.owner)
        self.experiment_id = mine or _experiment(client, own_name(experiment, store), artifacts, self.owner)
        self.waiting: list[Draft] = []
        self._there: set[str] | None = None
        self._mirrors: list[str] = []

    def name_of(self, experiment_id: str) -> str:
        """The name of an experiment."""
        return str(self.client.get_experiment(experiment_id).name)

    def adopt(self, run: Run, content: str) -> tuple[str, str] | None:
        """Find a run that an interrupted sync wrote and could not remember, and delete what is half written.

        Returns:
            Experiment and run id of a complete one with this very content; None if there is none. Every other run
            of this stage, half-made or outdated, is deleted.
        """
        if self.rows and run.name not in self._names(self.rows):
            return None
        if not self._mirrors:
            of_casl = self.client.search_experiments(filter_string="tags.`casl.mirror` = 'yes'")
            self._mirrors = [e.experiment_id for e in of_casl]
        found = self.client.search_runs(
            self._mirrors,
            filter_string=f"tags.`casl.name` = '{run.name}' and tags.`{OWNER}` = '{self.owner}'",
        )
        whole = [r for r in found if r.info.status != "RUNNING" and r.data.tags.get(CONTENT) == content]
        for other in found:
            if other not in whole[:1]:
                self.client.delete_run(other.info.run_id)
        return (whole[0].info.experiment_id, whole[0].info.run_id) if whole else None

    def _names(self, rows: Rows) -> set[str]:
        """Names of the stages that the database has runs of, looked up once."""
        if self._there is None:
            self._there = rows.names(self.owner)
        return self._there

    def log(self, run: Run, sheet: Sheet, content: str, data: Sequence[DataUse] = ()) -> tuple[str, str]:
        """Write a new run; it counts as complete only by its final status, which comes last.

        In a database it is there, whole, after `flush`.

        Returns:
            Experiment and run id.
        """
        draft = draft_of(run, sheet, {**sheet.tags, OWNER: self.owner, CONTENT: content}, data)
        if self.rows is None:
            return self.experiment_id, self._send(draft, run.folder)
        self.waiting.append(draft)
        return self.experiment_id, draft.run_id

    def flush(self) -> None:
        """Write what `log` has collected for a database, all of it or nothing."""
        if self.rows and self.waiting:
            root = self.client.get_experiment(self.experiment_id).artifact_location
            self.rows.write(self.experiment_id, str(root), self.waiting)
            self.waiting = []

    def _send(self, draft: Draft, folder: Path) -> str:
        """Through the client; returns the id that a server gave."""
        made = self.client.create_run(
            self.experiment_id, start_time=draft.started, tags=dict(draft.tags), run_name=draft.title
        )
        run_id: str = made.info.run_id
        self._log_numbers(run_id, draft)
        self._log_data(run_id, draft.data)
        self._log_files(run_id, folder)
        self.client.set_terminated(run_id, draft.status, end_time=draft.ended)
        return run_id

    def retag(
        self, run_id: str, tags: Mapping[str, str], old: Mapping[str, str], params: Mapping[str, str] = NO_PARAMS
    ) -> bool:
        """Set tags that changed and delete those no longer wanted; False if the run is gone from MLflow.

        params: set those that the run lacks, as one that an earlier version of casl wrote does.
        """
        from mlflow.entities import Param, RunTag
        from mlflow.exceptions import MlflowException

        try:
            run = self.client.get_run(run_id)
            if run.info.lifecycle_stage != "active":
                return False
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        changed = {name: value for name, value in tags.items() if old.get(name) != value}
        if title := changed.pop(TITLE_TAG, ""):
            self.client.set_tag(run_id, TITLE_TAG, title)  # this alone changes the name of the run, too
        self.client.log_batch(run_id, tags=[RunTag(name, value) for name, value in changed.items()])
        lacking = iter([Param(name, value) for name, value in params.items() if name not in run.data.params])
        while some := list(islice(lacking, PARAMS)):
            self.client.log_batch(run_id, params=some)
        for name in old.keys() - tags.keys():
            self.client.delete_tag(run_id, name)
        return True

    def _log_numbers(self, run_id: str, draft: Draft) -> None:
        from mlflow.entities import Metric, Param

        metrics = iter([Metric(*point) for point in draft.points])
        params = iter([Param(name, value) for name, value in draft.params.items()])
        while (some := list(islice(metrics, CHUNK - PARAMS))) + (named := list(islice(params, PARAMS))):
            self.client.log_batch(run_id, metrics=some, params=named)

    def _log_data(self, run_id: str, data: Sequence[DataUse]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = [
            DatasetInput(
                Dataset(d.name, d.digest, SOURCE, source_of(d), profile=profile_of(d)), [InputTag(CONTEXT, d.context)]
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
        for file, within in artifacts(folder):
            self.client.log_artifact(run_id, str(file), within or None)


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
