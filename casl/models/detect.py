"""From the predictions of all locations to the detections of an image.

Source: AdelaiDet, adet/modeling/fcos/fcos_outputs.py (threshold, per-level best, class-wise suppression, the best
hundred).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torchvision.ops import nms

from casl.errors import SpecError, unknown
from casl.models.exact import square_root
from casl.models.head import HeadOutput
from casl.rows import SUPPRESSIONS


@dataclass(frozen=True)
class InferenceSettings:
    """How many predictions become detections.

    Attributes:
        score_threshold: the class probability must exceed it.
        topk: candidates kept per level before suppression.
        nms: IoU with a better box of the same class above which a box is dropped.
        max_detections: kept per image over all classes; those that tie with the last one stay too.
        threshold_on_product: compare class probability times centre-ness with the threshold (CondInst's
            configuration) instead of the class probability alone (FCOS and Entity).
        suppression: one of SUPPRESSIONS. "hard" drops a box, Soft-NMS lowers its score, see
            casl/models/suppression.py; what `score_threshold` does not pass then, is dropped too.
        sigma: width of the gaussian of Soft-NMS.
        masks: False spares a detector its mask heads where boxes are all that is wanted; only htc has such a choice.
        decayed: whether Soft-NMS returns lowered scores; False where several views are suppressed together later.

    Raises:
        SpecError: a number is out of its range, or the suppression is unknown.
    """

    score_threshold: float = 0.05
    topk: int = 1000
    nms: float = 0.6
    max_detections: int = 100
    threshold_on_product: bool = False
    suppression: str = "hard"
    sigma: float = 0.5
    masks: bool = True
    decayed: bool = True

    def __post_init__(self) -> None:
        if self.suppression not in SUPPRESSIONS:
            raise SpecError(unknown("suppression", self.suppression, SUPPRESSIONS))
        if not self.sigma > 0:
            raise SpecError(f"sigma is the width of a gaussian, above 0, got {self.sigma}")
        if not (0.0 <= self.score_threshold < 1.0 and 0.0 < self.nms <= 1.0):
            raise SpecError(f"score threshold {self.score_threshold} must be in [0, 1), nms {self.nms} in (0, 1]")
        if self.topk < 1 or self.max_detections < 1:
            raise SpecError(f"topk {self.topk} and max_detections {self.max_detections} must be at least 1")

    @property
    def of_view(self) -> InferenceSettings:
        """Of one view among several: as they are, with the scores that all views are suppressed by."""
        return replace(self, decayed=False)


def check_hard(settings: InferenceSettings) -> None:
    """Of a detector that only has hard suppression.

    Raises:
        SpecError: another one is asked for.
    """
    if settings.suppression != "hard":
        raise SpecError(
            f"{settings.suppression!r} suppression was asked of a detector that has hard suppression only; "
            "cascade_rcnn and htc have all.\n  leave the suppression out, or choose one of them."
        )


@dataclass
class Detections:
    """Detections of one image, best first.

    Attributes:
        boxes: (N, 4) XYXY in pixels of the resized image, not clipped to it.
        scores: (N,) square root of class probability times centre-ness.
        labels: (N,) int64.
        locations: (N, 2) x and y that predicted them.
        levels: (N,) int64, 0 for the finest.
        kernels: (N, K) float32, None without a controller.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    locations: Tensor
    levels: Tensor
    kernels: Tensor | None

    def select(self, index: Tensor) -> Detections:
        """Those of an index or mask."""
        kernels = None if self.kernels is None else self.kernels[index]
        return Detections(
            self.boxes[index],
            self.scores[index],
            self.labels[index],
            self.locations[index],
            self.levels[index],
            kernels,
        )


@dataclass(frozen=True)
class _Level:
    """One level of a batch; n locations."""

    product: Tensor  # (B, n, C)
    passes: Tensor  # (B, n, C)
    ltrb: Tensor  # (B, n, 4) pixels
    points: Tensor  # (n, 2)
    kernels: Tensor | None  # (B, K, n)


def _rows(level: Tensor) -> Tensor:
    return level.flatten(2).transpose(1, 2).float()


def _levels(
    output: HeadOutput, locations: Sequence[Tensor], strides: Sequence[int], settings: InferenceSettings
) -> list[_Level]:
    levels = []
    for i, (points, stride) in enumerate(zip(locations, strides, strict=True)):
        probability = _rows(output.logits[i]).sigmoid()
        product = probability * _rows(output.center[i]).sigmoid()
        passes = (product if settings.threshold_on_product else probability) > settings.score_threshold
        kernels = None if output.kernels is None else output.kernels[i].flatten(2)
        levels.append(_Level(product, passes, _rows(output.ltrb[i]) * stride, points, kernels))
    return levels


