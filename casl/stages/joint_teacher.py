"""What a teacher finds in its view of an image, and what a student makes of it: one class a kind of detector.

Source: Soft Teacher (ICCV 2021), ssod/models/soft_teacher.py. For dense detectors its box head and its regions are
replaced by neighbours and locations: docs/method.md, "Joint training".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from casl.catalog import row
from casl.models.detect import Detections, candidates, to_original
from casl.models.detector import Target, in_shapes
from casl.models.fcos import FCOS
from casl.models.frameworks import two_sets as of_regions
from casl.models.frameworks.faster_rcnn import FasterRCNN
from casl.models.head import HeadOutput
from casl.models.locations import Grid
from casl.models.pseudo_boxes import COPIES, background_weights, jittered, passing, spread, uncertainty
from casl.models.two_sets import losses_of_sets
from casl.spec.joint_kind import Joint, is_of_boxes
from casl.train.views import moved

Losses = dict[str, Tensor]


@dataclass(frozen=True)
class Seen:
    """What a teacher found in one image, in the pixels of its view.

    Attributes:
        boxes: (N, 4) XYXY, clipped to the view, those in at least one of the sets.
        labels: (N,) int64.
        classes: (N,) bool, the set that classes learn from.
        sides: (N,) bool, the set that boxes learn from.
        best: () highest score, passing or not; 0 where nothing was found.
        background: how sure the teacher is that there is none of its objects, (P,) float32, at P places of the view in
            the terms of its kind of detector; None where it is not asked.
        masks: (N, height, width) bool, or None.
    """

    boxes: Tensor
    labels: Tensor
    classes: Tensor
    sides: Tensor
    best: Tensor
    background: Callable[..., Tensor] | None = None
    masks: Tensor | None = None


@dataclass(frozen=True)
class Glance:
    """Where a teacher saw an image that its student has another view of.

    Attributes:
        seen: what it found.
        back: (3, 3) from XY coordinates of the student's view to those of the teacher's.
    """

    seen: Seen
    back: Tensor

    def background(self, *places: Tensor) -> Tensor:
        """What `seen.background` gives for places."""
        assert self.seen.background is not None
        return self.seen.background(*places)


class Teaching(Protocol):
    """How a kind of detector is a teacher and a student."""

    def look(self, teacher: Any, images: Sequence[Tensor]) -> list[Seen]:
        """What a teacher in evaluation mode finds in images (3, h, w). It draws nothing from torch's generator."""

    def supervised(self, student: Any, images: Sequence[Tensor], targets: Sequence[Target]) -> Losses:
        """Losses of labeled images."""

    def unsupervised(
        self,
        student: Any,
        images: Sequence[Tensor],
        classes: Sequence[Target],
        boxes: Sequence[Target],
        glances: Sequence[Glance],
    ) -> Losses:
        """Losses of unlabeled images, under the names of `supervised`.

        Args:
            classes, boxes: targets of each image, from pseudo boxes in the pixels of `images`; one list where both
                learn from the same.
            glances: one an image for a soft background, else none.
        """


def teaching_of(stage: Joint) -> Teaching:
    """That of the stage's detector."""
    kinds = {"dense": DenseTeaching, "regions": RegionTeaching}
    return kinds.get(row("detector", stage.model.detector).teaches, PlainTeaching)(stage)


def sets_of(stage: Joint, scores: Tensor, spreads: Tensor | None) -> tuple[Tensor, Tensor]:
    """Which of N boxes classes learn from, and which boxes, (N,) bool each.

    Args:
        stage: its threshold, relaxation and rule.
        scores: (N,).
        spreads: (N,), how unsure the teacher is of their sides; needed by the rule "spread" only.
    """
    classes = passing(scores, stage.threshold, stage.relax)
    if stage.box_rule == "spread":
        assert spreads is not None
        return classes, (scores > stage.floor) & (spreads < stage.spread)
    return classes, classes if stage.box_rule == "all" else torch.zeros_like(classes)


