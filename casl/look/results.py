"""The results in a store: reading them, and computing here what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from casl.data.coco import CocoSplit
from casl.errors import StageError
from casl.report.paper import joined
from casl.report.table import Table
from casl.runner.devices import check_device
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
from casl.words import number_of


class Markdown(str):
    """Markdown: notebooks show it formatted, `print` shows its source."""

    def _repr_markdown_(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Results:
    """The results in a store. root: its folder. roots: digest -> folder of a data set on disk, as `open_data` gives."""

    root: Path
    roots: Mapping[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        """The store, opened."""
        return Store(self.root)

    @property
    def data_folders(self) -> dict[str, Path]:
        """Digest -> folder of a data set on disk."""
        return {digest: Path(root) for digest, root in self.roots.items()}

    @property
    def digests(self) -> Path:
        """The file that remembers content hashes of data sets on disk."""
        return self.store.digests

    def run(self, stage: Stage) -> Run:
        """Status, figures, cost and code of a stage, as the store has them."""
        return self.store.run(stage.name)

    def folder(self, stage: Stage) -> Path:
        """The folder that a finished stage left.

        Raises:
            StageError: it is not finished; the message says what to do.
        """
        run = self.run(stage)
        if run.status != "done":
            raise StageError(
                f"{stage.name} is {run.status} in {self.root}.\n"
                "  `complete` computes it, and so does `casl run` for the table that has it."
            )
        return run.folder

    def split(self, data: Stage, labels: str) -> CocoSplit:
        """The images and annotations of a data stage. labels: as in casl.data.coco.load_split."""
        return open_split(data, labels, self.context(data))

    def context(self, data: Stage) -> Context:
        """What stages get to read a data stage with; their progress and log lines are dropped."""
        folder = self.folder(data)
        return Context(
            folder,
            inputs={data.name: folder},
            roots=self.data_folders,
            device="cpu",
            progress=lambda done, total, figures: None,
            say=lambda text: None,
            digests=self.digests,
        )


def plan_of(results: Results, table: Ablation, profile: Profile) -> Plan:
    """The stages of a table, and which of them the store lacks; computes nothing."""
    return make_plan({table.name: table.build(profile)}, results.store, {table.name: table.unit}, profile.epochs)


def measure(results: Results, table: Ablation, profile: Profile, device: str = "auto") -> Table:
    """A table whose missing stages are computed now, in this process.

    Raises:
        StageError: a stage failed; stages that do not need it are computed and kept.
    """
    _carry_out(results, plan_of(results, table, profile), device)
    return read(results, table, profile)


def complete(results: Results, *ends: Evaluate, device: str = "auto") -> None:
    """Compute the missing stages of some evaluations, inputs included, now, in this process.

    Raises:
        StageError: a stage failed; stages that do not need it are computed and kept.
    """
    cells = [Cell(row=str(n), column="", metric=end.metric, stage=end) for n, end in enumerate(ends)]
    _carry_out(results, make_plan({"wanted": cells}, results.store), device)


def read(results: Results, table: Ablation, profile: Profile, mlflow: str | None = None) -> Table:
    """A table as it is in the store; cells without a result say why.

    Args:
        mlflow: tracking URI whose run ids the cells get, default the store's own database. It is not opened.
    """
    cells: Sequence[tuple[Cell, ...]] = [table.build(profile.with_seed(seed)) for seed in range(profile.seeds)]
    plan = make_plan({table.name: [c for seed in cells for c in seed]}, results.store)
    runs = outcomes(plan, results.store)
    mirror = Mirror(results.root, mlflow)
    return joined(table, profile, cells, runs, {n: i for n in runs if (i := mirror.run_id(n))})


def _carry_out(results: Results, plan: Plan, device: str) -> None:
    if not plan.todo:
        return
    check_device(device)
    store = results.store
    launcher = Inline(store)
    placement = Placement(roots=results.roots, device=device)
    with View(plan, store) as view:
        summary = execute(plan, store, launcher, placement, view, lambda name: None)
    launcher.close()
    if summary.failed:
        name = summary.failed[0]
        raise StageError(f"{number_of(len(summary.failed), 'stage')} failed, {name} first: {store.run(name).error}")
