"""What the training loop trains: learners, which give the losses of a batch, hold the state and name the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from casl.errors import StageError
from casl.train.distributed import Peers

Targets = list[dict[str, Tensor]]
Batch = tuple[list[Tensor], Targets]
ON_HOST = frozenset(
    {"source", "view"}
)  # of a target; Python reads them to choose what is computed, so they stay off the device
WATCHED = "watched_"  # begins the names of figures among the losses that are followed and not learned from


class Learner(Protocol):
    """A model in training: the losses of a batch, the tensors that are its state, and the weights that are its result.

    Everything that affects the next step is a parameter or a persistent buffer of `module`, the optimiser's state, or
    follows from (seed, iteration): torch's generator is seeded before the losses of each iteration. So a training that
    was killed goes on with the same bits.
    """

    @property
    def module(self) -> nn.Module:
        """All tensors of the training. The optimiser moves those of its parameters that require gradients; parts that
        never train, such as a teacher, are in a `Held`. Checkpoints hold the state dict."""

    @property
    def kept(self) -> nn.Module:
        """The part whose weights are the stage's result."""

    @property
    def divisible(self) -> bool:
        """Whether batches may be divided among processes or cut into pieces; then this is a DivisibleLearner."""

    def losses(self, images: list[Tensor], targets: Targets) -> dict[str, Tensor]:
        """Scalars that are added up and differentiated, under the same names at every iteration. Those whose names
        begin with WATCHED are only written down.

        Args:
            images: (3, h, w) each, on the training's device.
            targets: theirs, as the feed made them.
        """

    def after_step(self, iteration: int) -> None:
        """Called once after the optimiser's step of an iteration, and before any checkpoint of it. Draws nothing from
        torch's generator."""


class DivisibleLearner(Learner, Protocol):
    """A learner whose losses of a part of a batch are a share of those of the whole, see casl.train.divided."""

    def shares(
        self, parts: Sequence[tuple[Sequence[Tensor], Targets]], size: tuple[int, int], images: int, peers: Peers
    ) -> Sequence[Any]:
        """What each part must know of the whole batch.

        Args:
            parts: pieces of this process: images and targets.
            size: height and width that hold every image of the whole batch.
            images: of the whole batch.
            peers: the processes that share it.
        """

    def losses(self, images: Sequence[Tensor], targets: Targets, share: Any = None) -> dict[str, Tensor]:
        """As a Learner's; with a share, what this part adds to the losses of the whole batch."""


class Plain:
    """The learner of a detector alone: all of it is trained, and all of it is kept.

    Args:
        module: has `losses(images, targets)`. One that also has `shares` is divisible.
    """

    def __init__(self, module: nn.Module) -> None:
        self._model: Any = module

    @property
    def module(self) -> nn.Module:
        """The detector."""
        model: nn.Module = self._model
        return model

    @property
    def kept(self) -> nn.Module:
        """The detector."""
        return self.module

    @property
    def divisible(self) -> bool:
        """Whether the detector has `shares`."""
        return hasattr(self._model, "shares")

    def losses(self, images: Sequence[Tensor], targets: Targets, share: Any = None) -> dict[str, Tensor]:
        """Losses of the detector."""
        arguments = () if share is None else (share,)
        losses: dict[str, Tensor] = self._model.losses(images, targets, *arguments)
        return losses

    def shares(
        self, parts: Sequence[tuple[Sequence[Tensor], Targets]], size: tuple[int, int], images: int, peers: Peers
    ) -> Sequence[Any]:
        """Shares of the detector."""
        shares: Sequence[Any] = self._model.shares(parts, size, images, peers)
        return shares

    def after_step(self, iteration: int) -> None:
        """Does nothing."""


class Held(nn.Module):
    """A module that never trains: it has no gradients and stays in evaluation mode, and its tensors are in checkpoints.

    Args:
        module: becomes `self.module`; its parameters no longer require gradients.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Held:
        """Stays in evaluation mode."""
        return super().train(False)


def total(losses: Mapping[str, Tensor]) -> Tensor:
    """The sum of what is learned from, ()."""
    return torch.stack([value for name, value in losses.items() if not name.startswith(WATCHED)]).sum()


def indivisible(learner: Learner) -> str | None:
    """Why batches of a learner stay whole; None if they may be divided."""
    if learner.divisible:
        return None
    return (
        f"{type(learner.module).__name__} is not divisible, its losses are defined over whole batches (as those of "
        "R-CNNs, which draw the regions of all images of a batch from one generator)"
    )


def check_divisible(learner: Learner, world: int) -> None:
    """Refuse to share the batches of a learner that does not allow it.

    Raises:
        StageError: there are several processes, and the learner is not divisible.
    """
    if world > 1 and (reason := indivisible(learner)):
        raise StageError(
            f"batches cannot be shared by {world} processes: {reason}.\n"
            "  do this stage with one (--gpus-per-stage 1); results of all others stay."
        )
