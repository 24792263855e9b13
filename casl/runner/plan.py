"""Plan: from cells to the stages still to run, with counts of what sharing saves. Reads the store, never writes it."""

from __future__ import annotations

import gc
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace

from casl.runner.segments import beginnings, branch
from casl.runner.store import Store
from casl.spec.ablation import Cell
from casl.spec.kinds import Train
from casl.spec.run import ELSEWHERE, Run, Use
from casl.spec.schedule import is_trunk
from casl.spec.stage import Stage


@dataclass(frozen=True)
class Node:
    """One stage of a plan. resume: an earlier state of the same training to continue from.

    needs: names of the stages that must be done first. iters: iterations to train here, 0 for other kinds.
    asked: whether a cell's chain names this stage; otherwise it is a shared beginning of some that are.
    spared: not done and not to run either: all it led to is there, taken over as numbers without what they came from.
    """

    stage: Stage
    needs: tuple[str, ...]
    resume: Train | None = None
    iters: int = 0
    asked: bool = True
    done: bool = False
    spared: bool = False


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
    """Nodes in an order in which they can run, and the counts.

    uses: stage -> the places of tables it feeds. repeats: stage -> the experiments that each would run it without any
    sharing. todo: names of the nodes that are to be run.
    """

    nodes: Mapping[str, Node]
    counts: Counts
    uses: Mapping[str, Sequence[Use]] = field(default_factory=dict)
    repeats: Mapping[str, int] = field(default_factory=dict)

    @property
    def todo(self) -> list[str]:
        return [name for name, node in self.nodes.items() if not (node.done or node.spared)]


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
    with _collector_paused():
        stages = _unique([s for cells in tables.values() for s in _measured(cells)])
        chains = _chains(stages)
        trees = _trees(stages)
        groups = [g for name, cells in tables.items() for g in _experiments(cells, (units or {}).get(name, "cell"))]
        repeats = Counter(n for g in groups for n in {n for s in _measured(g) for n in chains[s.name]})
        counts = _counts(sum(map(len, groups)), repeats, stages, trees, epochs)
        nodes = _nodes(stages, trees, store, _without_use(stages, chains, store))
        return Plan(nodes, counts, _uses(tables, chains), repeats)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause the garbage collector: plans hold no cycles, and looking for some takes a quarter of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _measured(cells: Iterable[Cell]) -> list[Stage]:
    return [c.stage for c in cells if c.stage is not None]


def _experiments(cells: Sequence[Cell], unit: str) -> list[list[Cell]]:
    """Cells that a study without sharing would measure in one go: one seed of a place, row or column."""
    groups: dict[tuple[object, ...], list[Cell]] = defaultdict(list)
    for cell in cells:
        place = {"cell": (cell.row, cell.column), "row": (cell.row,), "column": (cell.column,)}[unit]
        groups[(cell.stage.seed if cell.stage else 0, *place)].append(cell)
    return list(groups.values())


def outcomes(plan: Plan, store: Store) -> dict[str, Run]:
    """What is known of every stage of a plan. One that waits for a failed stage is "blocked", with that one's name."""
    runs: dict[str, Run] = {}
    for name, node in plan.nodes.items():
        run = store.run(name)
        if node.spared:
            run = replace(run, status=ELSEWHERE)
        elif run.status == "not run":
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


def _chains(stages: Mapping[str, Stage]) -> dict[str, tuple[str, ...]]:
    """Each stage's name -> the names of all it depends on and its own, inputs before users."""
    chains: dict[str, tuple[str, ...]] = {}
    for name, stage in stages.items():
        before = dict.fromkeys(n for parent in stage.inputs() for n in chains[parent.name])
        chains[name] = (*before, name)
    return chains


Tree = tuple[Sequence[Train], Sequence[Train | None]]


def _trees(stages: Mapping[str, Stage]) -> dict[str, Tree]:
    """Family of trainings -> the states to commit, shorter first, and which of them each continues from."""
    families: dict[str, list[Train]] = defaultdict(list)
    for members in _alike(s for s in stages.values() if isinstance(s, Train)):
        families[members[0].family] += members
    branched = {family: branch(members) for family, members in families.items()}
    return {family: (states, list(beginnings(states, {}).values())) for family, states in branched.items()}


def _alike(trainings: Iterable[Train]) -> Iterable[list[Train]]:
    """Trainings of one family whose other fields are the very same objects; a family may be several such groups.

    Found without computing a family's key for each.
    """
    groups: dict[tuple[object, ...], list[Train]] = defaultdict(list)
    names: dict[type[Train], list[str]] = {}
    for training in trainings:
        kind = type(training)
        if kind not in names:
            names[kind] = [f.name for f in fields(kind) if f.name != "schedule"]
        alone = () if training.shares_beginnings else (training.schedule,)
        groups[(kind, *alone, *[id(getattr(training, name)) for name in names[kind]])].append(training)
    return groups.values()


