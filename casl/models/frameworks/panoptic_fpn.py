"""PanopticFPN: torchvision's Mask R-CNN for things, a branch of our own on the same pyramid for stuff.

Source: PanopticFPN (CVPR 2019) with the numbers of detectron2's panoptic_fpn_R_50_3x: half the pyramid's channels in
the branch, 32 groups at those 128, things as one class of their own, loss weight 0.5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.image_list import ImageList

from casl.errors import SpecError
from casl.models.backbone import Backbone
from casl.models.detect import InferenceSettings
from casl.models.detector import Builder, Target
from casl.models.frameworks.faster_rcnn import POOLED, FasterRCNNSettings, MaskRCNN

IGNORE = 255  # pixels of a target without a label
STRIDE = 4  # of the branch's result


@dataclass(frozen=True)
class PanopticFPNSettings(FasterRCNNSettings):
    """As for Mask R-CNN.

    Attributes:
        stuff: number of stuff classes, 53 in COCO panoptic.
        semantic_weight: of the branch's loss.
    """

    stuff: int = 53
    semantic_weight: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stuff < 1 or self.semantic_weight < 0:
            raise SpecError(
                f"a panoptic detector needs at least one stuff class and a weight of 0 or more, "
                f"got {self.stuff} and {self.semantic_weight}"
            )


class PanopticFPN(MaskRCNN):
    """Mask R-CNN that also learns "semantic" maps and predicts them, never 255. Further loss "loss_semantic", times its
    weight; weights of boxes do not enter it.

    State-dict keys of the branch begin with `semantic.`.
    """

    needs: ClassVar[tuple[str, ...]] = ("masks", "semantic")
    settings: PanopticFPNSettings

    def __init__(self, backbone: Backbone, num_classes: int, settings: PanopticFPNSettings) -> None:
        super().__init__(backbone, num_classes, settings)
        self.semantic = SemanticBranch(settings.channels, settings.stuff + 1)

    def shapes(self, count: int, height: int, width: int) -> dict[str, tuple[int, ...]]:
        """One mask an object, one class a pixel."""
        return super().shapes(count, height, width) | {"semantic": (height, width)}

    def check(self, image: Tensor, target: Target) -> None:
        """As in Mask R-CNN.

        Raises:
            ValueError: likewise, or "semantic" has a class that is not there.
        """
        super().check(image, target)
        check_semantic(target["semantic"], self.settings.stuff)

    def framework_losses(
        self, batch: ImageList, features: dict[str, Tensor], targets: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Those of Mask R-CNN and "loss_semantic"."""
        instances = super().framework_losses(batch, features, targets)
        logits = self.semantic([features[name] for name in POOLED])
        semantic = semantic_loss(logits, [target["semantic"] for target in targets])
        return instances | {"loss_semantic": self.settings.semantic_weight * semantic}

    def detect(
        self, batch: ImageList, features: dict[str, Tensor], settings: InferenceSettings
    ) -> list[dict[str, Tensor]]:
        """Those of Mask R-CNN, each image with "semantic" (C, H, W), the logits of the padded image."""
        found = super().detect(batch, features, settings)
        logits = self.semantic([features[name] for name in POOLED])
        return [objects | {"semantic": enlarged(image[None])[0]} for objects, image in zip(found, logits, strict=True)]


class SemanticBranch(nn.Module):
    """P2..P5 to one map of class logits at stride 4.

    Each level is brought to stride 4 by blocks of 3x3 convolution, group norm, ReLU and bilinear doubling (P2 by one
    block without doubling); their sum is classified by a 1x1 convolution.

    Args:
        channels: of the pyramid.
        outputs: number of classes.

    Source: detectron2 modeling/meta_arch/semantic_seg.py, SemSegFPNHead.
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        width = max(1, channels // 2)
        self.levels = nn.ModuleList(_ascent(channels, width, doublings) for doublings in range(4))
        self.classes = nn.Conv2d(width, outputs, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        assert self.classes.bias is not None
        nn.init.zeros_(self.classes.bias)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """P2..P5, each (B, channels, h, w), every level half as large as the one before -> (B, outputs, H / 4, W / 4)
        float32 logits."""
        at_stride = [ascent(level) for ascent, level in zip(self.levels, levels, strict=True)]
        total = at_stride[0]
        for other in at_stride[1:]:
            total = total + other
        logits: Tensor = self.classes(total)
        return logits.float()


def check_semantic(semantic: Tensor, stuff: int) -> None:
    """Whether a map has no other classes than 0, those of `stuff` from 1 on, and 255.

    Raises:
        ValueError: it has.
    """
    known = semantic[semantic != IGNORE]
    if known.numel() and not 0 <= int(known.min()) <= int(known.max()) <= stuff:
        raise ValueError(f"class {int(known.max())} in semantic: 0 is things, 1..{stuff} stuff")


def _ascent(channels: int, width: int, doublings: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for block in range(max(1, doublings)):
        # groups of 4 channels are the reference's 32 groups at its 128
        layers += [
            nn.Conv2d(width if block else channels, width, 3, padding=1, bias=False),
            nn.GroupNorm(width // math.gcd(4, width), width),
            nn.ReLU(inplace=True),
        ]
        if doublings:
            layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
    return nn.Sequential(*layers)


def enlarged(logits: Tensor, stride: int = STRIDE) -> Tensor:
    """(B, C, h, w) at a stride -> (B, C, stride h, stride w), bilinear."""
    return functional.interpolate(logits, scale_factor=float(stride), mode="bilinear", align_corners=False)


def semantic_loss(logits: Tensor, targets: Sequence[Tensor], stride: int = STRIDE) -> Tensor:
    """Cross-entropy, the mean over the pixels of a batch that have a class; 0 if none has.

    Args:
        logits: (B, C, H / stride, W / stride), enlarged bilinearly before they are compared.
        targets: B of (h, w) int64, h <= H, w <= W; 255 and the padding do not count.

    Returns:
        Scalar.
    """
    full = enlarged(logits, stride)
    wanted = full.new_full((len(full), *full.shape[2:]), IGNORE).long()
    for row, target in zip(wanted, targets, strict=True):
        row[: target.shape[0], : target.shape[1]] = target
    total = functional.cross_entropy(full, wanted, ignore_index=IGNORE, reduction="sum")
    return total / (wanted != IGNORE).sum().clamp(min=1)


build = Builder(PanopticFPNSettings, PanopticFPN)
