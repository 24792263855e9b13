"""Hybrid Task Cascade: a Cascade R-CNN whose stages also learn masks, each from the boxes it has just refined and from
the mask head before it, with a map of stuff beside the objects.

Source: HTC (CVPR 2019) with the numbers of its authors' code in mmdetection (configs/htc): four convolutions in a mask
head, a semantic branch at stride 8 whose embedding is added to the crops of boxes and masks, its loss times 0.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import maskrcnn_inference
from torchvision.ops import roi_align

from casl.errors import SpecError
from casl.models.backbone import Backbone
from casl.models.detect import InferenceSettings
from casl.models.detector import Builder, Target
from casl.models.frameworks.adapter import in_float32
from casl.models.frameworks.cascade_rcnn import (
    BOX_CELLS,
    MASK_CELLS,
    CascadeRCNN,
    CascadeRCNNSettings,
    Maps,
    Regions,
)
from casl.models.frameworks.faster_rcnn import pooler
from casl.models.frameworks.panoptic_fpn import check_semantic, semantic_loss
from casl.models.frameworks.rcnn_losses import draw_regions, mask_loss

STUFF = "semantic"  # name of the embedding among the maps that regions are cropped from
STUFF_STRIDE = 8  # of the semantic branch
FUSED = 1  # P3 has that stride
CONVOLUTIONS = 4
SAMPLES = 2  # a cell and direction, as in the crops of the pyramid


@dataclass(frozen=True)
class HTCSettings(CascadeRCNNSettings):
    """As for Cascade R-CNN; `towers` is the number of convolutions in a mask head.

    Attributes:
        stuff: number of stuff classes, 53 in COCO panoptic; 0 for no semantic branch.
        semantic_weight: of the branch's loss.
    """

    stuff: int = 0
    semantic_weight: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stuff < 0 or self.semantic_weight < 0:
            raise SpecError(
                f"stuff classes and the weight of their loss are 0 or more, got {self.stuff} and {self.semantic_weight}"
            )


class HTC(CascadeRCNN):
    """Cascade R-CNN that also learns "masks". Further loss "loss_mask_t" of each stage.

    The mask head of a stage sees the boxes that the same stage has refined, matched and drawn anew at its IoU. To the
    crops it adds what the head before it makes of the same crops, through a 1x1 convolution; gradients flow back
    through all heads before. Masks that are found are probabilities averaged over the stages.

    State-dict keys of these convolutions begin with `framework.flows.`.
    """

    needs: ClassVar[tuple[str, ...]] = ("masks",)
    settings: HTCSettings

    def __init__(self, backbone: Backbone, num_classes: int, settings: HTCSettings) -> None:
        super().__init__(backbone, num_classes, settings)
        width = settings.channels
        for heads in self.framework.roi_heads:
            heads.mask_roi_pool = pooler(MASK_CELLS, settings.scale)
            heads.mask_head = MaskRCNNHeads(width, (width,) * settings.towers, 1)
            heads.mask_predictor = MaskRCNNPredictor(width, width, num_classes + 1)
            in_float32(heads.mask_predictor)
        self.framework.flows = nn.ModuleList(_convolution(width, width, 1) for _ in settings.ious[1:])

    def shapes(self, count: int, height: int, width: int) -> dict[str, tuple[int, ...]]:
        """One mask an object."""
        return {"masks": (count, height, width)}

    def further_losses(
        self,
        number: int,
        features: Maps,
        sizes: Sequence[tuple[int, int]],
        boxes: Regions,
        targets: list[dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """ "loss_mask" of a stage."""
        heads = self.framework.roi_heads[number]
        objects = draw_regions(heads, boxes, targets).of_objects()
        tower = self.mask_towers(self.mask_crops(features, sizes, objects.boxes), number + 1)[-1]
        logits = heads.mask_predictor(tower)
        return {"loss_mask": mask_loss(logits, objects, [target["masks"] for target in targets])}

    def mask_towers(self, pooled: Tensor, stages: int) -> list[Tensor]:
        """Crops (P, channels, 14, 14) -> what the towers of the first `stages` mask heads make of them, (P, channels,
        14, 14) each: every one of the crops and of the tower before it."""
        towers: list[Tensor] = []
        for number, heads in enumerate(self.framework.roi_heads[:stages]):
            told = pooled if not towers else pooled + self.framework.flows[number - 1](towers[-1])
            towers.append(heads.mask_head(told))
        return towers

    def mask_crops(self, features: Maps, sizes: Sequence[tuple[int, int]], boxes: Regions) -> Tensor:
        """(P, channels, 14, 14) of the regions of all images."""
        pooled: Tensor = self.framework.roi_heads[0].mask_roi_pool(dict(features), boxes, list(sizes))
        return pooled

    def objects(
        self, features: Maps, sizes: Sequence[tuple[int, int]], boxes: Regions, settings: InferenceSettings
    ) -> list[dict[str, Tensor]]:
        """Those of Cascade R-CNN, with "masks" (N, 1, 28, 28), probabilities inside the boxes, if they are wanted."""
        found = super().objects(features, sizes, boxes, settings)
        if not settings.masks:
            return found
        labels = [of_image["labels"] for of_image in found]
        towers = self.mask_towers(
            self.mask_crops(features, sizes, [of_image["boxes"] for of_image in found]), len(self.framework.roi_heads)
        )
        stages = [
            maskrcnn_inference(heads.mask_predictor(tower), labels)
            for heads, tower in zip(self.framework.roi_heads, towers, strict=True)
        ]
        return [
            of_image | {"masks": torch.stack(masks).mean(dim=0)}
            for of_image, *masks in zip(found, *stages, strict=True)
        ]


class SemanticHTC(HTC):
    """HTC that also learns "semantic" maps, and predicts none. Further loss "loss_semantic", times its weight.

    State-dict keys of the branch begin with `semantic.`.
    """

    needs: ClassVar[tuple[str, ...]] = ("masks", "semantic")

    def __init__(self, backbone: Backbone, num_classes: int, settings: HTCSettings) -> None:
        super().__init__(backbone, num_classes, settings)
        self.semantic = SemanticFusion(settings.channels, settings.stuff + 1)

    def shapes(self, count: int, height: int, width: int) -> dict[str, tuple[int, ...]]:
        """One mask an object, one class a pixel."""
        return super().shapes(count, height, width) | {"semantic": (height, width)}

    def check(self, image: Tensor, target: Target) -> None:
        """As in HTC.

        Raises:
            ValueError: likewise, or "semantic" has a class that is not there.
        """
        super().check(image, target)
        check_semantic(target["semantic"], self.settings.stuff)

    def region_losses(
        self, features: Maps, sizes: Sequence[tuple[int, int]], boxes: Regions, targets: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Those of HTC and "loss_semantic"."""
        logits, embedding = self.semantic(list(features.values()))
        losses = super().region_losses({**features, STUFF: embedding}, sizes, boxes, targets)
        semantic = semantic_loss(logits, [target["semantic"] for target in targets], STUFF_STRIDE)
        return losses | {"loss_semantic": self.settings.semantic_weight * semantic}

    def objects(
        self, features: Maps, sizes: Sequence[tuple[int, int]], boxes: Regions, settings: InferenceSettings
    ) -> list[dict[str, Tensor]]:
        """As in HTC."""
        _, embedding = self.semantic(list(features.values()))
        return super().objects({**features, STUFF: embedding}, sizes, boxes, settings)

    def box_crops(self, features: Maps, sizes: Sequence[tuple[int, int]], boxes: Regions) -> Tensor:
        """As in Cascade R-CNN, with the embedding of stuff."""
        return super().box_crops(features, sizes, boxes) + _stuff_crops(features[STUFF], boxes, BOX_CELLS)

    def mask_crops(self, features: Maps, sizes: Sequence[tuple[int, int]], boxes: Regions) -> Tensor:
        """As in HTC, with the embedding of stuff."""
        return super().mask_crops(features, sizes, boxes) + _stuff_crops(features[STUFF], boxes, MASK_CELLS)


