"""What EntitySeg adds to CondInst: a deeper controller, a bank of shared kernels, and a loss against overlaps.

All three are options of `casl.models.condinst` and off by default: CA-SSL asks for the plain dice loss only.
Source: Open-World Entity Segmentation (TPAMI 2022), repository qqlu/Entity, Entity/EntitySeg/entityseg.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType

import torch
from torch import Tensor, nn

from casl.models.head import group_norm
from casl.models.mask_head import (
    MASK_STRIDE,
    OUT_STRIDE,
    InstanceKernels,
    KernelLayout,
    Objects,
    apply_layer,
    dice_loss,
    mask_inputs,
    mean_or_zero,
)
from casl.models.upsample import aligned_bilinear

# One digit a layer: 1 uses the instance's own kernel, 0 the shared one. The value weighs the path's dice loss.
PATH_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {"111": 1.0, "110": 1.0, "101": 1.0, "100": 1.0, "011": 0.25, "010": 0.25, "001": 0.25}
)


class KernelHead(nn.Module):
    """Controller with a tower of its own that knows where on the image it is.

    Two coordinate channels, three 3×3 convolutions with GroupNorm and ReLU, a 3×3 convolution to the parameters.
    2,165,161 parameters with the defaults.

    Args:
        channels: of the pyramid.
        outputs: parameters of an instance's network.
        convs: convolutions before the last one.

    Source: entityseg/panopticfcn_tools/panopticfcn_head.py:14-87.
    """

    def __init__(self, channels: int = 256, outputs: int = 169, convs: int = 3) -> None:
        super().__init__()
        blocks = []
        for index in range(convs):
            inputs = channels + 2 if index == 0 else channels
            conv = nn.Conv2d(inputs, channels, kernel_size=3, padding=1, bias=False)
            blocks.append(nn.Sequential(conv, group_norm(channels), nn.ReLU()))
        self.tower = nn.Sequential(*blocks)
        self.out = kernel_conv(channels, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, h, w) to (B, outputs, h, w)."""
        result: Tensor = self.out(self.tower(with_coordinates(x)))
        return result


def with_coordinates(x: Tensor) -> Tensor:
    """Append two channels that run from -1 to 1: down the rows, then along the columns.

    Args:
        x: (B, C, h, w).

    Returns:
        (B, C + 2, h, w). A single row or column gets -1.
    """
    batch, _, height, width = x.shape
    rows = torch.linspace(-1, 1, height, device=x.device, dtype=x.dtype)[:, None].expand(batch, 1, height, width)
    columns = torch.linspace(-1, 1, width, device=x.device, dtype=x.dtype).expand(batch, 1, height, width)
    return torch.cat([x, rows, columns], dim=1)


def kernel_conv(inputs: int, outputs: int) -> nn.Conv2d:
    """3×3 convolution that starts at N(0, 0.01) and bias 0: the plain controller, and all that makes or is a kernel."""
    conv = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)
    nn.init.normal_(conv.weight, std=0.01)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


class KernelBank(nn.Module):
    """Shared 3×3 kernels that take turns with the instances' own 1×1 kernels while training.

    Trained through every mix, the instance kernels and the map below them learn from each other's company; only the
    path of instance kernels alone is used afterwards. 1,385 parameters with the default layout.

    Args:
        layout: of the instance networks; the bank has a kernel for each of its layers.

    Source: entityseg/mask_head/dynamic_mask_head.py:81-98,219-234.
    """

    def __init__(self, layout: KernelLayout) -> None:
        super().__init__()
        self.layout = layout
        channels = [layout.in_channels + 2 * layout.coords, *[layout.channels] * (layout.layers - 1), 1]
        self.stable = nn.ModuleList(kernel_conv(inputs, outputs) for inputs, outputs in pairwise(channels))

    def forward(
        self, features: Tensor, kernels: InstanceKernels, paths: Sequence[str] = tuple(PATH_WEIGHTS)
    ) -> dict[str, Tensor]:
        """Mask logits along several paths; paths with a common beginning share its work.

        Args:
            features: (B, C, h, w), the mask branch's result, stride 8.
            kernels: N instances. N = 0 is legal.
            paths: as the keys of `PATH_WEIGHTS`, one digit a layer.

        Returns:
            (N, 1, 2 * h, 2 * w) float32 logits of each path, stride 4.
        """
        with torch.autocast(features.device.type, enabled=False):  # as in dynamic_masks
            states = {"": mask_inputs(features.float(), kernels, self.layout.coords)}
            layers = self.layout.cut(kernels.params.float())
            for depth, (own, shared) in enumerate(zip(layers, self.stable, strict=True), start=1):
                for prefix in dict.fromkeys(path[:depth] for path in paths):
                    x = states[prefix[:-1]]
                    x = apply_layer(x, *own) if prefix[-1] == "1" else shared(x)
                    states[prefix] = x.relu() if depth < len(layers) else x
            return {path: aligned_bilinear(states[path], MASK_STRIDE // OUT_STRIDE) for path in paths}


def cluster_loss(logits: Tensor, gt_index: Tensor, objects: Objects, divisors: Tensor | None = None) -> Tensor:
    """Make the ground truths of an image compete for its pixels, so that their masks stop overlapping.

    The logits found for one ground truth are averaged, a softmax runs over all ground truths of the image that were
    found, pixels of no ground truth are set to zero, dice compares with the targets.
    Where ground truths overlap (entities never do) the reference zeroes the pixel too; here it stays in the contest.

    Args:
        logits: (N, 1, H, W) of N instances.
        gt_index: (N,) int64 into the G ground truths of all images.
        objects: these ground truths. A weight multiplies the loss of its ground truth; all compete for pixels alike.
        divisors: (B,) of each image, what the losses of its ground truths are divided by, see `mean_or_zero`.

    Returns:
        Scalar, without divisors the mean over the ground truths that have an instance, 0 when none has.

    Source: entityseg/mask_head/dynamic_mask_head.py:186-201,236-261,294-296.
    """
    members = gt_index == torch.arange(len(objects.images), device=gt_index.device)[:, None]
    found = members.any(1)
    members = members[found].to(logits.dtype)
    with torch.autocast(logits.device.type, enabled=False):  # a product, so that the sum order is fixed
        means = (members / members.sum(1, keepdim=True)) @ logits.flatten(1)
    targets = objects.masks.flatten(1).bool()
    shares = means.new_zeros(0, means.shape[1])
    for image in sorted(set(objects.images.tolist())):
        here = objects.images == image
        shares = torch.cat([shares, means[here[found]].softmax(0) * targets[here].any(0)])
    weights = None if objects.weights is None else objects.weights[found]
    own = None if divisors is None else divisors[objects.images[found]]
    return mean_or_zero(dice_loss(shares, targets[found]), own, weights)
