"""RetinaNet: torchvision's head, anchors and losses on our backbone and pyramid.

Source: RetinaNet (ICCV 2017) as torchvision/models/detection/retinanet.py builds `retinanet_resnet50_fpn`: four
convolutions in each tower, nine anchors a cell, P6 and P7 from P5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor
from torchvision.models import detection
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNetHead

from casl.models.backbone import Backbone
from casl.models.detect import InferenceSettings
from casl.models.fpn import FPN
from casl.models.frameworks.adapter import (
    SIZES,
    Framework,
    FrameworkSettings,
    Placeholder,
    Target,
    anchors,
    in_float32,
)
from casl.models.head import group_norm
from casl.models.shares import Part, Peers, Share, padded

# three sizes an octave, whole pixels as in torchvision
_OCTAVES = tuple((size, int(size * 2 ** (1 / 3)), int(size * 2 ** (2 / 3))) for size in SIZES)
_NAMES = {"classification": "loss_cls", "bbox_regression": "loss_box"}


@dataclass(frozen=True)
class RetinaNetSettings(FrameworkSettings):
    """Everything about RetinaNet but its backbone and its classes.

    Attributes:
        top_from: "p5" or "c5", the map P6 is computed from. Only with "p5" can P6 come from a warmed-up FCOS or
            CondInst.
        head_norm: a group norm behind each convolution of the towers, as in `retinanet_resnet50_fpn_v2`. Without, few
            channels lose the signal: at the head's initial weights a convolution of 64 keeps a sixth of it.
        inference: torchvision's: 300 objects an image, suppressed at an IoU of 0.5.
    """

    top_from: str = "p5"
    head_norm: bool = False
    inference: InferenceSettings = field(default_factory=lambda: InferenceSettings(nms=0.5, max_detections=300))


class RetinaNet(Framework):
    """Reads P3..P7. Losses are "loss_cls" (focal) and "loss_box" (L1), both a mean over images.

    Args:
        backbone: C2..C5.
        num_classes: 1 is class-agnostic.
        settings: everything else.
    """

    first_label = 0  # a sigmoid a class needs no background
    settings: RetinaNetSettings

    def __init__(self, backbone: Backbone, num_classes: int, settings: RetinaNetSettings) -> None:
        fpn = FPN(backbone.channels, settings.channels, 3, settings.top_from)
        generator = anchors(_OCTAVES, settings.scale)
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

    def shares(self, parts: Sequence[Part], size: tuple[int, int], images: int, peers: Peers) -> Sequence[Share]:
        """As in FCOS, but there is nothing to ask of others: every image is divided by counts of its own."""
        return [Share(padded(*size), images) for _ in parts]

    def losses(
        self, images: Sequence[Tensor], targets: Sequence[Target], share: Share | None = None
    ) -> dict[str, Tensor]:
        """As in the other frameworks. With a share, losses of all parts add up to those of the batch."""
        losses = super().losses(images, targets, share)
        return {n: v * (len(images) / share.images) for n, v in losses.items()} if share else losses

    def framework_losses(
        self, batch: ImageList, features: dict[str, Tensor], targets: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """ "loss_cls" and "loss_box"."""
        levels = list(features.values())
        outputs = self.framework.head(levels)
        losses = self.framework.compute_loss(targets, outputs, self.framework.anchor_generator(batch, levels))
        return {_NAMES[name]: loss for name, loss in losses.items()}

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


def build(backbone: Backbone, num_classes: int, settings: RetinaNetSettings) -> RetinaNet:
    """RetinaNet, ready to train. The entry of the catalog."""
    return RetinaNet(backbone, num_classes, settings)
