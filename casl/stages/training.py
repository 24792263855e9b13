"""What all stages that train a detector share: build, initialise or continue, train, keep."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from casl.catalog import load
from casl.data.coco import CocoSplit, with_objects
from casl.files import write_atomic, write_json
from casl.models.parts import transfer
from casl.spec.context import Context, Outcome
from casl.spec.kinds import Train
from casl.spec.records import Recipe
from casl.spec.run import CURVES, WEIGHTS
from casl.stages.adaptive import Adaptive
from casl.stages.detectors import build_detector
from casl.stages.feed import Feed
from casl.stages.sources import facts_of
from casl.train.checkpoint import (
    Checkpoints,
    Curves,
    load_state,
    load_weights,
    save_state,
    save_weights,
    share_state,
)
from casl.train.distributed import Peers, joined
from casl.train.learner import Averaged, Batch, Learner, Plain
from casl.train.loop import Steps, learning_rate, train
from casl.train.optimizer import scale_rate

TEACHER = "teacher.safetensors"  # beside it, where a teacher followed the student
STATE = "state.safetensors"
TRANSFER = "transfer.json"


def run_training(stage: Train, split: CocoSplit, ctx: Context) -> Outcome:
    """Train the stage's detector on one split; it leaves the files of `run_learner`."""

    def feed(detector: nn.Module, peers: Peers) -> Feed:
        needs = (*getattr(detector, "needs", ()), *(("semantic",) if stage.labels == "panoptic" else ()))
        return Feed(split, stage.recipe, stage.seed, needs, peers)

    if stage.labels != "pseudo" and not stage.recipe.empty_images:  # read pseudo labels have no empty image, eq. 3
        split = with_objects(split)
    outcome = run_learner(stage, ctx, Plain if stage.model.usage == 1.0 else Adaptive, feed)
    return outcome if ctx.rank else replace(outcome, facts={**facts_of(split), **outcome.facts})


def run_learner(
    stage: Train,
    ctx: Context,
    learner_of: Callable[[nn.Module], Learner],
    feed_of: Callable[[nn.Module, Peers], Callable[[int], Batch]],
    keep: Mapping[str, Callable[[Learner], nn.Module]] = MappingProxyType({}),
) -> Outcome:
    """Train from the stage's last checkpoint, a shared beginning, another model's weights, or initial weights.

    Leaves the weights, the curves and, where longer trainings may continue, the whole state. Of several ranks, 0 reads
    where to start and writes all of it.

    Args:
        stage: model, recipe and schedule.
        ctx: folders, device and processes.
        learner_of: makes the learner of a detector that has its initial weights.
        feed_of: from the detector and the processes that divide batches, makes the function from iteration to batch.
        keep: further files of weights that it leaves -> what of the learner is in them.

    Raises:
        StageError: there are several processes, and the learner is not divisible.
    """
    with joined(ctx.rank, ctx.world, torch.device(ctx.device)) as peers:
        torch.manual_seed(stage.seed)  # initial weights depend on the seed alone, so families start alike
        detector = build_detector(stage.model, ctx, pretrained=stage.reads_weights and peers.rank == 0)
        checkpoints = Checkpoints(ctx.folder / "checkpoints")
        state = _state(checkpoints, ctx) if peers.rank == 0 else None
        if peers.rank == 0 and state is None:
            _initialise(stage, detector, ctx)
        learner = own = learner_of(detector)
        if stage.recipe.ema:
            learner = Averaged(learner, stage.recipe.ema)
        optimizer = _optimizer(stage.recipe, learner, detector)
        start, curves = (0, Curves()) if state is None else _continued(state, learner, optimizer, ctx)
        start = share_state(learner.module, optimizer, start, peers)
        steps = _steps(stage, feed_of(detector, peers), start, ctx, peers)
        train(learner, optimizer, steps, curves, checkpoints, ctx.progress)
    if ctx.rank:
        return Outcome()
    for name, part_of in keep.items():
        save_weights(ctx.folder / name, part_of(own))
    _keep(stage, learner, optimizer, curves, ctx.folder)
    checkpoints.clear()
    last = dict(zip(curves.names, curves.rows[-1][1:], strict=True))
    return Outcome(metrics={"final_loss": last["loss"]}, facts={"started_at": start})


def _optimizer(recipe: Recipe, learner: Learner, detector: nn.Module) -> torch.optim.Optimizer:
    """Of all that the learner trains; the detector's backbone has a rate of its own where the recipe says so."""
    optimizer: torch.optim.Optimizer = load("optimizer", recipe.optimizer)(
        learner.module, recipe.lr, recipe.weight_decay
    )
    if recipe.body_lr != 1.0:
        scale_rate(optimizer, detector.get_submodule("backbone").parameters(), recipe.body_lr)
    return optimizer


def _steps(stage: Train, batch_at: Callable[[int], Batch], start: int, ctx: Context, peers: Peers) -> Steps:
    recipe = stage.recipe

    def rate_at(iteration: int) -> float:
        factor = stage.factor_at(iteration)
        return learning_rate(iteration, recipe.lr, factor, recipe.ramp_iters, recipe.ramp_factor)

    return Steps(
        batch_at,
        rate_at,
        start,
        stage.iters,
        stage.seed,
        torch.device(ctx.device),
        recipe.precision,
        ctx.loaders,
        ctx.checkpoint_s,
        peers,
        ctx.micro_batches,
        ctx.stopping,
        clip_norm=recipe.clip_norm,
    )


def _state(checkpoints: Checkpoints, ctx: Context) -> Path | None:
    """The file to continue from: the newest undamaged checkpoint, else the state of the shared beginning."""
    checkpoint, damaged = checkpoints.newest()
    for sentence in damaged:
        ctx.say(sentence)
    if checkpoint is None and ctx.resume is not None:
        return ctx.inputs[ctx.resume.name] / STATE
    return checkpoint


def _continued(state: Path, learner: Learner, optimizer: torch.optim.Optimizer, ctx: Context) -> tuple[int, Curves]:
    """Iterations already done, with the learner and optimiser as they were then."""
    done, curves = load_state(state, learner.module, optimizer)
    ctx.say(f"continuing after iteration {done} from {state.parent.name}/{state.name}")
    return done, curves


def _initialise(stage: Train, detector: nn.Module, ctx: Context) -> None:
    """Start from a pretrained backbone and a warmup's parts, as far as the stage says; leave a record of which tensors
    of the warmup were taken."""
    if stage.pretrained is not None:
        transfer(load_weights(ctx.inputs[stage.pretrained.name] / WEIGHTS), detector, ("backbone",))
    if stage.init is None:
        return
    source = load_weights(ctx.inputs[stage.init.name] / WEIGHTS)
    report = transfer(source, detector, stage.parts, stage.classifier)
    record: dict[str, Any] = {"from": stage.init.name, "parts": list(stage.parts)}
    record |= {name: list(tensors) for name, tensors in vars(report).items()}
    write_json(ctx.folder / TRANSFER, record)
    ctx.say("initialised: " + json.dumps({n: len(t) for n, t in vars(report).items()}))


def _keep(stage: Train, learner: Learner, optimizer: torch.optim.Optimizer, curves: Curves, folder: Path) -> None:
    save_weights(folder / WEIGHTS, learner.kept)
    if stage.is_continued:
        save_state(folder / STATE, learner.module, optimizer, stage.iters, curves)
    write_atomic(folder / CURVES, curves.csv().encode())
