"""The time that a running plan still takes, against made-up rates that the test knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from casl import catalog
from casl.runner.cost import Estimate, estimate
from casl.runner.plan import Plan, make_plan
from casl.runner.remaining import Left, Remaining
from casl.runner.store import Store
from casl.spec.kinds import Train

UNIT = {
    "labeler": 4.0,
    "warmup": 2.0,
    "finetune": 1.0,
    "pseudolabel": 0.2,
    "evaluate": 0.1,
}  # seconds an iteration or image


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    profile = catalog.load("profile", "smoke")
    cells = catalog.load("ablation", "table4").build(profile)
    return make_plan({"table4": cells}, Store(tmp_path_factory.mktemp("store"), make=False))


def seconds(plan: Plan) -> dict[str, float]:
    """What every stage takes, up to a third more or less than its kind does."""
    taken = {}
    for number, name in enumerate(plan.todo):
        node = plan.nodes[name]
        units = node.stage.work(node.iters).units
        taken[name] = UNIT.get(node.stage.kind, 0.5) * units * (0.8, 1.0, 1.3)[number % 3]
    return taken


def unknown(plan: Plan) -> Estimate:
    return Estimate(dict.fromkeys(plan.todo, 0.0), dict.fromkeys(plan.todo, "unknown"), 0.0)


def test_before_anything_ended_and_without_results_all_is_said_to_be_unknown(plan: Plan) -> None:
    left = Remaining(plan, unknown(plan)).left({})
    assert left == Left(0.0, len(plan.todo))


def test_the_time_left_stays_near_the_truth_from_where_every_kind_was_seen_once(plan: Plan) -> None:
    taken, remaining = seconds(plan), Remaining(plan, unknown(plan))
    whole, ratios, seen = sum(taken.values()), [], set()
    for name, own in taken.items():
        remaining.ended(name, own)
        whole -= own
        seen.add(plan.nodes[name].stage.kind)
        left = remaining.left({})
        kinds = {plan.nodes[n].stage.kind for n in remaining.open}
        assert bool(left.unknown) == bool(kinds - seen), "what has no rate is not counted as quick"
        if not left.unknown and whole > 0.05 * sum(taken.values()):
            ratios.append(left.seconds / whole)
    assert len(ratios) > 20 and min(ratios) > 0.7 and max(ratios) < 1.4


def test_a_stage_that_runs_is_judged_by_its_own_rate_and_stages_share_the_machine(plan: Plan) -> None:
    trainings = [n for n in plan.todo if isinstance(plan.nodes[n].stage, Train)]
    remaining = Remaining(plan, unknown(plan))
    for name in set(plan.todo) - set(trainings[:2]):
        remaining.ended(name, 0.0)
    event = {"done": 10, "total": 30, "rate": 2.0}
    assert remaining.left({trainings[0]: event, trainings[1]: {**event, "rate": 4.0}}) == Left(10.0, 0)
    assert remaining.left({trainings[0]: event, trainings[1]: {}}).unknown <= 1


def test_results_in_the_store_are_used_and_corrected_by_how_fast_this_run_is(plan: Plan) -> None:
    taken = seconds(plan)
    half = Estimate({n: s / 2 for n, s in taken.items()}, dict.fromkeys(taken, "measured"), 0.0)
    remaining = Remaining(plan, half)
    assert remaining.left({}).seconds == pytest.approx(sum(taken.values()) / 2)
    first = next(n for n in taken if plan.nodes[n].stage.kind == "labeler")
    remaining.ended(first, taken[first])
    others = sum(s for n, s in taken.items() if n != first and plan.nodes[n].stage.kind != "labeler")
    assert remaining.left({}).seconds == pytest.approx(others, rel=0.2), "twice as slow as the store's results say"


def test_an_empty_plan_has_nothing_left(tmp_path: Path) -> None:
    empty = make_plan({}, Store(tmp_path / "store", make=False))
    assert Remaining(empty, estimate(empty, Store(tmp_path / "store", make=False))).left({}) == Left(0.0, 0)
