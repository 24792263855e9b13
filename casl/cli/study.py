"""Study: the tables, profile, data and store that most verbs work on, and their options."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from casl import catalog
from casl.cli.from_path import load_tables
from casl.cli.places import check_folder, placed
from casl.errors import SpecError, need_detectron2, unknown
from casl.pretrained import FOLDER
from casl.runner import bits
from casl.runner.plan import Plan, make_plan
from casl.runner.store import Store
from casl.spec.ablation import Ablation, Cell
from casl.spec.kinds import Train
from casl.spec.profile import PROVIDERS, Profile
from casl.spec.varied import resolve, varied
from casl.words import number_of

STORE = "store"  # folder of all results, unless another is named
# words that stand for several tables
GROUPS = {"all": [*catalog.OF_THE_PAPER], "dissertation": [*catalog.DISSERTATION]}


@dataclass(frozen=True)
class Study:
    """The tables of one command under one profile: cells for every seed, and where data on disk lies.

    part: which cells and seeds of them, empty for all.
    """

    profile: Profile
    tables: dict[str, Ablation]
    cells: dict[str, list[tuple[Cell, ...]]]
    roots: dict[str, str]
    store: Store
    part: str = ""

    def plan(self) -> Plan:
        every_seed = {name: [c for cells in seeds for c in cells] for name, seeds in self.cells.items()}
        units = {name: table.unit for name, table in self.tables.items()}
        return make_plan(every_seed, self.store, units, self.profile.epochs)

    @property
    def name(self) -> str:
        """Name of the study, under which the store remembers it."""
        group = next((word for word, names in GROUPS.items() if [*self.tables] == names), "")
        tables = group or "+".join(map(_distinct, self.tables.values()))
        part = [hashlib.sha256(self.part.encode()).hexdigest()[:8]] if self.part else []
        data, seeds = self.profile.data.name, str(self.profile.seeds)
        changed = [words.replace(" ", "") for words in self.profile.variant]
        return "-".join([tables, self.profile.name, data, seeds, *changed, *part])

    @property
    def heading(self) -> str:
        """Its tables for people: words that stand for several instead of their names."""
        left, words = [*self.tables], []
        for word, names in GROUPS.items():
            if set(names) <= set(left):
                words.append(f"{word} ({number_of(len(names), 'table')})")
                left = [name for name in left if name not in names]
        return ", ".join([*words, *left])

    @property
    def experiment(self) -> str:
        """Name of the experiment in MLflow; says what was changed, so that two providers or sizes have one each."""
        return " ".join(["casl", self.profile.name, self.profile.data.name, *self.profile.variant])


def open_study(options: argparse.Namespace, *, make: bool = True) -> Study:
    """Resolve names, open the store, check the data; every error of the user's surfaces here, before any work.

    make: as of Store.
    """
    tables = load_tables(n for word in options.tables for n in GROUPS.get(word, [word]))
    profile: Profile = catalog.load("profile", options.profile).with_provider(options.provider)
    if options.seeds < 1:
        raise SpecError(f"--seeds (make: SEEDS=) must be at least 1, got {options.seeds}")
    if options.seeds > MOST_SEEDS:
        raise SpecError(
            f"--seeds (make: SEEDS=) must be at most {MOST_SEEDS:,}, got {options.seeds}; each repeats every training"
        )
    store = Store(Path(options.store), make=make)
    roots: dict[str, str] = {}
    if options.data:
        from casl.stages.dataset import open_data

        check_folder(Path(options.data))
        crowds_are_objects = options.crowds_are_objects
        with _memory(store.root, make) as memory:
            opened = open_data(Path(options.data), memory, counter("checking images"), crowds_are_objects)
            here = placed(opened.data, Path(options.data), memory)
        profile, roots = profile.with_data(here.data, crowds_are_objects).warned(opened.warnings), opened.roots
        say(options, *opened.said, *here.said)
        print(*(f"warning: {line}\n" for line in opened.warnings), sep="", end="", file=sys.stderr)
    elif options.crowds_are_objects:
        raise SpecError("--crowds-are-objects is about the annotations of a data set on disk: name one with --data.")
    if options.size is not None:
        profile = profile.with_size(options.size)
    profile = replace(profile, seeds=options.seeds)
    if options.rule:
        profile = profile.with_rule(options.rule)
    if options.batch_size is not None:
        profile = profile.with_batch(options.batch_size)
    values = _values(options.set)
    for path, value in values.items():
        profile = profile.with_value(path, value)
    only, place = getattr(options, "only_seed", None), getattr(options, "only_cell", None)
    rows = getattr(options, "only_rows", None)
    if only is not None and only not in range(options.seeds):
        raise SpecError(f"--only-seed {only} is not among {number_of(options.seeds, 'seed')}, counted from 0")
    seeds = range(options.seeds) if only is None else [only]
    cells = {n: [t.build(profile.with_seed(s)) for s in seeds] for n, t in tables.items()}
    for path, value in values.items():
        cells = _with_value(cells, profile, path, value)
    if place:
        cells = {n: [_at(n, repetition, *place) for repetition in repetitions] for n, repetitions in cells.items()}
    if rows:
        cells = _in_rows(cells, rows)
    if place or rows:
        tables = {n: _of_a_part(tables[n], seeds_of[0]) for n, seeds_of in cells.items()}
    part = [words for words in (place, only, rows) if words is not None]
    return Study(profile, tables, cells, roots, store, f"{place} {only}{rows or ''}" if part else "")


MOST_SEEDS = 1000
Cells = dict[str, list[tuple[Cell, ...]]]


@contextmanager
def _memory(root: Path, make: bool) -> Iterator[Path]:
    """The folder in which hashes of data sets are remembered: the store, unless it is not there and is not to be."""
    if make or root.exists():
        yield root
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _values(given: Sequence[str]) -> dict[str, str]:
    """Path -> value, as typed, of every --set."""
    found: dict[str, str] = {}
    for text in given:
        path, sign, value = text.partition("=")
        if not sign:
            raise SpecError(f"--set takes PATH=VALUE, such as warmup.threshold=0.4; got {text!r}, without a value")
        if path in found:
            raise SpecError(f"--set gives {path} twice: {found[path]} and {value}; a cell has one value")
        found[path] = value
    return found


def _with_value(cells: Cells, profile: Profile, path: str, text: str) -> Cells:
    """The cells with another value in every chain that has such a field; the others stay.

    Raises:
        SpecError: no cell has it, or a stage refuses the value.
    """
    from casl.tune.space import parse

    refused: list[SpecError] = []

    def changed(cell: Cell) -> Cell:
        try:
            argument = resolve(path, cell.measurement, profile)
        except SpecError as error:
            refused.append(error)
            return cell
        return varied(cell, path, parse(argument, text), profile)

    found = {n: [tuple(map(changed, seed)) for seed in seeds] for n, seeds in cells.items()}
    if len(refused) == sum(len(seed) for seeds in cells.values() for seed in seeds):
        raise refused[0]
    return found


def _distinct(table: Ablation) -> str:
    """Its name; of a table from a file with the path, since another file may have one of the same name."""
    path = table.origin.typed if table.origin and table.origin.sha256 else ""
    return f"{table.name} of {Path(path).absolute()}" if path else table.name


def _at(table: str, cells: tuple[Cell, ...], row: str, column: str) -> tuple[Cell, ...]:
    """The measured cells at one place of a table."""
    if row not in (rows := list(dict.fromkeys(c.row for c in cells))):
        raise SpecError(unknown(f"row of {table}", row, rows))
    if column not in (columns := [c.column for c in cells if c.row == row]):
        raise SpecError(unknown(f"column of {table} in row {row!r}", column, columns))
    found = tuple(c for c in cells if (c.row, c.column) == (row, column) and c.stage)
    if not found:
        raise SpecError(f"{table}: {row}, {column} is only quoted from the paper; there is nothing to run")
    return found


def _in_rows(cells: Cells, rows: Sequence[str]) -> Cells:
    """The cells in the named rows of tables, of which each is a row of one table at least; tables without any go."""
    known = {name: {c.row: None for cells in repetitions for c in cells} for name, repetitions in cells.items()}
    measured = {c.row for repetitions in cells.values() for cells in repetitions for c in cells if c.stage}
    for row in rows:
        if not any(row in found for found in known.values()):
            raise SpecError(unknown(f"row of {', '.join(known)}", row, [r for found in known.values() for r in found]))
        if row not in measured:
            raise SpecError(f"{', '.join(known)}: {row} is only quoted from the paper; there is nothing to run")
    chosen = {n: [tuple(c for c in cells if c.row in rows) for cells in seeds] for n, seeds in cells.items()}
    return {n: seeds for n, seeds in chosen.items() if any(c.stage for cells in seeds for c in cells)}


def _of_a_part(table: Ablation, cells: Sequence[Cell]) -> Ablation:
    """A table of which these cells are left: without its baseline where that is none of them."""
    headings = {heading for cell in cells for heading in (cell.row, cell.column)}
    return table if table.baseline in headings else replace(table, baseline="")


PARTS = "--cell, --row and --only-seed"


def part_options(parser: argparse.ArgumentParser) -> None:
    """Options for a part of the tables: one cell or some rows, one repetition."""
    places = parser.add_mutually_exclusive_group()
    cell_option(places, "only what one cell of each table needs", dest="only_cell")
    places.add_argument(
        "--row", dest="only_rows", action="append", metavar="ROW", help="only this row; again for each further one"
    )
    parser.add_argument("--only-seed", type=int, metavar="N", help="only one of the repetitions, counted from 0")


def is_part(options: argparse.Namespace) -> bool:
    """Whether a command asks for a part of its tables."""
    return bool(options.only_cell or options.only_rows) or options.only_seed is not None


def cell_option(parser: argparse._ActionsContainer, said: str, dest: str = "cell") -> None:
    """One cell of a table, by its headings: two words, since a heading may hold any letter."""
    parser.add_argument("--cell", dest=dest, nargs=2, metavar=("ROW", "COLUMN"), help=said)


def check_ready(plan: Plan, store: Store, weights: str) -> None:
    """Everything that can be known to be wrong before any stage runs; raises as `need_packages` and `check_options`."""
    need_packages(plan, store, weights)
    check_options(plan)


def need_packages(plan: Plan, store: Store, weights: str) -> None:
    """Check that what stages to run need beside casl and data is there, before any stage runs.

    Args:
        weights: folder of pretrained backbones, "" for that of the store.

    Raises:
        MissingPackageError: a stage needs detectron2, or a package with weights, which is not installed.
        DataError: weights that a stage starts from are not there, damaged or of another architecture.
    """
    trainings = {name: plan.nodes[name].stage for name in plan.todo}
    starts = {found for stage in trainings.values() if (found := stage.weights_read)}
    if starts:
        from casl.stages.detectors import check_weights

        for backbone, start in sorted(starts):
            check_weights(backbone, start, Path(weights) if weights else store.root / FOLDER)
    for name, stage in trainings.items():
        if isinstance(stage, Train) and stage.model.detector.startswith(PROVIDERS["detectron2"]):
            need_detectron2(f"detector {stage.model.detector!r} of {name}")


def check_options(plan: Plan) -> None:
    """Check the values that stages to run set of their detectors, which only the detectors' own code knows.

    Raises:
        SpecError: a detector does not have what is set, or does not allow the value.
    """
    stages = [plan.nodes[name].stage for name in plan.todo]
    if models := {s.model for s in stages if isinstance(s, Train) and s.model.options}:
        from casl.stages.detectors import check_settings

        for model in models:
            check_settings(model)


def study_options() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    groups = "all: the paper's ten; dissertation: those of its chapters"
    tables = f"%(known)s; {groups}; or a file with an ablation, ./mine.py or ./mine.py:NAME"
    known_names(shared.add_argument("tables", nargs="+", metavar="TABLE", help=tables), "ablation")
    known_names(shared.add_argument("--profile", default="mini", help="%(known)s (default mini)"), "profile")
    shared.add_argument("--data", default="", help="data set on disk instead of the profile's own")
    shared.add_argument("--seeds", type=int, default=1, help="repetitions of every training (default 1)")
    recipe_options(shared)
    store_option(shared)
    return shared


@dataclass(frozen=True)
class _Known:
    """The names of a kind as text, looked up when help is printed and not whenever a command builds the parser."""

    kind: str

    def __str__(self) -> str:
        return ", ".join(catalog.names(self.kind))


def known_names(action: argparse.Action, kind: str) -> None:
    """Give an argument's help the names of the catalog as %(known)s."""
    vars(action)["known"] = _Known(kind)


