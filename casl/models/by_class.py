"""Losses of a dense detector in which each class has a weight, and how certain it is of its positives.

Source: certainty-aware pseudo labels (AAAI 2022; chapter 3 of the dissertation), 3.6, which has regions; in terms of
locations it is ours: centre-ness, the quality of a box that a location predicts, stands for v.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from casl.models.detector import Target, check_paired
from casl.models.fcos import FCOS
from casl.models.head import flatten_levels


@dataclass(frozen=True)
class Judged:
    """Losses of a batch, and its P foreground candidates.

    Attributes:
        losses: scalars, as the detector's `losses` names them.
        labels: (P,) int64 in [0, num_classes).
        certainty: (P,) p * v, without gradient.
    """

    losses: dict[str, Tensor]
    labels: Tensor
    certainty: Tensor


def losses_by_class(
    detector: FCOS, images: Sequence[Tensor], targets: Sequence[Target], class_weights: Tensor
) -> Judged:
    """Losses whose terms of positive locations are weighed by the class they should find.

    Args:
        detector: FCOS or what is built on it.
        images, targets: as of `detector.losses`.
        class_weights: (C,) float32. Neither background nor a normaliser contains them.
    """
    check_paired(images, targets)
    output = detector.outputs(detector.preprocess(images))
    grid = detector.grid(output)
    assignment = detector.assign(grid, targets)
    positive = assignment.positive
    labels = assignment.labels[positive]
    weights = torch.ones(positive.shape, device=positive.device)
    weights[positive] = class_weights.to(weights)[labels]
    if assignment.weights is not None:
        weights = weights * assignment.weights
    losses = detector.criterion(output, grid, replace(assignment, weights=weights), targets)
    with torch.no_grad():
        p = flatten_levels(output.logits)[positive].sigmoid().gather(1, labels[:, None])[:, 0]
        v = flatten_levels(output.center)[positive][:, 0].sigmoid()
    return Judged(losses, labels, p * v)
