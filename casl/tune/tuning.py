"""One search from its question to its reports: what is asked, which study it is, how it is told to files and MLflow."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from casl import catalog
from casl.errors import SpecError, TrackingError, unknown
from casl.report.search import headlines, invitation, line_to_paste, verdict
from casl.report.search_pages import write_search
from casl.runner.store import Store
from casl.spec.ablation import Cell
from casl.spec.profile import Profile
from casl.spec.run import Use
from casl.spec.search import FINAL, PROXY, WARMUP, Search
from casl.spec.stage import ancestors
from casl.tracking.mirror import Mirror
from casl.tracking.study import sync_search
from casl.tracking.text import stage_of
from casl.tune.question import Question
from casl.tune.request import DEFAULT_CELLS, SearchRequest
from casl.tune.search import Tools, search
from casl.tune.space import Space, make_space, parse, searched
from casl.tune.storage import default_url, open_storage
from casl.tune.trials import Trials, version
from casl.words import number_of


class Tuning:
    """A search that is open in its storage, under one profile and on one store.

    Args:
        profiles: the profile with each seed. cells: the table's cells under each of them.

    Raises:
        SpecError: the argument, its range, the cell or the objective does not exist, or the study measures something
            else. StoreError: the storage cannot be opened.
    """

    def __init__(
        self, request: SearchRequest, profiles: Sequence[Profile], cells: Sequence[Sequence[Cell]], store: Store
    ) -> None:
        self.request, self.profile, self.store, self.seeds = request, profiles[0], store, len(profiles)
        chosen = [_cell(request.table, seed, request.cell) for seed in cells]
        self.question, space = ask(request, profiles, chosen)
        settings = _settings(request, space, self.question)
        measures = self.question.fingerprint()
        name = request.study or self._study_name(measures, settings)
        folder = store.root / "studies" / hashlib.sha256(name.encode()).hexdigest()[:16]
        self.storage = request.storage or default_url(store.root)
        self.trials = Trials(open_storage(self.storage), name, folder, request, space, measures, settings)

    def run(self, tools: Tools) -> None:
        """Search until there are enough trials, or the time is over."""
        found = self.describe()
        tools.say(f"study {found.name}\n  {found.target} of {found.cell}: {self.trials.space.describe()}")
        begun = f"{len(found.trials)} of {number_of(self.request.trials, 'trial')} begun"
        tools.say(f"  objective: {found.labels[found.objective]}; {begun}")
        search(self.trials, self.question, self.request.pruner, tools, self.request.budget_s)

    def describe(self) -> Search:
        """All that is known of the search now."""
        cell, argument = self.question.cells[0], self.question.argument
        metric = catalog.row("metric", cell.metric).symbol or cell.metric
        current = argument.current
        return Search(
            name=self.trials.name,
            argument=argument.name,
            target=argument.target,
            current="+".join(map(str, current)) if isinstance(current, tuple) else current,
            profile=self.profile.name,
            data=self.profile.data.name,
            small=self.profile.small,
            cell=f"{self.request.table}: {cell.row} / {cell.column}",
            objective=self.question.objective,
            labels={
                FINAL: metric if cell.figure == "AP" else f"{cell.metric} {cell.figure}",
                WARMUP: "AP^e of the warmup",
                PROXY: "proxy F1",
            },
            seeds=self.seeds,
            settings=self.trials.settings,
            trials=tuple(self.trials.all()),
        )

    def _study_name(self, measures: str, settings: Mapping[str, str]) -> str:
        """Another question, range, sampler or version of Optuna is another study; a longer one is the same."""
        everything = json.dumps([measures, settings], sort_keys=True)
        mark = hashlib.sha256(everything.encode()).hexdigest()[:8]
        return f"{self.request.argument} {self.request.objective} {self.profile.name} {self.profile.data.name} {mark}"


def _settings(request: SearchRequest, space: Space, question: Question) -> dict[str, str]:
    """Everything that can change which trials come out, but for what is measured."""
    return {
        "range": space.describe(),
        "log": "yes" if space.log else "no",
        "choices": ",".join(space.choices),
        "sampler": request.sampler,
        "sampler seed": str(request.sampler_seed),
        "batch": str(request.batch),
        "pruner": request.pruner,
        "rungs": ",".join(map(str, question.rungs)),
        "optuna": version(),
    }


def ask(request: SearchRequest, profiles: Sequence[Profile], cells: Sequence[Cell]) -> tuple[Question, Space]:
    """The question about one cell of each seed, and the values to try."""
    end = cells[0].evaluation
    argument = searched(request.argument, end, profiles[0])
    space = make_space(argument, request, end)
    question = Question(argument, cells, profiles, request.objective, request.lengths)
    question.check()
    low, *_, high = space.grid()
    if not question.moves_warmup(parse(argument, low), parse(argument, high)):
        question = Question(argument, cells, profiles, request.objective)  # all values share the warmup
    return question, space


def _cell(table: str, cells: Sequence[Cell], place: Sequence[str]) -> Cell:
    """The measured cell in a row and a column, or of the table's default."""
    measured = {(c.row, c.column): c for c in reversed(cells) if c.stage is not None}
    chosen = tuple(place) or DEFAULT_CELLS.get(table, ("", ""))
    if chosen not in measured:
        advice = "Write --cell ROW COLUMN, as two words."
        raise SpecError(unknown(f"cell of {table}", " / ".join(chosen), map(" / ".join, measured), advice))
    return measured[chosen]


class Publisher:
    """Keeps the reports and MLflow up to date with a search. MLflow is not asked again once it did not answer.

    Args:
        folder: for reports. uri: of MLflow, None for the store's own database. experiment: its name in MLflow.
        pages: address that links to runs begin with; "" writes none.
    """

    def __init__(self, tuning: Tuning, folder: Path, uri: str | None, experiment: str, pages: str) -> None:
        self.tuning, self.folder, self.pages = tuning, folder, pages
        self.mirror = Mirror(tuning.store.root, uri, experiment)
        self.ids: Mapping[int, str] = {}
        self.refused: TrackingError | None = None

    def send(self) -> None:
        """After each cohort."""
        if self.refused is None:
            self._sync(self.tuning.describe(), last=False)

    def finish(self) -> Search:
        """Write the report, send everything, and print the answer and what could not be sent."""
        found = self.tuning.describe()
        self._sync(found, last=True)
        if self.refused:
            print(f"MLflow: {self.refused}\n  repeating this command sends the search", file=sys.stderr)
        else:
            print(f"MLflow: search and {number_of(len(self.ids), 'trial')} in experiment {self.mirror.place!r}")
        written = write_search(found, self.folder, self.ids if self.pages else {}, self.pages)
        print("\n".join([*map(str, written), *headlines(found)]))
        if (best := verdict(found)) and (said := invitation(found, best)):
            print(f"{said}, in the profile:  {line_to_paste(found, best.best.value)}")
        return found

    def _sync(self, found: Search, *, last: bool) -> None:
        """last: bring registered models up to date too."""
        uses: dict[str, list[Use]] = {}
        for trial in found.trials:
            for role, name in trial.stages.items():
                uses.setdefault(name, []).append(Use(found.slug, found.place(trial, role)))
        store = self.tuning.store
        stages = [s for name in uses if (s := stage_of(store.run(name)))]
        runs = [store.run(name) for name in dict.fromkeys(a.name for s in stages for a in ancestors(s))]
        self.refused = None
        try:
            self.mirror.sync(runs, uses, None, register=last)
            self.ids = sync_search(self.mirror, found, "\n".join(f"- {line}" for line in headlines(found)))
        except TrackingError as error:
            self.refused = error
