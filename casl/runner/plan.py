"""Plan: from cells to the stages still to run, with counts of what sharing saves. Reads the store, never writes it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from casl.runner.segments import beginnings, branch
from casl.runner.store import Store
from casl.spec.ablation import Cell
from casl.spec.kinds import Evaluate, Train
from casl.spec.run import Run
from casl.spec.schedule import is_trunk
from casl.spec.stage import Stage, ancestors

DATA_KINDS = ("scenes", "folder", "pretrain")  # what stands for data sets and ImageNet: no stages of the method


@dataclass(frozen=True)
class Node:
    """One stage to have. resume: an earlier state of the same training to continue from.

    needs: names of the stages that must be done first. iters: iterations to train here, 0 for other kinds.
    asked: whether a cell's chain names this stage; otherwise it is a shared beginning of some that are.
    """

    stage: Stage
    needs: tuple[str, ...]
    resume: Train | None = None
    iters: int = 0
    asked: bool = True
    done: bool = False


@dataclass(frozen=True)
class Counts:
    """What a plan would cost done in three ways.

    naive: every experiment of every table (its `unit`) runs its whole chain. unique: each stage once. shared: each
    iteration once. Stages by kind; iterations and the paper's epochs over all trainings.
    """

    cells: int
    naive_stages: Mapping[str, int]
    unique_stages: Mapping[str, int]
    naive_iters: int
    unique_iters: int
    shared_iters: int
    naive_epochs: float = 0.0
    unique_epochs: float = 0.0
    shared_epochs: float = 0.0


@dataclass(frozen=True)
class Plan:
    """Nodes in an order in which they can run, and the counts. todo: names of the nodes that are not done."""

    nodes: Mapping[str, Node]
    counts: Counts
    uses: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def todo(self) -> list[str]:
        return [name for name, node in self.nodes.items() if not node.done]


def make_plan(
    tables: Mapping[str, Sequence[Cell]],
    store: Store,
    units: Mapping[str, str] | None = None,
    epochs: Callable[[Train], float] = lambda training: 0.0,
) -> Plan:
    """Plan all cells of some tables together.

    Args:
        tables: table name -> its cells, all seeds.
        store: what is there already.
        units: table name -> what counts as one experiment there, "cell" (default), "row" or "column".
        epochs: length of a training in epochs.

    Returns:
        A plan in which a stage that nothing missing depends on is left out, unless a cell's chain names it.
    """
    stages = _unique([s for cells in tables.values() for s in _measured(cells)])
    nodes = _nodes(stages, store)
    groups = [g for name, cells in tables.items() for g in _experiments(cells, (units or {}).get(name, "cell"))]
    return Plan(nodes, _counts(groups, stages, epochs), _uses(tables, stages))


def _measured(cells: Iterable[Cell]) -> list[Evaluate]:
    return [c.stage for c in cells if c.stage is not None]


def _experiments(cells: Sequence[Cell], unit: str) -> list[list[Cell]]:
    """Cells that a study without sharing would measure in one go: one seed of a place, row or column."""
    groups: dict[tuple[object, ...], list[Cell]] = defaultdict(list)
    for cell in cells:
        place = {"cell": (cell.row, cell.column), "row": (cell.row,), "column": (cell.column,)}[unit]
        groups[(cell.stage.model.seed if cell.stage else 0, *place)].append(cell)
    return list(groups.values())


def outcomes(plan: Plan, store: Store) -> dict[str, Run]:
    """What is known of every stage of a plan. One that waits for a failed stage is "blocked", with that one's name."""
    runs: dict[str, Run] = {}
    for name, node in plan.nodes.items():
        run = store.run(name)
        if run.status == "not run":
            culprit = next((runs[n] for n in node.needs if runs[n].status in ("failed", "blocked")), None)
            if culprit:
                cause = culprit.name if culprit.status == "failed" else culprit.error
                run = replace(run, status="blocked", error=cause)
        runs[name] = run
    return runs


def _unique(ends: Sequence[Stage]) -> dict[str, Stage]:
    """Every stage of some chains once, inputs before users."""
    found: dict[str, Stage] = {}
    stack: list[tuple[Stage, bool]] = [(end, False) for end in reversed(ends)]
    while stack:
        stage, expanded = stack.pop()
        if stage.name in found:
            continue
        if expanded:
            found[stage.name] = stage
        else:
            stack.append((stage, True))
            stack.extend((parent, False) for parent in reversed(stage.inputs()))
    return found


