"""The FCOS head: two towers shared by all levels, and what they predict.

Source: FCOS (ICCV 2019) sec. 3 with the improvements of AdelaiDet: group norm, box distances through ReLU and one
learned scale a level, centre-ness on the box tower. At 256 channels it has the reference's 4,738,571 parameters for
one class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from casl.errors import SpecError, unknown

SIDES = ("left", "top", "right", "bottom")
PRIOR = 0.01  # probability of an object that an untrained classifier predicts everywhere


@dataclass
class HeadOutput:
    """Predictions, a list over levels each.

    Attributes:
        logits: (B, C, h, w), C classes, before the sigmoid.
        ltrb: (B, 4, h, w), distances to the sides of the box, >= 0, in units of the level's stride.
        center: (B, 1, h, w), centre-ness (or IoU) before the sigmoid.
        kernels: (B, K, h, w), the parameters of each location's mask head; None without a controller.
        mask_features: (B, F, h, w), one map and no list, that masks are drawn from; None in FCOS.
        seed: of what is drawn by chance among these predictions.
    """

    logits: list[Tensor]
    ltrb: list[Tensor]
    center: list[Tensor]
    kernels: list[Tensor] | None
    mask_features: Tensor | None = None
    seed: int = 0


def flatten_levels(levels: Sequence[Tensor]) -> Tensor:
    """(B, D, h, w) per level -> (B, L, D) float32, in the order of `locations.Grid`.

    float32 always: sums over all locations in half precision overflow.
    """
    return torch.cat([level.flatten(2).float() for level in levels], dim=2).transpose(1, 2)


def group_norm(channels: int) -> nn.GroupNorm:
    """Groups of 8 channels, which is the reference's 32 groups at 256; of gcd(8, channels) where 8 does not divide
    them.

    The size of a group is kept and not the number of groups: on a 1 x 1 map of the coarsest level a group of one
    channel would always be normalised to zero.
    """
    return nn.GroupNorm(channels // math.gcd(8, channels), channels)


def _tower(channels: int, depth: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Conv2d(channels, channels, 3, padding=1), group_norm(channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class _Projected(torch.autograd.Function):
    """ReLU forward; backward it passes gradients also below zero, where a step along them leads back up."""

    @staticmethod
    def forward(ctx: Any, distances: Tensor) -> Tensor:
        ctx.save_for_backward(distances)
        return distances.relu()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (distances,) = ctx.saved_tensors
        passes: Tensor = (distances > 0) | (gradient < 0)
        return gradient * passes


# What keeps distances from falling below zero; the values are the same. "relu" is the reference's. "projected" is the
# gradient of descent projected onto distances >= 0: a side at zero everywhere is not lost to a training.
CLIPS: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu, "projected": _Projected.apply}


class FCOSHead(nn.Module):
    """Class, box and centre-ness of every location, and the kernels of its mask when there is a controller.

    Args:
        channels: of every level of the pyramid.
        num_classes: 1 is class-agnostic.
        num_levels: of the pyramid; each has a scale of its own.
        towers: depth of each of the two towers.
        controller: (B, channels, h, w) -> (B, K, h, w), runs on the box tower; brings its own initialisation.
        bias_on_box: False as in the Entity variant: box and centre-ness layers without bias.
        clip: of distances below zero, a key of `CLIPS`; it changes gradients only.

    Raises:
        SpecError: unknown clip.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        num_levels: int = 5,
        towers: int = 4,
        controller: nn.Module | None = None,
        bias_on_box: bool = True,
        clip: str = "relu",
    ) -> None:
        super().__init__()
        if clip not in CLIPS:
            raise SpecError(unknown("clip of distances", clip, CLIPS))
        self.clip = CLIPS[clip]
        self.cls_tower = _tower(channels, towers)
        self.box_tower = _tower(channels, towers)
        self.cls_logits = nn.Conv2d(channels, num_classes, 3, padding=1)
        self.bbox_pred = nn.Conv2d(channels, 4, 3, padding=1, bias=bias_on_box)
        self.ctrness = nn.Conv2d(channels, 1, 3, padding=1, bias=bias_on_box)
        self.scales = nn.Parameter(torch.ones(num_levels))
        self._initialise()
        self.controller = controller

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        assert self.cls_logits.bias is not None
        nn.init.constant_(self.cls_logits.bias, -math.log((1 - PRIOR) / PRIOR))

    def forward(self, pyramid: Sequence[Tensor]) -> HeadOutput:
        """Levels (B, channels, h, w), finest first -> HeadOutput.

        Raises:
            ValueError: another number of levels than the head was made for.
        """
        if len(pyramid) != len(self.scales):
            raise ValueError(f"{len(pyramid)} levels for a head made for {len(self.scales)}")
        output = HeadOutput([], [], [], None if self.controller is None else [])
        for level, scale in zip(pyramid, self.scales, strict=True):
            box_features = self.box_tower(level)
            output.logits.append(self.cls_logits(self.cls_tower(level)))
            output.ltrb.append(self.clip(self.bbox_pred(box_features) * scale))
            output.center.append(self.ctrness(box_features))
            if self.controller is not None and output.kernels is not None:
                output.kernels.append(self.controller(box_features))
        return output


class DeadSides:
    """Which sides of its boxes an FCOS head leaves at zero, on all it predicts while it is watched.

    Behind the ReLU a side at zero has no gradient: a training that loses one everywhere does not get it back, and hands
    it on. Counted are the locations that find something at all; a side is dead where fewer than 5 % of them move it.
    The limit is ours: what was seen lies far from it, see "dead side" in docs/decisions.md.
    """

    FOUND, SHARE = 0.05, 0.05  # class probability of a location that counts; of these

    def __init__(self, model: nn.Module) -> None:
        """Watch the FCOS heads of a model; one without any has no dead sides."""
        self._moved, self._counted = torch.zeros(len(SIDES)), 0.0
        for module in model.modules():
            if isinstance(module, FCOSHead):
                module.register_forward_hook(self._look)

    def _look(self, module: nn.Module, inputs: object, output: HeadOutput) -> None:
        for logits, sides in zip(output.logits, output.ltrb, strict=True):
            found = logits.sigmoid().amax(dim=1, keepdim=True) > self.FOUND
            self._counted += float(found.sum())
            self._moved += ((sides > 0) & found).sum(dim=(0, 2, 3)).cpu()

    @property
    def names(self) -> tuple[str, ...]:
        """Of `SIDES`; none where nothing was found."""
        few = (self._moved < self.SHARE * self._counted).tolist()
        return tuple(side for side, is_dead in zip(SIDES, few, strict=True) if is_dead)
