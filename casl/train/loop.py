"""The one training loop: stages differ in the learner, its batches and the rate."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor

from casl.errors import StageError, StoppedError
from casl.train.checkpoint import Checkpoints, Curves
from casl.train.distributed import ALONE, Peers
from casl.train.learner import ON_HOST, Batch, DivisibleLearner, Learner, Targets, check_divisible, total
from casl.train.memory import is_out_of_memory, memory_error, spared
from casl.train.optimizer import set_rate
from casl.words import number_of

_ONE_VALUE = "more than 1 value per channel"  # of torch's batch norm, in training


@dataclass(frozen=True)
class Steps:
    """The iterations start..stop-1 of a training, and how to do them.

    batch_at(i): the batch of iteration i, a pure function; of several processes each gets its part. rate_at(i): the
    learning rate there. seed: of the training. precision: "float32", or "mixed" for bfloat16 autocast. loaders: threads
    that prepare batches ahead. peers, micro_batches: among whom batches are divided, and into how many pieces there.
    stopping(): whether to save a checkpoint and stop. lag: iterations that may be under way before the losses of one
    are read, so that a GPU always has work; None for 1 on CUDA and 0 elsewhere. It changes no number. clip_norm: norm
    that all gradients of an iteration together have at most, 0 for any; the one they had is a figure, "grad_norm".
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
    lag: int | None = None
    clip_norm: float = 0.0

    @property
    def under_way(self) -> int:
        """Iterations whose losses may be unread when the next one starts."""
        return self.lag if self.lag is not None else int(self.device.type == "cuda")


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
    """Seed torch for one iteration, so that its random numbers do not depend on earlier iterations."""
    torch.manual_seed((seed * 1_000_003 + iteration) % (1 << 63))


def train(
    learner: Learner,
    optimizer: torch.optim.Optimizer,
    steps: Steps,
    curves: Curves,
    checkpoints: Checkpoints,
    progress: Callable[[int, int, Mapping[str, float]], None],
) -> None:
    """Do the steps in place, saving a checkpoint every so often. Of several processes, rank 0 saves and reports.

    Of each step: the losses of the batch and their gradient, the optimiser's step, the learner's `after_step`.

    Raises:
        StageError: a loss is not finite; the message says where and which. Or batches cannot be divided as wanted.
        DeviceMemoryError: a step did not fit into memory, and in smaller pieces it may.
        StoppedError: `stopping` said so; a checkpoint has been saved.
        PeerLostError: another process is gone.
    """
    learner.module.train()
    gradients = _gradients(learner, optimizer, steps)
    unread: deque[tuple[int, Figures]] = deque()
    saved = time.monotonic()

    def read(at_most: int) -> None:
        while len(unread) > at_most:
            done, figures_of = unread.popleft()
            figures = figures_of()
            curves.add(done, figures)
            if not steps.peers.rank:
                progress(done + 1, steps.stop, figures)

    for iteration, batch in _batches(steps):
        if steps.peers.any(steps.stopping()):
            read(0)
            _stop(learner, optimizer, steps, iteration, curves, checkpoints)
        unread.append((iteration, _step(learner, optimizer, gradients, steps, iteration, batch)))
        read(steps.under_way)
        if steps.peers.rank == 0 and time.monotonic() - saved > steps.checkpoint_s and iteration + 1 < steps.stop:
            read(0)  # a checkpoint holds no weights whose losses were not looked at
            checkpoints.save(learner.module, optimizer, iteration + 1, curves)
            saved = time.monotonic()
    read(0)


def _stop(
    learner: Learner,
    optimizer: torch.optim.Optimizer,
    steps: Steps,
    iteration: int,
    curves: Curves,
    checkpoints: Checkpoints,
) -> None:
    if steps.peers.rank == 0 and iteration > steps.start:
        checkpoints.save(learner.module, optimizer, iteration, curves)
    steps.peers.gather([0])  # no rank leaves before it is saved: a launcher may end all when one is gone
    raise StoppedError(f"stopped after iteration {iteration}/{steps.stop}, as asked; the next run goes on from there.")


Figures = Callable[[], dict[str, float]]
Gradients = Callable[[list[Tensor], Targets, int], Figures]


def _gradients(learner: Learner, optimizer: torch.optim.Optimizer, steps: Steps) -> Gradients:
    """The function that sets the gradients of the parameters to those of an iteration's batch; from it come the losses,
    their sum first, when they are asked for."""
    check_divisible(learner, steps.peers.world)
    keep_on_host = False
    if steps.peers.world > 1 or steps.micro_batches > 1:
        from casl.train.divided import Division, obstacle  # only what is divided pays for it

        keep_on_host = steps.peers.world == 1 and obstacle(learner) is not None
        if not keep_on_host:
            division = Division(cast(DivisibleLearner, learner), steps.peers, steps.micro_batches, steps.device)

            def divided(images: list[Tensor], targets: Targets, iteration: int) -> Figures:
                optimizer.zero_grad(set_to_none=True)
                seed = partial(seed_iteration, steps.seed, iteration)
                figures = division.gradients(images, targets, seed, steps.precision)
                return lambda: figures

            return divided

    def whole(images: list[Tensor], targets: Targets, iteration: int) -> Figures:
        seed_iteration(steps.seed, iteration)
        with (
            spared(steps.device, keep_on_host),
            torch.autocast(steps.device.type, torch.bfloat16, enabled=steps.precision == "mixed"),
        ):
            losses = learner.losses(images, targets)
            loss = total(losses)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        return _read_later(("loss", *losses), torch.stack([loss, *losses.values()]).detach())

    return whole


