"""What all stages that train a backbone to start from share: continue, train, keep."""

from __future__ import annotations

from collections.abc import Callable

import torch

from casl.files import write_atomic
from casl.spec.context import Context, Progress
from casl.stages.training import CURVES, WEIGHTS
from casl.train.checkpoint import Checkpoints, Curves, load_state, save_weights
from casl.train.learner import Learner
from casl.train.loop import Steps, train


def train_start(
    ctx: Context,
    learner: Learner,
    optimizer: torch.optim.Optimizer,
    steps_from: Callable[[int], Steps],
    progress: Progress | None = None,
) -> Curves:
    """Train from the last checkpoint or the beginning; leaves the weights of what the learner keeps, and the curves.

    Args:
        steps_from: the iterations of the training after so many.
        progress: in the place of the context's.
    """
    checkpoints, curves, start = Checkpoints(ctx.folder / "checkpoints"), Curves(), 0
    newest, damaged = checkpoints.newest()
    for sentence in damaged:
        ctx.say(sentence)
    if newest is not None:
        start, curves = load_state(newest, learner.module, optimizer)
    train(learner, optimizer, steps_from(start), curves, checkpoints, progress or ctx.progress)
    save_weights(ctx.folder / WEIGHTS, learner.kept)
    write_atomic(ctx.folder / CURVES, curves.csv().encode())
    checkpoints.clear()
    return curves


def last(curves: Curves) -> dict[str, float]:
    """The figures of the last iteration."""
    return dict(zip(curves.names, curves.rows[-1][1:], strict=True))
