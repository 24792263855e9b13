"""Instance masks by conditional convolutions: each instance brings the weights of its own three-layer network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

from casl.models.upsample import aligned_bilinear

MASK_STRIDE = 8  # of the map masks are drawn from
OUT_STRIDE = 4  # of the mask logits; the CondInst paper printed 2, its released configurations use 4
DICE_EPSILON = 1e-5  # keeps an empty prediction of an empty target finite; part of the published loss


def parameter_counts(
    layers: int = 3, channels: int = 8, in_channels: int = 8, coords: bool = True
) -> tuple[list[int], list[int]]:
    """Weights and biases of each layer of an instance's network.

    Args:
        layers: 1×1 convolutions, >= 1; the last has one output.
        channels: channels between the layers.
        in_channels: channels of the mask branch.
        coords: whether the two relative coordinates are further inputs.

    Returns:
        Number of weights of each layer, number of biases of each layer. ([80, 64, 8], [8, 8, 1]) with the defaults.

    Source: AdelaiDet adet/modeling/condinst/dynamic_mask_head.py:62-87,114-131.
    """
    outputs = [channels] * (layers - 1) + [1]
    inputs = [in_channels + 2 * coords] + [channels] * (layers - 1)
    return [i * o for i, o in zip(inputs, outputs, strict=True)], outputs


@dataclass(frozen=True)
class KernelLayout:
    """How an instance's parameter vector is cut into layers; arguments as in `parameter_counts`."""

    layers: int = 3
    channels: int = 8
    in_channels: int = 8
    coords: bool = True

    @property
    def total(self) -> int:
        """Length of the vector, 169 with the defaults."""
        weights, biases = parameter_counts(self.layers, self.channels, self.in_channels, self.coords)
        return sum(weights) + sum(biases)

    def cut(self, params: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Layers of N instances.

        Args:
            params: (N, total); all weights (outputs × inputs, row by row) of all layers, then all biases.

        Returns:
            For each layer (N, outputs, inputs) weights and (N, outputs, 1) biases.
        """
        weights, biases = parameter_counts(self.layers, self.channels, self.in_channels, self.coords)
        parts = torch.split(params, weights + biases, dim=1)
        return [
            (weight.reshape(-1, outputs, count // outputs), bias[:, :, None])
            for weight, bias, count, outputs in zip(
                parts[: self.layers], parts[self.layers :], weights, biases, strict=True
            )
        ]


DEFAULT_LAYOUT = KernelLayout()


@dataclass(frozen=True)
class InstanceKernels:
    """Everything that turns the mask branch's map into the masks of N instances.

    Attributes:
        params: (N, total) parameter vectors.
        locations: (N, 2) float, xy in pixels of the padded input image: where on the image each instance was found.
        sizes: (N,) float, size of interest in pixels of the level each instance was found on.
        images: (N,) int64, index of each instance's image in the batch.
    """

    params: Tensor
    locations: Tensor
    sizes: Tensor
    images: Tensor

    def __len__(self) -> int:
        return len(self.params)

    def select(self, index: Tensor | slice) -> InstanceKernels:
        """The instances of an index, mask or slice, in its order."""
        return InstanceKernels(self.params[index], self.locations[index], self.sizes[index], self.images[index])

    def chunks(self, size: int) -> Iterator[InstanceKernels]:
        """Pieces of at most `size` instances, in order; none when there is no instance."""
        for start in range(0, len(self), size):
            yield self.select(slice(start, start + size))


@dataclass(frozen=True)
class Objects:
    """The G objects of all images of a batch, whose masks are learned.

    Attributes:
        masks: (G, H, W) bool at the stride of the mask logits.
        images: (G,) int64, the image of each, ascending.
        weights: (G,) float32, of their boxes; None for 1.
    """

    masks: Tensor
    images: Tensor
    weights: Tensor | None = None


def mask_inputs(features: Tensor, kernels: InstanceKernels, coords: bool = True, stride: int = MASK_STRIDE) -> Tensor:
    """What the first layer of every instance's network sees.

    Args:
        features: (B, C, h, w), the mask branch's result.
        kernels: N instances.
        coords: put two relative coordinates (x, then y) before the features: position of the instance minus position
            of the cell, in sizes of interest, so that objects of all sizes see about the same range.
        stride: of `features`, pixels a cell.

    Returns:
        (N, C + 2, h, w), or (N, C, h, w) without coordinates.
    """
    shared = features.index_select(0, kernels.images)  # not [images]: its gradient adds up in thread order on CPU
    if not coords:
        return shared
    height, width = features.shape[-2:]
    x, y = (
        (kernels.locations[:, axis, None] - _cell_centres(size, stride, features)) / kernels.sizes[:, None]
        for axis, size in enumerate((width, height))
    )
    grids = [x[:, None, None, :].expand(-1, 1, height, -1), y[:, None, :, None].expand(-1, 1, -1, width)]
    return torch.cat([*grids, shared], dim=1)


def _cell_centres(size: int, stride: int, like: Tensor) -> Tensor:
    return torch.arange(size, device=like.device, dtype=like.dtype) * stride + stride // 2


def apply_layer(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One 1×1 convolution with different parameters for every instance.

    Args:
        x: (N, I, h, w).
        weight: (N, O, I).
        bias: (N, O, 1).

    Returns:
        (N, O, h, w).
    """
    return torch.baddbmm(bias, weight, x.flatten(2)).view(*weight.shape[:2], *x.shape[-2:])


def dynamic_masks(
    features: Tensor,
    kernels: InstanceKernels,
    layout: KernelLayout = DEFAULT_LAYOUT,
    stride: int = MASK_STRIDE,
    out_stride: int = OUT_STRIDE,
) -> Tensor:
    """Mask logits of N instances, each by its own network on its image's map.

    Always in float32: half precision cannot tell the cells of a large image apart by their relative coordinates.

    Args:
        features: (B, C, h, w), the mask branch's result.
        kernels: N instances of these B images, in any order. N = 0 is legal.
        layout: how `kernels.params` is cut.
        stride: of `features`, pixels a cell.
        out_stride: of the result, a divisor of `stride`.

    Returns:
        (N, 1, H, W) float32 logits, H = h * stride / out_stride.

    Source: AdelaiDet adet/modeling/condinst/dynamic_mask_head.py:135-197.
    """
    with torch.autocast(features.device.type, enabled=False):
        x = mask_inputs(features.float(), kernels, layout.coords, stride)
        *inner, last = layout.cut(kernels.params.float())
        for weight, bias in inner:
            x = apply_layer(x, weight, bias).relu()
        return aligned_bilinear(apply_layer(x, *last), stride // out_stride)


def dice_loss(probabilities: Tensor, targets: Tensor) -> Tensor:
    """1 − 2 Σxy / (Σx² + Σy² + 1e-5) of every instance.

    Args:
        probabilities: (N, ...) in [0, 1].
        targets: same shape, 0 or 1.

    Returns:
        (N,), 0 for a perfect mask, 1 for no overlap (also when both are empty).

    Source: AdelaiDet adet/modeling/condinst/dynamic_mask_head.py:51-59.
    """
    x, y = probabilities.flatten(1), targets.flatten(1).to(probabilities.dtype)
    return 1 - 2 * (x * y).sum(1) / (x.square().sum(1) + y.square().sum(1) + DICE_EPSILON)


def mean_or_zero(losses: Tensor, divisors: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
    """Mean of (N,) losses; of none 0, still connected to what they would have been made from.

    Args:
        losses: of a batch, or of a part of one.
        divisors: (N,), what each loss is divided by before all are added up, None for N.
        weights: (N,), what each loss is multiplied by, None for 1. The divisors stay.
    """
    weighted = losses if weights is None else losses * weights
    return weighted.sum() / max(len(losses), 1) if divisors is None else (weighted / divisors).sum()


def sample_targets(masks: Tensor, height: int, width: int, stride: int = OUT_STRIDE) -> Tensor:
    """Ground-truth masks at the stride of the logits, by taking every `stride`-th pixel from stride // 2 on.

    Args:
        masks: (N, h, w) in pixels of the resized image.
        height: of the padded batch, a multiple of `stride`, >= h.
        width: likewise.

    Returns:
        (N, height / stride, width / stride), the type of `masks`, zero in the padding.

    Source: AdelaiDet adet/modeling/condinst/condinst.py:250-279.
    """
    half = stride // 2
    sampled = masks[:, half::stride, half::stride]
    return functional.pad(sampled, (0, width // stride - sampled.shape[2], 0, height // stride - sampled.shape[1]))


def masks_to_original(probabilities: Tensor, size: tuple[int, int], original: tuple[int, int]) -> Tensor:
    """Masks of the padded input in the pixels of the original image.

    Args:
        probabilities: (N, 1, h, w) at stride 4 of the padded input.
        size: (height, width) of the resized image, without padding.
        original: (height, width) of the original image.

    Returns:
        (N, height, width) probabilities.
    """
    resized = aligned_bilinear(probabilities, OUT_STRIDE)[:, :, : size[0], : size[1]]
    return functional.interpolate(resized, original, mode="bilinear", align_corners=False)[:, 0]
