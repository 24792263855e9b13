"""The graphs of FCOS and CondInst: candidates of every level, the best of each, suppression, masks.

The same steps as in casl/models/detect.py, without the branches that depend on how much is found.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from casl.errors import SpecError
from casl.models.condinst import MASK_THRESHOLD
from casl.models.detect import check_hard
from casl.models.graphs.graph import Graph, clipped, places
from casl.models.head import HeadOutput
from casl.models.mask_head import OUT_STRIDE, InstanceKernels, dynamic_masks
from casl.models.upsample import aligned_bilinear

Found = tuple[
    Tensor, ...
]  # boxes, scores, labels, and of CondInst locations, sizes of interest, kernels: (N, ...) each


class FCOSGraph(Graph):
    """FCOS."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        boxes, scores, labels, *_ = self.found(self.detector.outputs(self.batch(image)))
        boxes, inside = clipped(boxes, image)
        return boxes[inside], scores[inside], labels[inside]

    def found(self, output: HeadOutput) -> Found:
        """Detections in the padded image, best first."""
        check_hard(self.settings)
        levels = [self._level(output, number) for number in range(len(output.logits))]
        boxes, scores, labels, *more = (torch.cat(parts) for parts in zip(*levels, strict=True))
        classes = output.logits[0].shape[1]
        keep = self.operators.suppressed(boxes, scores, labels, int(classes), self.settings.nms)
        best, most = scores[keep], self.settings.max_detections
        last = torch.cat((best, best.new_zeros(most)))[most - 1]  # those that tie with it stay too
        keep = keep[places(best >= last)]
        return tuple(part[keep] for part in (boxes, scores, labels, *more))

    def _level(self, output: HeadOutput, number: int) -> Found:
        """The candidates of a level."""
        stride, settings = self.detector.settings.strides[number], self.settings
        probability = _rows(output.logits[number]).sigmoid()
        product = probability * _rows(output.center[number]).sigmoid()
        passes = (product if settings.threshold_on_product else probability) > settings.score_threshold
        index = places(passes.flatten())
        scores = product.flatten()[index]
        order = self.operators.best_first(scores)[: settings.topk]
        scores, index = scores[order].sqrt(), index[order]
        classes = probability.shape[1]
        cell = torch.div(index, classes, rounding_mode="floor")
        points = _points(output.logits[number], stride)[cell]
        ltrb = _rows(output.ltrb[number])[cell] * stride
        boxes = torch.cat((points - ltrb[:, :2], points + ltrb[:, 2:]), dim=1)
        return boxes, scores, index - cell * classes, *self._of_masks(output, number, cell, points)

    def _of_masks(self, output: HeadOutput, number: int, cell: Tensor, points: Tensor) -> Found:
        return ()


class CondInstGraph(FCOSGraph):
    """CondInst; with `non_overlap` each pixel belongs to the best entity that covers it."""

    outputs: ClassVar[tuple[str, ...]] = (*FCOSGraph.outputs, "masks")

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        settings = self.detector.settings
        if settings.mask_rescore:
            raise SpecError("mask_rescore orders entities anew by their masks, which the graph of condinst does not do")
        output = self.detector.outputs(self.batch(image))
        boxes, scores, labels, points, sizes, kernels = self.found(output)
        boxes, inside = clipped(boxes, image)
        kernels, points, sizes = (_one_more(part[inside]) for part in (kernels, points, sizes))
        instances = InstanceKernels(kernels, points, sizes, torch.zeros_like(_one_more(inside)))
        logits = dynamic_masks(output.mask_features, instances, settings.layout)
        enlarged = aligned_bilinear(logits.sigmoid(), OUT_STRIDE)[:-1]
        masks = enlarged[:, 0, : image.shape[1], : image.shape[2]] > MASK_THRESHOLD
        found = boxes[inside], scores[inside], labels[inside], masks
        return _apart(*found, inclusive=settings.inclusive_boxes) if settings.non_overlap else found

    def _of_masks(self, output: HeadOutput, number: int, cell: Tensor, points: Tensor) -> Found:
        assert output.kernels is not None
        sizes = torch.full_like(points[:, 0], self.detector.settings.sizes_of_interest[number])
        return points, sizes, _rows(output.kernels[number])[cell]


def _one_more(part: Tensor) -> Tensor:
    """(N, ...) with a row of ones behind: runtimes cannot reshape what has no element, where nothing is found."""
    return torch.cat((part, torch.ones_like(part[:1].sum(0, keepdim=True))))


def _rows(level: Tensor) -> Tensor:
    """(1, D, h, w) -> (h * w, D)."""
    return level[0].flatten(1).transpose(0, 1)


def _points(level: Tensor, stride: int) -> Tensor:
    """As `casl.models.locations.locations` for a map (1, C, h, w)."""
    ones = torch.ones_like(level[0, 0])
    xs = (ones.cumsum(1) - 1) * stride + stride // 2
    ys = (ones.cumsum(0) - 1) * stride + stride // 2
    return torch.stack((xs.flatten(), ys.flatten()), dim=1)


def _apart(boxes: Tensor, scores: Tensor, labels: Tensor, masks: Tensor, *, inclusive: bool) -> tuple[Tensor, ...]:
    """As `casl.models.overlap.resolve_overlaps` of masks that come best first."""
    whole = masks.float()
    taken = torch.cat((whole.new_zeros(1, *masks.shape[1:]), whole)).cumsum(0)[:-1]  # by better ones
    own = whole * (taken == 0)
    left, right = _first_last(own.amax(1))
    top, bottom = _first_last(own.amax(2))
    keep = places((right > left) & (bottom > top))
    spans = torch.stack((left, top, right, bottom), dim=1)
    return (spans if inclusive else boxes)[keep], scores[keep], labels[keep], own[keep] > 0


def _first_last(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """(N, L) of 0 and 1 -> (N,) first and last index of a 1; of none the last is before the first."""
    index = torch.ones_like(occupied).cumsum(1) - 1
    outside = (1 - occupied) * 1e9
    return (index + outside).amin(1), (index - outside).amax(1)
