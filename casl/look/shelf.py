"""A store to look at, and having in it what one wants to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from casl.data.coco import CocoSplit
from casl.errors import StageError
from casl.report.table import Table, build_table
from casl.runner.job import Placement
from casl.runner.launch.inline import Inline
from casl.runner.live import View
from casl.runner.plan import Plan, make_plan, outcomes
from casl.runner.schedule import execute
from casl.runner.store import Store
from casl.spec.ablation import Ablation, Cell
from casl.spec.context import Context
from casl.spec.kinds import Evaluate
from casl.spec.profile import Profile
from casl.spec.run import Run
from casl.spec.stage import Stage
from casl.stages.sources import open_split
from casl.tracking.mirror import Mirror

DIGESTS = "digests.json"


class Page(str):
    """Markdown: a notebook shows it set, `print` as it is."""

    def _repr_markdown_(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Shelf:
    """Where results lie. root: the store's folder. roots: digest -> folder, as `open_data` gives for data on disk."""

    root: Path
    roots: Mapping[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        return Store(self.root)

    def run(self, stage: Stage) -> Run:
        """All that the store knows of a stage."""
        return self.store.run(stage.name)

    def folder(self, stage: Stage) -> Path:
        """Of a finished stage.

        Raises:
            StageError: it is not finished; the message says what to do.
        """
        run = self.run(stage)
        if run.status != "done":
            raise StageError(
                f"{stage.name} is {run.status} in {self.root}.\n"
                "  `complete` does what is missing, and so does `casl run` for the table that has it."
            )
        return run.folder

    def split(self, data: Stage, labels: str) -> CocoSplit:
        """The images and annotations of a data stage. labels: as in casl.data.coco.load_split."""
        return open_split(data, labels, self.context(data))

    def context(self, data: Stage) -> Context:
        """What code of stages reads a data stage with."""
        folder = self.folder(data)
        roots = {digest: Path(root) for digest, root in self.roots.items()}
        digests = self.root / DIGESTS
        return Context(folder, {data.name: folder}, roots, "cpu", _unheard, _silent, digests=digests)


def plan_of(shelf: Shelf, table: Ablation, profile: Profile) -> Plan:
    """What having a table would take; changes nothing."""
    return make_plan({table.name: table.build(profile)}, shelf.store, {table.name: table.unit}, profile.epochs)


def measure(shelf: Shelf, table: Ablation, profile: Profile, device: str = "auto") -> Table:
    """A table, with all that is missing done now, in this process.

    Raises:
        StageError: a stage failed; what else could be done is done and kept.
    """
    _carry_out(shelf, plan_of(shelf, table, profile), device)
    return read(shelf, table, profile)


def complete(shelf: Shelf, *ends: Evaluate, device: str = "auto") -> None:
    """Do what is missing of some evaluations and of everything before them, now, in this process.

    Raises:
        StageError: a stage failed; what else could be done is done and kept.
    """
    cells = [Cell(row=str(n), column="", metric=end.metric, stage=end) for n, end in enumerate(ends)]
    _carry_out(shelf, make_plan({"wanted": cells}, shelf.store), device)


def read(shelf: Shelf, table: Ablation, profile: Profile, mlflow: str | None = None) -> Table:
    """A table as it is in the store; cells without a result say why.

    Args:
        mlflow: tracking URI whose run ids the cells get, default the store's own database. It is not opened.
    """
    cells: Sequence[tuple[Cell, ...]] = [table.build(profile.with_seed(seed)) for seed in range(profile.seeds)]
    plan = make_plan({table.name: [c for seed in cells for c in seed]}, shelf.store)
    runs = outcomes(plan, shelf.store)
    mirror = Mirror(shelf.root, mlflow)
    return build_table(table, profile, cells, runs, {n: i for n in runs if (i := mirror.run_id(n))})


def _carry_out(shelf: Shelf, plan: Plan, device: str) -> None:
    if not plan.todo:
        return
    store = shelf.store
    launcher = Inline(store)
    placement = Placement(roots=shelf.roots, device=device)
    with View(plan, store) as view:
        summary = execute(plan, store, launcher, placement, view, lambda name: None)
    launcher.close()
    if summary.failed:
        name = summary.failed[0]
        raise StageError(f"{len(summary.failed)} stages failed, {name} first: {store.run(name).error}")


def _unheard(done: int, total: int, figures: Mapping[str, float]) -> None:
    """Nobody watches."""


def _silent(text: str) -> None:
    """Nobody listens."""
