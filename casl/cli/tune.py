"""Verb `tune`: search one argument, delta by default, and say which value is best and how sure that is."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casl import catalog
from casl.cli.study import Study, open_study, recipe_options
from casl.errors import SpecError, TrackingError, unknown
from casl.spec.search import FINAL, OBJECTIVES, PROXY, WARMUP, Search, spoken

if TYPE_CHECKING:
    from casl.runner.plan import Plan
    from casl.spec.ablation import Cell
    from casl.spec.run import Run
    from casl.tune.ledger import Ledger, Terms
    from casl.tune.loop import Labels
    from casl.tune.question import Question
    from casl.tune.space import Space

DEFAULT_CELLS = {"table4": "F 3x / W 5x"}  # the paper's default setting
PRUNERS = ("none", "median", "halving")
SAMPLERS = ("grid", "tpe", "gp", "random")
EPILOG = """examples:
  casl tune                                                  the score threshold delta, on a grid
  casl tune delta --seeds 3 --pruner none                    slower, and surer
  casl tune delta --objective proxy                          from scored labels alone, without any training
  casl tune finetune.lr --low 3e-4 --high 3e-3 --log --sampler tpe
  casl tune warmup.schedule --low 1 --high 5                 lengths in x
  casl tune finetune.parts --choices backbone,backbone+neck --table 9 --cell ...
