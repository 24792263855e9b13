"""Cascade R-CNN: three box heads, each learning from the boxes that the one before refined, at a higher IoU.

Source: Cascade R-CNN (CVPR 2018): IoU .5, .6, .7, box codes 10, 10, 5, 5 times 1, 2, 3, one offset for all classes,
loss weights 1, .5, .25, class probabilities averaged over the stages. Each stage is a RoIHeads of torchvision, which
matches, draws and codes boxes; the proposals, crops and head widths are those of our Faster R-CNN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import clip_boxes_to_image, remove_small_boxes

from casl.errors import SpecError
from casl.models.backbone import Backbone
from casl.models.detect import InferenceSettings
from casl.models.detector import Builder
from casl.models.fpn import FPN
from casl.models.frameworks.adapter import Framework, in_float32
from casl.models.frameworks.faster_rcnn import FasterRCNNSettings, pooler, shared
from casl.models.frameworks.matching import match
from casl.models.frameworks.rcnn_losses import draw_regions, proposal_losses, propose, region_losses
from casl.models.suppression import kept

CODE = (10.0, 10.0, 5.0, 5.0)  # what offsets of the first stage are multiplied by, x, y, width, height
POSITIVES = 0.25  # share of the drawn regions that are objects where there are as many
BOX_CELLS, MASK_CELLS = 7, 14  # sides of the crops that the heads see
TESTED, FEWEST_TESTED = 1000, 100
SMALLEST = 1e-2  # side of a box that is kept, pixels, as torchvision's RoIHeads have it

Regions = list[Tensor]  # (R, 4) XYXY of each image
Maps = Mapping[str, Tensor]


@dataclass(frozen=True)
class CascadeRCNNSettings(FasterRCNNSettings):
    """As for Faster R-CNN.

    Attributes:
        ious: with a box above which a region is an object, one for each stage.
        stage_weights: of the losses of each stage.
        test_regions: regions of an image that the stages refine at test. None for torchvision's 1000, fewer in smaller
            images as for `rois`, but at least 100: every one passes all stages.
    """

    ious: tuple[float, ...] = (0.5, 0.6, 0.7)
    stage_weights: tuple[float, ...] = (1.0, 0.5, 0.25)
    test_regions: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.ious or not all(0.0 < iou < 1.0 for iou in self.ious):
            raise SpecError(f"every stage has an IoU between 0 and 1, got {self.ious}")
        if len(self.stage_weights) != len(self.ious) or min(self.stage_weights) < 0:
            raise SpecError(
                f"every stage has a weight of 0 or more, got {self.stage_weights} for {len(self.ious)} stages"
            )
        if self.test_regions is not None and self.test_regions < 1:
            raise SpecError(f"at least one region of an image must be tested, got {self.test_regions}")

    @property
    def tested(self) -> int:
        """`test_regions`, or what stands for None."""
        return self.test_regions or max(FEWEST_TESTED, min(TESTED, round(TESTED * self.scale**2)))

    @property
    def codes(self) -> list[tuple[float, ...]]:
        """What the offsets of each stage are multiplied by: the nearer a region is, the larger."""
        return [tuple(factor * stage for factor in CODE) for stage in range(1, len(self.ious) + 1)]


class AgnosticPredictor(nn.Module):
    """Logits of C + 1 classes, background first, and one box for all of them."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(width, outputs)
        self.bbox_pred = nn.Linear(width, 4)

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """(R, width) -> (R, outputs) logits and (R, 4) offsets."""
        return self.cls_score(regions), self.bbox_pred(regions)


