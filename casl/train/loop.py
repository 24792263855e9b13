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

from casl.errors import StageError, StoppedError
from casl.train.checkpoint import Checkpoints, Curves
from casl.train.distributed import ALONE, Peers
from casl.train.memory import is_out_of_memory, memory_error, spared

Batch = tuple[list[Tensor], list[dict[str, Tensor]]]


class Learner(Protocol):
    """A module that turns images (3, h, w) and targets into named losses.

    One that also has `shares` can be given a part of a batch, see casl.train.divided.
    """

    def losses(self, images: list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class Steps:
    """The stretch of a training to do: iterations start..stop-1.

    batch_at(i): the batch of iteration i, a pure function; of several processes each has its part. rate_at(i): the
    learning rate there. seed: of the training. precision: "float32", or "mixed" for bfloat16 autocast. loaders: threads
    that prepare batches ahead. peers, micro_batches: among whom batches are divided, and into how many pieces there.
    stopping(): whether to save a checkpoint and stop.
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
    peers: Peers = ALONE
    micro_batches: int = 1
    stopping: Callable[[], bool] = lambda: False


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
    """Do the steps in place, saving a checkpoint every so often. Of several processes, rank 0 saves and reports.

    Raises:
        StageError: a loss is not finite; the message says where and which. Or batches cannot be divided as wanted.
        DeviceMemoryError: a step did not fit into memory, and in smaller pieces it may.
        StoppedError: `stopping` said so; a checkpoint has been saved.
        PeerLostError: another process is gone.
    """
    model.train()
    gradients = _gradients(model, optimizer, steps)
    saved = time.monotonic()
    for iteration, batch in _batches(steps):
        if steps.peers.any(steps.stopping()):
            _stop(model, optimizer, steps, iteration, curves, checkpoints)
        figures = _step(model, optimizer, gradients, steps, iteration, batch)
        curves.add(iteration, figures)
        if steps.peers.rank:
            continue
        progress(iteration + 1, steps.stop, figures)
        if time.monotonic() - saved > steps.checkpoint_s and iteration + 1 < steps.stop:
            checkpoints.save(model, optimizer, iteration + 1, curves)
            saved = time.monotonic()


def _stop(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    steps: Steps,
    iteration: int,
    curves: Curves,
    checkpoints: Checkpoints,
) -> None:
    if steps.peers.rank == 0 and iteration > steps.start:
        checkpoints.save(model, optimizer, iteration, curves)
    steps.peers.gather([0])  # nobody leaves before it is saved: whoever started us may end all when one is gone
    raise StoppedError(f"stopped after iteration {iteration}/{steps.stop}, as asked; the next run goes on from there.")


Gradients = Callable[[list[Tensor], list[dict[str, Tensor]], int], dict[str, float]]


def _gradients(model: Any, optimizer: torch.optim.Optimizer, steps: Steps) -> Gradients:
    """What makes the gradient of an iteration's batch that of the parameters; returns the losses, their sum first."""
    keep_on_host = False
    if steps.peers.world > 1 or steps.micro_batches > 1:
        from casl.train.divided import Division, obstacle  # only what is divided pays for it

        keep_on_host = steps.peers.world == 1 and obstacle(model) is not None
        if not keep_on_host:
            division = Division(model, steps.peers, steps.micro_batches, steps.device)

            def divided(images: list[Tensor], targets: list[dict[str, Tensor]], iteration: int) -> dict[str, float]:
                optimizer.zero_grad(set_to_none=True)
                return division.gradients(
                    images, targets, lambda: seed_iteration(steps.seed, iteration), steps.precision
                )

            return divided

    def whole(images: list[Tensor], targets: list[dict[str, Tensor]], iteration: int) -> dict[str, float]:
        seed_iteration(steps.seed, iteration)
        with (
            spared(steps.device, keep_on_host),
            torch.autocast(steps.device.type, torch.bfloat16, enabled=steps.precision == "mixed"),
        ):
            losses: dict[str, Tensor] = model.losses(images, targets)
            total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        return {"loss": float(total.detach()), **{n: float(v.detach()) for n, v in losses.items()}}

    return whole


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    gradients: Gradients,
    steps: Steps,
    iteration: int,
    batch: Batch,
) -> dict[str, float]:
    rate = steps.rate_at(iteration)
    for group in optimizer.param_groups:
        group["lr"] = rate
    try:
        images = [image.to(steps.device, non_blocking=True) for image in batch[0]]
        targets = [{n: t.to(steps.device, non_blocking=True) for n, t in target.items()} for target in batch[1]]
        figures = gradients(images, targets, iteration) | {"lr": rate}
        _check_finite(figures, steps, iteration)
        optimizer.step()
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise _memory_error(model, steps, batch[0]) from error
        raise
    return figures


def _check_finite(figures: Mapping[str, float], steps: Steps, iteration: int) -> None:
    bad = [n for n, v in figures.items() if not math.isfinite(v)]
    if bad:
        values = ", ".join(f"{n} is {figures[n]}" for n in bad)
        raise StageError(
            f"stopped at iteration {iteration}/{steps.stop}: {values}.\n"
            f"  the learning rate was {figures['lr']:g}; a lower one or a longer ramp-up usually helps."
        )


def _memory_error(model: nn.Module, steps: Steps, images: list[Tensor]) -> StageError:
    from casl.train.divided import obstacle

    size = max(image.shape[1] for image in images), max(image.shape[2] for image in images)
    return memory_error(steps.device, len(images), size, steps.micro_batches, obstacle(model))


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
