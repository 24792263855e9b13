"""Faster R-CNN whose boxes are found by classification of their sides' intervals; all else is Faster R-CNN.

Source: certainty-aware pseudo labels (AAAI 2022; chapter 3 of the dissertation), 3.3 to 3.5; `casl.models.intervals`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import batched_nms, clip_boxes_to_image, remove_small_boxes

from casl.errors import SpecError, unknown
from casl.models.backbone import Backbone
from casl.models.detect import InferenceSettings
from casl.models.detector import Builder, Target
from casl.models.frameworks.adapter import in_float32
from casl.models.frameworks.faster_rcnn import FasterRCNN, FasterRCNNSettings
from casl.models.frameworks.rcnn_losses import Regions, class_loss
from casl.models.intervals import (
    SCORES,
    best_sides,
    certainty,
    check_intervals,
    interval_loss,
    place_sides,
    quality,
    refinement_loss,
)

SMALLEST = 1e-2  # side of a box that is kept, px, as in torchvision
FORMS = ("bce", "softmax")  # of `interval_loss`: the literal one teaches nothing


@dataclass(frozen=True)
class IntervalSettings(FasterRCNNSettings):
    """As for Faster R-CNN.

    Attributes:
        intervals: K, into which the segment of each side is cut.
        span: length of a segment, in widths or heights of the region.
        score: of a box, by class probability p and quality of its sides v: "root" of p * v, "pv", or "p" alone. Boxes
            suppress each other in this order; what `inference.score_threshold` is compared with is p.
        form: of the loss of intervals, "bce" or "softmax".
    """

    intervals: int = 30
    span: float = 2.0
    score: str = "root"
    form: str = "bce"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_intervals(self.intervals, self.span)
        if self.score not in SCORES:
            raise SpecError(unknown("score of boxes", self.score, SCORES))
        if self.form not in FORMS:
            raise SpecError(unknown("form of the interval loss", self.form, FORMS))


class SidePredictor(nn.Module):
    """Crops (R, width) -> logits and offsets of the intervals of each side, (R, 4, K) each; one for all classes."""

    def __init__(self, width: int, intervals: int) -> None:
        super().__init__()
        self.intervals = intervals
        self.logits = nn.Linear(width, 4 * intervals)
        self.offsets = nn.Linear(width, 4 * intervals)
        for layer in (self.logits, self.offsets):
            nn.init.normal_(layer.weight, std=0.001)
            nn.init.zeros_(layer.bias)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        return self.logits(crops).unflatten(1, (4, -1)), self.offsets(crops).unflatten(1, (4, -1))


class IntervalRCNN(FasterRCNN):
    """As Faster R-CNN, with "loss_box" of intervals, divided by K, and "loss_box_offset" of the refinement in the place
    of its "loss_box"; both are divided by the number of regions as that is."""

    settings: IntervalSettings

    def __init__(self, backbone: Backbone, num_classes: int, settings: IntervalSettings) -> None:
        super().__init__(backbone, num_classes, settings)
        in_float32(self.framework.roi_heads.side_predictor)

    @staticmethod
    def _make(num_classes: int, settings: Any) -> Any:
        framework = FasterRCNN._make(num_classes, settings)
        heads = framework.roi_heads
        width = heads.box_predictor.cls_score.in_features
        heads.box_predictor = nn.Linear(width, num_classes + 1)
        heads.side_predictor = SidePredictor(width, settings.intervals)
        return framework

    def read(
        self, features: dict[str, Tensor], boxes: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the heads say of the regions of all images, (R, 4) XYXY each.

        Returns:
            Logits of classes (R, C + 1), background first; logits and offsets of intervals, (R, 4, K) each.
        """
        heads = self.framework.roi_heads
        crops = heads.box_head(heads.box_roi_pool(features, list(boxes), list(sizes)))
        return heads.box_predictor(crops), *heads.side_predictor(crops)

    def criterion(
        self,
        features: dict[str, Tensor],
        sizes: Sequence[tuple[int, int]],
        regions: Regions,
        targets: Sequence[Target],
    ) -> dict[str, Tensor]:
        """As in Faster R-CNN, see the class."""
        return self.region_losses(*self.read(features, regions.boxes, sizes), regions, targets)

    def region_losses(
        self, logits: Tensor, sides: Tensor, offsets: Tensor, regions: Regions, targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """Losses of what `read` gave for regions drawn for targets."""
        objects = regions.of_objects()
        of_images = zip(targets, objects.matches, strict=True)
        boxes = torch.cat([target["boxes"][rows] for target, rows in of_images])
        wanted = place_sides(torch.cat(objects.boxes), boxes, self.settings.intervals, self.settings.span)
        found = torch.cat(regions.labels) > 0
        interval = interval_loss(sides[found], wanted.index, self.settings.form) / self.settings.intervals
        at_true = offsets[found].gather(2, wanted.index[..., None])[..., 0]
        refinement = refinement_loss(at_true, wanted)
        weights = None if objects.weights is None else torch.cat(objects.weights)[:, None]

        def mean(terms: Tensor) -> Tensor:
            return (terms if weights is None else terms * weights).sum() / len(logits)

        return {
            "loss_cls": class_loss(logits, regions),
            "loss_box": mean(interval),
            "loss_box_offset": mean(refinement),
        }

    def quality(self, sides: Tensor) -> Tensor:
        """(R,) v of logits of intervals (R, 4, K)."""
        return quality(sides, self.settings.form)

    def detect(
        self, batch: ImageList, features: dict[str, Tensor], settings: InferenceSettings
    ) -> list[dict[str, Tensor]]:
        """Boxes, scores, and labels from 1 on, selected as torchvision does but in the order of their scores."""
        rpn = self.framework.rpn
        rpn._pre_nms_top_n["testing"] = settings.topk  # torchvision has no public way after construction
        rpn._post_nms_top_n["testing"] = self.settings.proposals
        regions, _ = rpn(batch, features)
        logits, sides, offsets = self.read(features, regions, batch.image_sizes)
        boxes = best_sides(torch.cat(regions), sides, offsets, self.settings.span)
        p = logits.softmax(dim=1)[:, 1:]
        scores = certainty(p, self.quality(sides)[:, None], self.settings.score)
        counts = [len(of_image) for of_image in regions]
        parts = (boxes.split_with_sizes(counts), p.split_with_sizes(counts), scores.split_with_sizes(counts))
        return [_selected(*of_image, settings) for of_image in zip(*parts, batch.image_sizes, strict=True)]


def _selected(
    boxes: Tensor, p: Tensor, scores: Tensor, size: tuple[int, int], settings: InferenceSettings
) -> dict[str, Tensor]:
    """Of R boxes of one image with (R, C) probabilities and scores, those that stay, best first."""
    boxes = clip_boxes_to_image(boxes, size)
    rows, labels = (p > settings.score_threshold).nonzero().unbind(1)
    boxes, scores, labels = boxes[rows], scores[rows, labels], labels + 1
    large = remove_small_boxes(boxes, SMALLEST)
    boxes, scores, labels = boxes[large], scores[large], labels[large]
    keep = batched_nms(boxes, scores, labels, settings.nms)[: settings.max_detections]
    return {"boxes": boxes[keep], "scores": scores[keep], "labels": labels[keep]}


build = Builder(IntervalSettings, IntervalRCNN)
