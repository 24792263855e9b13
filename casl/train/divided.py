"""A training step whose batch is divided among processes, or into pieces that fit into memory, or both.

The gradient is that of the whole batch up to the order of additions: every part is padded to the size of the whole, its
losses are divided by counts over the whole (the learner's `shares`), batch norms see all processes, and every process
draws the random numbers of the whole batch, from (seed, iteration).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from casl.train.distributed import Peers, portion
from casl.train.learner import WATCHED, DivisibleLearner, Learner, Targets, indivisible, name_of, total
from casl.train.memory import is_out_of_memory, memory_error, spared
from casl.train.synchronized import divide_drop_paths, live_norms, synchronize_norms


def obstacle(learner: Learner) -> str | None:
    """Why a process cannot cut its images into pieces, one after the other; None if it can. The module is in training
    mode."""
    if reason := indivisible(learner):
        return reason
    if norms := live_norms(learner.module):
        name = name_of(learner)
        return f"{len(norms)} batch norms of {name} take their statistics from the batch ({norms[0]}, ...)"
    return None


class Division:
    """How the batches of one training are divided.

    Args:
        learner: divisible, its module in training mode. Batch norms and stochastic depth of the module are exchanged
            for ones that see whole batches.
        peers: the processes that share a batch.
        micro_batches: pieces that each of them cuts its images into, views of one image in the same. Where batch norms
            forbid it, a process keeps what the backward pass needs in the host's memory instead.
        device: of this process.
    """

    def __init__(self, learner: DivisibleLearner, peers: Peers, micro_batches: int, device: torch.device) -> None:
        self.learner = learner
        self.peers, self.micro_batches, self.device = peers, micro_batches, device
        self.whole = bool(live_norms(learner.module))
        self.meets_inside = self.whole and peers.world > 1
        if self.meets_inside:
            synchronize_norms(learner.module, peers, device)
        self.paths = divide_drop_paths(learner.module)

    def gradients(
        self, images: Sequence[Tensor], targets: Targets, seed: Callable[[], None], precision: str
    ) -> dict[str, float]:
        """Add the gradient of the whole batch to the parameters of the module, which have none yet.

        Args:
            images: of this process, (3, h, w) each.
            targets: theirs.
            seed: seeds torch for this iteration.
            precision: as in Steps.

        Returns:
            The losses of the whole batch, their sum "loss" first.

        Raises:
            DeviceMemoryError: on every rank, if it was short on any.
            PeerLostError: a rank is gone.
        """
        mine = (len(images), *(max(image.shape[axis] for image in images) for axis in (1, 2)))
        counts, heights, widths = (list(map(int, column)) for column in zip(*self.peers.gather(mine), strict=True))
        size, whole, first = (max(heights), max(widths)), sum(counts), sum(counts[: self.peers.rank])
        bounds = pieces(targets, 1 if self.whole else self.micro_batches)
        parts = [(images[begin:end], targets[begin:end]) for begin, end in bounds]
        seed()
        shares = self.learner.shares(parts, size, whole, self.peers)
        losses: dict[str, float] = {}
        short = None
        try:
            for (begin, _), part, share in zip(bounds, parts, shares, strict=True):
                seed()
                for path in self.paths:
                    path.first, path.images = first + begin, whole
                for name, value in self._piece(part, share, precision).items():
                    losses[name] = losses.get(name, 0.0) + value
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if self.meets_inside:  # the others wait in a norm, and not where they would be told
                self.peers.tell_short_of_memory()
                raise
            short = error
        self._raise_if_short(short, counts, size)
        columns = zip(*self.peers.gather(list(losses.values())), strict=True)
        self.peers.add_gradients(self.learner.module.parameters())
        sums = {name: sum(column) for name, column in zip(losses, columns, strict=True)}
        return {"loss": sum(value for name, value in sums.items() if not name.startswith(WATCHED)), **sums}

    def _piece(self, part: tuple[Sequence[Tensor], Targets], share: Any, precision: str) -> dict[str, float]:
        """Add the gradient of one piece; its losses."""
        with (
            spared(self.device, self.whole and self.micro_batches > 1),
            torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "mixed"),
        ):
            losses = self.learner.losses(*part, share)
            loss = total(losses)
        loss.backward()  # type: ignore[no-untyped-call]
        return {name: float(value.detach()) for name, value in losses.items()}

    def _raise_if_short(self, error: BaseException | None, counts: Sequence[int], size: tuple[int, int]) -> None:
        """Make all ranks fail alike when memory was short on one, so that none waits for it."""
        rows = self.peers.gather([error is not None])
        if short := [count for count, row in zip(counts, rows, strict=True) if row[0]]:
            raise memory_error(self.device, max(short), size, self.micro_batches, obstacle(self.learner)) from error


def pieces(targets: Targets, wanted: int) -> list[tuple[int, int]]:
    """First and last (exclusive) image of each piece of a batch.

    Args:
        targets: of the batch's images. Those with a "view" above 0 stay with the image before them.
        wanted: number of pieces; there are fewer if the images are fewer.
    """
    starts = [i for i, target in enumerate(targets) if not int(target.get("view", 0))]
    count = min(wanted, len(starts))
    bounds = [portion(len(starts), count, index) for index in range(count)]
    starts.append(len(targets))
    return [(starts[begin], starts[end]) for begin, end in bounds]