def _nodes(stages: Mapping[str, Stage], store: Store) -> dict[str, Node]:
    families: dict[str, list[Train]] = defaultdict(list)
    for stage in stages.values():
        if isinstance(stage, Train):
            families[stage.family].append(stage)
    trees = {family: _tree(members, store) for family, members in families.items()}
    nodes: dict[str, Node] = {}
    for stage in stages.values():
        members = trees.pop(stage.family, ()) if isinstance(stage, Train) else (_plain(stage, store),)
        for node in members:  # a family is placed whole where its first member stands: its inputs are placed already
            asked = node.stage.name in stages
            nodes[node.stage.name] = Node(node.stage, node.needs, node.resume, node.iters, asked, node.done)
    return _without_idle_beginnings(nodes)


def _plain(stage: Stage, store: Store) -> Node:
    return Node(stage, tuple(s.name for s in stage.inputs()), done=store.is_done(stage.name))


def _tree(members: Sequence[Train], store: Store) -> list[Node]:
    """Nodes for the trainings of one family, shorter first."""
    stored = {n: s for n, s in store.family(members[0]).items() if is_trunk(s)}
    states = branch(members)
    nodes = []
    for state, start in zip(states, beginnings(states, stored).values(), strict=True):
        needs = tuple(s.name for s in state.inputs()) + ((start.name,) if start else ())
        iters = state.iters - (start.iters if start else 0)
        nodes.append(Node(state, needs, start, iters, done=store.is_done(state.name)))
    present = {n.stage.name for n in nodes}
    for start in [n.resume for n in nodes]:
        if start and start.name not in present:  # known to the store only
            nodes.insert(0, Node(start, tuple(s.name for s in start.inputs()), done=True))
            present.add(start.name)
    return nodes


def _without_idle_beginnings(nodes: dict[str, Node]) -> dict[str, Node]:
    """Drop shared beginnings that no unfinished node continues from."""
    kept: dict[str, Node] = {}
    wanted: set[str] = set()
    for name, node in reversed(nodes.items()):
        if node.asked or name in wanted:
            kept[name] = node
            if not node.done:
                wanted.update(node.needs)
    return dict(reversed(kept.items()))


def _counts(groups: Sequence[Sequence[Cell]], stages: Mapping[str, Stage], epochs: Callable[[Train], float]) -> Counts:
    naive: list[Stage] = []
    for group in groups:
        naive += [s for s in _unique(_measured(group)).values() if s.kind not in DATA_KINDS]
    method = [s for s in stages.values() if s.kind not in DATA_KINDS]
    trained, unique = ([s for s in some if isinstance(s, Train)] for some in (naive, method))
    shared = _tree_iters(unique)
    return Counts(
        cells=sum(len(group) for group in groups),
        naive_stages=dict(Counter(s.kind for s in naive)),
        unique_stages=dict(Counter(s.kind for s in method)),
        naive_iters=sum(s.iters for s in trained),
        unique_iters=sum(s.iters for s in unique),
        shared_iters=sum(iters for _, iters in shared),
        naive_epochs=sum(epochs(s) for s in trained),
        unique_epochs=sum(epochs(s) for s in unique),
        shared_epochs=sum(epochs(s) / s.iters * iters for s, iters in shared),
    )


def _tree_iters(trainings: Iterable[Train]) -> list[tuple[Train, int]]:
    """States to commit, each with its own iterations, when each iteration is done once, whatever the store holds."""
    families: dict[str, list[Train]] = defaultdict(list)
    for training in trainings:
        families[training.family].append(training)
    segments: list[tuple[Train, int]] = []
    for members in families.values():
        states = branch(members)
        starts = beginnings(states, {})
        segments += [(s, s.iters - (start.iters if (start := starts[s.name]) else 0)) for s in states]
    return segments


def _uses(tables: Mapping[str, Sequence[Cell]], stages: Mapping[str, Stage]) -> dict[str, list[str]]:
    """stage name -> the places of tables it feeds."""
    uses: dict[str, list[str]] = {name: [] for name in stages}
    for table, cells in tables.items():
        for cell in cells:
            if cell.stage is None:
                continue
            place = f"{table}: {cell.row} / {cell.column}"
            for stage in ancestors(cell.stage):
                if place not in uses[stage.name][-1:]:
                    uses[stage.name].append(place)
    return uses