class SemanticFusion(nn.Module):
    """P2..P6 to one map at stride 8: class logits, and an embedding for the crops of regions.

    Every level goes through a 1x1 convolution of its own and is resized to P3; their sum passes four 3x3 convolutions.

    Args:
        channels: of the pyramid, and of the embedding.
        outputs: number of classes.

    Source: HTC (CVPR 2019) sec. 3.3; FusedSemanticHead of its authors' code in mmdetection.
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(_convolution(channels, channels, 1) for _ in range(5))
        self.tower = nn.Sequential(*(_convolution(channels, channels, 3) for _ in range(CONVOLUTIONS)))
        self.classes = nn.Conv2d(channels, outputs, 1)
        self.embedding = _convolution(channels, channels, 1)
        nn.init.kaiming_normal_(self.classes.weight, mode="fan_out", nonlinearity="relu")
        assert self.classes.bias is not None
        nn.init.zeros_(self.classes.bias)

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """P2..P6, each (B, channels, h, w) -> (B, outputs, H / 8, W / 8) logits and (B, channels, H / 8, W / 8), both
        float32."""
        size = levels[FUSED].shape[-2:]
        told = [layer(level) for layer, level in zip(self.levels, levels, strict=True)]
        total = told[FUSED]
        for place, level in enumerate(told):
            if place != FUSED:
                total = total + functional.interpolate(level, size=size, mode="bilinear", align_corners=False)
        total = self.tower(total)
        return self.classes(total).float(), self.embedding(total).float()


def _convolution(channels: int, width: int, side: int) -> nn.Sequential:
    """A convolution and a ReLU."""
    layer = nn.Conv2d(channels, width, side, padding=side // 2)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return nn.Sequential(layer, nn.ReLU())


def _stuff_crops(embedding: Tensor, boxes: Regions, cells: int) -> Tensor:
    """(R, channels, cells, cells) of the regions of all images, in the usual memory layout, which is the faster one."""
    crops: Tensor = roi_align(embedding.contiguous(), boxes, cells, 1 / STUFF_STRIDE, SAMPLES)
    return crops


def _make(backbone: Backbone, num_classes: int, settings: HTCSettings) -> HTC:
    kind = SemanticHTC if settings.stuff else HTC
    return kind(backbone, num_classes, settings)


build = Builder(HTCSettings, _make)
