"""A search in MLflow: one run for the study, one nested in it for every finished trial, linked to the stages behind it.

Like the mirror of the store, it can be repeated at any time: Optuna's study is the truth, a sync adds what is missing,
replaces what changed or was left half written, and MLflow being away loses nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping
from statistics import fmean
from typing import Any

from casl.errors import TrackingError
from casl.spec.search import PROXY, Search, Trial, spoken
from casl.tracking.address import run_page
from casl.tracking.draft import milliseconds
from casl.tracking.experiment import CELL, KIND, NOTE_TAG
from casl.tracking.home import settle
from casl.tracking.mirror import Mirror
from casl.tracking.owner import OWNER
from casl.tracking.run import CONTENT, Writer
from casl.tracking.server import (
    artifact_root,
    exclusive,
    is_server,
    open_client,
    quiet_mlflow,
    tracking_errors,
    unreachable,
)
from casl.tracking.text import PARAM_LENGTH, TAG_LENGTH, legal

STUDY, TRIAL = "casl.study", "casl.trial"
PARENT = "mlflow.parentRunId"
WHOLE = "study"  # value of the tag casl.trial of the study's own run
_ENDS = {"done": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}


def sync_search(mirror: Mirror, search: Search, note: str = "") -> dict[int, str]:
    """Bring a search in MLflow up to date. Sync its stages first, so that they can be linked.

    Args:
        mirror: of the store that the search ran in.
        note: Markdown for the study's run.

    Returns:
        Number of each finished trial -> id of its run.

    Raises:
        TrackingError: MLflow cannot be reached or refuses; repeat later.
    """
    settle(mirror.store, mirror.uri)
    try:
        with (
            exclusive(mirror.store / "mlflow" / ".searches.lock"),
            quiet_mlflow(),
            tracking_errors(mirror.uri, mirror.store),
        ):
            client = open_client(mirror.uri, artifact_root(mirror.store))
            artifacts = None if is_server(mirror.uri) else artifact_root(mirror.store).as_uri()
            writer = Writer(client, mirror.experiment, artifacts, mirror.store, None)
            return _Runs(writer, mirror, search).sync(note)
    except OSError as error:
        raise TrackingError(unreachable(mirror.uri, mirror.store, str(error))) from error


class _Runs:
    """The runs of one search."""

    def __init__(self, writer: Writer, mirror: Mirror, search: Search) -> None:
        self.client, self.experiment, self.mirror, self.search = writer.client, writer.experiment_id, mirror, search
        self.owner = writer.owner

    def sync(self, note: str) -> dict[int, str]:
        known = self._known()
        parent = self._parent(known.pop(WHOLE, []), note)
        ids = {}
        for trial in self.search.trials:
            if trial.state in _ENDS:
                ids[trial.number] = self._trial(trial, known.pop(str(trial.number), []), parent)
        for left in (run for runs in known.values() for run in runs):
            self.client.delete_run(left.info.run_id)
        return ids

    def _known(self) -> dict[str, list[Any]]:
        """Runs of this search by trial."""
        which = f"tags.`{STUDY}` = '{self._name()}' and tags.`{OWNER}` = '{self.owner}'"
        found: dict[str, list[Any]] = {}
        page: Any = None
        while page is None or page.token:
            page = self.client.search_runs(
                [self.experiment], filter_string=which, max_results=500, page_token=page.token if page else None
            )
            for run in page:
                found.setdefault(run.data.tags.get(TRIAL, ""), []).append(run)
        return found

    def _name(self) -> str:
        return self.search.name.replace("'", "%27")

    def _tags(self, trial: str) -> dict[str, str]:
        return {
            STUDY: self._name(),
            TRIAL: trial,
            OWNER: self.owner,
            KIND: "search" if trial == WHOLE else "trial",
        }

    def _parent(self, known: list[Any], note: str) -> str:
        search = self.search
        tags = {**self._tags(WHOLE), NOTE_TAG: note[:TAG_LENGTH], CELL: search.cell}
        if known:
            run_id = str(known[0].info.run_id)
            for name, value in tags.items():
                if known[0].data.tags.get(name) != value:
                    self.client.set_tag(run_id, name, value)
        else:
            title = f"search {search.argument} · {search.objective} · {search.settings.get('sampler', '')}"
            made = self.client.create_run(self.experiment, tags=tags, run_name=title)
            run_id = str(made.info.run_id)
            settings = {"argument": search.target, "objective": search.objective, "seeds": str(search.seeds)}
            self._log(run_id, {**settings, **search.settings}, [])
        done = [
            (mean, t) for t in search.trials if t.state == "done" and (mean := t.mean(search.objective)) is not None
        ]
        if done:
            best, trial = max(done, key=lambda pair: pair[0])
            numbers = [("best objective", best, 0), ("trials", float(len(search.trials)), 0)]
            if not isinstance(trial.value, str):
                numbers.append((f"best {search.argument}", float(trial.value), 0))
            self._log(run_id, {}, numbers)
        self.client.set_terminated(run_id, "FINISHED")
        return run_id

    def _trial(self, trial: Trial, known: list[Any], parent: str) -> str:
        content = hashlib.sha256(json.dumps(dataclasses.asdict(trial), sort_keys=True).encode()).hexdigest()
        whole = [r for r in known if r.info.status != "RUNNING" and r.data.tags.get(CONTENT) == content]
        whole = [r for r in whole if r.data.tags.get(PARENT) == parent]
        for other in known:
            if other not in whole[:1]:
                self.client.delete_run(other.info.run_id)
        run_id = str(whole[0].info.run_id) if whole else self._write(trial, content, parent)
        note = _note(self.search, trial, self._links(trial))
        if not whole or whole[0].data.tags.get(NOTE_TAG) != note:
            self.client.set_tag(run_id, NOTE_TAG, note)
        return run_id

    def _write(self, trial: Trial, content: str, parent: str) -> str:
        """A new run; it counts as whole by its final status, which comes last."""
        tags = {**self._tags(str(trial.number)), PARENT: parent, CONTENT: content, "casl.state": trial.state}
        tags |= {legal(f"casl.stage.{role}"): name for role, name in trial.stages.items()}
        if trial.reason:
            tags["casl.reason"] = trial.reason[:TAG_LENGTH]
        title = f"{self.search.argument} {spoken(trial.value)}"
        start, end = milliseconds(trial.started), milliseconds(trial.ended)
        made = self.client.create_run(self.experiment, start_time=start, tags=tags, run_name=title)
        run_id = str(made.info.run_id)
        self._log(run_id, {self.search.argument: spoken(trial.value)}, _numbers(self.search, trial))
        self.client.set_terminated(run_id, _ENDS[trial.state], end_time=end)
        return run_id

    def _log(self, run_id: str, params: Mapping[str, str], numbers: list[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric, Param

        now = round(time.time() * 1000)
        metrics = [Metric(legal(name), value, now, step) for name, value, step in numbers]
        self.client.log_batch(
            run_id, metrics=metrics, params=[Param(legal(n), v[:PARAM_LENGTH]) for n, v in params.items()]
        )

    def _links(self, trial: Trial) -> dict[str, str]:
        ids = {name: self.mirror.run_id(name) for name in trial.stages.values()}
        return {name: run_page((self.experiment, i)) for name, i in ids.items() if i}


def _numbers(search: Search, trial: Trial) -> list[tuple[str, float, int]]:
    """(name, value, step): means, each seed's own, and the warmup's rungs with their length in x as step."""
    numbers: list[tuple[str, float, int]] = []
    for name, values in trial.figures.items():
        title = "proxy f1" if name == PROXY else name
        numbers.append((title, fmean(values), 0))
        numbers += [(f"{title}/seed {i}", v, 0) for i, v in enumerate(values) if len(values) > 1]
    if (objective := trial.mean(search.objective)) is not None and trial.state == "done":
        numbers.append(("objective", objective, 0))
    return numbers + [("warmup rung", fmean(values), step) for step, values in trial.rungs.items()]


def _note(search: Search, trial: Trial, links: Mapping[str, str]) -> str:
    head = f"Trial {trial.number} of study `{search.name}`: {search.argument} = {spoken(trial.value)}, {trial.state}."
    lines = [
        f"- {role}: [{name}]({links[name]})" if name in links else f"- {role}: `{name}`"
        for role, name in trial.stages.items()
    ]
    return "\n".join([head, *([trial.reason] if trial.reason else []), "", "**Made from**", "", *lines])[:TAG_LENGTH]
