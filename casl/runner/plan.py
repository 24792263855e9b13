"""Plan: from cells to the stages still to run, with counts of what sharing saves. Reads the store, never writes it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from casl.runner.segments import beginnings, branch
from casl.runner.store import Store
from casl.spec.ablation import Cell
from casl.spec.kinds import Train
from casl.spec.run import Run
from casl.spec.schedule import is_trunk
from casl.spec.stage import Stage, ancestors

DATA_KINDS = ("scenes", "folder")  # not counted as stages of the method


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

    naive: every cell runs its whole chain. unique: each stage once. shared: each iteration once.
    Stages by kind; iterations over all trainings.
    """

    cells: int
    naive_stages: Mapping[str, int]
    unique_stages: Mapping[str, int]
    naive_iters: int
    unique_iters: int
    shared_iters: int


@dataclass(frozen=True)
class Plan:
    """Nodes in an order in which they can run, and the counts. todo: names of the nodes that are not done."""

    nodes: Mapping[str, Node]
    counts: Counts
    uses: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def todo(self) -> list[str]:
        return [name for name, node in self.nodes.items() if not node.done]


def make_plan(tables: Mapping[str, Sequence[Cell]], store: Store) -> Plan:
    """Plan all cells of some tables together.

    Args:
        tables: table name -> its cells, all seeds.
        store: what is there already.

    Returns:
        A plan in which a stage that nothing missing depends on is left out, unless a cell's chain names it.
    """
    cells = [c for cs in tables.values() for c in cs]
    stages = _unique(cells)
    nodes = _nodes(stages, store)
    return Plan(nodes, _counts(cells, stages, nodes), _uses(tables, stages))


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


def _unique(cells: Iterable[Cell]) -> dict[str, Stage]:
    """Every stage of the cells' chains once, inputs before users."""
    found: dict[str, Stage] = {}
    stack: list[tuple[Stage, bool]] = [(c.stage, False) for c in reversed(list(cells))]
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


def _counts(cells: Sequence[Cell], stages: Mapping[str, Stage], nodes: Mapping[str, Node]) -> Counts:
    naive: Counter[str] = Counter()
    naive_iters = 0
    chains: dict[str, tuple[Counter[str], int]] = {}
    for cell in cells:
        if cell.stage.name not in chains:
            chain = [s for s in ancestors(cell.stage) if s.kind not in DATA_KINDS]
            chains[cell.stage.name] = (
                Counter(s.kind for s in chain),
                sum(s.iters for s in chain if isinstance(s, Train)),
            )
        kinds, iters = chains[cell.stage.name]
        naive.update(kinds)
        naive_iters += iters
    method = [s for s in stages.values() if s.kind not in DATA_KINDS]
    return Counts(
        cells=len(cells),
        naive_stages=dict(naive),
        unique_stages=dict(Counter(s.kind for s in method)),
        naive_iters=naive_iters,
        unique_iters=sum(s.iters for s in method if isinstance(s, Train)),
        shared_iters=_tree_iters(method),
    )


def _tree_iters(stages: Iterable[Stage]) -> int:
    """Iterations of all trainings when each is done once, whatever the store holds."""
    families: dict[str, list[Train]] = defaultdict(list)
    for stage in stages:
        if isinstance(stage, Train):
            families[stage.family].append(stage)
    total = 0
    for members in families.values():
        states = branch(members)
        starts = beginnings(states, {})
        total += sum(s.iters - (start.iters if (start := starts[s.name]) else 0) for s in states)
    return total


def _uses(tables: Mapping[str, Sequence[Cell]], stages: Mapping[str, Stage]) -> dict[str, list[str]]:
    """stage name -> the places of tables it feeds."""
    uses: dict[str, list[str]] = {name: [] for name in stages}
    for table, cells in tables.items():
        for cell in cells:
            place = f"{table}: {cell.row} / {cell.column}"
            for stage in ancestors(cell.stage):
                if place not in uses[stage.name][-1:]:
                    uses[stage.name].append(place)
    return uses
