"""Mirror of a store in MLflow: every done or failed stage is one run, logged once, in an experiment that is described.

The store on disk is the truth and never waits for MLflow. What was logged is remembered in one small file a run under
<store>/mlflow/, written after the run is complete in MLflow; the next sync sends what is missing. Delete that folder
and the database, and a sync builds both again. In a store that was copied or moved, a sync first brings both home.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from casl.errors import TrackingError
from casl.files import SYNC_THREADS, own_code
from casl.spec.freeze import kind_named
from casl.spec.kinds import Train
from casl.spec.run import Run, Use
from casl.spec.schedule import is_beginning
from casl.spec.stage import Stage, ancestors, split_name
from casl.tracking.address import Address
from casl.tracking.draft import content_of
from casl.tracking.experiment import NOTE_TAG, description, views
from casl.tracking.home import settle
from casl.tracking.index import Entry, Experiment, Index, listed
from casl.tracking.models import Registry, data_facts, has_weights, wanted
from casl.tracking.places import data_at_places, places_kept, with_ancestors
from casl.tracking.rows import Rows
from casl.tracking.run import Writer
from casl.tracking.server import (
    artifact_root,
    exclusive,
    identity,
    is_server,
    open_client,
    quiet_mlflow,
    tracking_errors,
    unreachable,
)
from casl.tracking.text import Sheet, describe, stage_of, with_places

Ended = Sequence[tuple[Run, Stage | None]]
AT_ONCE = 100  # runs that a database gets in one transaction


class Mirror:
    """One store mirrored into one MLflow server or database. Nothing is opened before there is something to send."""

    def __init__(self, store: Path, uri: str | None = None, experiment: str = "casl") -> None:
        """
        Args:
            store: folder of the store.
            uri: http(s) address of a server, or a database; default an SQLite file in the store.
            experiment: where new runs go; made if missing. See `place`.
        """
        self.store = store.resolve()
        self.known = Index(store, uri)
        self.uri, self.index = self.known.uri, self.known.folder
        self.experiment = experiment
        self.fresh: dict[str, Entry] = {}  # logged, and not yet remembered
        self.sent: set[str] = set()  # names of all stages whose runs were logged through this object
        self._read: dict[str, Entry | None] = {}  # of this sync, during which no other process changes them

    @property
    def place(self) -> str:
        """Name of the experiment that has the runs: as asked, or this store's own where another has that name."""
        here = self.known.named(self.experiment)
        return here.experiment if here else self.experiment

    def run_id(self, name: str) -> str | None:
        """MLflow's id of a stage's run; None if it is not there yet. Reads one small file, opens nothing."""
        entry = self.known.read(name)
        return entry.run_id if entry else None

    def reach(self) -> None:
        """See that a server answers, also where there is nothing to send; a database is no server.

        Raises:
            TrackingError: it does not.
        """
        if self._is_server:
            with quiet_mlflow(), tracking_errors(self.uri, self.store):
                open_client(self.uri, artifact_root(self.store))

    def sync(
        self,
        runs: Iterable[Run],
        uses: Mapping[str, Sequence[Use]],
        on_run: Callable[[str], None] | None = None,
        *,
        register: bool = True,
        thorough: bool = True,
    ) -> int:
        """Log what is not there yet, update tags and note of what is, and bring the experiment up to date.

        Args:
            runs: any runs of the store; only done and failed ones are logged. A result that replaces another
                (a failed stage that is now done) replaces its run.
            uses: stage name -> places it feeds. A table named here replaces what was known of that table; other
                tables' places stay. A stage of the same kind on other data that fed one of these places in this
                experiment, and is not named here, loses the place.
            on_run: called with the name of each stage logged.
            register: also bring the registered models up to date.
            thorough: look at every run, also where the same was asked last and nothing here has changed since.

        Returns:
            How many runs were logged.

        Raises:
            TrackingError: MLflow cannot be reached or refuses; runs logged so far stay logged, the rest wait.
        """
        settle(self.store, self.uri)
        over = [r for r in runs if r.status in ("done", "failed")]
        asked = _asked(over, uses, register=register)
        if not thorough and self.known.is_settled(self.experiment, asked):
            return 0
        ended = sorted(((r, stage_of(r)) for r in over), key=_inputs_first)
        kin = _families(ended)
        sent: list[str] = []
        with self._session() as writer:
            self.fresh, self._read = {}, {}  # under the lock: a thread that follows a run may be at it still
            for number, (run, stage) in enumerate(ended, start=1):
                self._send(run, stage, _by_table(uses.get(run.name, ())), kin, writer)
                if len(self.fresh) >= (1 if self._is_server else AT_ONCE) or number == len(ended):
                    sent += self._keep(writer, on_run)
            if register:
                self._take_places(uses, writer)
            for experiment_id in self._experiments(ended):
                self._present(experiment_id, ended if register else (), writer)
            self.known.settle(self.experiment, asked)
        return len(sent)

    def _keep(self, writer: Callable[[], Writer], on_run: Callable[[str], None] | None) -> list[str]:
        """See that the runs that were logged are in MLflow, then remember them; returns their names."""
        if not self.fresh:
            return []
        opened = writer()
        with tracking_errors(self.uri, self.store):
            opened.flush()
        with ThreadPoolExecutor(SYNC_THREADS) as threads:  # each file waits for the disk
            list(threads.map(self.known.write, self.fresh, self.fresh.values()))
        self._read |= self.fresh
        names, self.fresh = list(self.fresh), {}
        self.sent.update(names)
        if on_run:
            for name in names:
                on_run(name)
        return names

    def _take_places(self, uses: Mapping[str, Sequence[Use]], writer: Callable[[], Writer]) -> None:
        """Take the places of what is asked for from runs of other data, such as a data set before a correction.

        Otherwise models judged on different data would compete for a table's best.
        """
        here = self.known.named(self.experiment)
        if here is None:
            return
        entries = self.known.entries(here.experiment_id)
        taken = data_at_places({name: entry for name, entry in entries.items() if name in uses})
        for name, entry in entries.items():
            kept = entry.uses if name in uses else places_kept(name, entry, taken)
            if kept == entry.uses:
                continue
            tags = with_places(entry.tags, entry.uses, kept)
            opened = writer()
            with tracking_errors(self.uri, self.store):
                opened.retag(entry.run_id, tags, entry.tags)
            self.known.write(name, dataclasses.replace(entry, uses=kept, tags=tags))

    @contextmanager
    def _session(self) -> Iterator[Callable[[], Writer]]:
        """Hold the lock of a sync: one at a time a store.

        Yields:
            A function that opens MLflow at its first call, since often there is nothing to send.
        """
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
                        opened.append(Writer(client, self.experiment, self._artifacts(), self.store, self._rows()))
                return opened[0]

            yield writer

    def _artifacts(self) -> str | None:
        return None if self._is_server else artifact_root(self.store).as_uri()

    def _rows(self) -> Rows | None:
        """What takes many runs at once; None where each is sent by itself."""
        return None if self._is_server else Rows(self.uri)

    @property
    def _is_server(self) -> bool:
        return is_server(self.uri)

    def _entry_of(self, name: str) -> Entry | None:
        """What is known of a stage's run, logged in this sync or before."""
        if name in self.fresh:
            return self.fresh[name]
        if name not in self._read:
            self._read[name] = self.known.read(name)
        return self._read[name]

    def _send(
        self,
        run: Run,
        stage: Stage | None,
        uses: dict[str, list[str]],
        kin: Mapping[str, Sequence[Train]],
        writer: Callable[[], Writer],
    ) -> None:
        """Bring one run up to date."""
        known, content = self._entry_of(run.name), content_of(run)
        places = {**(known.uses if known else {}), **uses}
        sheet = describe(run, stage, places, self._links(stage, kin))
        if known and known.content == content and known.tags == sheet.tags:
            return
        opened = writer()
        with tracking_errors(self.uri, self.store):
            if known and known.content == content and opened.retag(known.run_id, sheet.tags, known.tags, sheet.params):
                entry = dataclasses.replace(known, uses=places, tags=sheet.tags, title=sheet.title)
                self.known.write(run.name, entry)
                self._read[run.name] = entry
                return
            address = self._log(opened, run, stage, sheet, content)
            self.fresh[run.name] = self._entry(address, run, stage, sheet, content, places)

    def _log(self, writer: Writer, run: Run, stage: Stage | None, sheet: Sheet, content: str) -> Address:
        adopted = writer.adopt(run, content)
        if adopted:
            writer.retag(adopted[1], sheet.tags, {}, sheet.params)
        return adopted or writer.log(run, sheet, content, stage.reads() if stage else ())

    def _entry(
        self,
        address: Address,
        run: Run,
        stage: Stage | None,
        sheet: Sheet,
        content: str,
        uses: Mapping[str, Sequence[str]],
    ) -> Entry:
        return Entry(
            run_id=address[1],
            experiment_id=address[0],
            database=identity(self.uri) or "",
            content=content,
            uses=uses,
            tags=sheet.tags,
            title=sheet.title,
            figures=sheet.metrics,
            inputs=[parent.name for parent in stage.inputs()] if stage else [],
            iters=stage.iters if isinstance(stage, Train) else 0,
            failed=run.status == "failed",
        )

    def _links(self, stage: Stage | None, kin: Mapping[str, Sequence[Train]]) -> dict[str, Address]:
        """Addresses of all stages that led to a stage, shared beginnings of its trainings included."""
        found: dict[str, Address] = {}
        for each in ancestors(stage) if stage else ():
            beginnings = kin.get(each.family, ()) if isinstance(each, Train) else ()
            shorter = [b for b in beginnings if isinstance(each, Train) and is_beginning(b.schedule, each.schedule)]
            for name in (*(b.name for b in shorter), each.name):
                entry = self._entry_of(name) if stage and name != stage.name else None
                if entry:
                    found[name] = entry.address
        return found

    def _experiments(self, ended: Ended) -> list[str]:
        """Ids of the experiments that have the runs of given stages."""
        entries = [self._entry_of(run.name) for run, _ in ended]
        return sorted({entry.experiment_id for entry in entries if entry})

    def _present(self, experiment_id: str, ended: Ended, writer: Callable[[], Writer]) -> None:
        """Bring description and models of an experiment up to date. ended: what models may be made of."""
        entries = self.known.entries(experiment_id)
        known = self.known.experiment(experiment_id)
        known = known or Experiment(self._name_of(experiment_id, writer), experiment_id, identity(self.uri) or "")
        before = dataclasses.asdict(known)
        self._register(known, entries, ended, writer)
        runs = listed(entries)
        tags = {NOTE_TAG: description(experiment_id, runs, _models(known)), **views(runs)}
        if tags != known.tags:
            opened = writer()
            with tracking_errors(self.uri, self.store):
                opened.present(experiment_id, tags, known.tags)
            known.tags = tags
        if dataclasses.asdict(known) != before:
            self.known.write_experiment(known)

    def _name_of(self, experiment_id: str, writer: Callable[[], Writer]) -> str:
        opened = writer()
        with tracking_errors(self.uri, self.store):
            return opened.name_of(experiment_id)

    def _register(
        self, known: Experiment, entries: Mapping[str, Entry], ended: Ended, writer: Callable[[], Writer]
    ) -> None:
        runs = {run.name: run for run, _ in ended}
        trained = {run.name: stage for run, stage in ended if isinstance(stage, Train)}
        everything = with_ancestors(entries, self.known.read)
        measured = {n: e.inputs[0] for n, e in entries.items() if kind_named(split_name(n).kind).measures and e.inputs}
        for want in wanted(known.experiment, listed(everything), measured):
            stage, name = trained.get(want.stage), f"{want.name}@{want.alias}"
            if stage is None or known.models.get(name) == want.stage or not has_weights(runs[want.stage]):
                continue
            opened = writer()
            with tracking_errors(self.uri, self.store):
                local = self._artifacts() is not None
                registry = Registry(opened.client, known.experiment_id, known.models, local=local)
                registry.register(want, runs[want.stage], everything[want.stage].run_id, stage, data_facts(stage, runs))
            self.known.write_experiment(known)


