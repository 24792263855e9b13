"""Detectors of ours whose every tensor differs from its initial value, so that a forgotten one is seen."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from casl.models.backbone import build_backbone
from casl.models.condinst import CondInst, CondInstSettings
from casl.models.fcos import FCOS, FCOSSettings


def stirred(module: nn.Module, seed: int = 0) -> Any:
    """The module in evaluation mode with norms and biases moved away from 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if not value.is_floating_point() or name.endswith("scales"):
                continue
            noise = torch.rand(value.shape, generator=generator)
            if name.endswith("running_var"):
                value.copy_(0.8 + 0.4 * noise)
            elif value.dim() == 1:
                value.add_(0.1 * (noise - 0.5))
    return module.eval()


def fcos(backbone: str = "resnet50", classes: int = 3, scale: float = 1.25, **settings: Any) -> FCOS:
    torch.manual_seed(0)
    model = FCOS(build_backbone(backbone), classes, FCOSSettings(**settings))
    nn.init.constant_(model.head.scales, scale)
    nn.init.constant_(model.head.bbox_pred.bias, 2.0) if model.head.bbox_pred.bias is not None else None
    stirred(model)
    return model


def condinst(backbone: str = "resnet50", **settings: Any) -> CondInst:
    torch.manual_seed(0)
    model: CondInst = stirred(CondInst(build_backbone(backbone), 1, CondInstSettings(**settings)))
    return model


def photo(height: int = 96, width: int = 128, seed: int = 0) -> Tensor:
    """(3, height, width) uint8, RGB, noise on a slope."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 120, (3, height, width), generator=generator)
    slope = torch.linspace(0, 130, width)[None, None].long() + torch.tensor([0, 3, 5])[:, None, None]
    return (noise + slope).to(torch.uint8)


def distance(found: Tensor, wanted: Tensor) -> float:
    """Largest difference, relative to the largest magnitude."""
    assert found.shape == wanted.shape
    return float((found - wanted).abs().max() / wanted.abs().max())
