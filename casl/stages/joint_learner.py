"""The learner of a joint training: a student, its teacher, and what both have seen so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy

import torch
from torch import Tensor, nn

from casl.models.two_sets import emptied
from casl.spec.joint_kind import Joint
from casl.stages.joint_teacher import Glance, Seen, teaching_of
from casl.train.average import follow, momentum_at
from casl.train.learner import WATCHED, Batch, Held, Targets
from casl.train.mixing import UNLABELED, Averages, mixed
from casl.train.views import between, inside, moved, moved_masks, of_view
from casl.train.watch import Watch

# pseudo boxes an unlabeled image: those that classes learn from, and boxes
PASSED, REGRESSED = f"{WATCHED}classes", f"{WATCHED}boxes"


class Joined(nn.Module):
    """All tensors of a joint training.

    Attributes:
        student: is trained, and the stage's result.
        teacher: its average; None where the teacher is fixed.
        averages: of the losses of both kinds of images.
        joint: iterations since the burn-in, of a weight that rises.
        watch: over pseudo boxes that pass.
    """

    joint: Tensor

    def __init__(self, student: nn.Module, stage: Joint) -> None:
        super().__init__()
        self.student = student
        self.teacher = Held(deepcopy(student)) if stage.leaves_teacher else None
        self.averages = Averages()
        self.watch = Watch(stage.threshold)
        if stage.rise:
            self.register_buffer("joint", torch.zeros((), dtype=torch.int64))


class JointLearner:
    """See the module.

    Args:
        detector: with its initial weights.
        stage: what is learned from what.
        say: takes the sentence that no pseudo box passes.
    """

    divisible = False

    def __init__(self, detector: nn.Module, stage: Joint, say: Callable[[str], None]) -> None:
        self.stage, self.say = stage, say
        self.module = Joined(detector, stage)
        self.kept = self.module.student
        self.teaching = teaching_of(stage)

    def losses(self, images: list[Tensor], targets: Targets) -> dict[str, Tensor]:
        """Losses of labeled images under the detector's names, of unlabeled ones under "<name>_u", which are 0 in the
        burn-in; and how many pseudo boxes passed."""
        labeled = self.teaching.supervised(self.module.student, *of_source(images, targets, 0))
        student_view = int(self.stage.leaves_teacher)
        shown, own = of_view(images, targets, 1, student_view)
        if not shown:
            nothing = torch.zeros(())
            names = (*(f"{name}{UNLABELED}" for name in labeled), PASSED, REGRESSED)
            return labeled | {name: nothing.to(next(iter(labeled.values()))) for name in names}
        if self.stage.leaves_teacher:
            glances = self._glances(of_view(images, targets, 1, 0), (shown, own))
            classes, boxes = self._pseudo(glances, shown)
        else:
            glances, classes = [], own
            boxes = own if self.stage.box_rule == "all" else emptied(own)
        soft = glances if self.stage.soft_background else []
        unlabeled = self.teaching.unsupervised(self.module.student, shown, classes, boxes, soft)
        figures = {PASSED: _mean_count(classes), REGRESSED: _mean_count(boxes)}
        return self._mixed(labeled, unlabeled) | {n: value.to(shown[0].device) for n, value in figures.items()}

    def after_step(self, iteration: int) -> None:
        """The teacher follows before the next iteration; until the burn-in is over it is a copy."""
        t = iteration + 1 - self.stage.burn_in
        if self.stage.rise:
            self.module.joint.fill_(max(t, 0))
        if self.module.teacher is None:
            return
        momentum = momentum_at(t, self.stage.momentum) if t > 0 and self.stage.ramp else self.stage.momentum
        follow(self.module.teacher.module, self.module.student, momentum if t > 0 else 0.0)

    def _glances(self, teachers: Batch, students: Batch) -> list[Glance]:
        assert self.module.teacher is not None
        seen = self.teaching.look(self.module.teacher.module, teachers[0])
        if said := self.module.watch.saw(sum(int(s.classes.sum()) for s in seen), max(float(s.best) for s in seen)):
            self.say(said)
        return [
            Glance(found, between(second["matrix"], first["matrix"]))
            for found, first, second in zip(seen, teachers[1], students[1], strict=True)
        ]

    def _pseudo(self, glances: Iterable[Glance], images: list[Tensor]) -> tuple[Targets, Targets]:
        """Targets of classes and of boxes; the same list where the sets are the same."""
        every = [_in_view(glance, image) for glance, image in zip(glances, images, strict=True)]
        classes = [_chosen(target, "classes") for target in every]
        return classes, classes if self.stage.box_rule == "all" else [_chosen(target, "sides") for target in every]

    def _mixed(self, labeled: dict[str, Tensor], unlabeled: dict[str, Tensor]) -> dict[str, Tensor]:
        ratio: float | Tensor = 1.0
        if self.stage.mix == "normalised":
            first, second = (torch.stack(list(losses.values())).sum() for losses in (labeled, unlabeled))
            ratio = self.module.averages.ratio(first, second)
        share = min(1.0, (int(self.module.joint) + 1) / self.stage.rise) if self.stage.rise else 1.0
        return mixed(labeled, unlabeled, self.stage.mix, lambda name: share * self.stage.weights_of(name), ratio)


def of_source(images: list[Tensor], targets: Targets, source: int) -> Batch:
    """All views of the images of a source."""
    chosen = [i for i, target in enumerate(targets) if int(target["source"]) == source]
    return [images[i] for i in chosen], [targets[i] for i in chosen]


def _in_view(glance: Glance, image: Tensor) -> dict[str, Tensor]:
    """What a teacher saw as a target in the student's view; what has left the view, or has no pixel there, is gone."""
    seen: Seen = glance.seen
    height, width = image.shape[1:]
    identity = torch.eye(3, dtype=glance.back.dtype, device=glance.back.device)
    boxes, useful = inside(moved(seen.boxes, between(glance.back, identity)), height, width)
    target = {"boxes": boxes, "labels": seen.labels, "classes": seen.classes, "sides": seen.sides}
    if seen.masks is not None:
        target["masks"] = moved_masks(seen.masks, glance.back, height, width)
        useful = useful & target["masks"].flatten(1).any(dim=1)
    return {name: value[useful] for name, value in target.items()}


def _chosen(target: dict[str, Tensor], which: str) -> dict[str, Tensor]:
    """The objects of one set."""
    keep = target[which]
    return {name: target[name][keep] for name in ("boxes", "labels", "masks") if name in target}


def _mean_count(targets: Targets) -> Tensor:
    return torch.tensor(sum(len(target["labels"]) for target in targets) / len(targets))
