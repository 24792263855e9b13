"""What a part of a batch must know of the whole, so that the losses of all parts add up to those of the whole.

A batch is divided among processes, or into pieces that fit into memory, or both. Losses are sums over images divided by
counts over the batch; the counts follow from the labels alone, without the network. So a detector that can be divided
first takes the counts of the whole (`Divisible.shares`), and then divides the losses of each part by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import Tensor

from casl.models.detector import Detector, Part, Target
from casl.models.locations import Assignment
from casl.models.positives import MaskLearners


class Peers(Protocol):
    """The processes that share a batch, in the order of its images; this one is number `rank`."""

    @property
    def rank(self) -> int: ...

    def gather(self, values: Sequence[float]) -> list[list[float]]:
        """What every process passed, in the order of ranks."""


@dataclass(frozen=True)
class Share:
    """One part of a batch.

    size: (height, width) that all images of the batch are padded to. images: of the whole batch.
    """

    size: tuple[int, int]
    images: int


@dataclass(frozen=True)
class DenseShare(Share):
    """For FCOS. assignment: of this part. positives, quality: of the whole batch, see `losses.normalisers`."""

    assignment: Assignment
    positives: float
    quality: float


@dataclass(frozen=True)
class MaskShare(DenseShare):
    """For CondInst. learners: the positives of this part that get a mask loss."""

    learners: MaskLearners


S = TypeVar("S", bound=Share)


class Divisible(Detector, Protocol[S]):
    """A detector whose batches can be divided."""

    def shares(self, parts: Sequence[Part], size: tuple[int, int], images: int, peers: Peers) -> Sequence[S]:
        """What `losses` must know of the whole batch for each of its parts that this process has.

        Args:
            parts: images and targets, in the order of the batch.
            size: (height, width) that holds every image of the batch.
            images: of the whole batch.
            peers: the processes that have the other parts; all of them call this.
        """

    def losses(self, images: Sequence[Tensor], targets: Sequence[Target], share: S | None = None) -> dict[str, Tensor]:
        """Losses of a batch, or of the part of one that `share` is about: those of all parts add up to the batch's."""


def total(peers: Peers, values: Sequence[float]) -> list[float]:
    """Sums over all processes, added in the order of ranks so that all get the same bits."""
    return [sum(column) for column in zip(*peers.gather(values), strict=True)]
