"""Proposals that learn from noisy anchors: alone, as a proposal network, and inside Faster R-CNN.

What is judged is how probable an anchor finds that it holds an object. Sampling, heads and boxes are torchvision's.

Source: as of casl/models/noisy.py; the dissertation says that its method is in the proposal network, and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead, concat_box_prediction_layers

from casl.errors import SpecError
from casl.models.backbone import Backbone
from casl.models.detect import InferenceSettings
from casl.models.detector import Builder, Target
from casl.models.fpn import FPN
from casl.models.frameworks.adapter import SIZES, Framework, FrameworkSettings, anchors, in_float32
from casl.models.frameworks.faster_rcnn import FasterRCNN, FasterRCNNSettings
from casl.models.frameworks.judged import Chosen, CleanSettings, choose, regressed_iou
from casl.models.frameworks.matching import LEFT_OUT, Matches
from casl.models.frameworks.rcnn_losses import BETA, Proposals
from casl.models.noisy import Rule, same_sum, smooth_l1

DRAWN, POSITIVES = 256, 0.5  # anchors of an image that learn, and the largest share of positives: torchvision's
KEPT = 1000  # proposals of an image, and candidates of a level


def judged_losses(
    rpn: Any, proposals: Proposals, chosen: Sequence[Chosen], targets: Sequence[Target], rule: Rule
) -> dict[str, Tensor]:
    """Losses of a sample of the anchors, drawn by `rpn` as ever; all positives of an image are judged, then some drawn.

    Args:
        rpn: torchvision's proposal network, for its sampler and its coding of boxes.
        proposals: of a batch.
        chosen: of the anchors of each image.
        targets: of each image.
        rule: how positives are judged.

    Returns:
        "loss_objectness", binary cross-entropy of soft targets, and "loss_rpn_box", smooth L1 of positives. Both are
        divided by the number of drawn anchors; with literal labels by the sum of their weights.
    """
    outputs = proposals.objectness.reshape(len(chosen), -1), proposals.offsets.reshape(len(chosen), -1, 4)
    judged = [
        _judged(rpn, *of_image, rule) for of_image in zip(*outputs, proposals.anchors, chosen, targets, strict=True)
    ]
    soft, weights = (torch.cat(values) for values in zip(*judged, strict=True))
    positive, negative = (torch.cat(drawn).bool() for drawn in rpn.fg_bg_sampler([_sides(c.matches) for c in chosen]))
    drawn = positive | negative
    wanted = [
        target["boxes"][found.matches.boxes.clamp(min=0)] if len(target["boxes"]) else torch.zeros_like(places)
        for places, found, target in zip(proposals.anchors, chosen, targets, strict=True)
    ]
    offsets = torch.cat(rpn.box_coder.encode(wanted, proposals.anchors))
    objectness = functional.binary_cross_entropy_with_logits(outputs[0].flatten()[drawn], soft[drawn], reduction="none")
    boxes = smooth_l1(proposals.offsets[positive], offsets[positive], BETA).sum(1)
    literal = rule.label == "literal"
    total = weights[drawn].sum() if literal else drawn.sum()
    of_boxes = _joined(chosen)
    return {
        "loss_objectness": _sum(objectness, weights[drawn], of_boxes[drawn], literal) / total,
        "loss_rpn_box": _sum(boxes, weights[positive], of_boxes[positive], literal) / total,
    }


def _judged(
    rpn: Any, objectness: Tensor, offsets: Tensor, places: Tensor, found: Chosen, target: Target, rule: Rule
) -> tuple[Tensor, Tensor]:
    """Targets and weights (A,) of the anchors of an image."""
    boxes = target["boxes"][found.rows()]
    loc = regressed_iou(rpn.box_coder, offsets[found.anchors], places[found.anchors], boxes)
    return found.judged(loc, objectness.detach()[found.anchors].sigmoid(), rule)


def _sides(matches: Matches) -> Tensor:
    """(A,) float: 1 at positives, 0 on background, -1 where nothing is learned, as torchvision's sampler wants it."""
    return torch.where(matches.boxes == LEFT_OUT, -1.0, matches.positive.float())


def _joined(chosen: Sequence[Chosen]) -> Tensor:
    """(B * A,) weights of boxes, 1 where there are none."""
    return torch.cat(
        [
            torch.ones(found.matches.boxes.shape, device=found.matches.boxes.device)
            if found.matches.weights is None
            else found.matches.weights
            for found in chosen
        ]
    )


def _sum(terms: Tensor, weights: Tensor, of_boxes: Tensor, literal: bool) -> Tensor:
    """Sum of terms (P,) with both weights; unless literal, those of the method leave the sum as it is."""
    weighted = terms * weights
    scale = 1.0 if literal else same_sum(terms.sum(), weighted.sum())
    return (weighted * of_boxes).sum() * scale


