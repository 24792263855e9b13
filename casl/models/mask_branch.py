"""The map every instance mask of an image is drawn from: P3, P4 and P5 merged at stride 8."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from casl.models.upsample import aligned_bilinear

LEVELS = 3  # P3, P4, P5: the coarser levels add nothing a stride-8 mask could show


class MaskBranch(nn.Module):
    """Eight channels (by default) that the instances' own small networks turn into masks.

    Every level gets a 3×3 convolution with BatchNorm and ReLU, coarser levels are enlarged and added to P3, a tower of
    further such blocks and a 1×1 convolution follow. 1,477,384 parameters with the defaults.

    Args:
        in_channels: channels of the pyramid.
        channels: channels of the branch inside; the whole cost of the branch grows with its square.
        out_channels: channels of the result.
        convs: blocks of the tower.

    Source: CondInst (ECCV 2020) sec. 3.3, AdelaiDet adet/modeling/condinst/mask_branch.py:24-86.
    """

    def __init__(self, in_channels: int = 256, channels: int = 128, out_channels: int = 8, convs: int = 4) -> None:
        super().__init__()
        self.refine = nn.ModuleList(_block(in_channels, channels) for _ in range(LEVELS))
        tower = [_block(channels, channels) for _ in range(convs)]
        self.tower = nn.Sequential(*tower, nn.Conv2d(channels, out_channels, kernel_size=1))

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Merge the pyramid.

        Args:
            levels: P3, P4, P5 and possibly more, finest first, (B, in_channels, h, w) each; every level's height and
                width divide those of P3. Levels after P5 are not read.

        Returns:
            (B, out_channels, h, w) of P3, no activation at the end.
        """
        merged: Tensor = self.refine[0](levels[0])
        for refine, level in zip(self.refine[1:], levels[1:LEVELS], strict=True):
            merged = merged + aligned_bilinear(refine(level), merged.shape[-1] // level.shape[-1])
        result: Tensor = self.tower(merged)
        return result


def _block(in_channels: int, out_channels: int) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_uniform_(conv.weight, a=1)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))