class CascadeRCNN(Framework):
    """Reads P2..P6. Losses are "loss_objectness" and "loss_rpn_box" of the proposals, and "loss_cls_t" and "loss_box_t"
    of the regions of stage t, from 1 on, times the weight of the stage.

    State-dict keys of stage t begin with `framework.roi_heads.<t - 1>.`.

    Args:
        backbone: C2..C5.
        num_classes: without the background; 1 is class-agnostic.
        settings: everything else.
    """

    softens: ClassVar[bool] = True
    settings: CascadeRCNNSettings

    def __init__(self, backbone: Backbone, num_classes: int, settings: CascadeRCNNSettings) -> None:
        fpn = FPN(backbone.channels, settings.channels, lowest=2)
        fpn.add_module("p6", nn.MaxPool2d(1, stride=2))
        fpn.add_module("p7", nn.Identity())  # computed and dropped
        framework = detection.FasterRCNN(**shared(num_classes, settings), rpn_post_nms_top_n_test=settings.tested)
        framework.roi_heads = nn.ModuleList(
            _stage(num_classes, settings, iou, code) for iou, code in zip(settings.ious, settings.codes, strict=True)
        )
        in_float32(framework.rpn.head)
        super().__init__(backbone, fpn, framework, num_classes, settings)

    def pyramid(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """C2..C5 -> P2..P6."""
        return self.fpn.forward_all(maps)[:-1]

    def framework_losses(
        self, batch: ImageList, features: dict[str, Tensor], targets: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Those of the proposals and those of every stage."""
        rpn = self.framework.rpn
        proposals = propose(rpn, batch, features)
        matches = match(rpn.proposal_matcher, proposals.anchors, targets)
        first = proposal_losses(rpn, proposals, matches, targets)
        return first | self.region_losses(features, batch.image_sizes, proposals.boxes, targets)

    def region_losses(
        self, features: Maps, sizes: Sequence[tuple[int, int]], boxes: Regions, targets: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Losses of all stages, which refine the boxes (R, 4) that are proposed in each image.

        A stage draws its regions anew, from what the one before refined and from the boxes of the targets.
        """
        losses: dict[str, Tensor] = {}
        for number, weight in enumerate(self.settings.stage_weights):
            heads = self.framework.roi_heads[number]
            regions = draw_regions(heads, boxes, targets)
            logits, offsets = self.predicted(heads, features, sizes, regions.boxes)
            # each class has its own offsets in torchvision: here all have the same
            found = region_losses(logits, offsets.repeat(1, logits.shape[1]), regions)
            boxes = [nonempty(found) for found in refined(heads, offsets.detach(), regions.boxes, sizes)]
            found |= self.further_losses(number, features, sizes, boxes, targets)
            losses |= {f"{name}_{number + 1}": weight * value for name, value in found.items()}
        return losses

    def further_losses(
        self,
        number: int,
        features: Maps,
        sizes: Sequence[tuple[int, int]],
        boxes: Regions,
        targets: list[dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """Losses of further heads of stage `number`, from 0 on, of the boxes that it has just refined."""
        return {}

    def predicted(
        self, heads: Any, features: Maps, sizes: Sequence[tuple[int, int]], boxes: Regions
    ) -> tuple[Tensor, Tensor]:
        """Logits (R, C + 1), background first, and offsets (R, 4) that a stage gives the regions of all images."""
        logits, offsets = heads.box_predictor(heads.box_head(self.box_crops(features, sizes, boxes)))
        return logits, offsets

    def box_crops(self, features: Maps, sizes: Sequence[tuple[int, int]], boxes: Regions) -> Tensor:
        """(R, channels, 7, 7) of the regions of all images."""
        pooled: Tensor = self.framework.roi_heads[0].box_roi_pool(dict(features), boxes, list(sizes))
        return pooled

    def detect(
        self, batch: ImageList, features: dict[str, Tensor], settings: InferenceSettings
    ) -> list[dict[str, Tensor]]:
        """Boxes of the last stage, their class probabilities averaged over all stages, labels from 1 on."""
        rpn = self.framework.rpn
        rpn._pre_nms_top_n["testing"] = settings.topk  # torchvision has no public way after construction
        boxes, _ = rpn(batch, features)
        return self.objects(features, batch.image_sizes, boxes, settings)

    def objects(
        self, features: Maps, sizes: Sequence[tuple[int, int]], boxes: Regions, settings: InferenceSettings
    ) -> list[dict[str, Tensor]]:
        """What is found in each image among the boxes (R, 4) that are proposed there."""
        probabilities = []
        for heads in self.framework.roi_heads:
            logits, offsets = self.predicted(heads, features, sizes, boxes)
            probabilities.append(logits.softmax(dim=1))
            boxes = refined(heads, offsets, boxes, sizes)
        mean = torch.split(torch.stack(probabilities).mean(dim=0), [len(of_image) for of_image in boxes])
        return [selected(of_image, scores, settings) for of_image, scores in zip(boxes, mean, strict=True)]


def refined(heads: Any, offsets: Tensor, boxes: Regions, sizes: Sequence[tuple[int, int]]) -> Regions:
    """Regions (R, 4) of each image moved by the offsets (R of all images, 4), as `heads` code them, and clipped."""
    moved = heads.box_coder.decode(offsets, list(boxes)).reshape(-1, 4).split([len(of_image) for of_image in boxes])
    return [clip_boxes_to_image(of_image, size) for of_image, size in zip(moved, sizes, strict=True)]


def nonempty(boxes: Tensor) -> Tensor:
    """Those of (R, 4) boxes that have a width and a height, without which nothing can be coded from them."""
    return boxes[(boxes[:, 2:] > boxes[:, :2]).all(dim=1)]


def selected(boxes: Tensor, probabilities: Tensor, settings: InferenceSettings) -> dict[str, Tensor]:
    """The detections of one image.

    Args:
        boxes: (R, 4) XYXY, one for all classes.
        probabilities: (R, C + 1), background first.
        settings: thresholds and suppression.

    Returns:
        "boxes" (N, 4), "scores" (N,), best first, and "labels" (N,) from 1 on.
    """
    large = remove_small_boxes(boxes, SMALLEST)
    boxes, scores = boxes[large], probabilities[large, 1:]
    rows, classes = torch.where(scores > settings.score_threshold)
    order, found = kept(boxes[rows], scores[rows, classes], classes, settings)
    return {"boxes": boxes[rows[order]], "scores": found, "labels": classes[order] + 1}


def _stage(num_classes: int, settings: CascadeRCNNSettings, iou: float, code: tuple[float, ...]) -> RoIHeads:
    """torchvision's heads of one stage; its own thresholds of selection are not used."""
    width = 4 * settings.channels
    predictor = AgnosticPredictor(width, num_classes + 1)
    in_float32(predictor)
    return RoIHeads(
        pooler(BOX_CELLS, settings.scale),
        TwoMLPHead(settings.channels * BOX_CELLS**2, width),
        predictor,
        fg_iou_thresh=iou,
        bg_iou_thresh=iou,
        batch_size_per_image=settings.regions,
        positive_fraction=POSITIVES,
        bbox_reg_weights=code,
        score_thresh=settings.inference.score_threshold,
        nms_thresh=settings.inference.nms,
        detections_per_img=settings.inference.max_detections,
    )


build = Builder(CascadeRCNNSettings, CascadeRCNN)