class PlainTeaching:
    """Of any detector: boxes as it predicts them, losses as it has them, one set for all."""

    def __init__(self, stage: Joint) -> None:
        self.stage = stage

    def look(self, teacher: Any, images: Sequence[Tensor]) -> list[Seen]:
        """As in Teaching."""
        sizes = [(image.shape[1], image.shape[2]) for image in images]
        found = []
        for objects in teacher.predict(images, sizes):
            classes, sides = sets_of(self.stage, objects["scores"], None)
            keep = classes | sides
            best = _best(objects["scores"])
            found.append(Seen(objects["boxes"][keep], objects["labels"][keep], classes[keep], sides[keep], best))
        return found

    def supervised(self, student: Any, images: Sequence[Tensor], targets: Sequence[Target]) -> Losses:
        """As in Teaching."""
        losses: Losses = student.losses(images, targets)
        return losses

    def unsupervised(
        self,
        student: Any,
        images: Sequence[Tensor],
        classes: Sequence[Target],
        boxes: Sequence[Target],
        glances: Sequence[Glance],
    ) -> Losses:
        """As in Teaching."""
        assert boxes is classes and not glances
        return self.supervised(student, images, classes)


class DenseTeaching(PlainTeaching):
    """Of FCOS and CondInst."""

    @torch.no_grad()
    def look(self, teacher: FCOS, images: Sequence[Tensor]) -> list[Seen]:
        """As in Teaching; `background` takes points, levels and a matrix as `background_weights`."""
        sizes = [(image.shape[1], image.shape[2]) for image in images]

        def of_shape(some: list[Tensor], originals: list[tuple[int, int]]) -> list[dict[str, Tensor]]:
            output = teacher.outputs(teacher.preprocess(some))
            judged = [
                self._judged(teacher, output, index, *of_image)
                for index, of_image in enumerate(
                    zip(teacher.detect(output), self._candidates(teacher, output), originals, strict=True)
                )
            ]
            found = teacher.results([kept for kept, _ in judged], output, some, originals)
            return [result | sets for result, (_, sets) in zip(found, judged, strict=True)]

        def background(entries: dict[str, Tensor], size: tuple[int, int]) -> Callable[..., Tensor]:
            strides = teacher.settings.strides
            cells = [entries[f"level{number}"] for number in range(len(strides))]
            return partial(background_weights, cells, strides, size=size)

        found = in_shapes(images, sizes, of_shape)
        soft = background if self.stage.soft_background else _unasked
        return [_seen(entries, soft(entries, size)) for entries, size in zip(found, sizes, strict=True)]

    def _candidates(self, teacher: FCOS, output: HeadOutput) -> Sequence[Detections | None]:
        if self.stage.box_rule != "spread":
            return [None] * len(output.logits[0])
        return candidates(output, teacher.locations(output), teacher.settings.strides, teacher.settings.inference)

    def _judged(
        self,
        teacher: FCOS,
        output: HeadOutput,
        index: int,
        found: Detections,
        every: Detections | None,
        size: tuple[int, int],
    ) -> tuple[Detections, dict[str, Tensor]]:
        """Detections in one image that are in a set, and these sets."""
        scores = found.scores if self.stage.score == "detection" else class_probability(teacher, output, index, found)
        spreads = None
        if every is not None:
            spreads = spread(found.boxes, found.labels, every.boxes, every.scores, every.labels)
        classes, sides = sets_of(self.stage, scores, spreads)
        keep = (classes | sides) & to_original(found.boxes, size, size)[1]
        sets = {"classes": classes[keep], "sides": sides[keep], "best": _best(scores)}
        if self.stage.soft_background:
            sets |= {f"level{n}": level[index].float().sigmoid().amax(0) for n, level in enumerate(output.logits)}
        return found.select(keep), sets

    def unsupervised(
        self,
        student: FCOS,
        images: Sequence[Tensor],
        classes: Sequence[Target],
        boxes: Sequence[Target],
        glances: Sequence[Glance],
    ) -> Losses:
        """As in Teaching."""

        def weights(grid: Grid) -> Tensor:
            return torch.stack([glance.background(grid.points, grid.levels, glance.back) for glance in glances])

        return losses_of_sets(student, images, classes, boxes, weights if glances else None)


