"""Running plans for real, on stages that take milliseconds: sharing, failures, damage, and several processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from casl.runner.job import Job, Placement, Resources
from casl.runner.launch.local import Local
from casl.runner.plan import make_plan
from casl.runner.schedule import execute
from casl.runner.store import Store
from casl.spec import Cell, Finetune, Scenes, evaluate, finetune, labeler
from casl.spec.run import WEIGHTS
from casl.spec.schedule import times
from casl.stages.training import STATE
from casl.train.checkpoint import load_weights
from tests.runner.stores import NANO, Silent, chain, gone, new_store, processes, run
from tests.stages.ranks import join, start_ranks


def lengths(*schedules: int) -> list[Cell]:
    """Finetunes without a warmup of several lengths."""
    return [
        Cell(f"F {k}x", "base", "ap_det", evaluate(NANO, finetune(NANO, None, schedule=k), "ap_det")) for k in schedules
    ]


def weights_of(cell: Cell, store: Store) -> dict[str, torch.Tensor]:
    return load_weights(store.folder(cell.evaluation.model.name) / WEIGHTS)


def same(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def test_a_training_that_shares_its_beginning_equals_one_that_does_not_bit_for_bit(tmp_path: Path) -> None:
    together = Store(tmp_path / "together")
    cells = lengths(1, 2, 3)
    plan, summary, _ = run(cells, together)
    assert not summary.failed
    trained = sum(node.iters for node in plan.nodes.values())
    assert trained == plan.counts.shared_iters < plan.counts.unique_iters

    for cell in cells:
        alone = Store(tmp_path / cell.row)
        single = make_plan({"t": [cell]}, alone)
        assert isinstance(cell.evaluation.model, Finetune)
        unshared = {n: replace(node, resume=None) for n, node in single.nodes.items() if node.asked}
        unshared = {n: replace(x, needs=tuple(s.name for s in x.stage.inputs())) for n, x in unshared.items()}
        from casl.runner.launch.inline import Inline

        execute(replace(single, nodes=unshared), alone, Inline(alone), Placement(), Silent(), lambda name: None)
        assert same(weights_of(cell, together), weights_of(cell, alone))
        assert together.run(cell.evaluation.name).metrics == alone.run(cell.evaluation.name).metrics


def test_where_the_cut_was_does_not_matter(tmp_path: Path) -> None:
    first, second = Store(tmp_path / "a"), Store(tmp_path / "b")
    run(lengths(3), first)
    run(lengths(1, 2), second)
    run(lengths(3), second)  # continues from what 1x and 2x left
    assert same(weights_of(lengths(3)[0], first), weights_of(lengths(3)[0], second))


def test_only_states_that_can_be_continued_keep_their_optimiser(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    plan, _, _ = run(lengths(1), store)
    kept = {n: (store.folder(n) / STATE).exists() for n in plan.nodes if n.startswith("finetune")}
    assert sorted(kept.values()) == [False, True]
    assert not kept[lengths(1)[0].evaluation.model.name]


def test_a_failed_stage_blocks_its_users_and_nothing_else(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    hopeless, fine = chain(replace(NANO, threshold=1.0)), lengths(1)[0]
    _, summary, watcher = run([hopeless, fine], store)
    status, error = watcher.ended[summary.failed[0]]
    assert status == "failed" and "above delta = 1.0" in error and "lower the profile's threshold" in error
    assert [n.partition("-")[0] for n in summary.failed] == ["warmup"]
    assert hopeless.evaluation.name in summary.blocked
    assert store.is_done(fine.evaluation.name)


def test_a_second_run_does_nothing(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    run(lengths(1), store)
    _, summary, watcher = run(lengths(1), store)
    assert summary.done == [] and watcher.ended == {}


def test_a_bit_flipped_in_a_result_is_named_and_the_stage_computed_again(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    cell = lengths(1)[0]
    run([cell], store)
    metrics = store.run(cell.evaluation.name).metrics
    path = store.folder(cell.evaluation.model.name) / WEIGHTS
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    store.quarantine(cell.evaluation.name)

    _, summary, _ = run([cell], store)
    assert sorted(summary.done) == sorted([cell.evaluation.name, cell.evaluation.model.name])
    assert store.run(cell.evaluation.name).metrics == metrics
    moved = list((store.root / "quarantine").glob(f"{cell.evaluation.model.name}.*"))
    assert len(moved) == 1


def test_nan_in_one_training_fails_that_one_and_says_where(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    wild = replace(NANO, finetune_recipe=replace(NANO.finetune_recipe, lr=1e30, ramp_iters=0))
    bad = Cell("bad", "c", "ap_det", evaluate(wild, finetune(wild, None), "ap_det"))
    good = lengths(1)[0]
    _, summary, watcher = run([bad, good], store)
    assert len(summary.failed) == 1
    error = watcher.ended[summary.failed[0]][1]
    assert "stopped at iteration" in error and ("nan" in error or "inf" in error)
    assert store.is_done(good.evaluation.name)


def _run_all(number: int, of: int, root: Path) -> None:
    """Half of the processes begin at the other end."""
    run(lengths(1, 2, 3)[:: 1 if number % 2 else -1], Store(root))


@pytest.mark.parametrize("count", [pytest.param(2, marks=pytest.mark.long), 4])
def test_several_processes_on_one_store_run_each_stage_once(tmp_path: Path, count: int) -> None:
    store = new_store(tmp_path)
    assert join(start_ranks(count, _run_all, store.root)) == [0] * count
    names = make_plan({"t": lengths(1, 2, 3)}, store).nodes
    for name in names:
        assert (store.folder(name) / "log.txt").read_text().count("finished in") == 1


class Killer(Silent):
    """Kills a process of the labeler once, in its first half: a short stage may be over when its event comes."""

    def __init__(self, store: Store, who: str) -> None:
        super().__init__()
        self.store, self.who, self.killed = store, who, 0

    def progress(self, event: Any) -> None:
        if not self.killed and event["name"].startswith("labeler") and 2 * event["done"] < event["total"]:
            (self.killed,) = processes(self.who, str(self.store.root))
            os.kill(self.killed, signal.SIGKILL)


@pytest.mark.parametrize("who", ["casl.runner.worker", "casl.runner.shepherd"])
def test_a_killed_process_is_replaced_and_its_stage_done_again(tmp_path: Path, who: str) -> None:
    store = new_store(tmp_path)
    slow = replace(labeler(NANO), schedule=times(1, 120))
    cells = [Cell("r", "c", "ap_e", evaluate(NANO, slow, "ap_e"))]
    plan = make_plan({"t": cells}, store)
    launcher = Local(store, Resources(jobs=1))
    killer = Killer(store, who)
    try:
        summary = execute(plan, store, launcher, Placement(checkpoint_s=0.2), killer, lambda name: None)
    finally:
        launcher.close()
    assert killer.killed
    assert not summary.failed and not summary.blocked
    assert make_plan({"t": cells}, store).todo == []
    (made,) = [store.run(n) for n in plan.todo if len(store.run(n).attempts) > 1]
    assert len(made.attempts) == 2 and made.seconds >= made.attempts[-1]["seconds"]


def test_nothing_outlives_its_launcher(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    launcher = Local(store, Resources(jobs=1))
    launcher.submit(Job(Scenes(split="val", count=1, size=64)))
    while not any(e["event"] == "done" for e in launcher.poll(1.0)):
        pass
    alive = processes("casl.runner", str(store.root))
    assert len(alive) == 2  # a shepherd and its warm worker
    launcher.close()
    assert gone(alive)


def test_results_do_not_depend_on_the_launcher(tmp_path: Path) -> None:
    inline, local = Store(tmp_path / "inline"), Store(tmp_path / "local")
    cell = chain(NANO)
    run([cell], inline)
    launcher = Local(local, Resources(jobs=2))
    try:
        execute(make_plan({"t": [cell]}, local), local, launcher, Placement(), Silent(), lambda name: None)
    finally:
        launcher.close()
    assert same(weights_of(cell, inline), weights_of(cell, local))
    assert inline.run(cell.evaluation.name).metrics == local.run(cell.evaluation.name).metrics


def test_two_ranks_that_do_a_stage_together_come_close_to_one(tmp_path: Path) -> None:
    alone, together = Store(tmp_path / "alone"), Store(tmp_path / "together")
    profile = replace(NANO, warmup_recipe=replace(NANO.warmup_recipe, optimizer="sgd", lr=1e-3))
    stage = replace(labeler(profile), schedule=times(1, 4))
    cell = Cell("r", "c", "ap_e", evaluate(profile, stage, "ap_e"))
    run([cell], alone)
    launcher = Local(together, Resources(ranks=2))
    try:
        plan = make_plan({"t": [cell]}, together)
        summary = execute(plan, together, launcher, Placement(ranks=2), Silent(), lambda name: None)
    finally:
        launcher.close()
    assert not summary.failed
    one, two = weights_of(cell, alone), weights_of(cell, together)
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        assert torch.allclose(two[name], tensor, rtol=1e-3, atol=1e-5), name
    assert gone(processes("casl.runner", str(together.root)))
