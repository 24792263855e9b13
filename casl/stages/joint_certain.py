"""The learner of a joint training with rules by class: thresholds and weights that follow from how certain the student
is of each.

Source: certainty-aware pseudo labels (AAAI 2022; chapter 3 of the dissertation).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from casl.catalog import row
from casl.coco.records import Record
from casl.data.coco import CocoSplit
from casl.errors import DataError
from casl.models.by_class import Judged
from casl.models.by_class import losses_by_class as of_locations
from casl.models.class_statistics import ClassStatistics
from casl.models.frameworks.by_class import losses_by_class as of_regions
from casl.models.two_sets import emptied
from casl.spec.joint_kind import Joint
from casl.stages.feed import MixedFeed, image_tensor, target
from casl.stages.joint_learner import PASSED, REGRESSED, JointLearner, of_source
from casl.train.learner import WATCHED, Batch, Targets

LOWEST, HIGHEST = f"{WATCHED}lowest_threshold", f"{WATCHED}highest_weight"


class CertainLearner(JointLearner):
    """As JointLearner, of a fixed teacher whose labels have "scores".

    In each iteration thresholds and weights follow from all iterations before it. An image without a label that passes
    is left out of its batch, as it is where one threshold is applied when labels are read.

    Args:
        absent: positions of classes that no image has.
    """

    def __init__(
        self, detector: nn.Module, stage: Joint, say: Callable[[str], None], absent: Collection[int] = ()
    ) -> None:
        super().__init__(detector, stage, say)
        self.statistics = ClassStatistics(stage.model.classes, tuple(absent), stage.least_instances)
        self.module.add_module("statistics", self.statistics)
        dense = row("detector", stage.model.detector).teaches == "dense"
        self.judge: Callable[..., Judged] = of_locations if dense else of_regions

    def losses(self, images: list[Tensor], targets: Targets) -> dict[str, Tensor]:
        """As JointLearner's, and how low a threshold and how high a weight is."""
        thresholds, weights = self.rules()
        shown, own = of_source(images, targets, 1)
        passed = [passing(one, thresholds) for one in own]
        taught = [n for n, one in enumerate(passed) if len(one["labels"])]
        kinds: list[Batch] = [
            of_source(images, targets, 0),
            ([shown[n] for n in taught], [passed[n] for n in taught]),
        ]
        student: Any = self.module.student
        judged = [self.judge(student, *kind, weights) if kind[0] else None for kind in kinds]
        for one in judged:
            if one is not None:
                self.statistics.add(one.labels, one.certainty)
        labeled, unlabeled = self._complete([None if one is None else one.losses for one in judged], images, targets)
        if self.stage.sampling == "union":
            labeled, unlabeled = _by_images((labeled, unlabeled), [len(kind[0]) for kind in kinds])
        count = sum(len(one["labels"]) for one in passed) / max(len(passed), 1)
        figures = {PASSED: count, REGRESSED: count, LOWEST: thresholds.min(), HIGHEST: weights.max()}
        as_tensors = {name: torch.as_tensor(value).to(images[0].device) for name, value in figures.items()}
        return self._mixed(labeled, unlabeled) | as_tensors

    def rules(self) -> tuple[Tensor, Tensor]:
        """Thresholds and weights of the classes now, (C,) float32 each."""
        lowest, highest = self.stage.threshold_range or (self.stage.threshold,) * 2
        thresholds = self.statistics.thresholds(self.stage.threshold, self.stage.threshold_power, lowest, highest)
        bounds = self.stage.weight_range or (0.0, math.inf)
        return thresholds, self.statistics.weights(self.stage.weight_power, *bounds)

    def _complete(
        self, found: Sequence[dict[str, Tensor] | None], images: list[Tensor], targets: Targets
    ) -> list[dict[str, Tensor]]:
        """Losses of both kinds, zeros for one of which no image is there."""
        other = next((losses for losses in found if losses is not None), None)
        if other is None:  # a batch of unlabeled images of which no label passes: nothing is learned, under all names
            blank = self.judge(self.module.student, images[:1], emptied(targets[:1]), self.rules()[1])
            other = {name: value * 0.0 for name, value in blank.losses.items()}
        return [{name: value * 0.0 for name, value in other.items()} if losses is None else losses for losses in found]


def passing(of_image: dict[str, Tensor], thresholds: Tensor) -> dict[str, Tensor]:
    """Of a target with "scores", the labels that score above the thresholds (C,) of their classes, without scores."""
    keep = of_image["scores"] > thresholds.to(of_image["scores"])[of_image["labels"]]
    names = ("boxes", "labels", "masks", "weights")
    return {name: of_image[name][keep] for name in names if name in of_image}


def _by_images(losses: Sequence[dict[str, Tensor]], counts: Sequence[int]) -> list[dict[str, Tensor]]:
    """Losses of both kinds, so that half of their sum is the mean over images."""
    whole = max(sum(counts), 1)
    return [
        {name: value * (2.0 * count / whole) for name, value in of_kind.items()}
        for of_kind, count in zip(losses, counts, strict=True)
    ]


class UnionFeed:
    """Batches in which images of two sources are in proportion to how many images there are of each, as evenly over the
    iterations as whole images can be; a pure function of the iteration.

    Args:
        feed: of both sources, of one image each.
        batch: images in each batch.
    """

    def __init__(self, feed: MixedFeed, batch: int) -> None:
        self.feed, self.batch = feed, batch
        self.counts = [len(source.split) for source in feed.sources]

    def __call__(self, iteration: int) -> Batch:
        """As MixedFeed's."""
        images: list[Tensor] = []
        targets: Targets = []
        first, last = self._labeled_before(iteration), self._labeled_before(iteration + 1)
        seen = iteration * self.batch - first
        places = [(0, place) for place in range(first, last)]
        places += [(1, seen + n) for n in range(self.batch - (last - first))]
        for number, place in places:
            for view, sample in enumerate(self.feed.views(number, place)):
                tags = {"source": torch.tensor(number), "view": torch.tensor(view)}
                images.append(image_tensor(sample.image))
                targets.append(target(sample, self.feed.sources[number].needs) | tags)
        return images, targets

    def _labeled_before(self, iteration: int) -> int:
        """How many labeled images earlier batches had."""
        return iteration * self.batch * self.counts[0] // sum(self.counts)


def absent_classes(
    stage: Joint, labeled: CocoSplit, unlabeled: CocoSplit, say: Callable[[str], None]
) -> tuple[int, ...]:
    """Positions of the classes of which neither split has an object, so that nothing can be known of them.

    Raises:
        DataError: there are some, and the stage does not leave them out.
    """
    missing = set(range(len(labeled.classes)))
    for split in (labeled, unlabeled):
        for records in split.annotations:
            if not missing:
                return ()
            missing -= _classes(split, records)
    names = ", ".join(repr(labeled.classes[place]) for place in sorted(missing))
    if not (stage.threshold_power or stage.weight_power) or not missing:
        return ()
    if stage.absent == "refuse":
        raise DataError(
            f"no labeled object and no pseudo label above {stage.lowest:g} is of {names}: statistics of classes would "
            "wait for one for ever.\n"
            "  give labels of all classes, or say absent='leave out': such a class keeps the common threshold."
        )
    say(f"no image has {names}: such classes keep the threshold {stage.threshold:g} and a weight of 1.")
    return tuple(sorted(missing))


def _classes(split: CocoSplit, records: Iterable[Record]) -> set[int]:
    return {split.label_of[record["category_id"]] for record in records if not record.get("iscrowd")}
