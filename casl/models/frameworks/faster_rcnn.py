"""Faster, Mask and Keypoint R-CNN: torchvision's heads, matchers and samplers on our backbone and pyramid, and its
losses with weights of boxes (`rcnn_losses`).

Source: Faster R-CNN (NeurIPS 2015), FPN (CVPR 2017) and Mask R-CNN (ICCV 2017) as torchvision/models/detection builds
`fasterrcnn_resnet50_fpn`, `maskrcnn_resnet50_fpn` and `keypointrcnn_resnet50_fpn`: P2..P5 and a max-pooled P6, one
anchor size a level, objects cropped from P2..P5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import LevelMapper

from casl.errors import SpecError
from casl.models.backbone import Backbone
from casl.models.detect import InferenceSettings
from casl.models.detector import Builder, Target
from casl.models.fpn import FPN
from casl.models.frameworks.adapter import SIZES, Framework, FrameworkSettings, Placeholder, anchors, in_float32
from casl.models.frameworks.matching import Matches, match
from casl.models.frameworks.rcnn_losses import (
    Proposals,
    Regions,
    draw_regions,
    keypoint_loss,
    mask_loss,
    proposal_losses,
    propose,
    region_losses,
)

POOLED = {"0": 4, "1": 8, "2": 16, "3": 32}  # levels that objects are cropped from, and their strides
CANONICAL = (224, 4)  # an object of that many pixels is cropped from that level, FPN eq. 1
ROIS = 512  # drawn an image, a quarter of them objects
FEWEST_ROIS = 16


@dataclass(frozen=True)
class FasterRCNNSettings(FrameworkSettings):
    """Everything about Faster and Mask R-CNN but their backbone and their classes.

    Widths of the heads are torchvision's at 256 channels and in proportion otherwise: 4 times the channels in the box
    head, as many in the mask head, twice as many in the keypoint head.

    Attributes:
        rois: regions drawn from an image to learn from, a quarter of them objects where there are as many. None for
            torchvision's 512, fewer in smaller images: in proportion to their area, that is to `ranges[0]` squared, but
            at least 16.
        proposals: most of an image that become regions when it predicts; torchvision's are 1,000.
        inference: torchvision's; `topk` is the number of anchors a level that become proposals.
    """

    rois: int | None = None
    towers: int = 4
    proposals: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.towers < 1:
            raise SpecError(f"mask and keypoint heads need at least one convolution, got {self.towers}")
        if self.proposals < 1:
            raise SpecError(f"nothing is found among {self.proposals} proposals of an image: 1 or more")
        if self.rois is not None and self.rois < 4:
            raise SpecError(f"a quarter of {self.rois} regions is no object: draw at least 4")

    @property
    def regions(self) -> int:
        """`rois`, or what stands for None."""
        return self.rois or max(FEWEST_ROIS, min(ROIS, round(ROIS * self.scale**2)))


@dataclass(frozen=True)
class KeypointRCNNSettings(FasterRCNNSettings):
    """As for Faster R-CNN.

    Attributes:
        keypoints: of an object, 17 for COCO's persons.
    """

    keypoints: int = 17

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keypoints < 1:
            raise SpecError(f"a keypoint detector needs at least one keypoint, got {self.keypoints}")


class FasterRCNN(Framework):
    """Reads P2..P6. Losses are "loss_objectness" and "loss_rpn_box" of the proposals, "loss_cls" and "loss_box" of the
    objects.

    The pyramid has no P6 and P7 of its own: P6 is P5 at every second cell, without weights.

    Args:
        backbone: C2..C5.
        num_classes: without the background; 1 is class-agnostic.
        settings: everything else.
    """

    settings: FasterRCNNSettings

    def __init__(self, backbone: Backbone, num_classes: int, settings: FasterRCNNSettings) -> None:
        fpn = FPN(backbone.channels, settings.channels, lowest=2)
        fpn.add_module("p6", nn.MaxPool2d(1, stride=2))
        fpn.add_module("p7", nn.Identity())  # computed and dropped
        framework = self._make(num_classes, settings)
        for head in (framework.rpn.head, framework.roi_heads.box_predictor):
            in_float32(head)
        super().__init__(backbone, fpn, framework, num_classes, settings)

    @staticmethod
    def _make(num_classes: int, settings: Any) -> Any:
        return detection.FasterRCNN(**shared(num_classes, settings))

    def pyramid(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """C2..C5 -> P2..P6."""
        return self.fpn.forward_all(maps)[:-1]

    def framework_losses(
        self, batch: ImageList, features: dict[str, Tensor], targets: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Those of the proposals and those of the objects."""
        proposals = propose(self.framework.rpn, batch, features)
        matches = match(self.framework.rpn.proposal_matcher, proposals.anchors, targets)
        first = self.proposal_criterion(proposals, matches, targets)
        regions = draw_regions(self.framework.roi_heads, proposals.boxes, targets)
        return first | self.criterion(features, batch.image_sizes, regions, targets)

    def proposal_criterion(
        self, proposals: Proposals, matches: Sequence[Matches], targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """ "loss_objectness" and "loss_rpn_box" of a sample of the anchors. Other matches, other weights and other
        losses of the proposals come in here; see `proposal_losses`.

        Args:
            proposals: of a batch.
            matches: of the anchors of each image.
            targets: in torchvision's terms.
        """
        return proposal_losses(self.framework.rpn, proposals, matches, targets)

    def criterion(
        self,
        features: dict[str, Tensor],
        sizes: Sequence[tuple[int, int]],
        regions: Regions,
        targets: Sequence[Target],
    ) -> dict[str, Tensor]:
        """ "loss_cls" and "loss_box" of regions. Other regions, other weights and other losses come in here; see
        `region_losses`.

        Args:
            features: the pyramid, by torchvision's names.
            sizes: (height, width) of each image before padding.
            regions: drawn from all images.
            targets: in torchvision's terms.
        """
        heads = self.framework.roi_heads
        crops = heads.box_head(heads.box_roi_pool(features, regions.boxes, sizes))
        logits, offsets = heads.box_predictor(crops)
        return region_losses(logits, offsets, regions)

    def detect(
        self, batch: ImageList, features: dict[str, Tensor], settings: InferenceSettings
    ) -> list[dict[str, Tensor]]:
        """Boxes, scores, labels from 1 on and what further heads find, selected by torchvision."""
        rpn, heads = self.framework.rpn, self.framework.roi_heads
        rpn._pre_nms_top_n["testing"] = settings.topk  # torchvision has no public way after construction
        rpn._post_nms_top_n["testing"] = self.settings.proposals
        heads.score_thresh, heads.nms_thresh = settings.score_threshold, settings.nms
        heads.detections_per_img = settings.max_detections
        proposals, _ = rpn(batch, features)
        found: list[dict[str, Tensor]] = heads(features, proposals, batch.image_sizes)[0]
        return found


class MaskRCNN(FasterRCNN):
    """Faster R-CNN that also learns "masks"; further loss "loss_mask"."""

    needs: ClassVar[tuple[str, ...]] = ("masks",)

    def __init__(self, backbone: Backbone, num_classes: int, settings: FasterRCNNSettings) -> None:
        super().__init__(backbone, num_classes, settings)
        in_float32(self.framework.roi_heads.mask_predictor)

    def shapes(self, count: int, height: int, width: int) -> dict[str, tuple[int, ...]]:
        """One mask an object."""
        return {"masks": (count, height, width)}

    def criterion(
        self,
        features: dict[str, Tensor],
        sizes: Sequence[tuple[int, int]],
        regions: Regions,
        targets: Sequence[Target],
    ) -> dict[str, Tensor]:
        """As in Faster R-CNN, with "loss_mask" of the regions of objects."""
        losses = super().criterion(features, sizes, regions, targets)
        heads, objects = self.framework.roi_heads, regions.of_objects()
        logits = heads.mask_predictor(heads.mask_head(heads.mask_roi_pool(features, objects.boxes, sizes)))
        return losses | {"loss_mask": mask_loss(logits, objects, [target["masks"] for target in targets])}

    @staticmethod
    def _make(num_classes: int, settings: Any) -> Any:
        width = settings.channels
        return detection.MaskRCNN(
            **shared(num_classes, settings),
            mask_roi_pool=pooler(14, settings.scale),
            mask_head=MaskRCNNHeads(settings.channels, (width,) * settings.towers, 1),
            mask_predictor=MaskRCNNPredictor(width, width, num_classes + 1),
        )


class KeypointRCNN(FasterRCNN):
    """Faster R-CNN that also learns "keypoints"; further loss "loss_keypoint"."""

    needs: ClassVar[tuple[str, ...]] = ("keypoints",)
    settings: KeypointRCNNSettings

    def __init__(self, backbone: Backbone, num_classes: int, settings: KeypointRCNNSettings) -> None:
        super().__init__(backbone, num_classes, settings)
        in_float32(self.framework.roi_heads.keypoint_predictor)

    def shapes(self, count: int, height: int, width: int) -> dict[str, tuple[int, ...]]:
        """All keypoints of every object, known or not."""
        return {"keypoints": (count, self.settings.keypoints, 3)}

    def criterion(
        self,
        features: dict[str, Tensor],
        sizes: Sequence[tuple[int, int]],
        regions: Regions,
        targets: Sequence[Target],
    ) -> dict[str, Tensor]:
        """As in Faster R-CNN, with "loss_keypoint" of the regions of objects."""
        losses = super().criterion(features, sizes, regions, targets)
        heads, objects = self.framework.roi_heads, regions.of_objects()
        crops = heads.keypoint_head(heads.keypoint_roi_pool(features, objects.boxes, sizes))
        logits = heads.keypoint_predictor(crops)
        return losses | {"loss_keypoint": keypoint_loss(logits, objects, [target["keypoints"] for target in targets])}

    @staticmethod
    def _make(num_classes: int, settings: Any) -> Any:
        width = 2 * settings.channels
        return detection.KeypointRCNN(
            **shared(num_classes, settings),
            keypoint_roi_pool=pooler(14, settings.scale),
            keypoint_head=KeypointRCNNHeads(settings.channels, (width,) * (2 * settings.towers)),
            keypoint_predictor=KeypointRCNNPredictor(width, settings.keypoints),
        )

    def translated(self, target: Target) -> dict[str, Tensor]:
        values = super().translated(target)
        return values | {"keypoints": values["keypoints"].float()}


def shared(num_classes: int, settings: FasterRCNNSettings) -> dict[str, Any]:
    """Arguments that all constructors of torchvision's R-CNNs take. What is not named has torchvision's default."""
    width = 4 * settings.channels
    pool = pooler(7, settings.scale)
    return {
        "backbone": Placeholder(settings.channels),
        "rpn_anchor_generator": anchors([(size,) for size in SIZES], settings.scale),
        "box_roi_pool": pool,
        "box_head": TwoMLPHead(settings.channels * pool.output_size[0] ** 2, width),
        "box_predictor": FastRCNNPredictor(width, num_classes + 1),
        "box_batch_size_per_image": settings.regions,
    }


def pooler(size: int, scale: float) -> MultiScaleRoIAlign:
    """Crops of `size` x `size` cells. torchvision guesses strides from the first batch it sees, unpadded, and keeps
    them; here they are what they are, so that nothing depends on which batch came first."""
    canonical = CANONICAL[0] * scale
    pool = MultiScaleRoIAlign(list(POOLED), size, 2, canonical_scale=canonical, canonical_level=CANONICAL[1])
    pool.scales = [1 / stride for stride in POOLED.values()]
    pool.map_levels = LevelMapper(2, 5, canonical, CANONICAL[1])
    return pool


build = Builder(FasterRCNNSettings, FasterRCNN)
build_mask = Builder(FasterRCNNSettings, MaskRCNN)
build_keypoint = Builder(KeypointRCNNSettings, KeypointRCNN)
