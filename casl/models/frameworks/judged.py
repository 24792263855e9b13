"""Anchors of an image that learn with targets and weights of their own, for RetinaNet and for the proposals of R-CNNs.

Source: as of casl/models/noisy.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import box_iou

from casl.errors import SpecError, unknown
from casl.models.detector import Target, box_weights
from casl.models.frameworks.matching import BACKGROUND, Matches, match
from casl.models.locations import matched_weights
from casl.models.noisy import Rule, check_count, paired_iou, top_anchors

ASSIGNMENTS = ("topn", "iou")


@dataclass(frozen=True)
class CleanSettings:
    """What a detector of noisy anchors has beside its framework's settings.

    Attributes:
        assign: "topn", every object chooses its `top_n` best anchors, or "iou", the framework's own thresholds.
        top_n: anchors of an object. 30 at COCO's sizes; smaller images have fewer that overlap an object.
        clean_alpha, clean_gamma, label: as of casl.models.noisy.Rule.

    Raises:
        SpecError: a value is out of its range.
    """

    assign: str = "topn"
    top_n: int = 30
    clean_alpha: float = 0.75
    clean_gamma: float = 1.0
    label: str = "released"

    def check(self) -> None:
        """Refuse values that are out of their range; settings that this is mixed into call it."""
        if self.assign not in ASSIGNMENTS:
            raise SpecError(unknown("assignment of anchors", self.assign, ASSIGNMENTS))
        check_count(self.top_n)
        Rule(self.clean_alpha, self.clean_gamma, self.label)  # refuses what is out of range

    @property
    def rule(self) -> Rule:
        """How positives are judged."""
        return Rule(self.clean_alpha, self.clean_gamma, self.label)


@dataclass(frozen=True)
class Chosen:
    """What the anchors of one image are matched with.

    Attributes:
        matches: of the A anchors; its weights are those of boxes.
        anchors: (K,) int64, its positives. One that two objects chose is there twice, and counts twice where means are
            taken over positives.
    """

    matches: Matches
    anchors: Tensor

    def rows(self) -> Tensor:
        """(K,) int64, row of the box of each."""
        return self.matches.boxes[self.anchors]

    def judged(self, loc: Tensor, cls: Tensor, rule: Rule) -> tuple[Tensor, Tensor]:
        """Targets and weights, (A,) each: 0 and 1 where nothing is matched.

        Args:
            loc, cls: (K,) of `anchors`, as of `Rule.judge`.
            rule: how.
        """
        labels, weights = rule.judge(loc, cls)
        targets = torch.zeros(len(self.matches.boxes), dtype=labels.dtype, device=labels.device)
        factors = torch.ones_like(targets)
        targets[self.anchors], factors[self.anchors] = labels, weights
        return targets, factors


def choose(
    settings: CleanSettings, matcher: Callable[[Tensor], Tensor], anchors: Sequence[Tensor], targets: Sequence[Target]
) -> list[Chosen]:
    """The positives of every image.

    Args:
        settings: which assignment.
        matcher: the framework's own, as of `match`.
        anchors: (A, 4) XYXY for each image.
        targets: "boxes" (N, 4), and optionally "weights".
    """
    if settings.assign == "iou":
        return [Chosen(found, found.positive.nonzero().flatten()) for found in match(matcher, anchors, targets)]
    weights = box_weights(targets)
    chosen = []
    for i, (of_image, target) in enumerate(zip(anchors, targets, strict=True)):
        top = top_anchors(box_iou(target["boxes"], of_image), settings.top_n)
        boxes = torch.where(top.positive, top.matches, BACKGROUND)
        of_boxes = None if weights is None else matched_weights(weights[i], boxes)
        chosen.append(Chosen(Matches(boxes, of_boxes), top.chosen))
    return chosen


def regressed_iou(coder: object, offsets: Tensor, anchors: Tensor, boxes: Tensor) -> Tensor:
    """(K,) IoU of regressed anchors with their boxes, without gradient.

    Args:
        coder: torchvision's BoxCoder.
        offsets, anchors, boxes: (K, 4); the last two XYXY.
    """
    decoded: Tensor = coder.decode_single(offsets.detach(), anchors)  # type: ignore[attr-defined]
    return paired_iou(decoded, boxes)
