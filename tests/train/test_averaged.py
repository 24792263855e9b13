"""The average of the weights: its definition, that it is kept, resumed, shared and divided exactly."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from casl.errors import SpecError, StageError, StoppedError
from casl.files import read_json
from casl.models.fcos import FCOS
from casl.runner.store import Store
from casl.spec import finetune
from casl.spec.kinds import Finetune
from casl.spec.records import Recipe
from casl.spec.run import CURVES, WEIGHTS
from casl.stages.sources import open_split
from casl.stages.training import STATE, run_training
from casl.train.checkpoint import Checkpoints, Curves, load_state, load_weights, save_state
from casl.train.learner import Averaged, Plain, check_divisible
from casl.train.loop import Steps, train
from casl.train.optimizer import adamw
from tests.runner.stores import NANO, cell_of
from tests.runner.stores import run as run_cells
from tests.stages.ranks import context, join, start_ranks, with_inputs
from tests.train.test_loop import STEPS, Model, ignore

MOMENTUM = 0.9


def fresh() -> tuple[Averaged, torch.optim.Optimizer]:
    torch.manual_seed(0)
    learner = Averaged(Plain(Model()), MOMENTUM)
    return learner, adamw(learner.module, 0.01, 0.05)


def weights(learner: Averaged) -> nn.Module:
    return learner.learner.kept


def go(learner: Averaged, optimizer: torch.optim.Optimizer, steps: Steps, folder: Path) -> None:
    train(learner, optimizer, steps, Curves(), Checkpoints(folder), ignore)


def test_the_average_is_that_of_torchs_averaged_model(tmp_path: Path) -> None:
    """torch starts from the weights after the first step, so it is told the initial ones as a step of their own."""
    learner, optimizer = fresh()
    rule = get_ema_multi_avg_fn(MOMENTUM)  # type: ignore[no-untyped-call]
    oracle = AveragedModel(weights(learner), multi_avg_fn=rule, use_buffers=True)
    oracle.update_parameters(weights(learner))
    for iteration in range(6):
        go(learner, optimizer, replace(STEPS, start=iteration, stop=iteration + 1), tmp_path)
        oracle.update_parameters(weights(learner))
    ours, last = learner.kept.state_dict(), weights(learner).state_dict()
    for name, value in oracle.module.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(ours[name], value)
            assert not torch.equal(ours[name], last[name]), "buffers too"
        else:
            assert torch.equal(ours[name], last[name]) and int(ours[name]) == 6, "a counter is copied"


@torch.no_grad()
def test_a_step_keeps_momentum_of_what_the_average_was() -> None:
    """Unbiased Teacher's figures: .9996 of 1 with 2 is 1.0004."""
    model = nn.Linear(1, 1, bias=False)
    model.weight.fill_(1.0)
    learner = Averaged(Plain(model), 0.9996)
    model.weight.fill_(2.0)
    learner.after_step(0)
    assert float(learner.kept.state_dict()["weight"]) == pytest.approx(1.0004, abs=1e-6)


def test_training_goes_as_without_an_average_and_nothing_trains_it(tmp_path: Path) -> None:
    learner, optimizer = fresh()
    go(learner, optimizer, STEPS, tmp_path / "a")
    torch.manual_seed(0)
    plain = Model()
    train(Plain(plain), adamw(plain, 0.01, 0.05), STEPS, Curves(), Checkpoints(tmp_path / "b"), ignore)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, weights(learner).state_dict()[name]), name
    assert not any(m.training for m in learner.kept.modules())
    assert not any(p.requires_grad or p.grad is not None for p in learner.kept.parameters())


@pytest.mark.parametrize("stop", [1, 5, 11])
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path: Path, stop: int) -> None:
    whole, optimizer = fresh()
    go(whole, optimizer, STEPS, tmp_path / "whole")
    part, optimizer = fresh()
    go(part, optimizer, replace(STEPS, stop=stop), tmp_path / "part")
    save_state(tmp_path / "state.safetensors", part.module, optimizer, stop, Curves())
    torch.manual_seed(99)
    rest = Averaged(Plain(Model()), MOMENTUM)
    optimizer = adamw(rest.module, 1.0, 0.05)
    done, _ = load_state(tmp_path / "state.safetensors", rest.module, optimizer)
    go(rest, optimizer, replace(STEPS, start=done), tmp_path / "rest")
    found = rest.module.state_dict()
    assert [n for n, value in whole.module.state_dict().items() if not torch.equal(value, found[n])] == []


class Whole(Model):
    """Not divisible."""


def test_a_batch_is_divided_where_the_learner_allows_it_and_the_message_names_what_is_trained() -> None:
    assert not Averaged(Plain(Whole()), 0.5).divisible
    with pytest.raises(StageError, match="2 processes: Whole is not divisible"):
        check_divisible(Averaged(Plain(Whole()), 0.5), 2)


def test_pieces_of_a_batch_give_the_average_of_the_whole(tmp_path: Path) -> None:
    from tests.train.test_divided import batch, fcos

    images, targets = batch()
    ends: list[dict[str, Tensor]] = []
    for pieces in (1, 3):
        detector = fcos()
        assert isinstance(detector, FCOS)
        learner = Averaged(Plain(detector), 0.5)
        assert learner.divisible
        steps = Steps(lambda _: (images, targets), lambda _: 1e-3, 0, 2, 0, torch.device("cpu"), micro_batches=pieces)
        train(
            learner,
            torch.optim.SGD([p for p in detector.parameters() if p.requires_grad]),
            steps,
            Curves(),
            Checkpoints(tmp_path),
            ignore,
        )
        ends.append(learner.kept.state_dict())
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name], value, rtol=1e-3, atol=1e-5)


# --- a stage