def _read_later(names: Sequence[str], values: Tensor) -> Figures:
    """A function that gives the values by name; it waits for their copy, which the device makes after its work."""
    if values.device.type != "cuda":
        return lambda: dict(zip(names, values.tolist(), strict=True))
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
    arrived.record()

    def read() -> dict[str, float]:
        arrived.synchronize()
        return dict(zip(names, host.tolist(), strict=True))

    return read


def _step(
    learner: Learner,
    optimizer: torch.optim.Optimizer,
    gradients: Gradients,
    steps: Steps,
    iteration: int,
    batch: Batch,
) -> Figures:
    """Do one iteration. Its losses are checked before the weights move, or when they are read if that may wait."""
    rate = steps.rate_at(iteration)
    set_rate(optimizer, rate)
    try:
        images = [image.to(steps.device, non_blocking=True) for image in batch[0]]
        targets = [_on_device(target, steps.device) for target in batch[1]]
        figures_of = gradients(images, targets, iteration)
        norm_of = _clip(optimizer, steps.clip_norm)

        def checked() -> dict[str, float]:
            figures = figures_of() | norm_of() | {"lr": rate}
            _check_finite(figures, steps, iteration)
            return figures

        if not steps.under_way:
            figures = checked()
            optimizer.step()
            learner.after_step(iteration)
            return lambda: figures
        optimizer.step()
        learner.after_step(iteration)
        return checked
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise _memory_error(learner, steps, batch[0]) from error
        raise
    except ValueError as error:
        if _ONE_VALUE in str(error):
            raise _too_few_values(batch[0]) from error
        raise


def _clip(optimizer: torch.optim.Optimizer, most: float) -> Figures:
    """Scale the gradients of a whole batch down to a norm; the one they had, when it is asked for.

    All pieces and processes have been added up by now. Mixed precision has no loss scale, bfloat16 having the range of
    float32, so these are the gradients of the losses themselves.
    """
    if not most:
        return dict
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return _read_later(("grad_norm",), torch.nn.utils.clip_grad_norm_(parameters, most).detach().reshape(1))


def _on_device(target: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: t if name in ON_HOST else t.to(device, non_blocking=True) for name, t in target.items()}


def _check_finite(figures: Mapping[str, float], steps: Steps, iteration: int) -> None:
    bad = [n for n, v in figures.items() if not math.isfinite(v)]
    if bad:
        values = ", ".join(f"{n} is {figures[n]}" for n in bad)
        raise StageError(
            f"stopped at iteration {iteration}/{steps.stop}: {values}.\n"
            f"  the learning rate was {figures['lr']:g}; a lower one or a longer ramp-up usually helps."
        )


def _memory_error(learner: Learner, steps: Steps, images: list[Tensor]) -> StageError:
    from casl.train.divided import obstacle

    size = max(image.shape[1] for image in images), max(image.shape[2] for image in images)
    return memory_error(steps.device, len(images), size, steps.micro_batches, obstacle(learner))


def _too_few_values(images: Sequence[Tensor]) -> StageError:
    height, width = (max(image.shape[i] for image in images) for i in (1, 2))
    return StageError(
        "batch norm was given a single value of each channel: an image passed alone, and the coarsest map that is "
        f"normalised has one place.\n  This device has {number_of(len(images), 'image')} of up to {height} x {width} "
        "px an iteration; labeled and unlabeled ones may pass apart.\n"
        "  More images on each device (--batch-size, or fewer devices) or larger ones (--size) give it more values."
    )


def _batches(steps: Steps) -> Iterator[tuple[int, Batch]]:
    """(iteration, batch) in order; with loaders, batches are prepared ahead by threads and stay the same batches."""
    if not steps.loaders:
        for iteration in range(steps.start, steps.stop):
            yield iteration, steps.batch_at(iteration)
        return
    prepared = _pinned(steps.batch_at) if steps.device.type == "cuda" else steps.batch_at
    with ThreadPoolExecutor(steps.loaders) as pool:
        ahead: dict[int, Future[Batch]] = {}
        for iteration in range(steps.start, steps.stop):
            for later in range(iteration, min(iteration + 2 * steps.loaders, steps.stop)):
                if later not in ahead:
                    ahead[later] = pool.submit(prepared, later)
            yield iteration, ahead.pop(iteration).result()


def _pinned(batch_at: Callable[[int], Batch]) -> Callable[[int], Batch]:
    """Batches in page-locked memory, from which a GPU copies while it computes."""

    def batch(iteration: int) -> Batch:
        images, targets = batch_at(iteration)
        pinned = [{name: tensor.pin_memory() for name, tensor in target.items()} for target in targets]
        return [image.pin_memory() for image in images], pinned

    return batch
