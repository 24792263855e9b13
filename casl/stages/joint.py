"""Stage `joint`: a student learns from labeled images and from what a teacher finds in unlabeled ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import overload

import torch
from torch import nn

from casl.coco.records import Record
from casl.data.coco import CocoSplit, agnostic, with_objects
from casl.data.pseudo import read_pseudo_labels
from casl.errors import DataError
from casl.models.pseudo_boxes import passing
from casl.spec.context import Context, Outcome
from casl.spec.joint_kind import Joint
from casl.spec.kinds import PseudoLabel
from casl.stages.feed import MixedFeed, Source, View, view_of
from casl.stages.joint_certain import CertainLearner, UnionFeed, absent_classes
from casl.stages.joint_learner import JointLearner
from casl.stages.sources import LABELS, facts_of, of_classes, open_split, split_files
from casl.stages.training import TEACHER, run_learner
from casl.train.distributed import ALONE, Peers
from casl.train.learner import Batch
from casl.train.watch import below


def run(stage: Joint, ctx: Context) -> Outcome:
    """Train the student; an average leaves its own weights beside the student's.

    Raises:
        SpecError: the model and the data differ in their number of classes.
        DataError: no image is left to learn from.
        StageError: there are several processes.
    """
    labeled, unlabeled = _labeled(stage, ctx), _unlabeled(stage, ctx)
    absent = absent_classes(stage, labeled, unlabeled, ctx.say) if stage.has_rules else ()

    def learner(detector: nn.Module) -> JointLearner:
        return (
            CertainLearner(detector, stage, ctx.say, absent)
            if stage.has_rules
            else JointLearner(detector, stage, ctx.say)
        )

    outcome = run_learner(
        stage,
        ctx,
        learner_of=learner,
        feed_of=lambda detector, peers: JointFeed(stage, labeled, unlabeled, getattr(detector, "needs", ()), peers),
        keep={TEACHER: _averaged} if stage.leaves_teacher else {},
    )
    if ctx.rank:
        return outcome
    facts = {**facts_of(labeled), "unlabeled images": len(unlabeled), **outcome.facts}
    return replace(outcome, facts=facts)


def _averaged(learner: object) -> nn.Module:
    assert isinstance(learner, JointLearner) and learner.module.teacher is not None
    return learner.module.teacher.module


class JointFeed:
    """Batch of every iteration, a pure function of it: labeled images alone during the burn-in, then labeled (source 0)
    and unlabeled ones (source 1), as many as the stage says.

    An unlabeled image is there in one view for a fixed teacher, the student's; in two for an average, its own first.

    Args:
        stage: whose recipe, views and numbers of images these are.
        labeled, unlabeled: splits; the second with the labels of a fixed teacher, or with none.
        needs: of the detector.
        peers: as of a MixedFeed.
    """

    def __init__(
        self, stage: Joint, labeled: CocoSplit, unlabeled: CocoSplit, needs: Collection[str], peers: Peers = ALONE
    ) -> None:
        recipe = stage.recipe
        teachers, students = (
            View(name, sizes or recipe.sizes, recipe.max_size)
            for name, sizes in zip(stage.views, stage.view_sizes, strict=True)
        )
        own = [view_of(recipe), *[replace(students, augmentation=stage.second_view)] * bool(stage.second_view)]
        if stage.leaves_teacher:
            second = Source(unlabeled, stage.ratio[1], (teachers, students), ("matrix",))
        else:
            scored = (*needs, "scores") if stage.has_rules else needs
            second = Source(unlabeled, stage.ratio[1], (students,), scored)
        self.burn_in = stage.burn_in
        self.first = MixedFeed([Source(labeled, recipe.batch, tuple(own), needs)], stage.seed, peers)
        self.first.tagged = True  # as all other batches of this training are
        then = MixedFeed([Source(labeled, stage.ratio[0], tuple(own), needs), second], stage.seed, peers)
        self.then: Callable[[int], Batch] = UnionFeed(then, recipe.batch) if stage.sampling == "union" else then

    def __call__(self, iteration: int) -> Batch:
        """Images (3, h, w) uint8, and targets tagged with source and view."""
        return (self.first if iteration < self.burn_in else self.then)(iteration)


def _labeled(stage: Joint, ctx: Context) -> CocoSplit:
    split = of_classes(open_split(stage.data, stage.labels, ctx), stage.model.classes)
    return split if stage.recipe.empty_images else with_objects(split)


def _unlabeled(stage: Joint, ctx: Context) -> CocoSplit:
    """Images with the labels of a fixed teacher that pass, those with none left out; or all images, without labels."""
    source = stage.unlabeled
    assert source is not None
    if not isinstance(source, PseudoLabel):
        return open_split(source, "images", ctx)
    folder, images = ctx.inputs[source.name] / LABELS, split_files(source.data, ctx).images
    split = read_pseudo_labels(folder, images, 0.0 if stage.relax else stage.lowest)
    if not len(split):
        scores = [r["score"] for records in read_pseudo_labels(folder, images, 0.0).annotations for r in records]
        best = max(scores, default=0.0)
        raise DataError(
            f"no pseudo label of {source.name} scores above {stage.lowest:g}; the best has {best:.4g}.\n"
            + (f"  a threshold of {below(best):g} lets some pass." if scores else "  train the labeler longer.")
        )
    if stage.relax:
        split = replace(split, annotations=Relaxed(split.annotations, stage.threshold))
    return agnostic(split) if stage.model.classes == 1 else split


class Relaxed(Sequence[Sequence[Record]]):
    """Scored records of which those stay that pass a threshold that each image relaxes, see `passing`.

    Args:
        records: of each image, COCO's with a "score".
        threshold: that of an image whose best score reaches it.
    """

    def __init__(self, records: Sequence[Sequence[Record]], threshold: float) -> None:
        self.records, self.threshold = records, threshold

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, i: int) -> Sequence[Record]: ...
    @overload
    def __getitem__(self, i: slice) -> Relaxed: ...
    def __getitem__(self, i: int | slice) -> Sequence[Record] | Relaxed:
        if isinstance(i, slice):
            return Relaxed(self.records[i], self.threshold)
        records = self.records[i]
        keep = passing(torch.tensor([record["score"] for record in records]), self.threshold, relax=True)
        return [record for record, stays in zip(records, keep.tolist(), strict=True) if stays]
