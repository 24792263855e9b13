"""NoisyAnchor: anchors are judged by the detector's own outputs, and learn as much as they are worth.

The *cleanliness* of a positive anchor mixes how well its regressed box fits its object with how probable it finds the
object's class. It takes the place of the class target 1, and through f(x) = 1/(1 - x) it weighs the anchor's losses.
All of it is a target: nothing here has a gradient but the loss terms.

Two forms of both exist: "literal" as the text defines them, "released" as the authors' code computes them.

Source: Learning from Noisy Anchors for One-Stage Object Detection (CVPR 2020) eq. 2.1-2.6 in the numbering of chapter 2
of its author's dissertation; github.com/henrylee2570/NoisyAnchor. What differs, and what is ours: docs/dissertation.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from casl.errors import SpecError, unknown

LABELS = ("released", "literal", "hard")  # hard: positives learn 1
BETA = 0.1  # of smooth L1, as released
MOMENTUM, START = 0.9, 100.0  # of the normaliser, as released
NEAREST = 1.0 - 1e-6  # f is infinite at 1, and an IoU of 1 happens
FLAT = 1e-6  # range of scores below which there is nothing to stretch
STEEPEST = 5.0  # f is at most 1e6: its fifth power is a float32, its seventh is none


@dataclass(frozen=True)
class Rule:
    """How positives are judged.

    Attributes:
        alpha: share of the localisation in [0, 1]; the rest is the classification's.
        gamma: power of the weights, in [0, STEEPEST]; 0 weighs all alike.
        label: one of LABELS. The weights of "hard" are the released ones.

    Raises:
        SpecError: a value is out of its range.
    """

    alpha: float = 0.75
    gamma: float = 1.0
    label: str = "released"

    def __post_init__(self) -> None:
        if self.label not in LABELS:
            raise SpecError(unknown("label of anchors", self.label, LABELS))
        if not 0.0 <= self.alpha <= 1.0:
            raise SpecError(f"alpha is the share of the localisation in the cleanliness, in [0, 1], got {self.alpha}")
        if not 0.0 <= self.gamma <= STEEPEST:
            raise SpecError(
                f"gamma is the power of the weights, in [0, {STEEPEST:g}], got {self.gamma}: 0 weighs all anchors alike"
            )

    @torch.no_grad()
    def judge(self, loc: Tensor, cls: Tensor) -> tuple[Tensor, Tensor]:
        """Targets and weights, (P,) each, of the P positives of one image.

        Args:
            loc: (P,) IoU of the regressed box with its object.
            cls: (P,) predicted probability of the object's class.
        """
        literal = self.label == "literal"
        weights = (literal_weights if literal else released_weights)(loc, cls, self.alpha, self.gamma)
        if self.label == "hard":
            return torch.ones_like(loc), weights
        return (cleanliness if literal else released_labels)(loc, cls, self.alpha), weights


@dataclass(frozen=True)
class TopAnchors:
    """The anchors of one image that objects have chosen.

    Attributes:
        matches: (A,) int64, row of the object that each anchor overlaps most, even if another one chose it; of equal
            ones the first, so that an anchor without any overlap has 0. Zeros without objects.
        chosen: (K,) int64, the anchors chosen by the first object from its worst to its best, then by the second, and
            so on. An anchor that two objects choose is there twice.
    """

    matches: Tensor
    chosen: Tensor

    @property
    def positive(self) -> Tensor:
        """(A,) bool, anchors that at least one object chose."""
        found = torch.zeros_like(self.matches, dtype=torch.bool)
        found[self.chosen] = True
        return found


def top_anchors(iou: Tensor, count: int, overlapping: bool = True) -> TopAnchors:
    """The `count` anchors of highest IoU of every object; there is no threshold and no band that is left out.

    Args:
        iou: (N, A) of N >= 0 objects with A anchors as they are, before regression.
        count: of an object, at least 1; all anchors where there are fewer. Of equal ones the later are chosen.
        overlapping: drop choices whose IoU is 0. Without, as released, an object with fewer overlapping anchors chooses
            some that have nothing to do with it.

    Raises:
        SpecError: `count` is below 1.
    """
    check_count(count)
    if not len(iou):
        none = torch.zeros(iou.shape[1], dtype=torch.int64, device=iou.device)
        return TopAnchors(none, none[:0])
    best, order = (part[:, -count:].flatten() for part in iou.sort(dim=1, stable=True))
    return TopAnchors(iou.argmax(dim=0), order[best > 0] if overlapping else order)


def check_count(count: int) -> None:
    """Whether an object may choose so many anchors.

    Raises:
        SpecError: it may not.
    """
    if count < 1:
        raise SpecError(f"every object chooses at least 1 anchor (top_n), got {count}")


def paired_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """IoU of each box with its own partner, (P,) in [0, 1]; 0 where both are empty.

    Args:
        boxes, others: (P, 4) XYXY, any unit.
    """

    def area(of: Tensor) -> Tensor:
        return (of[:, 2:] - of[:, :2]).clamp(min=0).prod(dim=1)

    upper, lower = torch.maximum(boxes[:, :2], others[:, :2]), torch.minimum(boxes[:, 2:], others[:, 2:])
    shared = (lower - upper).clamp(min=0).prod(dim=1)
    return shared / (area(boxes) + area(others) - shared).clamp(min=torch.finfo(shared.dtype).tiny)


def cleanliness(loc: Tensor, cls: Tensor, alpha: float) -> Tensor:
    """alpha * loc + (1 - alpha) * cls (eq. 2.3): also the literal soft label. Arguments as of `Rule`."""
    return alpha * loc + (1.0 - alpha) * cls


def spread(x: Tensor) -> Tensor:
    """f(x) = 1/(1 - x) of x in [0, 1]; above NEAREST as at NEAREST, where the source is infinite."""
    return 1.0 / (1.0 - x.clamp(max=NEAREST))


def literal_weights(loc: Tensor, cls: Tensor, alpha: float, gamma: float) -> Tensor:
    """(alpha * f(loc) + (1 - alpha) * f(cls)) ** gamma (eq. 2.4), divided by its mean. Arguments as of `Rule`."""
    return _to_mean_one(cleanliness(spread(loc), spread(cls), alpha) ** gamma)


def released_weights(loc: Tensor, cls: Tensor, alpha: float, gamma: float) -> Tensor:
    """As `literal_weights`, with f(loc) and f(cls) each divided by its own mean first. The released code has no gamma;
    here it comes after mixing."""
    return _to_mean_one(cleanliness(_to_mean_one(spread(loc)), _to_mean_one(spread(cls)), alpha) ** gamma)


def released_labels(loc: Tensor, cls: Tensor, alpha: float) -> Tensor:
    """alpha * loc / mean(loc) + (1 - alpha) * cls / mean(cls), stretched to [mean(loc), 1]. Arguments as of `Rule`.

    So the best positive of an image has label 1, however bad it is. Where all are equal, or there is one, all have 1;
    the released code divides by zero there.
    """
    if not len(loc):
        return loc
    mixed = cleanliness(_to_mean_one(loc), _to_mean_one(cls), alpha)
    low, reach = mixed.min(), mixed.max() - mixed.min()
    least = loc.mean()
    stretched = least + (mixed - low) * ((1.0 - least) / reach.clamp(min=FLAT))
    return torch.where(reach < FLAT, torch.ones_like(stretched), stretched)


def soft_focal(logits: Tensor, targets: Tensor, alpha: float, gamma: float = 2.0) -> Tensor:
    """Focal loss of soft targets, each term as it is: -c a (1-p)^g log p - (1-c) (1-a) p^g log(1-p).

    With targets 0 and 1 it is torchvision's `sigmoid_focal_loss`; with others it is not, which weighs both terms by the
    distance of p and c.

    Args:
        logits: any shape.
        targets: c in [0, 1], of that shape.
        alpha: a, share of the terms of objects; the released code takes 0.5 with soft labels.
        gamma: g.
    """
    p = logits.sigmoid()
    found = targets * alpha * (1.0 - p) ** gamma * functional.logsigmoid(logits)
    rest = (1.0 - targets) * (1.0 - alpha) * p**gamma * functional.logsigmoid(-logits)
    return -(found + rest)


def smooth_l1(found: Tensor, wanted: Tensor, beta: float = BETA) -> Tensor:
    """Smooth L1, each term as it is, quadratic below beta."""
    return functional.smooth_l1_loss(found, wanted, beta=beta, reduction="none")


def same_sum(plain: Tensor, weighted: Tensor) -> Tensor:
    """What weighted terms are multiplied by so that their sum stays what it was, without gradient: only the gradient of
    the terms changes. 1 where weights leave nothing of the sum.

    Args:
        plain: scalar, sum of terms >= 0.
        weighted: scalar, sum of the terms times their weights.
    """
    left = weighted.detach()
    return torch.where(left > 0, plain.detach() / left, torch.ones_like(left))


def reweighted(terms: Tensor, weights: Tensor) -> Tensor:
    """Terms (M, ...) >= 0 times weights (M,) >= 0, with the sum that they had without; see `same_sum`."""
    weighted = terms * weights.reshape(-1, *[1] * (terms.dim() - 1))
    return weighted * same_sum(terms.sum(), weighted.sum())


class Normaliser(nn.Module):
    """What losses are divided by: a moving average of the number of positives of a batch, at least 1.

    Args:
        start: its value before the first batch; 0 for the number of positives of that batch.

    Attributes:
        average: scalar float32, a buffer, so that checkpoints have it.
    """

    average: Tensor

    def __init__(self, start: float = START) -> None:
        super().__init__()
        if start < 0:
            raise SpecError(f"a number of positives to start from is at least 0, got {start}")
        self.register_buffer("average", torch.tensor(float(start)))

    def move(self, positives: Tensor) -> Tensor:
        """Take in the positives of a batch; the average after it, not below 1."""
        count = positives.to(self.average)
        before = torch.where(self.average > 0, self.average, count)
        self.average.copy_(MOMENTUM * before + (1.0 - MOMENTUM) * count)
        return self.average.clamp(min=1.0)


def _to_mean_one(values: Tensor) -> Tensor:
    """Values >= 0 divided by their mean; zeros stay zeros."""
    return values / values.mean().clamp(min=torch.finfo(values.dtype).tiny) if len(values) else values
