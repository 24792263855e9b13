"""Estimates and costs against sums done by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from casl.runner.cost import estimate, spent
from casl.runner.plan import Node, make_plan
from casl.spec import Profile
from tests.runner.finished import finish, planned
from tests.runner.stores import NANO, chain, new_store

# seconds of one iteration or image, all exact in binary
RATES = {"labeler": 0.5, "warmup": 0.25, "finetune": 0.125, "pseudolabel": 2.0, "evaluate": 4.0, "scenes": 1.0}
IMAGES = {"pseudolabel": 4, "evaluate": 2}


def at_known_rates(node: Node) -> float:
    kind = node.stage.kind
    return RATES[kind] * (node.iters or IMAGES.get(kind, 0) or int(getattr(node.stage, "count", 0)))


def later(seed: int = 1) -> Profile:
    return replace(NANO, seed=seed)


def test_a_plan_like_an_earlier_one_is_estimated_from_its_rates(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    finish(planned([chain(NANO, 2)], store), store, at_known_rates)
    plan = planned([chain(later(), 2)], store)
    expected = estimate(plan, store)
    kinds = {name: plan.nodes[name].stage.kind for name in plan.todo}
    by_hand = {name: at_known_rates(plan.nodes[name]) for name in plan.todo}
    exact = {n for n, kind in kinds.items() if kind in ("pseudolabel", "evaluate", "finetune")}
    assert {n: expected.seconds[n] for n in exact} == {n: by_hand[n] for n in exact}
    assert set(expected.basis.values()) == {"measured"}
    assert "scenes" not in kinds.values()  # the data is there


def test_one_chain_cannot_be_faster_than_its_longest_path(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    finish(planned([chain(NANO)], store), store, at_known_rates)
    expected = estimate(planned([chain(later())], store), store)
    assert expected.critical_s == expected.total_s > 0
    assert expected.wall_s(8) == expected.total_s


def test_independent_chains_share_the_workers(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    finish(planned([chain(NANO)], store), store, at_known_rates)
    one = estimate(planned([chain(later(1))], store), store)
    three = estimate(planned([replace(chain(later(s)), row=str(s)) for s in (1, 2, 3)], store), store)
    assert three.total_s == 3 * one.total_s
    assert (three.wall_s(1), three.wall_s(3)) == (3 * one.total_s, one.total_s)


def test_another_model_is_a_guess_and_another_image_size_is_unknown(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    finish(planned([chain(NANO)], store), store, at_known_rates)
    wider = replace(later(), shape=replace(NANO.shape, channels=32))
    assert set(estimate(planned([chain(wider)], store), store).basis.values()) == {"guessed"}
    recipe = replace(NANO.warmup_recipe, max_size=128)
    larger = replace(later(), warmup_recipe=recipe, finetune_recipe=recipe, test_size=(64, 128))
    expected = estimate(planned([chain(larger)], store), store)
    assert expected.counts == {"unknown": len(expected.basis)} and expected.total_s == 0.0
    assert set(expected.weights().values()) == {1.0}


def test_a_given_rate_stands_in_where_nothing_was_measured(tmp_path: Path) -> None:
    plan = planned([chain(NANO)], new_store(tmp_path))
    expected = estimate(plan, new_store(tmp_path), rate=2.0)
    iterations = sum(node.iters for node in plan.nodes.values())
    images = sum(IMAGES.values()) / NANO.finetune_recipe.batch  # in batches
    assert expected.total_s == pytest.approx((iterations + images) / 2.0)
    assert set(expected.basis.values()) == {"given"}


def test_seconds_stand_for_the_iterations_since_the_shared_beginning(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    plan = planned([chain(NANO, 1), chain(NANO, 2)], store)
    assert any(node.resume for node in plan.nodes.values())
    finish(plan, store, lambda node: 3.0 * node.iters)
    expected = estimate(planned([chain(later(), 2)], store), store)
    trained = [n for n in expected.seconds if n.startswith(("warmup", "finetune", "labeler"))]
    nodes = planned([chain(later(), 2)], store).nodes
    assert [expected.seconds[n] for n in trained] == [3.0 * nodes[n].iters for n in trained]


def test_the_cost_afterwards_is_the_sum_of_what_was_recorded(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    tables = {"a": [chain(NANO, 1), chain(NANO, 2)], "b": [chain(NANO, 1)]}
    finish(make_plan(tables, store), store, lambda node: float(node.iters))
    plan = make_plan(tables, store)
    cost = spent(plan, store)
    assert cost.unfinished == 0
    assert cost.shared == plan.counts.shared_iters
    assert cost.unique == plan.counts.unique_iters
    assert cost.naive == plan.counts.naive_iters
    assert cost.tables["a"] == plan.counts.shared_iters
    assert cost.tables["b"] < cost.tables["a"]


def test_an_unfinished_plan_costs_what_is_finished(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    finish(planned([chain(NANO, 1)], store), store, lambda node: 1.0)
    cost = spent(planned([chain(NANO, 1), chain(NANO, 2)], store), store)
    assert cost.unfinished > 0 and set(cost.stages.values()) == {1.0}


def test_a_table_that_is_all_of_a_plan_costs_what_all_of_it_costs(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    finish(planned([chain(NANO, 1)], store), store, lambda node: 1.0)
    cost = spent(planned([chain(NANO, 1)], store), store)
    assert cost.tables["table"] == cost.shared < sum(cost.stages.values()), "data sets count among stages only"