def _asked(runs: Sequence[Run], uses: Mapping[str, Sequence[Use]], *, register: bool) -> str:
    """Digest of all that a sync is asked for, with the code that would answer."""
    contents = sorted((run.name, content_of(run)) for run in runs)
    places = sorted((name, [tuple(use) for use in fed]) for name, fed in uses.items())
    return hashlib.sha256(repr((own_code(), register, contents, places)).encode()).hexdigest()


def _models(known: Experiment) -> dict[str, str]:
    """Registered name -> its aliases, for people."""
    found: dict[str, list[str]] = {}
    for name in sorted(n for n in known.models if "@" in n):
        found.setdefault(name.partition("@")[0], []).append(name.partition("@")[2])
    return {name: ", ".join(f"`@{alias}`" for alias in aliases) for name, aliases in found.items()}


def _families(ended: Ended) -> dict[str, list[Train]]:
    """Trainings that differ in length only, together."""
    found: dict[str, list[Train]] = {}
    for _, stage in ended:
        if isinstance(stage, Train):
            found.setdefault(stage.family, []).append(stage)
    return found


def _inputs_first(item: tuple[Run, Stage | None]) -> tuple[int, str, str]:
    """Sort key by which inputs come before stages made from them, since a run must exist to be linked."""
    run, stage = item
    return len(list(ancestors(stage))) if stage else 0, run.started, run.name


def _by_table(uses: Sequence[Use]) -> dict[str, list[str]]:
    """Table -> places in it, as MLflow shows them."""
    tables: dict[str, list[str]] = {}
    for use in uses:
        tables.setdefault(use.table, []).append(use.place)
    return tables
