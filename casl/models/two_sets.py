"""Losses of a dense student whose classes and boxes learn from two sets of pseudo labels.

Source: the two assignments of Soft Teacher (ICCV 2021) and Unbiased Teacher v2 (CVPR 2022, fcos_outputs.py); the soft
weight of background of the first, in terms of locations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from casl.models.detector import Target, check_paired
from casl.models.fcos import FCOS
from casl.models.locations import Assignment, Grid

OF_CLASSES = ("loss_cls", "loss_center")


def softened(assignment: Assignment, background: Tensor) -> Assignment:
    """The assignment with weights (B, L) on its background; those of positives stay."""
    weights = torch.ones_like(background) if assignment.weights is None else assignment.weights
    return replace(assignment, weights=torch.where(assignment.positive, weights, background))


def emptied(targets: Sequence[Target]) -> list[dict[str, Tensor]]:
    """The targets without any object."""
    names = ("boxes", "labels", "masks", "weights")
    return [{name: target[name][:0] for name in names if name in target} for target in targets]


def losses_of_sets(
    detector: FCOS,
    images: Sequence[Tensor],
    classes: Sequence[Target],
    boxes: Sequence[Target],
    background: Callable[[Grid], Tensor] | None = None,
) -> dict[str, Tensor]:
    """Losses as `detector.losses` names them.

    Args:
        detector: FCOS or what is built on it.
        images: as there.
        classes: targets of classes and centre-ness.
        boxes: targets of boxes and masks; the same list for one set.
        background: makes the (B, L) weights of background locations; None for 1. No normaliser contains them.
    """
    check_paired(images, classes)
    output = detector.outputs(detector.preprocess(images))
    grid = detector.grid(output)
    assignment = detector.assign(grid, classes)
    if background is not None:
        assignment = softened(assignment, background(grid))
    losses = detector.criterion(output, grid, assignment, classes)
    if boxes is classes:
        return losses
    located = detector.criterion(output, grid, detector.assign(grid, boxes), boxes)
    return {name: losses[name] if name in OF_CLASSES else value for name, value in located.items()}
