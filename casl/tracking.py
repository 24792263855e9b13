"""Mirror of a store in MLflow: every done or failed stage is one run, each logged once.

The store on disk is the truth and never waits for MLflow. What was logged is remembered in one small file a run under
<store>/mlflow/, written after the run is complete in MLflow; whatever is not there yet, the next sync sends. Delete
that folder and the database, and a sync builds both again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from casl.errors import TrackingError
from casl.files import write_json
from casl.spec.run import Run
from casl.spec.stage import Stage, ancestors
from casl.tracking_run import Writer
from casl.tracking_server import (
    START_PAGE,
    TRAINING_MODE,
    artifact_root,
    default_uri,
    exclusive,
    identity,
    open_client,
    quiet_mlflow,
    tracking_errors,
    ui_command,
    unreachable,
)
from casl.tracking_text import Sheet, describe, stage_of

__all__ = ["START_PAGE", "Mirror", "ui_command"]


@dataclass(frozen=True)
class _Entry:
    """What is known to be in MLflow. database: which one; content: digest of the result; tags: as last set."""

    run_id: str
    experiment_id: str
    database: str
    content: str
    uses: Mapping[str, Sequence[str]]
    tags: Mapping[str, str]


class Mirror:
    """One store mirrored into one MLflow server or database. Nothing is opened before there is something to send."""

    def __init__(self, store: Path, uri: str | None = None, experiment: str = "casl") -> None:
        """
        Args:
            store: folder of the store.
            uri: http(s) address of a server, or a database; default an SQLite file in the store.
            experiment: where new runs go; made if missing.
        """
        self.store = store.resolve()
        self.uri = uri.rstrip("/") if uri else default_uri(store)
        self.experiment = experiment
        self.index = self.store / "mlflow" / hashlib.sha256(self.uri.encode()).hexdigest()[:16]

    def run_id(self, name: str) -> str | None:
        """MLflow's id of a stage's run; None if it is not there yet. Reads one small file, opens nothing."""
        entry = self._read(name)
        return entry.run_id if entry else None

    def sync(
        self,
        runs: Iterable[Run],
        uses: Mapping[str, Sequence[str]],
        on_run: Callable[[str], None] | None = None,
    ) -> int:
        """Log what is not there yet, and update tags and note of what is.

        Args:
            runs: any runs of the store; only done and failed ones are logged. A result that replaces another
                (a failed stage that is now done) replaces its run.
            uses: stage name -> places it feeds, such as "table4: F 3x / W 5x". A table named here replaces what was
                known of that table; other tables' places stay.
            on_run: called with the name of each stage logged.

        Returns:
            How many runs were logged.

        Raises:
            TrackingError: MLflow cannot be reached or refuses; runs logged so far stay logged, the rest wait.
        """
        ended = [(run, stage_of(run)) for run in runs if run.status in ("done", "failed")]
        sent = 0
        with self._session() as writer:
            for run, stage in sorted(ended, key=_inputs_first):
                if self._send(run, stage, _by_table(uses.get(run.name, ())), writer):
                    sent += 1
                    if on_run:
                        on_run(run.name)
        return sent

    @contextmanager
    def _session(self) -> Iterator[Callable[[], Writer]]:
        """One sync a store at a time. Yields what opens MLflow at its first call: often nothing is to be sent."""
        opened: list[Writer] = []
        with ExitStack() as stack:
            try:
                stack.enter_context(exclusive(self.index / ".lock"))
            except OSError as error:
                raise TrackingError(
                    unreachable(self.uri, self.store, f"cannot write {self.index} ({error})")
                ) from error

            def writer() -> Writer:
                if not opened:
                    stack.enter_context(quiet_mlflow())
                    with tracking_errors(self.uri, self.store):
                        client = open_client(self.uri, artifact_root(self.store))
                        opened.append(Writer(client, self.experiment, self._artifacts(), self.store))
                return opened[0]

            yield writer

    def _artifacts(self) -> str | None:
        return None if self.uri.startswith("http") else artifact_root(self.store).as_uri()

    def _send(self, run: Run, stage: Stage | None, uses: dict[str, list[str]], writer: Callable[[], Writer]) -> bool:
        """Bring one run up to date; returns whether it was logged anew."""
        known, content = self._read(run.name), _digest(run)
        places = {**(known.uses if known else {}), **uses}
        sheet = describe(run, stage, places, self._links(stage))
        if known and known.content == content and known.tags == sheet.tags:
            return False
        opened = writer()
        with tracking_errors(self.uri, self.store):
            if known and known.content == content and opened.retag(known.run_id, sheet.tags, known.tags):
                self._write(run.name, dataclasses.replace(known, uses=places, tags=sheet.tags))
                return False
            self._log(opened, run, sheet, content, places)
        return True

    def _log(self, writer: Writer, run: Run, sheet: Sheet, content: str, uses: Mapping[str, Sequence[str]]) -> None:
        adopted = writer.adopt(run, content)
        if adopted:
            writer.retag(adopted[0], sheet.tags, {})
        run_id, experiment_id = adopted or writer.log(run, sheet, content)
        where = identity(self.uri) or ""
        self._write(run.name, _Entry(run_id, experiment_id, where, content, uses, sheet.tags))

    def _links(self, stage: Stage | None) -> dict[str, str]:
        entries = {parent.name: self._read(parent.name) for parent in (stage.inputs() if stage else ())}
        return {n: f"#/experiments/{e.experiment_id}/runs/{e.run_id}{TRAINING_MODE}" for n, e in entries.items() if e}

    def _read(self, name: str) -> _Entry | None:
        """What the index says; a damaged entry counts as none, since `adopt` then finds the run."""
        try:
            entry = _Entry(**json.loads((self.index / f"{name}.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return entry if entry.database == identity(self.uri) else None

    def _write(self, name: str, entry: _Entry) -> None:
        write_json(self.index / f"{name}.json", dataclasses.asdict(entry))


def _inputs_first(item: tuple[Run, Stage | None]) -> tuple[int, str, str]:
    """An input has fewer ancestors than what is made from it; its run must exist to be linked."""
    run, stage = item
    return len(list(ancestors(stage))) if stage else 0, run.started, run.name


def _by_table(places: Sequence[str]) -> dict[str, list[str]]:
    tables: dict[str, list[str]] = {}
    for place in places:
        table, _, where = place.partition(": ")
        tables.setdefault(table, []).append(where)
    return tables


def _digest(run: Run) -> str:
    """Of everything a run says, so that another result, or another failure, is seen as one. Not of where it lies."""
    fields = dataclasses.asdict(dataclasses.replace(run, folder=Path()))
    return hashlib.sha256(json.dumps(fields, sort_keys=True, default=str).encode()).hexdigest()
