"""A learner that uses every seam at once: no published method, but shaped like those that learn from unlabeled images.

The student learns from labeled images and from the strong view of unlabeled ones, there with the boxes that the teacher
finds in the weak view. The teacher is an exponential average of the student.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from casl.data.coco import Labels
from casl.models.detect import InferenceSettings
from casl.spec import Finetune
from casl.spec.context import Context, Outcome
from casl.spec.stage import Stage
from casl.stages.feed import MixedFeed, Source, View, view_of
from casl.stages.sources import open_split
from casl.stages.training import run_learner
from casl.train.distributed import Peers
from casl.train.learner import Batch, Held, Targets
from casl.train.views import between, inside, moved, of_view

FOUND = InferenceSettings(
    score_threshold=0.0, topk=9, max_detections=4
)  # something is found from the first iteration on


@dataclass(frozen=True)
class Mean(Finetune):
    """unlabeled: images that the student learns from without labels. keep: "student" or "teacher"."""

    unlabeled: Stage | None = None
    keep: str = "student"


class Pair(nn.Module):
    """Student, teacher, and what was seen so far: sum of scores of each class, number of steps."""

    scores: Tensor
    steps: Tensor

    def __init__(self, student: nn.Module, classes: int) -> None:
        super().__init__()
        self.student = student
        self.teacher = Held(deepcopy(student))
        self.register_buffer("scores", torch.zeros(classes, dtype=torch.float64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))


def momentum(iteration: int) -> float:
    """1/2 at first, so that the teacher leaves the initial weights, then up to 0.9."""
    return min(0.9, 1 - 1 / (iteration + 2))


class MeanTeacher:
    """See the module."""

    divisible = False

    def __init__(self, detector: nn.Module, classes: int, keep: str) -> None:
        self.module = Pair(detector, classes)
        self.kept: nn.Module = detector if keep == "student" else self.module.teacher.module

    def losses(self, images: list[Tensor], targets: Targets) -> dict[str, Tensor]:
        """Losses of the labeled and of the unlabeled images, each scaled by the mean weight of their boxes."""
        labeled, weak, strong = (of_view(images, targets, *place) for place in ((0, 0), (1, 0), (1, 1)))
        assert len(weak[0]) == len(strong[0]) == 3 and len(labeled[0]) == 2
        found = self._found(weak)
        for one in found:
            self.module.scores.index_add_(0, one["labels"], one["scores"].double())
        pseudo = [
            _in_view(boxes, first["matrix"], second["matrix"], image)
            for boxes, first, second, image in zip(found, weak[1], strong[1], strong[0], strict=True)
        ]
        return self._weighted("labeled", *labeled) | self._weighted("unlabeled", strong[0], pseudo)

    def after_step(self, iteration: int) -> None:
        """Move the teacher towards the student, buffers too; counters are copied."""
        self.module.steps += 1
        student = self.module.student.state_dict()
        for name, value in self.module.teacher.module.state_dict().items():
            if value.is_floating_point():
                value.lerp_(student[name], 1 - momentum(iteration))
            else:
                value.copy_(student[name])

    def _found(self, weak: Batch) -> list[dict[str, Tensor]]:
        assert not any(m.training for m in self.module.teacher.modules()) and self.module.student.training
        teacher: Any = self.module.teacher.module
        sizes = [(image.shape[1], image.shape[2]) for image in weak[0]]
        found: list[dict[str, Tensor]] = teacher.predict(weak[0], sizes, FOUND)
        return found

    def _weighted(self, name: str, images: list[Tensor], targets: Targets) -> dict[str, Tensor]:
        student: Any = self.module.student
        factor = torch.cat([torch.ones(1), *(t["weights"] for t in targets)]).mean()
        return {f"{key}_{name}": factor * value for key, value in student.losses(images, targets).items()}


def _in_view(found: dict[str, Tensor], first: Tensor, second: Tensor, image: Tensor) -> dict[str, Tensor]:
    """Boxes of one view as targets in another, weighted by their scores."""
    boxes, useful = inside(moved(found["boxes"], between(first, second)), image.shape[1], image.shape[2])
    return {"boxes": boxes[useful], "labels": found["labels"][useful], "weights": found["scores"][useful]}


def by_size(labels: Labels) -> NDArray[np.float32]:
    """Small objects count more."""
    width, height = (labels.boxes[:, 2:] - labels.boxes[:, :2]).T
    weights: NDArray[np.float32] = np.where(width * height < 300, 2, 0.5).astype(np.float32)
    return weights


def run(stage: Mean, ctx: Context) -> Outcome:
    """The whole of a stage kind that learns from two splits."""
    assert stage.unlabeled is not None
    labeled, unlabeled = open_split(stage.data, "objects", ctx), open_split(stage.unlabeled, "images", ctx)
    weak = view_of(stage.recipe)
    views = (weak, View("strong", stage.recipe.sizes, stage.recipe.max_size))
    sources = [Source(labeled, 2, (weak,), weigh=by_size), Source(unlabeled, 3, views, ("matrix",))]

    def feed(detector: nn.Module, peers: Peers) -> MixedFeed:
        return MixedFeed(sources, stage.seed, peers)

    return run_learner(stage, ctx, lambda detector: MeanTeacher(detector, stage.model.classes, stage.keep), feed)
