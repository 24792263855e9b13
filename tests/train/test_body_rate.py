"""A rate of its own for the pretrained backbone: which parameters have it, and that a resumed training keeps it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from casl.errors import SpecError
from casl.models.backbone import build_backbone
from casl.models.fcos import FCOS, FCOSSettings
from casl.runner import bits
from casl.runner.store import Store
from casl.spec.recipe import warmup_on_truth
from casl.spec.records import Recipe
from casl.train.checkpoint import Checkpoints, Curves, load_state, load_weights, save_state
from casl.train.learner import Batch, Plain
from casl.train.loop import Steps, train
from casl.train.optimizer import adamw, named_groups, scale_rate, set_rate, sgd
from tests.runner.stores import NANO, cell_of, run

FACTOR = 0.3


def detector() -> FCOS:
    torch.manual_seed(0)
    settings = FCOSSettings(channels=8, towers=1, ranges=(16, 32, 64, 128))
    return FCOS(build_backbone("resnet_nano", frozen_stages=1), 2, settings)


def optimizer_of(model: FCOS, make: object, factor: float = FACTOR) -> torch.optim.Optimizer:
    optimizer: torch.optim.Optimizer = make(model, 0.01, 0.05)  # type: ignore[operator]
    scale_rate(optimizer, model.backbone.parameters(), factor)
    return optimizer


@pytest.mark.parametrize("make", [adamw, sgd])
def test_the_backbone_has_a_part_of_the_rate_and_the_others_all_of_it(make: object) -> None:
    model = detector()
    optimizer = optimizer_of(model, make)
    plain = {id(p): group["weight_decay"] for group in named_groups(model, 0.05) for p in group["params"]}
    for rate in (0.01, 0.004):
        set_rate(optimizer, rate)
        found = {id(p): group for group in optimizer.param_groups for p in group["params"]}
        assert sum(len(group["params"]) for group in optimizer.param_groups) == len(found) == len(plain)
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                assert name.startswith("backbone.") and id(parameter) not in found
                continue
            wanted = rate * FACTOR if name.startswith("backbone.") else rate
            assert (found[id(parameter)]["lr"], found[id(parameter)]["weight_decay"]) == (wanted, plain[id(parameter)])


def batch_at(iteration: int) -> Batch:
    generator = torch.Generator().manual_seed(iteration)
    boxes = torch.tensor([[4.0, 4, 30, 30], [20, 24, 60, 50]])
    targets = [{"boxes": boxes, "labels": torch.tensor([0, 1])} for _ in range(2)]
    return [torch.rand(3, 64, 64, generator=generator) * 255 for _ in targets], targets


STEPS = Steps(batch_at, lambda i: 0.01 / (1 + i), 0, 4, seed=3, device=torch.device("cpu"))


def trained(folder: Path, factor: float, steps: Steps, model: FCOS | None = None, state: Path | None = None) -> FCOS:
    model = model or detector()
    optimizer, curves, start = optimizer_of(model, adamw, factor), Curves(), 0
    if state is not None:
        start, curves = load_state(state, model, optimizer)
    train(Plain(model), optimizer, replace(steps, start=start), curves, Checkpoints(folder), lambda *_: None)
    save_state(folder / "state.safetensors", model, optimizer, steps.stop, curves)
    return model


def check_resumed(folder: Path) -> None:
    """Stopped in the middle and resumed in another model, against uninterrupted, bit for bit."""
    whole = trained(folder / "whole", FACTOR, STEPS)
    trained(folder / "part", FACTOR, replace(STEPS, stop=2))
    resumed = trained(folder / "rest", FACTOR, STEPS, state=folder / "part" / "state.safetensors")
    other = trained(folder / "other", 1.0, STEPS)
    same = {name for name, value in whole.state_dict().items() if torch.equal(value, resumed.state_dict()[name])}
    assert same == set(whole.state_dict())
    assert any(not torch.equal(value, other.state_dict()[name]) for name, value in whole.state_dict().items())


@pytest.mark.parametrize("mode", bits.MODES)
def test_a_resumed_training_ends_with_the_bits_of_an_uninterrupted_one(tmp_path: Path, mode: str) -> None:
    if mode != bits.NATIVE and (lack := bits.lacking()):
        pytest.skip(lack)
    script = f"from pathlib import Path; from {__name__} import check_resumed; check_resumed(Path({str(tmp_path)!r}))"
    kernels = {} if mode == bits.NATIVE else bits.KERNELS
    around = {**os.environ, **kernels, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], env=around, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@torch.no_grad()
def test_the_first_step_of_sgd_moves_the_backbone_a_third_as_far() -> None:
    """SGD's step is its rate times gradient and decay, so the factor is seen in the weights."""
    images, targets = batch_at(0)
    moved = {}
    for factor in (1.0, FACTOR):
        model = detector().train()
        before = {name: value.clone() for name, value in model.named_parameters()}
        optimizer = optimizer_of(model, sgd, factor)
        with torch.enable_grad():
            torch.stack(list(model.losses(images, targets).values())).sum().backward()  # type: ignore[no-untyped-call]
        set_rate(optimizer, 0.01)
        optimizer.step()
        moved[factor] = {name: value - before[name] for name, value in model.named_parameters()}
    for name, step in moved[1.0].items():
        factor = FACTOR if name.startswith("backbone.") else 1.0
        torch.testing.assert_close(moved[FACTOR][name], factor * step, rtol=1e-3, atol=1e-7)


def test_a_recipes_body_rate_reaches_the_training_and_its_key(tmp_path: Path) -> None:
    """One step of AdamW moves a weight by its rate, whatever its gradient is."""
    recipe = replace(NANO.warmup_recipe, ramp_iters=0, lr=1e-3, weight_decay=0.0)
    stages = [
        warmup_on_truth(replace(NANO, iters_1x=1, warmup_recipe=replace(recipe, body_lr=factor)), schedule=1)
        for factor in (1.0, FACTOR)
    ]
    assert "body_lr" not in stages[0].recipe.payload and stages[1].recipe.payload["body_lr"] == FACTOR
    store = Store(tmp_path / "store")
    run([cell_of(stage, NANO) for stage in stages], store)
    one, other = (load_weights(store.folder(stage.name) / "model.safetensors") for stage in stages)
    steps = {name: float((one[name] - other[name]).abs().max()) for name in one if name.endswith("weight")}
    assert max(step for name, step in steps.items() if not name.startswith("backbone.")) == 0
    assert max(step for name, step in steps.items() if name.startswith("backbone.")) == pytest.approx(7e-4, rel=0.01)


def test_a_rate_that_is_no_rate_is_refused() -> None:
    with pytest.raises(SpecError, match="frozen_stages 5"):
        Recipe(lr=1e-3, batch=2, sizes=(64,), max_size=96, body_lr=0.0)