def recipe_options(parser: argparse.ArgumentParser) -> None:
    """Options for what may differ from the profile's recipe."""
    parser.add_argument(
        "--rule", default="", help="where learning rates drop: A as detectron2, B as EntitySeg, C as mmdetection"
    )
    parser.add_argument(
        "--provider",
        default=Profile.provider,
        metavar="PROJECT",
        help=f"whose RetinaNet, R-CNNs and PanopticFPN: {', '.join(PROVIDERS)} (default {Profile.provider})",
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="images an iteration; rates and lengths follow")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="one value in every chain, such as warmup.threshold=0.4; may be given for several",
    )
    parser.add_argument("--size", type=int, metavar="PX", help="short side of images on disk; objects' sizes follow")
    crowds_option(parser)


def bits_option(
    parser: argparse.ArgumentParser, default: str = "default portable in small profiles, but not in photos"
) -> None:
    """Which kernels compute on the CPU."""
    parser.add_argument(
        "--bits",
        choices=bits.MODES,
        default="",
        help=f"on the CPU: the same bits on every x86-64 processor with AVX2, or its fastest kernels ({default})",
    )


def worker_variables(study: Study, asked: str) -> dict[str, str]:
    """Variables that workers need for the bits asked for, "" for the profile's; says where they cannot be had."""
    mode, said = bits.choose(asked, small=study.profile.small and not study.profile.native)
    print(said and f"note: {said}\n", end="", file=sys.stderr)
    return bits.environment(mode)


def crowds_option(parser: argparse.ArgumentParser) -> None:
    """How to read annotations marked as crowds."""
    parser.add_argument(
        "--crowds-are-objects",
        action="store_true",
        help="of a set on disk: annotations with iscrowd 1 are single objects, as CVAT's brush masks are",
    )


def store_option(shared: argparse.ArgumentParser) -> None:
    shared.add_argument("--store", default=STORE, help=f"folder of all results (default {STORE})")


def mlflow_option(verb: argparse.ArgumentParser) -> None:
    """Of a verb that reads MLflow or writes there."""
    verb.add_argument(
        "--mlflow",
        default=os.environ.get("MLFLOW_TRACKING_URI", ""),
        help="MLflow tracking URI (default: MLFLOW_TRACKING_URI, or a database in the store)",
    )


def counter(what: str) -> Any:
    def show(done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{what} {done}/{total}", end="" if done < total else "\n", file=sys.stderr, flush=True)

    return show


def say(options: argparse.Namespace, *lines: str) -> None:
    """Lines for people; with --json only JSON goes to stdout."""
    for line in lines:
        print(line, file=sys.stderr if getattr(options, "json", False) else sys.stdout)
