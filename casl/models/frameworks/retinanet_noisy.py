"""RetinaNet that learns from noisy anchors: the same network, another assignment and other losses.

Source: as of casl/models/noisy.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models.detection.image_list import ImageList

from casl.models.backbone import Backbone
from casl.models.detector import Builder, Target
from casl.models.frameworks.judged import Chosen, CleanSettings, choose, regressed_iou
from casl.models.frameworks.matching import LEFT_OUT
from casl.models.frameworks.retinanet import DenseAnchors, RetinaNetSettings, sum_in_order
from casl.models.noisy import START, Normaliser, same_sum, smooth_l1, soft_focal


@dataclass(frozen=True)
class RetinaNetNoisySettings(CleanSettings, RetinaNetSettings):
    """As of RetinaNet and of `CleanSettings`.

    Attributes:
        focal_alpha: share of the class loss that is about objects, 0.5 with soft labels as released.
        start: of the normaliser, see `casl.models.noisy.Normaliser`; 0 for the positives of the first batch.
    """

    focal_alpha: float = 0.5
    start: float = START

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check()


class RetinaNetNoisy(DenseAnchors):
    """Losses are "loss_cls" (focal, of soft labels) and "loss_box" (smooth L1).

    Both are sums over the batch. With released weights each is scaled to what it would be without weights, so its value
    depends on all images of the batch: it cannot be divided among processes. It is then divided by a moving average of
    the number of positives; with literal labels by the sum of the weights of positives instead.
    """

    settings: RetinaNetNoisySettings

    def __init__(self, backbone: Backbone, num_classes: int, settings: RetinaNetNoisySettings) -> None:
        super().__init__(backbone, num_classes, settings)
        self.framework.normaliser = Normaliser(settings.start)

    def framework_losses(
        self, batch: ImageList, features: dict[str, Tensor], targets: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """ "loss_cls" and "loss_box"; moves the normaliser."""
        levels = list(features.values())
        outputs = self.framework.head(levels)
        anchors = self.framework.anchor_generator(batch, levels)
        chosen = choose(self.settings, self.framework.proposal_matcher, anchors, targets)
        return self.criterion(outputs, anchors, chosen, targets)

    def criterion(
        self,
        outputs: Mapping[str, Tensor],
        anchors: Sequence[Tensor],
        chosen: Sequence[Chosen],
        targets: Sequence[Target],
    ) -> dict[str, Tensor]:
        """Losses of what was predicted.

        Args:
            outputs: as of `RetinaNet.criterion`.
            anchors: (A, 4) XYXY for each image.
            chosen: of each image.
            targets: of each image; labels from 0 on.
        """
        coder = self.framework.head.regression_head.box_coder
        of_images = zip(outputs["cls_logits"], outputs["bbox_regression"], anchors, chosen, targets, strict=True)
        classes, boxes, shares = _Sums(), _Sums(), []
        for logits, offsets, places, found, target in of_images:
            rows, labels = found.rows(), target["labels"][found.rows()]
            loc = regressed_iou(coder, offsets[found.anchors], places[found.anchors], target["boxes"][rows])
            cls = logits.detach()[found.anchors, labels].sigmoid()
            clean, weights = found.judged(loc, cls, self.settings.rule)
            soft = torch.zeros_like(logits)
            soft[found.anchors, labels] = clean[found.anchors]
            learning, positive = found.matches.boxes != LEFT_OUT, found.matches.positive
            terms = soft_focal(logits[learning], soft[learning], self.settings.focal_alpha)
            classes.add(terms, weights[learning], _of(found.matches.weights, learning))
            wanted = coder.encode_single(target["boxes"][found.matches.boxes[positive]], places[positive])
            boxes.add(smooth_l1(offsets[positive], wanted), weights[positive], _of(found.matches.weights, positive))
            shares.append(weights[positive].sum())
        count = sum_in_order([found.matches.positive.sum() for found in chosen])
        return self._divided(classes, boxes, sum_in_order(shares), count)

    def _divided(self, classes: _Sums, boxes: _Sums, shares: Tensor, count: Tensor) -> dict[str, Tensor]:
        if self.settings.label == "literal":
            total = shares.clamp(min=1.0)
            return {"loss_cls": classes.weighted() / total, "loss_box": boxes.weighted() / total}
        total = self.framework.normaliser.move(count)
        return {"loss_cls": classes.scaled() / total, "loss_box": boxes.scaled() / total}


class _Sums:
    """Sums of a loss over each image: of its terms, with weights, and with weights of boxes too."""

    def __init__(self) -> None:
        self.plain: list[Tensor] = []
        self.judged: list[Tensor] = []
        self.full: list[Tensor] = []

    def add(self, terms: Tensor, weights: Tensor, of_boxes: Tensor | None) -> None:
        """Terms (M, n) of an image, their weights (M,), and those of boxes."""
        weighted = terms * weights[:, None]
        self.plain.append(terms.detach().sum())
        self.judged.append(weighted.detach().sum())
        self.full.append((weighted if of_boxes is None else weighted * of_boxes[:, None]).sum())

    def weighted(self) -> Tensor:
        """All terms times their weights."""
        return sum_in_order(self.full)

    def scaled(self) -> Tensor:
        """The same, scaled so that the weights that are no box's leave the sum as it is."""
        return self.weighted() * same_sum(sum_in_order(self.plain), sum_in_order(self.judged))


def _of(weights: Tensor | None, chosen: Tensor) -> Tensor | None:
    return None if weights is None else weights[chosen]


build = Builder(RetinaNetNoisySettings, RetinaNetNoisy)
