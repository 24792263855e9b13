"""The cosine schedule: its values, its keys, and what of two lengths is shared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from casl.runner.plan import make_plan
from casl.runner.store import Store
from casl.spec import Profile, evaluate, finetune, warmup
from casl.spec.ablation import Cell
from casl.spec.freeze import freeze, thaw
from casl.spec.kinds import Finetune
from casl.spec.run import CURVES
from casl.spec.schedule import cosine
from casl.spec.varied import varied
from casl.stages.training import STATE
from casl.train.loop import learning_rate
from tests.runner.stores import NANO, cell_of, run

DECAYING = replace(NANO.finetune_recipe, decay="cosine", lr=1e-3)
COSINE = replace(NANO, finetune_recipe=DECAYING, iters_1x=4)
STEPS = replace(COSINE, finetune_recipe=replace(DECAYING, decay="steps"))


def test_values_of_the_reference() -> None:
    """M5: .03 of 200 epochs at 0, 50, 100 and 199."""
    found = [0.03 * cosine(i, 200) for i in (0, 50, 100, 199)]
    assert found == pytest.approx([0.03, 0.0256066, 0.015, 1.85e-6], abs=1e-8)


@pytest.mark.parametrize("length", [1, 2, 7, 100])
def test_rates_are_those_of_torchs_scheduler(length: int) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    scheduler = CosineAnnealingLR(optimizer, T_max=length)
    for iteration in range(length):
        ours = learning_rate(iteration, 0.3, cosine(iteration, length), 0, 0.001)
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9) and ours > 0
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("iteration", [-1, 8])
def test_no_rate_lies_outside_of_the_length(iteration: int) -> None:
    with pytest.raises(ValueError, match="outside of a schedule of 8"):
        cosine(iteration, 8)


def test_only_the_length_of_a_schedule_counts() -> None:
    stage = finetune(COSINE, None, schedule=3)
    assert stage.schedule == ((12, 1.0),) and stage.iters == 12
    other = replace(stage, schedule=((5, 1.0), (9, 0.5), (12, 0.1)))
    assert other.key == stage.key and other.schedule == stage.schedule
    assert [stage.factor_at(i) for i in range(12)] == [cosine(i, 12) for i in range(12)]
    assert thaw(freeze(stage)) == stage
    steps = finetune(STEPS, None, schedule=3)
    assert [steps.factor_at(i) for i in (0, 11)] == [1.0, 0.01] and steps.key != stage.key


def test_varied_turns_a_chain_to_a_cosine() -> None:
    cell = cell_of(finetune(NANO, warmup(NANO, schedule=1), schedule=3), NANO)
    changed = varied(varied(cell, "finetune.decay", "cosine"), "finetune.clip_norm", 1).evaluation.model
    assert (changed.recipe.decay, changed.recipe.clip_norm) == ("cosine", 1.0)
    assert changed.schedule == ((9, 1.0),) and changed.init == finetune(NANO, warmup(NANO, schedule=1)).init


def cells(profile: Profile, *lengths: int) -> list[Cell]:
    stages = [finetune(profile, None, schedule=length, detector="fcos") for length in lengths]
    return [Cell("r", str(s.iters), "ap_det", evaluate(profile, s, "ap_det")) for s in stages]


def test_a_plan_shares_nothing_between_lengths_and_counts_so(tmp_path: Path) -> None:
    """Trainings of 4, 8 and 12 iterations: 24 to do, where those with steps would share some."""
    plan = make_plan({"t": cells(COSINE, 1, 2, 3)}, Store(tmp_path / "a"))
    trained = [node for node in plan.nodes.values() if isinstance(node.stage, Finetune)]
    assert sorted(node.iters for node in trained) == [4, 8, 12]
    assert all(node.resume is None for node in trained)
    assert len({node.stage.family for node in trained if isinstance(node.stage, Finetune)}) == 3
    steps = make_plan({"t": cells(STEPS, 1, 2, 3)}, Store(tmp_path / "b")).counts
    assert plan.counts.naive_iters == plan.counts.unique_iters == plan.counts.shared_iters == 24
    assert steps.naive_iters == 24 > steps.shared_iters


def test_a_longer_cosine_does_not_continue_a_shorter_one_that_is_stored(tmp_path: Path) -> None:
    store, rates = Store(tmp_path / "store"), {}
    for length in (1, 2):
        (cell,) = cells(COSINE, length)
        plan, summary, _ = run([cell], store)
        stage = cell.evaluation.model
        assert summary.failed == [] and plan.nodes[stage.name].resume is None
        assert not (store.folder(stage.name) / STATE).exists(), "a state that nothing continues is not kept"
        lines = (store.folder(stage.name) / CURVES).read_text().splitlines()
        rates[length] = [float(line.rpartition(",")[2]) for line in lines[1:]]
    ramp = (DECAYING.ramp_iters, DECAYING.ramp_factor)
    for length, found in rates.items():
        count = 4 * length
        expected = [learning_rate(i, DECAYING.lr, cosine(i, count), *ramp) for i in range(count)]
        assert found == pytest.approx(expected, rel=1e-5)
