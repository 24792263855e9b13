"""A training step whose batch is divided among processes, or into pieces that fit into memory, or both.

The gradient is that of the whole batch up to the order of additions: every part is padded to the size of the whole, its
losses are divided by counts over the whole (the model's `shares`), batch norms see all processes, and what is random is
drawn for the whole batch by everyone alike, from (seed, iteration).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from casl.errors import StageError
from casl.train.distributed import Peers, portion
from casl.train.memory import is_out_of_memory, memory_error, spared
from casl.train.synchronized import divide_drop_paths, live_norms, synchronize_norms

Targets = list[dict[str, Tensor]]


def obstacle(model: nn.Module) -> str | None:
    """Why a process cannot cut its images into pieces, one after the other; None if it can. The model is in training
    mode."""
    name = type(model).__name__
    if not hasattr(model, "shares"):
        return (
            f"{name} has no `shares`, its losses are defined over whole batches (R-CNNs draw the regions of all images "
            "of a batch from one generator)"
        )
    if norms := live_norms(model):
        return f"{len(norms)} batch norms of {name} take their statistics from the batch ({norms[0]}, ...)"
    return None


class Division:
    """How the batches of one training are divided.

    Args:
        model: in training mode. Its batch norms and stochastic depth are exchanged for ones that see whole batches.
        peers: the processes that share a batch.
        micro_batches: pieces that each of them cuts its images into. Where batch norms forbid it, a process keeps what
            the backward pass needs in the host's memory instead.
        device: of this process.

    Raises:
        StageError: the model has no `shares`.
    """

    def __init__(self, model: nn.Module, peers: Peers, micro_batches: int, device: torch.device) -> None:
        if not hasattr(model, "shares"):
            raise StageError(
                f"batches cannot be shared by {peers.world} processes: {obstacle(model)}.\n"
                "  do this stage with one (--gpus-per-stage 1); results of all others stay."
            )
        self.model: Any = model
        self.peers, self.micro_batches, self.device = peers, micro_batches, device
        self.whole = bool(live_norms(model))
        self.meets_inside = self.whole and peers.world > 1
        if self.meets_inside:
            synchronize_norms(model, peers, device)
        self.paths = divide_drop_paths(model)

    def gradients(
        self, images: Sequence[Tensor], targets: Targets, seed: Callable[[], None], precision: str
    ) -> dict[str, float]:
        """Add the gradient of the whole batch to the model's parameters, which have none yet.

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
        pieces = 1 if self.whole else min(self.micro_batches, len(images))
        bounds = [portion(len(images), pieces, index) for index in range(pieces)]
        parts = [(images[begin:end], targets[begin:end]) for begin, end in bounds]
        seed()
        shares = self.model.shares(parts, size, whole, self.peers)
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
        self.peers.add_gradients(self.model.parameters())
        sums = {name: sum(column) for name, column in zip(losses, columns, strict=True)}
        return {"loss": sum(sums.values()), **sums}

    def _piece(self, part: tuple[Sequence[Tensor], Targets], share: Any, precision: str) -> dict[str, float]:
        """Add the gradient of one piece; its losses."""
        with (
            spared(self.device, self.whole and self.micro_batches > 1),
            torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "mixed"),
        ):
            losses: dict[str, Tensor] = self.model.losses(*part, share)
            total = torch.stack(list(losses.values())).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return {name: float(value.detach()) for name, value in losses.items()}

    def _raise_if_short(self, error: BaseException | None, counts: Sequence[int], size: tuple[int, int]) -> None:
        """Make all ranks fail alike when memory was short on one, so that none waits for it."""
        rows = self.peers.gather([error is not None])
        if short := [count for count, row in zip(counts, rows, strict=True) if row[0]]:
            raise memory_error(self.device, max(short), size, self.micro_batches, obstacle(self.model)) from error
