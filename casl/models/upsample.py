"""Bilinear enlargement that keeps cells on the pixels they stand for."""

from __future__ import annotations

import torch
from torch import Tensor


def aligned_bilinear(x: Tensor, factor: int) -> Tensor:
    """Enlarge a map so that output pixel o shows the input at position (o - factor // 2) / factor.

    A cell of stride s stands at pixel s // 2 + s * i. Enlarged s times, every cell lands on its pixel; the half-pixel
    rule of common resizing would put it beside. (Enlarged by less, the map is off by half an output cell, the same for
    all: networks learn it, and released weights expect it.) Positions outside the input take the border's value.

    Written with shifts and blends only, so that its gradient is the same bit for bit on every run.

    Args:
        x: (N, C, h, w) float.
        factor: how many times larger, >= 1; 1 returns `x` itself.

    Returns:
        (N, C, factor * h, factor * w), the type of `x`.

    Raises:
        ValueError: `x` is not 4-dimensional or `factor` is below 1.

    Source: CondInst (ECCV 2020), AdelaiDet adet/utils/comm.py:23-45.
    """
    if x.dim() != 4 or factor < 1:
        raise ValueError(f"expected a (N, C, h, w) map and a factor >= 1, got {tuple(x.shape)} and {factor}")
    if factor == 1:
        return x
    return _stretch(_stretch(x, factor, dim=2), factor, dim=3)


def _stretch(x: Tensor, factor: int, dim: int) -> Tensor:
    size = x.shape[dim]
    before = torch.cat([x.narrow(dim, 0, 1), x.narrow(dim, 0, size - 1)], dim)
    after = torch.cat([x.narrow(dim, 1, size - 1), x.narrow(dim, size - 1, 1)], dim)
    phases = []
    for phase in range(factor):
        offset = phase / factor - (factor // 2) / factor
        phases.append(torch.lerp(x, before if offset < 0 else after, abs(offset)) if offset else x)
    return torch.stack(phases, dim + 1).flatten(dim, dim + 1)