def _best(level: _Level, image: int, topk: int) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, cells and classes of the candidates of one level; of equal scores the earlier location is kept."""
    index = level.passes[image].flatten().nonzero().squeeze(1)
    scores = level.product[image].flatten()[index]
    if len(index) > topk:
        scores, order = scores.sort(descending=True, stable=True)
        scores, index = scores[:topk], index[order[:topk]]
    num_classes = level.product.shape[2]
    return scores, index // num_classes, index % num_classes


def suppress(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Non-maximum suppression within each class.

    Args:
        boxes: (N, 4) XYXY, any range, negative too.
        scores: (N,).
        labels: (N,) int64.
        threshold: IoU; a box goes if it overlaps a better one of its class by more.

    Returns:
        (M,) int64, indices of the kept boxes, best first, of equal scores the earlier first.
    """
    if len(boxes) == 0:
        return labels.new_zeros(0)
    # classes are laid out side by side; float64, since 80 classes side by side cost float32 a hundredth of a pixel
    wide = boxes.double() - boxes.min()
    keep: Tensor = nms(wide + (labels * (wide.max() + 1.0))[:, None], scores.double(), threshold)
    return keep


def _candidates(levels: Sequence[_Level], image: int, settings: InferenceSettings) -> tuple[Detections, Tensor]:
    """Candidates before suppression, without kernels, and their cells."""
    found = [_best(level, image, settings.topk) for level in levels]
    scores = square_root(torch.cat([score for score, _, _ in found]))
    labels = torch.cat([label for _, _, label in found])
    numbers = torch.cat([torch.full_like(cell, i) for i, (_, cell, _) in enumerate(found)])
    points = torch.cat([level.points[cell] for level, (_, cell, _) in zip(levels, found, strict=True)])
    ltrb = torch.cat([level.ltrb[image, cell] for level, (_, cell, _) in zip(levels, found, strict=True)])
    boxes = torch.cat((points - ltrb[:, :2], points + ltrb[:, 2:]), dim=1)
    return Detections(boxes, scores, labels, points, numbers, None), torch.cat([cell for _, cell, _ in found])


def _join(levels: Sequence[_Level], image: int, settings: InferenceSettings) -> Detections:
    every, cells = _candidates(levels, image, settings)
    keep = suppress(every.boxes, every.scores, every.labels, settings.nms)
    if len(keep) > settings.max_detections:
        keep = keep[every.scores[keep] >= every.scores[keep[settings.max_detections - 1]]]
    found = every.select(keep)
    return replace(found, kernels=_kernels(levels, image, found.levels, cells[keep]))


def _kernels(levels: Sequence[_Level], image: int, numbers: Tensor, cells: Tensor) -> Tensor | None:
    if levels[0].kernels is None:
        return None
    result = levels[0].kernels.new_empty(len(cells), levels[0].kernels.shape[1])
    for i, level in enumerate(levels):
        assert level.kernels is not None
        here = numbers == i
        result[here] = level.kernels[image][:, cells[here]].T
    return result.float()


def select(
    output: HeadOutput, locations: Sequence[Tensor], strides: Sequence[int], settings: InferenceSettings
) -> list[Detections]:
    """The detections of every image of a batch.

    Args:
        output: of the head.
        locations: per level (n, 2), x and y in pixels of the padded image.
        strides: per level, pixels.
        settings: thresholds.

    Returns:
        One Detections an image; none found is legal.

    Raises:
        SpecError: another than hard suppression is asked for.

    Source: CondInst and FCOS inference, AdelaiDet adet/modeling/fcos/fcos_outputs.py.
    """
    check_hard(settings)
    levels = _levels(output, locations, strides, settings)
    return [_join(levels, image, settings) for image in range(len(output.logits[0]))]


def candidates(
    output: HeadOutput, locations: Sequence[Tensor], strides: Sequence[int], settings: InferenceSettings
) -> list[Detections]:
    """As `select`, before suppression: the best of each level of every image, without kernels, in no order."""
    levels = _levels(output, locations, strides, settings)
    return [_candidates(levels, image, settings)[0] for image in range(len(output.logits[0]))]


def to_original(boxes: Tensor, size: tuple[int, int], original: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Boxes of the resized image in the coordinates of the original one, clipped.

    Args:
        boxes: (N, 4) XYXY in the resized image.
        size: (height, width) of the resized image, without padding.
        original: (height, width) of the original image.

    Returns:
        (N, 4) XYXY clipped to the original image, and (N,) bool: False for a box of which nothing is left inside.
    """
    (height, width), (old_height, old_width) = original, size
    ratio = boxes.new_tensor([width / old_width, height / old_height] * 2)
    limit = boxes.new_tensor([width, height] * 2)
    clipped = torch.minimum((boxes * ratio).clamp(min=0), limit)
    return clipped, (clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])