class RegionTeaching(PlainTeaching):
    """Of Faster R-CNN, as published."""

    @torch.no_grad()
    def look(self, teacher: FasterRCNN, images: Sequence[Tensor]) -> list[Seen]:
        """As in Teaching; `background` takes (R, 4) boxes. The jitter follows from the iteration's seed, image after
        image."""
        sizes = [(image.shape[1], image.shape[2]) for image in images]
        generator = torch.Generator().manual_seed(torch.initial_seed())

        def of_shape(some: list[Tensor], originals: list[tuple[int, int]]) -> list[dict[str, Tensor]]:
            batch = teacher.batch(some)
            pyramid = teacher.features(batch.tensors)
            found = teacher.detect(batch, pyramid, teacher.settings.inference)
            alone = [{name: level[i : i + 1] for name, level in pyramid.items()} for i in range(len(some))]
            return [
                self._judged(teacher, *of_image, generator) | of_image[1]
                for of_image in zip(found, alone, originals, strict=True)
            ]

        def background(entries: dict[str, Tensor], size: tuple[int, int]) -> Callable[..., Tensor]:
            pyramid = {name: entries[name] for name in entries if name.isdigit()}
            return partial(of_regions.background_probability, teacher, pyramid, size=size)

        soft = background if self.stage.soft_background else _unasked
        found = in_shapes(images, sizes, of_shape)
        return [_seen(entries, soft(entries, size)) for entries, size in zip(found, sizes, strict=True)]

    def _judged(
        self,
        teacher: FasterRCNN,
        found: dict[str, Tensor],
        pyramid: dict[str, Tensor],
        size: tuple[int, int],
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Boxes of one image that are in a set, and these sets."""
        boxes, labels, scores = found["boxes"], found["labels"] - teacher.first_label, found["scores"]
        spreads = torch.full_like(scores, torch.inf)
        if self.stage.box_rule == "spread":
            asked = scores > self.stage.floor
            copies = jittered(boxes[asked], generator=generator)
            of_copies = labels[asked].repeat(COPIES)
            moved_back = of_regions.refined(teacher, pyramid, copies.flatten(0, 1), of_copies, size)
            spreads[asked] = uncertainty(moved_back.reshape(copies.shape)).mean(dim=1)
        classes, sides = sets_of(self.stage, scores, spreads)
        keep = (classes | sides) & (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
        sets = {"classes": classes[keep], "sides": sides[keep], "best": _best(scores)}
        return {"boxes": boxes[keep], "labels": labels[keep], **sets}

    def supervised(self, student: FasterRCNN, images: Sequence[Tensor], targets: Sequence[Target]) -> Losses:
        """As in Teaching."""
        if not self.stage.focal:
            return super().supervised(student, images, targets)
        return of_regions.losses_of_sets(student, images, targets, targets, focal=self.stage.focal)

    def unsupervised(
        self,
        student: FasterRCNN,
        images: Sequence[Tensor],
        classes: Sequence[Target],
        boxes: Sequence[Target],
        glances: Sequence[Glance],
    ) -> Losses:
        """As in Teaching. Where no pseudo box teaches boxes, the proposals' do not learn either."""

        def background(regions: list[Tensor]) -> list[Tensor]:
            return [glance.background(moved(of, glance.back)) for glance, of in zip(glances, regions, strict=True)]

        soft, none = background if glances else None, self.stage.box_rule == "none"
        located = classes if none else boxes
        losses = of_regions.losses_of_sets(student, images, classes, located, soft, self.stage.focal)
        return {name: value * 0.0 if none and is_of_boxes(name) else value for name, value in losses.items()}


def class_probability(detector: FCOS, output: HeadOutput, index: int, found: Detections) -> Tensor:
    """(N,) probabilities of the classes of detections in one image, without their centre-ness."""
    result = found.scores.new_zeros(len(found.scores))
    for number, (level, stride) in enumerate(zip(output.logits, detector.settings.strides, strict=True)):
        here = found.levels == number
        columns, rows = (found.locations[here] / stride).floor().long().unbind(1)
        result[here] = level[index, found.labels[here], rows, columns].float().sigmoid()
    return result


def _seen(entries: dict[str, Tensor], background: Callable[..., Tensor] | None) -> Seen:
    boxes, labels, classes, sides, best = (entries[name] for name in ("boxes", "labels", "classes", "sides", "best"))
    return Seen(boxes, labels, classes, sides, best, background, entries.get("masks"))


def _unasked(entries: dict[str, Tensor], size: tuple[int, int]) -> None:
    """No background."""


def _best(scores: Tensor) -> Tensor:
    return scores.max() if len(scores) else scores.new_zeros(())