@dataclass(frozen=True)
class FasterRCNNNoisySettings(CleanSettings, FasterRCNNSettings):
    """As of Faster R-CNN and, for its proposals, of `CleanSettings`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check()


class FasterRCNNNoisy(FasterRCNN):
    """Faster R-CNN whose proposals learn from noisy anchors; the heads behind are as ever."""

    settings: FasterRCNNNoisySettings

    def proposal_criterion(
        self, proposals: Proposals, matches: Sequence[Matches], targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """As in Faster R-CNN, of `judged_losses`."""
        del matches  # those of thresholds
        rpn = self.framework.rpn
        chosen = choose(self.settings, rpn.proposal_matcher, proposals.anchors, targets)
        return judged_losses(rpn, proposals, chosen, targets, self.settings.rule)


@dataclass(frozen=True)
class ProposalSettings(CleanSettings, FrameworkSettings):
    """As of `CleanSettings`. With assign "iou", label "hard" and clean_gamma 0 it is the plain network.

    Attributes:
        fg_iou, bg_iou: with assign "iou": anchors from the one on are positives, those below the other background.
        inference: the best proposals of an image, however improbable.
    """

    fg_iou: float = 0.7
    bg_iou: float = 0.3
    inference: InferenceSettings = field(
        default_factory=lambda: InferenceSettings(score_threshold=0.0, topk=KEPT, nms=0.7, max_detections=KEPT)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check()
        if not 0.0 < self.bg_iou <= self.fg_iou <= 1.0:
            raise SpecError(f"0 < bg_iou <= fg_iou <= 1 must hold, got {self.bg_iou} and {self.fg_iou}")


class ProposalNetwork(Framework):
    """The proposals of Faster R-CNN without what stands behind them. Reads P2..P6, as there; losses are
    "loss_objectness" and "loss_rpn_box". Everything that it finds has label 0: proposals have no class.

    Args:
        backbone: C2..C5.
        num_classes: of the data; none is told apart.
        settings: everything else.
    """

    settings: ProposalSettings

    def __init__(self, backbone: Backbone, num_classes: int, settings: ProposalSettings) -> None:
        fpn = FPN(backbone.channels, settings.channels, lowest=2)
        fpn.add_module("p6", nn.MaxPool2d(1, stride=2))
        fpn.add_module("p7", nn.Identity())  # computed and dropped
        generator = anchors([(size,) for size in SIZES], settings.scale)
        head = RPNHead(settings.channels, generator.num_anchors_per_location()[0])
        in_float32(head)
        framework = nn.Module()
        kept = {"training": KEPT, "testing": KEPT}
        framework.rpn = RegionProposalNetwork(
            generator,
            head,
            settings.fg_iou,
            settings.bg_iou,
            DRAWN,
            POSITIVES,
            kept,
            dict(kept),
            settings.inference.nms,
        )
        super().__init__(backbone, fpn, framework, num_classes, settings)

    def pyramid(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """C2..C5 -> P2..P6."""
        return self.fpn.forward_all(maps)[:-1]

    def framework_losses(
        self, batch: ImageList, features: dict[str, Tensor], targets: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """ "loss_objectness" and "loss_rpn_box"."""
        found, _ = self._outputs(batch, features)
        rpn = self.framework.rpn
        chosen = choose(self.settings, rpn.proposal_matcher, found.anchors, targets)
        return judged_losses(rpn, found, chosen, targets, self.settings.rule)

    def detect(
        self, batch: ImageList, features: dict[str, Tensor], settings: InferenceSettings
    ) -> list[dict[str, Tensor]]:
        """Boxes and their objectness, selected by torchvision."""
        rpn = self.framework.rpn
        rpn._pre_nms_top_n["testing"] = settings.topk  # torchvision has no public way after construction
        rpn._post_nms_top_n["testing"] = settings.max_detections
        rpn.nms_thresh, rpn.score_thresh = settings.nms, settings.score_threshold
        found, counts = self._outputs(batch, features)
        decoded = rpn.box_coder.decode(found.offsets, found.anchors).view(len(found.anchors), -1, 4)
        boxes, scores = rpn.filter_proposals(decoded, found.objectness, batch.image_sizes, counts)
        return [
            {"boxes": b, "scores": s, "labels": torch.ones_like(s, dtype=torch.int64)}
            for b, s in zip(boxes, scores, strict=True)
        ]

    def _outputs(self, batch: ImageList, features: dict[str, Tensor]) -> tuple[Proposals, list[int]]:
        """What the network says, without a selection, and the number of anchors of each level."""
        rpn, levels = self.framework.rpn, list(features.values())
        objectness, offsets = rpn.head(levels)
        counts = [level.shape[1] * level.shape[2] * level.shape[3] for level in objectness]
        flat, deltas = concat_box_prediction_layers(objectness, offsets)
        return Proposals(flat, deltas, rpn.anchor_generator(batch, levels), []), counts


build = Builder(ProposalSettings, ProposalNetwork)
build_faster_rcnn = Builder(FasterRCNNNoisySettings, FasterRCNNNoisy)