Stop it whenever you like; the same command goes on from there. A second process with the same command helps."""


def add(verbs: Any, study: argparse.ArgumentParser) -> None:
    """Verb `tune`. study: the options of `store_option`; tables are named differently here."""
    tune = verbs.add_parser(
        "tune",
        parents=[study],
        help="search the best value of one argument (default delta)",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    tune.add_argument("argument", nargs="?", default="delta", help="delta, or stage.argument such as finetune.lr")
    tune.add_argument("--profile", default="mini", help=f"{', '.join(catalog.PROFILES)} (default mini)")
    tune.add_argument("--data", default="", help="data set on disk instead of the profile's own")
    recipe_options(tune)
    tune.add_argument("--seeds", type=int, default=1, help="repetitions of every trial, averaged (default 1)")
    tune.add_argument("--table", default="table4", help="table whose cell is varied (default table4)")
    tune.add_argument("--cell", default="", help="'ROW / COLUMN' of it (default of table4: F 3x / W 5x)")
    tune.add_argument("--low", type=float, help="lowest value")
    tune.add_argument("--high", type=float, help="highest value")
    tune.add_argument("--step", type=float, help="distance of values; delta: 0.05")
    tune.add_argument(
        "--points", type=int, default=12, help="values of a grid over a range without --step (default 12)"
    )
    tune.add_argument("--log", action="store_true", help="search on the logarithm")
    tune.add_argument("--choices", default="", help="values to compare, A,B,C, where they are no numbers")
    _how(tune)
    _where(tune)
    tune.set_defaults(command=tune_command)


def _how(tune: argparse.ArgumentParser) -> None:
    tune.add_argument(
        "--objective",
        default=FINAL,
        help="final: the cell's metric, AP^det in table4; warmup: AP^e of the warmup; proxy: F1 of held-out labels",
    )
    tune.add_argument("--trials", type=int, default=12, help="trials of the study in all (default 12)")
    tune.add_argument("--timeout", type=float, default=0.0, help="begin no trials after so many seconds; 0 for none")
    tune.add_argument("--sampler", default="grid", help=f"{', '.join(SAMPLERS)} (default grid)")
    tune.add_argument("--sampler-seed", type=int, default=0, help="of the sampler (default 0)")
    tune.add_argument("--batch", type=int, default=4, help="trials chosen and judged together (default 4)")
    tune.add_argument("--pruner", default="median", help=f"{', '.join(PRUNERS)} (default median)")
    tune.add_argument("--rungs", default="1,3", help="lengths of the warmup in x at which to prune (default 1,3)")
    tune.add_argument("--study", default="", help="name of the study; default: made from what is searched, and how")
    tune.add_argument("--storage", default="", help="Optuna storage; default: optuna.db in the store")


def _where(tune: argparse.ArgumentParser) -> None:
    tune.add_argument("--launcher", default="local", help=f"{', '.join(catalog.LAUNCHERS)} (default local)")
    tune.add_argument("--workers", type=int, default=0, help="stages at once; default one a core, or one a GPU")
    tune.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default auto)")
    tune.add_argument("--loaders", type=int, default=0, help="threads preparing batches in each worker (default 0)")
    tune.add_argument("--weights", default="", help="folder with pretrained backbone weights, <backbone>.safetensors")
    tune.add_argument("--reports", default="reports", help="folder for reports (default reports)")
    tune.add_argument("--json", action="store_true", help="the result as JSON on stdout, everything else on stderr")


def tune_command(options: argparse.Namespace) -> int:
    """Search, report, tell MLflow. 1 if a trial failed."""
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        found = _tune(options)
    if options.json:
        from casl.report.search_pages import search_json

        print(search_json(found), end="")
    return 1 if any(t.state == "failed" for t in found.trials) else 0


def _tune(options: argparse.Namespace) -> Search:
    from casl.report.search import headlines, line_to_paste, verdict
    from casl.tune.loop import Means, search

    study = _study(options)
    question, space = _question(options, study)
    ledger = _ledger(options, study, question, space)
    mirror = _Mirrored(options, study, lambda: describe(study, question, ledger))
    begun = describe(study, question, ledger)
    print(f"study {ledger.name}\n  {question.argument.target} of {begun.cell}: {space.describe()}")
    print(f"  objective: {begun.labels[question.objective]}; {len(begun.trials)} of {options.trials} trials begun")
    with _worker(options, study) as work:
        means = Means(study.store, _labels(study), work, mirror.send, lambda line: print(line, flush=True))
        search(ledger, question, options.pruner, means, options.timeout)
    found = mirror.finish()
    print("\n".join(headlines(found)))
    if best := verdict(found):
        print(f"To use it, in the profile:  {line_to_paste(found, best.best.value)}")
    return found


def _study(options: argparse.Namespace) -> Study:
    """The table under the profile, with every option of a fixed set checked."""
    from casl.spec.profile import PlannedData

    for what, value, known in (
        ("objective", options.objective, OBJECTIVES),
        ("sampler", options.sampler, SAMPLERS),
        ("pruner", options.pruner, PRUNERS),
    ):
        if value not in known:
            raise SpecError(unknown(what, value, known))
    catalog.check_name("launcher", options.launcher)
    for name, least in (("trials", 1), ("batch", 1), ("timeout", 0), ("workers", 0)):
        if getattr(options, name) < least:
            raise SpecError(f"--{name} must be at least {least}, got {getattr(options, name)}")
    options.tables = [f"table{options.table}" if options.table.isdigit() else options.table]
    study = open_study(options)
    if isinstance(study.profile.data, PlannedData):
        raise SpecError(
            f"profile {study.profile.name!r} stands for data that is not here.\n  pass the data set with --data path."
        )
    return study


def _question(options: argparse.Namespace, study: Study) -> tuple[Question, Space]:
    from casl.tune.argument import resolve
    from casl.tune.question import Question
    from casl.tune.space import Bounds, make_space, parse

    table = options.tables[0]
    cells = [_cell(table, seed, options.cell) for seed in study.cells[table]]
    profiles = [study.profile.with_seed(seed) for seed in range(study.profile.seeds)]
    argument = resolve(options.argument, cells[0].evaluation, profiles[0])
    choices = tuple(c.strip() for c in options.choices.split(",") if c.strip())
    bounds = Bounds(options.low, options.high, options.step, options.log, options.points, choices)
    space = make_space(argument, bounds, cells[0].evaluation)
    question = Question(argument, cells, profiles, options.objective, _rungs(options.rungs))
    question.check()
    grid = space.grid()
    if not question.moves_warmup(parse(argument, grid[0]), parse(argument, grid[-1])):
        question = Question(argument, cells, profiles, options.objective)  # all values share the warmup
    return question, space


def _cell(table: str, cells: tuple[Cell, ...], asked: str) -> Cell:
    """The measured cell at "ROW / COLUMN", or of the table's default."""
    measured = {f"{c.row} / {c.column}": c for c in reversed(cells) if c.stage is not None}
    name = asked or DEFAULT_CELLS.get(table, "")
    if name not in measured:
        names = list(reversed(measured))
        raise SpecError(unknown(f"cell of {table}", name, names, "Write --cell 'ROW / COLUMN'."))
    return measured[name]


def _rungs(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdigit() and int(part) > 0 for part in parts):
        raise SpecError(f"--rungs are lengths in x, such as 1,3; got {text!r}")
    return tuple(sorted({int(part) for part in parts}))


def _ledger(options: argparse.Namespace, study: Study, question: Question, space: Space) -> Ledger:
    from casl.tune.ledger import Ledger, Terms, version
    from casl.tune.storage import default_url, open_storage

    settings = {
        "range": space.describe(),
        "log": "yes" if space.log else "no",
        "choices": ",".join(space.choices),
        "sampler": options.sampler,
        "sampler seed": str(options.sampler_seed),
        "batch": str(options.batch),
        "pruner": options.pruner,
        "rungs": ",".join(map(str, question.rungs)),
        "optuna": version(),
    }
    terms = Terms(
        parameter=question.argument.name,
        measures=question.fingerprint(),
        space=space,
        sampler=options.sampler,
        seed=options.sampler_seed,
        batch=options.batch,
        limit=options.trials,
        settings=settings,
    )
    name = options.study or _study_name(study, question, terms)
    folder = study.store.root / "studies" / hashlib.sha256(name.encode()).hexdigest()[:16]
    return Ledger(open_storage(options.storage or default_url(study.store.root)), name, folder, terms)