def _without_use(stages: Mapping[str, Stage], chains: Mapping[str, Sequence[str]], store: Store) -> set[str]:
    """Stages that only such evaluations were made from whose numbers were taken over without them."""
    ends = stages.keys() - {n for chain in chains.values() for n in chain[:-1]}
    taken = {name for name in ends & store.folders() if store.is_done(name) and store.run(name).left_out}
    return {n for name in taken for n in chains[name]} - {n for name in ends - taken for n in chains[name]}


def _nodes(
    stages: Mapping[str, Stage], trees: Mapping[str, Tree], store: Store, without_use: Container[str]
) -> dict[str, Node]:
    done = _Done(store)
    tree_of = {state.name: tree for tree in trees.values() for state in tree[0]}
    nodes: dict[str, Node] = {}
    for name, stage in stages.items():
        if name in nodes:
            continue
        if name in tree_of:  # a family is placed whole where its first member stands: its inputs are placed already
            nodes |= {node.stage.name: node for node in _tree(tree_of[name], stages, store, done)}
        else:
            nodes[name] = Node(stage, tuple(s.name for s in stage.inputs()), done=done(name))
    return _without_idle(nodes, without_use)


class _Done:
    """Whether a stage is done; one look at the store's folder spares a question about each stage that never ran."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.present = store.folders()

    def __call__(self, name: str) -> bool:
        return name in self.present and self.store.is_done(name)


def _tree(tree: Tree, asked: Container[str], store: Store, done: Callable[[str], bool]) -> list[Node]:
    """Nodes for the states of one family, shorter first, after those that only the store knows and that it needs."""
    states, starts = tree
    if stored := {n: s for n, s in store.family(states[0]).items() if is_trunk(s)}:
        starts = list(beginnings(states, stored).values())
    present = {s.name for s in states}
    extra = {start.name: start for start in starts if start and start.name not in present}
    nodes = [Node(s, tuple(i.name for i in s.inputs()), asked=n in asked, done=True) for n, s in extra.items()]
    for state, start in zip(states, starts, strict=True):
        needs = tuple(s.name for s in state.inputs()) + ((start.name,) if start else ())
        iters = state.iters - (start.iters if start else 0)
        nodes.append(Node(state, needs, start, iters, state.name in asked, done(state.name)))
    return nodes


def _without_idle(nodes: dict[str, Node], without_use: Container[str]) -> dict[str, Node]:
    """Drop shared beginnings that no unfinished node continues from, and spare what is without use to any."""
    kept: dict[str, Node] = {}
    wanted: set[str] = set()
    for name, node in reversed(nodes.items()):
        if name not in wanted and name in without_use and not node.done:
            if node.asked:
                kept[name] = replace(node, spared=True)
        elif node.asked or name in wanted:
            kept[name] = node
            if not node.done:
                wanted.update(node.needs)
    return dict(reversed(kept.items()))


def _counts(
    cells: int,
    repeats: Mapping[str, int],
    stages: Mapping[str, Stage],
    trees: Mapping[str, Tree],
    epochs: Callable[[Train], float],
) -> Counts:
    method = [s for s in stages.values() if s.of_method]
    unique = [s for s in method if isinstance(s, Train)]
    shared = _tree_iters(trees)
    naive: Counter[str] = Counter()
    for stage in method:
        naive[stage.kind] += repeats[stage.name]
    return Counts(
        cells=cells,
        naive_stages=dict(naive),
        unique_stages=dict(Counter(s.kind for s in method)),
        naive_iters=sum(s.iters * repeats[s.name] for s in unique),
        unique_iters=sum(s.iters for s in unique),
        shared_iters=sum(iters for _, iters in shared),
        naive_epochs=sum(epochs(s) * repeats[s.name] for s in unique),
        unique_epochs=sum(epochs(s) for s in unique),
        shared_epochs=sum(epochs(s) / s.iters * iters for s, iters in shared),
    )


def _tree_iters(trees: Mapping[str, Tree]) -> list[tuple[Train, int]]:
    """States to commit, each with its own iterations, when each iteration is done once and the store is empty."""
    return [
        (s, s.iters - (start.iters if start else 0))
        for states, starts in trees.values()
        for s, start in zip(states, starts, strict=True)
    ]


def _uses(tables: Mapping[str, Sequence[Cell]], chains: Mapping[str, Sequence[str]]) -> dict[str, list[Use]]:
    """stage name -> the places of tables it feeds."""
    uses: dict[str, list[Use]] = {name: [] for name in chains}
    for table, cells in tables.items():
        for cell in cells:
            if cell.stage is None:
                continue
            use = Use(table, f"{cell.row} / {cell.column}")
            for name in chains[cell.stage.name]:
                if uses[name][-1:] != [use]:
                    uses[name].append(use)
    return uses
