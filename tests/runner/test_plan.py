"""Counts of the plan against the figures of method reference sec. 7 and 8, and sharing against brute force."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from casl import catalog
from casl.runner.plan import make_plan
from casl.runner.segments import beginnings, branch
from casl.runner.store import Store
from casl.runner.why import reasons
from casl.spec import Cell, Labeler, Profile, evaluate, warmup
from casl.spec.schedule import Schedule, factor_at, iterations, times
from tests.runner.stores import NANO, RECORD, chain, new_store, run, table4
from tests.spec.test_stage import LABELER

EPOCH = 7500  # iterations of the paper profile: 90,000 in 12 epochs


def paper(rule: str) -> Profile:
    profile: Profile = catalog.load("profile", "paper")
    return replace(profile, rule=rule)


@pytest.mark.parametrize(("rule", "tree", "columns"), [("A", 88, 440), ("B", 100, 500), ("C", 93, 465)])
def test_the_tree_of_table_4_costs_what_the_reference_says(tmp_path: Path, rule: str, tree: int, columns: int) -> None:
    cells = catalog.load("ablation", "table4").build(paper(rule))
    counts = make_plan({"table4": cells}, new_store(tmp_path)).counts
    assert counts.naive_iters / EPOCH == 25 * 36 + 5 * 180 + 5 * 180
    assert counts.unique_iters / EPOCH == 36 + 180 + 900
    assert counts.shared_iters / EPOCH == 36 + tree + columns


def test_tables_3_and_4_cost_what_the_reference_says(tmp_path: Path) -> None:
    profile = paper("A")
    table3 = [Cell("12", f"{k}x", "ap_e", evaluate(profile, warmup(profile, schedule=k), "ap_e")) for k in range(1, 6)]
    tables = {"table3": table3, "table4": catalog.load("ablation", "table4").build(profile)}
    counts = make_plan(tables, new_store(tmp_path)).counts
    assert [n / EPOCH for n in (counts.naive_iters, counts.unique_iters, counts.shared_iters)] == [3060, 1116, 564]


def test_table_4_has_125_naive_and_57_unique_stages(tmp_path: Path) -> None:
    counts = make_plan({"table4": table4("smoke")}, new_store(tmp_path)).counts
    assert counts.cells == 25
    assert counts.naive_stages == dict.fromkeys(("labeler", "pseudolabel", "warmup", "finetune", "evaluate"), 25)
    assert counts.unique_stages == {"labeler": 1, "pseudolabel": 1, "warmup": 5, "finetune": 25, "evaluate": 25}


def brute_force(schedules: list[Schedule]) -> int:
    """Iterations of a trie over the sequences of factors, one node an iteration."""
    seen = set()
    for schedule in schedules:
        history = ""
        for i in range(iterations(schedule)):
            history += f"{factor_at(schedule, i)} "
            seen.add(history)
    return len(seen)


@pytest.mark.parametrize("seed", range(20))
def test_no_iteration_is_trained_twice_whatever_the_schedules(seed: int) -> None:
    draw = random.Random(seed)
    schedules: list[Schedule] = []
    for _ in range(draw.randint(1, 7)):
        stops = sorted(draw.sample(range(1, 30), draw.randint(1, 4)))
        factors = [draw.choice((1.0, 0.1)) for _ in stops]
        pieces = [(s, f) for i, (s, f) in enumerate(zip(stops, factors, strict=True)) if factors[i + 1 : i + 2] != [f]]
        schedules.append(tuple(pieces))
    finals: list[Labeler] = [replace(LABELER, schedule=s) for s in schedules]
    states = branch(finals)
    starts = beginnings(states, {})
    cost = sum(s.iters - (start.iters if (start := starts[s.name]) else 0) for s in states)
    assert cost == brute_force(schedules)


def test_inputs_come_before_their_users(tmp_path: Path) -> None:
    plan = make_plan({"table4": table4("smoke")}, new_store(tmp_path))
    seen: set[str] = set()
    for name, node in plan.nodes.items():
        assert seen.issuperset(node.needs)
        seen.add(name)


def test_a_stored_beginning_of_another_study_is_continued(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    trunk = replace(LABELER, schedule=((6, 1.0),))
    store.work(trunk.name).mkdir(parents=True)
    store.commit(trunk, RECORD)
    longer = replace(LABELER, schedule=times(1, 9))
    cell = Cell("r", "c", "ap_det", evaluate(NANO, longer, "ap_det"))
    node = make_plan({"t": [cell]}, store).nodes[longer.name]
    assert node.resume == trunk and node.iters == 3


def test_a_second_plan_has_nothing_to_do_and_a_changed_field_what_depends_on_it(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    cell = chain(NANO)
    _, summary, _ = run([cell], store)
    assert not summary.failed
    assert make_plan({"t": [cell]}, store).todo == []

    changed = chain(replace(NANO, threshold=0.01))
    plan = make_plan({"t": [changed]}, store)
    kinds = sorted({plan.nodes[n].stage.kind for n in plan.todo})
    assert kinds == ["evaluate", "finetune", "warmup"]
    why = reasons(plan, store)
    first = next(n for n in plan.todo if n.startswith("warmup"))
    assert "threshold: 0.0 -> 0.01" in why[first]


def test_uses_name_every_cell_a_stage_feeds(tmp_path: Path) -> None:
    plan = make_plan({"table4": table4("smoke")}, new_store(tmp_path))
    labeler = next(n for n in plan.uses if n.startswith("labeler"))
    assert len(plan.uses[labeler]) == 25
    last = table4("smoke")[-1]
    assert plan.uses[last.evaluation.name] == [("table4", "F 5x / W 5x")]


def test_planning_reads_a_missing_store_without_writing_stages(tmp_path: Path) -> None:
    store = Store(tmp_path / "new")
    make_plan({"table4": table4("mini")}, store)
    assert store.names() == []
