"""RetinaNet: torchvision's head, anchors and matcher on our backbone and pyramid, and its losses with weights of boxes.

Source: RetinaNet (ICCV 2017) as torchvision/models/detection/retinanet.py builds `retinanet_resnet50_fpn`: four
convolutions in each tower, nine anchors a cell, P6 and P7 from P5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.models import detection
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNetHead

from casl.errors import SpecError
from casl.models.backbone import Backbone
from casl.models.detect import InferenceSettings
from casl.models.detector import Builder, Part, Target, padded
from casl.models.fpn import FPN
from casl.models.frameworks.adapter import SIZES, Framework, FrameworkSettings, Placeholder, anchors, in_float32
from casl.models.frameworks.matching import LEFT_OUT, Matches, match
from casl.models.head import group_norm
from casl.models.losses import focal_sum
from casl.models.shares import Peers, Share

# three sizes an octave, whole pixels as in torchvision
_OCTAVES = tuple((size, int(size * 2 ** (1 / 3)), int(size * 2 ** (2 / 3))) for size in SIZES)


@dataclass(frozen=True)
class RetinaNetSettings(FrameworkSettings):
    """Everything about RetinaNet but its backbone and its classes.

    Attributes:
        top_from: "p5" or "c5", the map P6 is computed from. Only with "p5" can P6 come from a warmed-up FCOS or
            CondInst.
        head_norm: a group norm behind each convolution of the towers, as in `retinanet_resnet50_fpn_v2`. Without, few
            channels lose the signal: at the head's initial weights a convolution of 64 keeps a sixth of it.
        anchor_scale: of anchors, beside the scale that follows from `ranges`; above 0.
        focal_alpha: share of the class loss that is about objects, in [0, 1].
        inference: torchvision's: 300 objects an image, suppressed at an IoU of 0.5.
    """

    top_from: str = "p5"
    head_norm: bool = False
    anchor_scale: float = 1.0
    focal_alpha: float = 0.25
    inference: InferenceSettings = field(default_factory=lambda: InferenceSettings(nms=0.5, max_detections=300))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.anchor_scale <= 0:
            raise SpecError(f"anchor_scale is a factor of sizes above 0, got {self.anchor_scale}")
        if not 0.0 <= self.focal_alpha <= 1.0:
            raise SpecError(f"focal_alpha is a share of the class loss, in [0, 1], got {self.focal_alpha}")


class DenseAnchors(Framework):
    """torchvision's RetinaNet but for what it minimises: reads P3..P7, selects detections.

    Args:
        backbone: C2..C5.
        num_classes: 1 is class-agnostic.
        settings: everything else.
    """

    first_label = 0  # a sigmoid a class needs no background
    settings: RetinaNetSettings

    def __init__(self, backbone: Backbone, num_classes: int, settings: RetinaNetSettings) -> None:
        fpn = FPN(backbone.channels, settings.channels, 3, settings.top_from)
        generator = anchors(_OCTAVES, settings.scale * settings.anchor_scale)
        head = RetinaNetHead(
            settings.channels,
            generator.num_anchors_per_location()[0],
            num_classes,
            norm_layer=group_norm if settings.head_norm else None,
        )
        framework = detection.RetinaNet(
            Placeholder(settings.channels), num_classes, anchor_generator=generator, head=head
        )
        in_float32(framework.head)
        super().__init__(backbone, fpn, framework, num_classes, settings)

    def pyramid(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """C2..C5 -> P3..P7."""
        levels: list[Tensor] = self.fpn(maps)
        return levels

    def detect(
        self, batch: ImageList, features: dict[str, Tensor], settings: InferenceSettings
    ) -> list[dict[str, Tensor]]:
        """Boxes, scores and labels from 0 on, selected by torchvision."""
        framework, levels = self.framework, list(features.values())
        framework.score_thresh, framework.nms_thresh = settings.score_threshold, settings.nms
        framework.topk_candidates, framework.detections_per_img = settings.topk, settings.max_detections
        cells = framework.anchor_generator.num_anchors_per_location()
        counts = [level.shape[2] * level.shape[3] * n for level, n in zip(levels, cells, strict=True)]
        outputs = {name: output.split(counts, dim=1) for name, output in framework.head(levels).items()}
        boxes = [per_image.split(counts) for per_image in framework.anchor_generator(batch, levels)]
        found: list[dict[str, Tensor]] = framework.postprocess_detections(outputs, boxes, batch.image_sizes)
        return found


class RetinaNet(DenseAnchors):
    """Losses are "loss_cls" (focal) and "loss_box" (L1), both a mean over images."""

    def shares(self, parts: Sequence[Part], size: tuple[int, int], images: int, peers: Peers) -> Sequence[Share]:
        """As in `Divisible`, but there is nothing to ask of others: every image is divided by counts of its own."""
        return [Share(padded(*size), images) for _ in parts]

    def losses(
        self, images: Sequence[Tensor], targets: Sequence[Target], share: Share | None = None
    ) -> dict[str, Tensor]:
        """As in `Divisible`."""
        losses = super().losses(images, targets, share)
        return {n: v * (len(images) / share.images) for n, v in losses.items()} if share else losses

    def framework_losses(
        self, batch: ImageList, features: dict[str, Tensor], targets: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """ "loss_cls" and "loss_box"."""
        levels = list(features.values())
        outputs = self.framework.head(levels)
        anchors = self.framework.anchor_generator(batch, levels)
        return self.criterion(outputs, anchors, match(self.framework.proposal_matcher, anchors, targets), targets)

    def criterion(
        self,
        outputs: Mapping[str, Tensor],
        anchors: Sequence[Tensor],
        matches: Sequence[Matches],
        targets: Sequence[Target],
    ) -> dict[str, Tensor]:
        """Losses of what was predicted. Other matches or other weights, and other losses, come in here.

        Args:
            outputs: "cls_logits" (B, A, C) and "bbox_regression" (B, A, 4), offsets from the anchors as torchvision's
                BoxCoder writes them.
            anchors: (A, 4) XYXY for each image.
            matches: of each image.
            targets: of each image; labels from 0 on.

        Returns:
            "loss_cls" and "loss_box", each a sum divided by the number of positives of the image (at least 1), and of
            that the mean over images. No normaliser contains a weight.
        """
        encode = self.framework.head.regression_head.box_coder.encode_single
        of_images = zip(outputs["cls_logits"], outputs["bbox_regression"], anchors, matches, targets, strict=True)
        classes, boxes = [], []
        for logits, offsets, places, found, target in of_images:
            classes.append(class_loss(logits, found, target["labels"], self.settings.focal_alpha))
            wanted = target["boxes"][found.boxes[found.positive]]
            boxes.append(box_loss(offsets, found, encode(wanted, places[found.positive])))
        return {"loss_cls": sum_in_order(classes) / len(targets), "loss_box": sum_in_order(boxes) / len(targets)}


def class_loss(logits: Tensor, matches: Matches, labels: Tensor, alpha: float = 0.25) -> Tensor:
    """Focal loss of one image, divided by its number of positives.

    Args:
        logits: (A, C).
        matches: of the A anchors; those that are left out have no loss.
        labels: (N,) int64 of the boxes.
        alpha: of the focal loss.
    """
    targets = torch.zeros_like(logits)
    targets[matches.positive, labels[matches.boxes[matches.positive]]] = 1.0
    learning = matches.boxes != LEFT_OUT
    weights = None if matches.weights is None else matches.weights[learning]
    return focal_sum(logits[learning], targets[learning], weights, alpha) / matches.positive.sum().clamp(min=1)


def box_loss(offsets: Tensor, matches: Matches, wanted: Tensor) -> Tensor:
    """L1 of one image, divided by its number of positives.

    Args:
        offsets: (A, 4) predicted.
        matches: of the A anchors.
        wanted: (P, 4), of its positives.
    """
    loss = functional.l1_loss(offsets[matches.positive], wanted, reduction="none")
    if matches.weights is not None:
        loss = loss * matches.weights[matches.positive, None]
    return loss.sum() / max(1, len(wanted))


def sum_in_order(losses: Sequence[Tensor]) -> Tensor:
    """The first plus the second plus the third and so on, as torchvision adds up images."""
    return reduce(torch.add, losses)


build = Builder(RetinaNetSettings, RetinaNet)