PROFILE = replace(NANO, finetune_recipe=replace(NANO.finetune_recipe, ema=0.8, clip_norm=2.0, copy_paste=0.5))


def stage_of(schedule: tuple[tuple[int, float], ...] = ((8, 1.0),)) -> Finetune:
    return replace(finetune(PROFILE, None, schedule=1, detector="condinst"), schedule=schedule)


STAGE = stage_of()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data, and the whole training without a stop."""
    root = tmp_path_factory.mktemp("averaged")
    with_inputs(STAGE, root)
    do(STAGE, root, root / "through")
    return root


def do(stage: Finetune, root: Path, folder: Path, **changes: Any) -> None:
    ctx = context(stage, root, folder, **changes)
    run_training(stage, open_split(stage.data, "objects", ctx), ctx)


def same(first: Path, second: Path) -> None:
    for name in (WEIGHTS, STATE):
        one, other = load_weights(first / name), load_weights(second / name)
        assert one.keys() == other.keys()
        assert [key for key, value in one.items() if not torch.equal(value, other[key])] == []
    assert (first / CURVES).read_bytes() == (second / CURVES).read_bytes()


def test_a_stage_keeps_the_average_and_its_state_holds_both(root: Path) -> None:
    state, kept = load_weights(root / "through" / STATE), load_weights(root / "through" / WEIGHTS)
    for name, value in kept.items():
        assert torch.equal(state[f"model/average.module.{name}"], value)
    moved = [n for n, value in kept.items() if not torch.equal(state[f"model/trained.{n}"], value)]
    assert len(moved) > 30
    assert not any("average" in name for name in state if name.startswith("optimizer/"))
    assert (root / "through" / CURVES).read_text().splitlines()[0].endswith(",grad_norm,lr")


@pytest.mark.parametrize("stop", [1, 5])
def test_a_stage_that_is_stopped_goes_on_with_the_same_bits(root: Path, tmp_path: Path, stop: int) -> None:
    answers = iter([*[False] * stop, True])
    with pytest.raises(StoppedError):
        do(STAGE, root, tmp_path / "stopped", stopping=lambda: next(answers))
    torch.manual_seed(77)
    do(STAGE, root, tmp_path / "stopped")
    same(tmp_path / "stopped", root / "through")


def in_a_process(rank: int, world: int, root: Path, folder: Path) -> None:
    do(STAGE, root, folder, checkpoint_s=0.0)


@pytest.mark.slow
def test_a_stage_that_is_killed_goes_on_with_the_same_bits(root: Path, tmp_path: Path) -> None:
    rng, folder, listed = (
        random.Random(1),
        tmp_path / "killed",
        tmp_path / "killed" / "checkpoints" / "checkpoints.json",
    )
    kills = 0
    while kills < 3:
        (process,) = start_ranks(1, in_a_process, root, folder)
        while process.is_alive() and not (listed.exists() and len(read_json(listed))):
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.2))
        process.kill()
        if join([process]) == [0]:
            break
        kills += 1
    assert kills > 0
    if not (folder / WEIGHTS).exists():
        do(STAGE, root, folder)
    same(folder, root / "through")


def test_a_training_that_continues_a_shared_beginning_is_straight_through(root: Path, tmp_path: Path) -> None:
    beginning = stage_of(((3, 1.0),))
    assert beginning.family == STAGE.family
    do(beginning, root, tmp_path / "beginning")
    ctx = context(STAGE, root, tmp_path / "continued", resume=beginning)
    ctx = replace(ctx, inputs={**ctx.inputs, beginning.name: tmp_path / "beginning"})
    outcome = run_training(STAGE, open_split(STAGE.data, "objects", ctx), ctx)
    assert outcome.facts["started_at"] == 3
    same(tmp_path / "continued", root / "through")


def test_what_is_evaluated_and_started_from_is_the_average(tmp_path: Path) -> None:
    """Two finetunes of one recipe, with and without: the weights that the store keeps differ, the losses do not."""
    recipe = replace(NANO.finetune_recipe, ema=0.8)
    stages = [finetune(replace(NANO, finetune_recipe=r), None, schedule=1) for r in (NANO.finetune_recipe, recipe)]
    assert "ema" not in stages[0].recipe.payload and stages[0].key != stages[1].key
    store = Store(tmp_path / "store")
    run_cells([cell_of(stage, NANO) for stage in stages], store)
    curves = [(store.folder(stage.name) / CURVES).read_text() for stage in stages]
    assert curves[0] == curves[1]
    plain, averaged = (load_weights(store.folder(stage.name) / WEIGHTS) for stage in stages)
    assert plain.keys() == averaged.keys() and any(not torch.equal(v, averaged[n]) for n, v in plain.items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ema": 1.0}, r"ema is the momentum .* in \[0, 1\), got 1.0\n.*0.999 averages"),
        ({"ema": -0.1}, r"in \[0, 1\), got -0.1"),
        ({"clip_norm": -1.0}, "largest norm of all gradients, or 0 for any, got -1.0"),
        ({"decay": "cosinus"}, "unknown decay of the rate 'cosinus'; known: cosine, steps.\n  did you mean 'cosine'"),
        ({"copy_paste": 1.5}, r"share of images, in \[0, 1\], got 1.5"),
        ({"augmentation": "lsg"}, "did you mean 'lsj'"),
    ],
)
def test_values_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Recipe(lr=1e-3, batch=2, sizes=(64,), max_size=96, **changes)


def test_defaults_leave_keys_as_they_were() -> None:
    recipe = Recipe(lr=1e-3, batch=2, sizes=(64,), max_size=96)
    explicit = replace(recipe, ema=0.0, clip_norm=0.0, decay="steps", copy_paste=0.0)
    assert set(explicit.payload) == {"lr", "batch", "sizes", "max_size"} and explicit.payload == recipe.payload
