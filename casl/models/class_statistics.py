"""How certain a detector is of each class, and the thresholds and weights that follow: those of rare classes are lower
and higher.

Source: certainty-aware pseudo labels (AAAI 2022; chapter 3 of the dissertation), 3.6. What the text leaves open is in
docs/dissertation.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

TAU, GAMMA_1, GAMMA_2 = 0.7, 0.05, 0.6
LOWEST, HIGHEST = 0.4, 0.9  # that a threshold may become
LEAST = 10  # instances that every class has before the statistics say anything


def relative_certainty(sums: Tensor, counts: Tensor) -> Tensor:
    """c_m over the mean number of instances.

    Args:
        sums: (C,), c_m: what p * v of the foreground candidates of each class adds up to.
        counts: (C,), their numbers.

    Returns:
        (C,) float64.

    Raises:
        ValueError: there is no instance of any class.
    """
    if not float(counts.sum()) > 0:
        raise ValueError("no class has an instance: there is nothing to compare certainties with")
    return sums.double() / counts.double().mean()


def class_thresholds(
    relative: Tensor, tau: float = TAU, gamma: float = GAMMA_1, lowest: float = LOWEST, highest: float = HIGHEST
) -> Tensor:
    """Thresholds of scores of pseudo boxes: tau times a power of `relative_certainty`, clipped.

    Args:
        relative: (C,) at least 0. tau: of a class of mean certainty. gamma: the power, 0 for one threshold.
        lowest, highest: what thresholds are clipped to.

    Returns:
        (C,) float64.

    Raises:
        ValueError: a power or a certainty below 0.
    """
    return (_power(relative, gamma) * tau).clamp(lowest, highest)


def class_weights(relative: Tensor, gamma: float = GAMMA_2, lowest: float = 0.0, highest: float = math.inf) -> Tensor:
    """Factors of the losses of foreground: the inverse of a power of `relative_certainty`, clipped.

    Args:
        relative: (C,) at least 0. gamma: the power, 0 for weights of 1.
        lowest, highest: what weights are clipped to.

    Returns:
        (C,) float64.

    Raises:
        ValueError: a power or a certainty below 0; a certainty of 0 where nothing bounds its weight.
    """
    weights = (1.0 / _power(relative, gamma)).clamp(lowest, highest)
    if not bool(weights.isfinite().all()):
        which = ", ".join(map(str, (~weights.isfinite()).nonzero().flatten().tolist()))
        raise ValueError(f"no certainty at all in class {which}: its weight has no bound; clip weights, or gamma 0")
    return weights


def _power(relative: Tensor, gamma: float) -> Tensor:
    if gamma < 0 or bool((relative < 0).any()):
        raise ValueError(f"certainties and their power are at least 0, got {relative.tolist()} to the power {gamma}")
    return relative.double() ** gamma


class ClassStatistics(nn.Module):
    """p * v of all foreground candidates of a training so far, by class. Both tensors are in checkpoints; they stay in
    the memory of the host, where sums in float64 have one order.

    Args:
        classes: of the detector.
        absent: positions of classes that have no instance to learn from. They keep tau and a weight of 1, and do not
            count in the mean.
        least: instances that each other class must have; until then all classes have tau and a weight of 1.
    """

    sums: Tensor
    counts: Tensor

    def __init__(self, classes: int, absent: Sequence[int] = (), least: int = LEAST) -> None:
        super().__init__()
        self.present = torch.tensor([place for place in range(classes) if place not in absent], dtype=torch.int64)
        self.least = least
        self.register_buffer("sums", torch.zeros(classes, dtype=torch.float64))
        self.register_buffer("counts", torch.zeros(classes, dtype=torch.float64))

    @torch.no_grad()
    def add(self, labels: Tensor, certainty: Tensor) -> None:
        """Count candidates: labels (P,) int64 in [0, classes), and their p * v (P,)."""
        places = labels.cpu()
        self.sums.index_add_(0, places, certainty.detach().cpu().double())
        self.counts.index_add_(0, places, torch.ones(len(places), dtype=torch.float64))

    def ready(self) -> bool:
        """Whether every class that is there has had enough instances."""
        return len(self.present) > 0 and bool((self.counts[self.present] >= self.least).all())

    def thresholds(self, tau: float, gamma: float, lowest: float, highest: float) -> Tensor:
        """(C,) float32, see `class_thresholds`."""
        found = torch.full_like(self.sums, tau)
        if self.ready():
            found[self.present] = class_thresholds(self._relative(), tau, gamma, lowest, highest)
        return found.float()

    def weights(self, gamma: float, lowest: float = 0.0, highest: float = math.inf) -> Tensor:
        """(C,) float32, see `class_weights`."""
        found = torch.ones_like(self.sums)
        if self.ready():
            found[self.present] = class_weights(self._relative(), gamma, lowest, highest)
        return found.float()

    def _relative(self) -> Tensor:
        return relative_certainty(self.sums[self.present], self.counts[self.present])
