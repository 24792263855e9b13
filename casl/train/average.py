"""A model that is the exponential average of another, as a teacher is of its student."""

from __future__ import annotations

import math

import torch
from torch import nn


def momentum_at(t: int, momentum: float, warm_up: int = 0) -> float:
    """Share of the teacher that stays when it follows its student before iteration t: min(m, 1 - (1 + w)/(t + 1 + w)).

    Without a warm-up the teacher is at first the plain mean of all students since t = 0, whose initial weights have
    gone after the first step.

    Args:
        t: iterations since the average began, at least 0.
        momentum: m, in [0, 1); reached when 1 / (1 - m) iterations are over.
        warm_up: w, iterations by which that is delayed.

    Source: Soft Teacher (ICCV 2021), ssod/utils/hooks/mean_teacher.py.
    """
    if t < 0 or not 0.0 <= momentum < 1.0 or warm_up < 0:
        raise ValueError(f"t {t} and warm_up {warm_up} are at least 0, momentum {momentum} in [0, 1)")
    return min(momentum, 1.0 - (1 + warm_up) / (t + 1 + warm_up))


def half_life(momentum: float) -> float:
    """Iterations after which half of what a teacher was is left, of a momentum in (0, 1)."""
    return math.log(0.5) / math.log(momentum)


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, momentum: float, *, buffers: bool = True) -> None:
    """Move every tensor of a teacher to momentum x its own + (1 - momentum) x the student's, in place.

    Args:
        teacher: changed in place; a teacher of boxes, or MoCo's encoder of keys.
        student: of the same shape, as it is.
        momentum: in [0, 1); 0 is a copy.
        buffers: average them like parameters, as in Unbiased Teacher: statistics of batch norms that learn would not
            belong to averaged weights otherwise. What is not a floating-point number, such as a counter, is copied.
            Without it buffers stay as they are.

    Raises:
        ValueError: the two have tensors of other names.
    """
    own, other = teacher.state_dict(), student.state_dict()
    if own.keys() != other.keys():
        raise ValueError(f"teacher and student differ in {sorted(own.keys() ^ other.keys())}")
    moved = own if buffers else dict(teacher.named_parameters())
    for name in moved:
        if own[name].is_floating_point():
            own[name].lerp_(other[name], 1.0 - momentum)
        else:
            own[name].copy_(other[name])
