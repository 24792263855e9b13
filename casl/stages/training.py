"""What labeler, warmup and finetune share: build, initialise or continue, train, keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from casl.catalog import load
from casl.data.coco import CocoSplit
from casl.files import write_atomic, write_json
from casl.models.parts import transfer
from casl.spec.context import Context, Outcome
from casl.spec.kinds import Train
from casl.spec.schedule import factor_at, is_trunk
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
from casl.train.loop import Steps, learning_rate, train

WEIGHTS = "model.safetensors"
STATE = "state.safetensors"
CURVES = "curves.csv"
TRANSFER = "transfer.json"


def run_training(stage: Train, split: CocoSplit, ctx: Context) -> Outcome:
    """Train on a split from wherever the stage starts: its checkpoint, a shared beginning, another model, or nothing.

    Leaves the weights, the curves and, where longer trainings may continue, the whole state. Of several ranks, 0 reads
    where to start and writes all of it.
    """
    with joined(ctx.rank, ctx.world, torch.device(ctx.device)) as peers:
        return _train(stage, split, ctx, peers)


def _train(stage: Train, split: CocoSplit, ctx: Context, peers: Peers) -> Outcome:
    torch.manual_seed(stage.seed)  # initial weights depend on the seed alone, so families start alike
    detector = build_detector(stage.model, ctx, pretrained=stage.init is None and peers.rank == 0)
    optimizer: torch.optim.Optimizer = load("optimizer", stage.recipe.optimizer)(
        detector, stage.recipe.lr, stage.recipe.weight_decay
    )
    checkpoints = Checkpoints(ctx.folder / "checkpoints")
    start, curves = _start(stage, detector, optimizer, checkpoints, ctx) if peers.rank == 0 else (0, Curves())
    start = share_state(detector, optimizer, start, peers)
    needs = (*getattr(detector, "needs", ()), *(("semantic",) if stage.labels == "panoptic" else ()))
    feed = Feed(split, stage.recipe, stage.seed, needs, peers)
    train(detector, optimizer, _steps(stage, feed, start, ctx, peers), curves, checkpoints, ctx.progress)
    if peers.rank:
        return Outcome()
    _keep(stage, detector, optimizer, curves, ctx.folder)
    checkpoints.clear()
    last = dict(zip(curves.names, curves.rows[-1][1:], strict=True))
    return Outcome(metrics={"final_loss": last["loss"]}, facts={**facts_of(split), "started_at": start})


def _steps(stage: Train, feed: Feed, start: int, ctx: Context, peers: Peers) -> Steps:
    recipe = stage.recipe

    def rate_at(iteration: int) -> float:
        factor = factor_at(stage.schedule, iteration)
        return learning_rate(iteration, recipe.lr, factor, recipe.ramp_iters, recipe.ramp_factor)

    return Steps(
        feed,
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
    )


def _start(
    stage: Train, detector: nn.Module, optimizer: torch.optim.Optimizer, checkpoints: Checkpoints, ctx: Context
) -> tuple[int, Curves]:
    """Iterations already done, with the detector and optimiser as they were then."""
    checkpoint, damaged = checkpoints.newest()
    for sentence in damaged:
        ctx.say(sentence)
    if checkpoint is None and ctx.resume is not None:
        checkpoint = ctx.inputs[ctx.resume.name] / STATE
    if checkpoint is not None:
        done, curves = load_state(checkpoint, detector, optimizer)
        ctx.say(f"continuing after iteration {done} from {checkpoint.parent.name}/{checkpoint.name}")
        return done, curves
    if stage.pretrained is not None:
        transfer(load_weights(ctx.inputs[stage.pretrained.name] / WEIGHTS), detector, ("backbone",))
    if stage.init is not None:
        _initialise(stage, detector, ctx)
    return 0, Curves()


def _initialise(stage: Train, detector: nn.Module, ctx: Context) -> None:
    """Start from a warmup's parts, and leave a record of which tensors were taken."""
    assert stage.init is not None
    source = load_weights(ctx.inputs[stage.init.name] / WEIGHTS)
    report = transfer(source, detector, stage.parts, stage.classifier)
    record: dict[str, Any] = {"from": stage.init.name, "parts": list(stage.parts)}
    record |= {name: list(tensors) for name, tensors in vars(report).items()}
    write_json(ctx.folder / TRANSFER, record)
    ctx.say("initialised: " + json.dumps({n: len(t) for n, t in vars(report).items()}))


def _keep(stage: Train, detector: nn.Module, optimizer: torch.optim.Optimizer, curves: Curves, folder: Path) -> None:
    save_weights(folder / WEIGHTS, detector)
    if is_trunk(stage.schedule):
        save_state(folder / STATE, detector, optimizer, stage.iters, curves)
    write_atomic(folder / CURVES, curves.csv().encode())
