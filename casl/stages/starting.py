"""What all stages that train a backbone to start from share: continue, train, keep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from casl.errors import DataError
from casl.files import write_atomic
from casl.spec.context import Context, Progress
from casl.spec.run import CURVES, WEIGHTS
from casl.train.checkpoint import Checkpoints, Curves, load_state, load_weights, save_weights
from casl.train.learner import Learner
from casl.train.loop import Steps, train

NAME = "backbone."  # begins the names of a backbone's tensors
COUNTER = "num_batches_tracked"


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


def take_backbone(backbone: nn.Module, source: Path) -> None:
    """Give a backbone the weights of one that a start or a detector left, whether or not its batch norms are fixed.

    Args:
        source: folder of their result.

    Raises:
        DataError: there is no backbone in it.
    """
    own = {name.removeprefix(NAME): v for name, v in load_weights(source / WEIGHTS).items() if name.startswith(NAME)}
    if not own:
        raise DataError(f"{source.name} left no backbone: none of its tensors begins with {NAME!r}")
    # a fixed batch norm has no counter, and none is needed in evaluation mode or to go on learning
    state = backbone.state_dict()
    counters = {name: value for name, value in state.items() if name.endswith(COUNTER)}
    backbone.load_state_dict(counters | {n: v for n, v in own.items() if n in state or not n.endswith(COUNTER)})


def last(curves: Curves) -> dict[str, float]:
    """The figures of the last iteration."""
    return dict(zip(curves.names, curves.rows[-1][1:], strict=True))
