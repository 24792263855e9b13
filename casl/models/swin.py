"""Swin Transformer as a detection backbone: timm's layers and weights, any input size.

Three things differ from timm's own forward, to agree with the Swin of the reference and of detectron2:
windows are padded *before* they are shifted (timm 1.0 shifts first, so that on sizes that are no multiple of the
window the wrapped rows are masked wrongly), the last stage shifts too, and every stage's map passes a layer norm of
its own, `norm0`..`norm3`.

Source: Swin Transformer (ICCV 2021) and its object detection code, backbone with window 7.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from casl.models.adaptive import BlockPolicies, Half, add_where

ADAPTIVE = 2  # stage whose blocks may be skipped: three quarters of Swin-L's multiply-adds
BLOCKED = -100.0  # added to the attention between pixels that are no neighbours in the image; Swin's own value


def shift_mask(height: int, width: int, window: int, shift: int, device: torch.device) -> Tensor:
    """Attention mask of shifted windows.

    Args:
        height, width: of the padded map, multiples of `window`.
        window: side of a window, cells.
        shift: cells by which the map was rolled up and left.
        device: where to make it.

    Returns:
        (windows, window^2, window^2) float, 0 where both cells come from the same side of the seam, else BLOCKED.
    """

    def region(length: int) -> Tensor:
        index = torch.arange(length, device=device)
        return (index >= length - window).long() + (index >= length - shift).long()

    regions = (region(height)[:, None] * 3 + region(width))[None, :, :, None]
    cells = _windows(regions, window).squeeze(2)
    return torch.where(cells[:, None] == cells[:, :, None], 0.0, BLOCKED)


def _windows(x: Tensor, window: int) -> Tensor:
    """(B, H, W, C) -> (B * windows, window^2, C)."""
    batch, height, width, channels = x.shape
    x = x.view(batch, height // window, window, width // window, window, channels)
    return x.transpose(2, 3).reshape(-1, window * window, channels)


def _unwindows(x: Tensor, window: int, height: int, width: int) -> Tensor:
    x = x.view(-1, height // window, width // window, window, window, x.shape[-1])
    return x.transpose(2, 3).reshape(-1, height, width, x.shape[-1])


def _attend(block: Any, x: Tensor, mask: Tensor | None, window: int) -> Tensor:
    """Windowed attention of a normalised map (B, H, W, C); shifted when there is a mask."""
    height, width = x.shape[1:3]
    x = functional.pad(x, (0, 0, 0, -width % window, 0, -height % window))
    padded_height, padded_width = x.shape[1:3]
    shift = window // 2 if mask is not None else 0
    if shift:
        x = x.roll((-shift, -shift), (1, 2))
    x = block.attn(_windows(x, window), mask=mask)
    x = _unwindows(x, window, padded_height, padded_width)
    if shift:
        x = x.roll((shift, shift), (1, 2))
    return x[:, :height, :width]


def _attention(block: Any, mask: Tensor | None, window: int, x: Tensor) -> Tensor:
    branch: Tensor = block.drop_path1(_attend(block, block.norm1(x), mask, window))
    return branch


def _mlp(block: Any, x: Tensor) -> Tensor:
    branch: Tensor = block.drop_path2(block.mlp(block.norm2(x)))
    return branch


class Swin(nn.Module):
    """The four stages of a timm Swin Transformer.

    Args:
        model: a timm SwinTransformer with square windows of one size; its layers are taken over, its head is not.
        usage: share of the halves of the third stage's blocks that are to run, in (0, 1]; below 1 policies decide, for
            each image, which do (casl.models.adaptive).

    Attributes:
        decisions: (B, blocks, 2) of the last images, 0 or 1 for attention and MLP; None before, and without policies.
    """

    def __init__(self, model: Any, usage: float = 1.0) -> None:
        super().__init__()
        self.patch_embed = model.patch_embed
        self.layers = model.layers
        self.window = int(model.layers[0].blocks[0].attn.window_size[0])
        self.channels = tuple(int(info["num_chs"]) for info in model.feature_info)
        for stage, channels in enumerate(self.channels):
            self.add_module(f"norm{stage}", nn.LayerNorm(channels))
        self.usage = usage
        self.decisions: Tensor | None = None
        if usage < 1.0:
            self.policies = BlockPolicies(self.channels[ADAPTIVE], len(self.layers[ADAPTIVE].blocks))

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W), any H and W -> C2..C5, each (B, channels, ceil(H / stride), ceil(W / stride))."""
        height, width = images.shape[-2:]
        x = self.patch_embed.proj(functional.pad(images, (0, -width % 4, 0, -height % 4)))
        x = self.patch_embed.norm(x.permute(0, 2, 3, 1))
        maps = []
        for stage, layer in enumerate(self.layers):
            x = layer.downsample(x)
            x = self._adaptive(layer, x) if stage == ADAPTIVE and self.usage < 1.0 else self._stage(layer, x)
            maps.append(self.get_submodule(f"norm{stage}")(x).permute(0, 3, 1, 2).contiguous())
        return maps

    def _stage(self, layer: Any, x: Tensor) -> Tensor:
        for attention, mlp in self._halves(layer, x):
            x = x + attention(x)
            x = x + mlp(x)
        return x

    def _adaptive(self, layer: Any, x: Tensor) -> Tensor:
        """A stage whose policies see the input of each block."""
        taken = []
        for index, halves in enumerate(self._halves(layer, x)):
            taken.append(self.policies(index, x))
            for half, chosen in zip(halves, taken[-1].unbind(1), strict=True):
                x = add_where(x, chosen, half, self.training)
        self.decisions = torch.stack(taken, dim=1)
        return x

    def _halves(self, layer: Any, x: Tensor) -> Iterator[tuple[Half, Half]]:
        """The two residual branches of every block, for maps of one size."""
        # rounded up without a negative number, which ONNX divides towards zero
        height, width = ((size + self.window - 1) // self.window * self.window for size in x.shape[1:3])
        mask = shift_mask(height, width, self.window, self.window // 2, x.device)
        for index, block in enumerate(layer.blocks):
            shifted = mask if index % 2 else None
            yield partial(_attention, block, shifted, self.window), partial(_mlp, block)
