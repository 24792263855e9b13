"""The one training loop: labeler, warmup and finetune differ in their arguments only."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from casl.errors import StageError
from casl.train.checkpoint import Checkpoints, Curves

Batch = tuple[list[Tensor], list[dict[str, Tensor]]]


class Learner(Protocol):
    """A module that turns images (3, h, w) and targets into named losses."""

    def losses(self, images: list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class Steps:
    """The stretch of a training to do: iterations start..stop-1.

    batch_at(i): the batch of iteration i, a pure function. rate_at(i): the learning rate there. seed: of the training.
    precision: "float32", or "mixed" for bfloat16 autocast. loaders: threads that prepare batches ahead.
    """

    batch_at: Callable[[int], Batch]
    rate_at: Callable[[int], float]
    start: int
    stop: int
    seed: int
    device: torch.device
    precision: str = "float32"
    loaders: int = 0
    checkpoint_s: float = 30.0


def learning_rate(iteration: int, base: float, factor: float, ramp_iters: int, ramp_factor: float) -> float:
    """Rate at an integer iteration: a linear ramp-up, times the schedule's factor.

    Computed from the iteration alone, never from the length, so that schedules with one beginning share it exactly.
    Source: detectron2's WarmupMultiStepLR with the ramp counted in iterations; method reference sec. 8.
    """
    ramp = 1.0
    if iteration < ramp_iters:
        ramp = ramp_factor + (1.0 - ramp_factor) * iteration / ramp_iters
    return base * factor * ramp


def seed_iteration(seed: int, iteration: int) -> None:
    """Seed torch for one iteration, so that its randomness does not depend on how the training got there."""
    torch.manual_seed((seed * 1_000_003 + iteration) % (1 << 63))


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    steps: Steps,
    curves: Curves,
    checkpoints: Checkpoints,
    progress: Callable[[int, int, Mapping[str, float]], None],
) -> None:
    """Do the steps in place, saving a checkpoint every so often.

    Raises:
        StageError: a loss is not finite; the message says where and which.
    """
    model.train()
    saved = time.monotonic()
    for iteration, batch in _batches(steps):
        figures = _step(model, optimizer, steps, iteration, batch)
        curves.add(iteration, figures)
        progress(iteration + 1, steps.stop, figures)
        if time.monotonic() - saved > steps.checkpoint_s and iteration + 1 < steps.stop:
            checkpoints.save(model, optimizer, iteration + 1, curves)
            saved = time.monotonic()


def _step(
    model: Any,
    optimizer: torch.optim.Optimizer,
    steps: Steps,
    iteration: int,
    batch: Batch,
) -> dict[str, float]:
    seed_iteration(steps.seed, iteration)
    rate = steps.rate_at(iteration)
    for group in optimizer.param_groups:
        group["lr"] = rate
    images = [image.to(steps.device, non_blocking=True) for image in batch[0]]
    targets = [{n: t.to(steps.device, non_blocking=True) for n, t in target.items()} for target in batch[1]]
    with torch.autocast(steps.device.type, torch.bfloat16, enabled=steps.precision == "mixed"):
        losses: dict[str, Tensor] = model.losses(images, targets)
        total = torch.stack(list(losses.values())).sum()
    optimizer.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    figures = {"loss": float(total.detach()), **{n: float(v.detach()) for n, v in losses.items()}, "lr": rate}
    bad = [n for n, v in figures.items() if not math.isfinite(v)]
    if bad:
        values = ", ".join(f"{n} is {figures[n]}" for n in bad)
        raise StageError(
            f"stopped at iteration {iteration}/{steps.stop}: {values}.\n"
            f"  the learning rate was {rate:g}; a lower one or a longer ramp-up usually helps."
        )
    optimizer.step()
    return figures


def _batches(steps: Steps) -> Iterator[tuple[int, Batch]]:
    """(iteration, batch) in order; with loaders, batches are prepared ahead by threads and stay the same batches."""
    if not steps.loaders:
        for iteration in range(steps.start, steps.stop):
            yield iteration, steps.batch_at(iteration)
        return
    with ThreadPoolExecutor(steps.loaders) as pool:
        ahead: dict[int, Future[Batch]] = {}
        for iteration in range(steps.start, steps.stop):
            for later in range(iteration, min(iteration + 2 * steps.loaders, steps.stop)):
                if later not in ahead:
                    ahead[later] = pool.submit(steps.batch_at, later)
            yield iteration, ahead.pop(iteration).result()
