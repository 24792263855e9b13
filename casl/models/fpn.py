"""The feature pyramid P3..P7 that the head reads.

Source: FPN (CVPR 2017) as detectron2 builds it, with the two extra levels of FCOS. Layer names follow detectron2's
without the prefix: its `fpn_lateral3` is `lateral3` here, its `top_block.p6` is `p6`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from casl.errors import SpecError, unknown

TOP_FROM = ("p5", "c5")


class FPN(nn.Module):
    """Lateral 1x1 convolutions, nearest-neighbour way down, 3x3 output convolutions, and P6, P7 by convolutions of
    stride 2.

    Args:
        in_channels: of C2..C5.
        channels: of every level of the pyramid.
        lowest: 3, or 2 to own the layers of P2 as well. The head does not read P2, so `lateral2` and `output2` get no
            gradient and keep their initial values; frameworks that load the neck and use P2 train them. P3..P7 are
            the same with either.
        top_from: what P6 is computed from: "p5" (FCOS, CondInst, and Swin in Entity) or "c5" (RetinaNet, ResNet in
            Entity).

    Raises:
        SpecError: `in_channels` is not four numbers, or `lowest` or `top_from` is unknown.
    """

    def __init__(self, in_channels: Sequence[int], channels: int = 256, lowest: int = 3, top_from: str = "p5") -> None:
        super().__init__()
        if len(in_channels) != 4 or lowest not in (2, 3):
            raise SpecError(f"a pyramid reads C2..C5 and starts at level 2 or 3, got {in_channels} and {lowest}")
        if top_from not in TOP_FROM:
            raise SpecError(unknown("source of P6", top_from, TOP_FROM))
        self.lowest, self.top_from = lowest, top_from
        for level in range(lowest, 6):
            self.add_module(f"lateral{level}", nn.Conv2d(in_channels[level - 2], channels, 1))
            self.add_module(f"output{level}", nn.Conv2d(channels, channels, 3, padding=1))
        self.p6 = nn.Conv2d(channels if top_from == "p5" else in_channels[3], channels, 3, stride=2, padding=1)
        self.p7 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """C2..C5, strides 4 to 32 -> P3..P7, strides 8 to 128, each (B, channels, h, w)."""
        return self._levels(features, 3)

    def forward_all(self, features: Sequence[Tensor]) -> list[Tensor]:
        """C2..C5 -> every level the pyramid owns: P2..P7 when `lowest` is 2, else P3..P7."""
        return self._levels(features, self.lowest)

    def _levels(self, features: Sequence[Tensor], lowest: int) -> list[Tensor]:
        top_down = self.get_submodule("lateral5")(features[3])
        levels = [self.get_submodule("output5")(top_down)]
        for level in range(4, lowest - 1, -1):
            lateral = self.get_submodule(f"lateral{level}")(features[level - 2])
            top_down = lateral + functional.interpolate(top_down, size=lateral.shape[-2:], mode="nearest")
            levels.insert(0, self.get_submodule(f"output{level}")(top_down))
        p6 = _halved(self.p6, levels[-1] if self.top_from == "p5" else features[3])
        return [*levels, p6, _halved(self.p7, functional.relu(p6))]


def _halved(layer: nn.Module, maps: Tensor) -> Tensor:
    """(B, c, h, w) -> (B, C, h / 2, w / 2), rounded up, of the type of `maps`; on CPUs computed in float32.

    In bfloat16 there torch 2.15 gives this convolution weight gradients that are NaN now and then, on maps of 1 x 1 and
    of 2 x 1.
    """
    if maps.device.type != "cpu":
        halved: Tensor = layer(maps)
        return halved
    with torch.autocast("cpu", enabled=False):
        halved = layer(maps.float())
        return halved.to(maps.dtype)