def _study_name(study: Study, question: Question, terms: Terms) -> str:
    """Another question, range, sampler or version of Optuna is another study; a longer one is the same."""
    everything = json.dumps([terms.measures, dict(terms.settings)], sort_keys=True)
    mark = hashlib.sha256(everything.encode()).hexdigest()[:8]
    return f"{question.argument.name} {question.objective} {study.profile.name} {study.profile.data.name} {mark}"


def describe(study: Study, question: Question, ledger: Ledger) -> Search:
    """All that is known of a search now."""
    cell = question.cells[0]
    metric = (
        f"{cell.metric} {cell.figure}"
        if cell.figure != "AP"
        else catalog.row("metric", cell.metric).symbol or cell.metric
    )
    return Search(
        name=ledger.name,
        argument=question.argument.name,
        target=question.argument.target,
        current=_plain(question.argument.current),
        profile=study.profile.name,
        data=study.profile.data.name,
        small=study.profile.small,
        cell=f"{next(iter(study.tables))}: {cell.row} / {cell.column}",
        objective=question.objective,
        labels={FINAL: metric, WARMUP: "AP^e of the warmup", PROXY: "proxy F1"},
        seeds=study.profile.seeds,
        settings=ledger.terms.settings,
        trials=tuple(ledger.trials()),
    )


def _plain(value: Any) -> Any:
    return "+".join(map(str, value)) if isinstance(value, tuple) else value


def _labels(study: Study) -> Labels:
    from casl.stages.agreement import ScoredLabels

    roots = {digest: Path(root) for digest, root in study.roots.items()}
    return ScoredLabels(study.store.folder, roots, study.store.root / "digests.json")


@contextmanager
def _worker(options: argparse.Namespace, study: Study) -> Iterator[Callable[[Plan], None]]:
    """Yields what runs a plan. Workers start with the first plan and stay warm for the others."""
    from casl.cli.run import interruptible
    from casl.runner.job import Placement, Resources
    from casl.runner.live import View
    from casl.runner.schedule import execute

    roots, weights = study.roots, options.weights or None
    placement = Placement(roots=roots, device=options.device, loaders=options.loaders, weights=weights)
    launchers: list[Any] = []

    def work(plan: Plan) -> None:
        if not launchers:
            launchers.append(catalog.load("launcher", options.launcher)(study.store, Resources(jobs=options.workers)))
        with View(plan, study.store) as view, interruptible() as stopping:
            ended = execute(plan, study.store, launchers[0], placement, view, lambda name: None, stopping=stopping)
        if ended.stopped or stopping():
            raise KeyboardInterrupt

    try:
        yield work
    finally:
        for launcher in launchers:
            launcher.close()


class _Mirrored:
    """Keeps the reports and MLflow up to date with the study. MLflow is not asked again once it did not answer."""

    def __init__(self, options: argparse.Namespace, study: Study, describe: Callable[[], Search]) -> None:
        from casl.tracking.mirror import Mirror

        self.study, self.describe = study, describe
        self.reports = Path(options.reports) / study.profile.folder
        self.mirror = Mirror(study.store.root, options.mlflow or None, study.experiment)
        self.ids: Mapping[int, str] = {}
        self.refused: TrackingError | None = None

    def send(self) -> None:
        """After each cohort."""
        if self.refused is None:
            self._sync(self.describe(), last=False)

    def finish(self) -> Search:
        """Write the report, and tell what could not be sent."""
        from casl.report.search_pages import write_search

        found = self.describe()
        self._sync(found, last=True)
        if self.refused:
            print(f"MLflow: {self.refused}\n  repeating this command sends the search", file=sys.stderr)
        else:
            print(f"MLflow: search and {len(self.ids)} trials in experiment {self.study.experiment!r}")
        print("\n".join(map(str, write_search(found, self.reports, self.ids))))
        return found

    def _sync(self, found: Search, *, last: bool) -> None:
        """last: bring registered models up to date too."""
        from casl.report.search import headlines
        from casl.spec.run import Use
        from casl.tracking.study import sync_search

        uses: dict[str, list[Use]] = {}
        for trial in found.trials:
            for name in trial.stages.values():
                uses.setdefault(name, []).append(Use(found.slug, f"{found.argument} {spoken(trial.value)}"))
        self.refused = None
        try:
            self.mirror.sync(self._with_inputs(uses), uses, None, register=last)
            self.ids = sync_search(self.mirror, found, "\n".join(f"- {line}" for line in headlines(found)))
        except TrackingError as error:
            self.refused = error

    def _with_inputs(self, names: Iterable[str]) -> list[Run]:
        """Runs of stages and of all they are made from, each once."""
        from casl.spec.stage import ancestors
        from casl.tracking.text import stage_of

        stages = [s for name in names if (s := stage_of(self.study.store.run(name)))]
        every = dict.fromkeys(a.name for s in stages for a in ancestors(s))
        return [self.study.store.run(name) for name in every]
