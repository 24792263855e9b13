"""What a part of a batch must know of the whole, so that the losses of all parts add up to those of the whole.

A batch is divided among processes, or into pieces that fit into memory, or both. Losses are sums over images divided by
counts over the batch; the counts follow from the labels alone, without the network. So `shares` of a detector takes the
counts of the whole first, and `losses` of each part divides by them. A detector without `shares` cannot be divided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from casl.models.locations import Assignment

DIVISOR = 32  # of the padded input: the stride of C5, so that the pyramid doubles exactly

Part = tuple[Sequence[Tensor], Sequence[Mapping[str, Tensor]]]  # images and targets, as `losses` takes them


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
    """For CondInst. masks, objects: of the whole batch, how many positives get a mask loss, and of how many objects.

    chosen: (n,) int64, which positives of this part do, None for all or where the best-scored are taken.
    """

    masks: int
    objects: int
    chosen: Tensor | None


def padded(height: int, width: int) -> tuple[int, int]:
    """The next multiples of 32."""
    return -(-height // DIVISOR) * DIVISOR, -(-width // DIVISOR) * DIVISOR


def total(peers: Peers, values: Sequence[float]) -> list[float]:
    """Sums over all processes, added in the order of ranks so that all get the same bits."""
    return [sum(column) for column in zip(*peers.gather(values), strict=True)]
