"""Boxes whose sides are found by classification: which interval of a segment holds a side, how certain that is.

Each side of a candidate box is looked for by itself, in the order left, top, right, bottom. A segment perpendicular to
the side is centred on it and `span` widths (left, right) or heights (top, bottom) of the candidate long; it is cut into
`intervals` equal ones, numbered by rising coordinate. They are half open: a side on a border belongs to the interval of
higher coordinate, at the end of the segment to the last one.

Source: certainty-aware pseudo labels (AAAI 2022; chapter 3 of the dissertation), 3.3 to 3.5. Nothing was released; what
the text leaves open is in docs/dissertation.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from casl.errors import SpecError, unknown
from casl.models.exact import square_root

FORMS = ("bce", "softmax", "literal")
SCORES = ("p", "pv", "root")
BETA = 0.1  # offset in intervals below which the refinement is quadratic
MOST_INTERVALS, LONGEST_SPAN = 1000, 10.0


@dataclass(frozen=True)
class Sides:
    """Where the sides of objects lie on the segments of their candidates.

    Attributes:
        index: (N, 4) int64, the interval that holds the side, the first or last for one outside of its segment.
        offset: (N, 4) of the dtype of the boxes, from that interval's centre line to the side, in intervals; 0 for one
            outside, which is not refined.
        inside: (N, 4) bool, whether the side lies on its segment.
    """

    index: Tensor
    offset: Tensor
    inside: Tensor


class Reach(NamedTuple):
    """How far sides of a box may be from an object's at a given IoU, in widths of the box.

    Attributes:
        outward, inward: one side alone.
        both: both sides moved the same way.
    """

    outward: float
    inward: float
    both: float


def check_intervals(intervals: int, span: float) -> None:
    """Refuse numbers that are no way to cut a segment.

    Raises:
        SpecError: fewer than 2 intervals or more than 1,000; a span that is not above 0 and at most 10.
    """
    if not 2 <= intervals <= MOST_INTERVALS:
        raise SpecError(
            f"a segment is cut into 2 to {MOST_INTERVALS:,} intervals, got {intervals}\n  the dissertation has 30."
        )
    if not 0.0 < span <= LONGEST_SPAN:
        raise SpecError(
            f"span is the length of a segment in widths or heights of the box, above 0 and at most {LONGEST_SPAN:g}, "
            f"got {span:g}\n  2 holds every side of a box whose IoU is .5 or more."
        )


def place_sides(boxes: Tensor, objects: Tensor, intervals: int = 30, span: float = 2.0) -> Sides:
    """What a candidate should say of its object.

    Args:
        boxes: (N, 4) XYXY, pixels, candidates with a width and a height.
        objects: (N, 4) XYXY, pixels, the object of each.
        intervals: K. span: length of a segment, in sides of the candidate.
    """
    wide, near = boxes.double(), objects.double()
    # whole numbers times K are exact, so that one division decides on which side of a border an object's side lies
    position = (near - wide) * intervals / (span * _lengths(wide)) + intervals / 2
    inside = (position >= 0) & (position <= intervals)
    index = position.floor().clamp(0, intervals - 1)
    offset = torch.where(inside, position - index - 0.5, 0.0).to(boxes.dtype)
    return Sides(index.long(), offset, inside)


def interval_centers(boxes: Tensor, index: Tensor, intervals: int = 30, span: float = 2.0) -> Tensor:
    """(N, 4) coordinates of the centre lines of intervals (N, 4) int64, pixels; other arguments as in `place_sides`."""
    return sides_at(boxes, index, torch.zeros_like(boxes), intervals, span)


def sides_at(boxes: Tensor, index: Tensor, offset: Tensor, intervals: int = 30, span: float = 2.0) -> Tensor:
    """The box that intervals and offsets stand for: the inverse of `place_sides` for sides on their segments.

    Args:
        boxes: (N, 4) XYXY, pixels, the candidates.
        index: (N, 4) int64. offset: (N, 4), in intervals from the centre line.
        intervals, span: as in `place_sides`.

    Returns:
        (N, 4) XYXY, pixels, of the dtype of the boxes; left may exceed right where a head contradicts itself.
    """
    place = index.to(boxes.dtype) + (0.5 - intervals / 2) + offset
    return boxes + place * (_lengths(boxes) * (span / intervals))


def best_sides(boxes: Tensor, logits: Tensor, offsets: Tensor, span: float = 2.0) -> Tensor:
    """Boxes (N, 4) as a head has them: each side in its best interval, moved by what the head says for that one.

    Args:
        boxes: (N, 4) XYXY, pixels, the candidates.
        logits: (N, 4, K). offsets: (N, 4, K), in intervals.
        span: as in `place_sides`.
    """
    best = logits.argmax(dim=2, keepdim=True)
    return sides_at(boxes, best[..., 0], offsets.gather(2, best)[..., 0], logits.shape[2], span)


def interval_loss(logits: Tensor, index: Tensor, form: str = "bce") -> Tensor:
    """Loss of the interval of each side, the sum over its K terms.

    Args:
        logits: (..., K). index: (...) int64, the true interval.
        form: "bce", binary cross-entropy of all intervals; "softmax", cross-entropy; "literal", (3.3) as printed, which
            has the term of the true interval alone and is minimised by any logits that are large enough.

    Returns:
        (...), of the dtype of the logits.

    Raises:
        SpecError: unknown form.
    """
    _check_form(form)
    if form == "softmax":
        return functional.cross_entropy(logits.movedim(-1, 1), index, reduction="none")
    if form == "literal":
        return -functional.logsigmoid(logits.gather(-1, index[..., None])[..., 0])
    wanted = functional.one_hot(index, logits.shape[-1]).to(logits.dtype)
    return functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(dim=-1)


def refinement_loss(found: Tensor, wanted: Sides) -> Tensor:
    """Smooth L1 from what a head says for the true interval of each side, (3.5).

    Args:
        found: (N, 4), offsets in intervals, of the intervals `wanted.index`.
        wanted: of `place_sides`.

    Returns:
        (N, 4), 0 for sides outside of their segments.
    """
    terms = functional.smooth_l1_loss(found, wanted.offset, beta=BETA, reduction="none")
    return torch.where(wanted.inside, terms, 0.0)


def quality(logits: Tensor, form: str = "bce") -> Tensor:
    """v of (3.4): the mean over the sides of the probability of their best interval.

    Args:
        logits: (..., 4, K).
        form: what they were trained by; sigmoids unless "softmax".

    Returns:
        (...), in [0, 1].

    Raises:
        SpecError: unknown form.
    """
    _check_form(form)
    probabilities = logits.softmax(dim=-1) if form == "softmax" else logits.sigmoid()
    return probabilities.amax(dim=-1).mean(dim=-1)


def certainty(p: Tensor, v: Tensor, score: str = "root") -> Tensor:
    """The score of a box, from its class probability and the quality of its sides.

    Args:
        p, v: in [0, 1], of shapes that fit.
        score: "p", class probability alone; "pv", the product; "root", its square root, which is on the scale of a
            probability and in the order of the product.

    Raises:
        SpecError: unknown score.
    """
    if score not in SCORES:
        raise SpecError(unknown("score of boxes", score, SCORES))
    if score == "p":
        return p.expand_as(p * v)
    return p * v if score == "pv" else square_root(p * v)


def reach(iou: float) -> Reach:
    """How far sides may be from an object's for a box and the object to overlap by an IoU in (0, 1]."""
    if not 0.0 < iou <= 1.0:
        raise ValueError(f"an IoU is above 0 and at most 1, got {iou}")
    return Reach(1.0 / iou - 1.0, 1.0 - iou, (1.0 - iou) / (1.0 + iou))


def _lengths(boxes: Tensor) -> Tensor:
    """(N, 4): width, height, width, height."""
    return (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)


def _check_form(form: str) -> None:
    if form not in FORMS:
        raise SpecError(unknown("form of the interval loss", form, FORMS))
