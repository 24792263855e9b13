"""What the tables of certainty-aware pseudo labels are made of (chapter 3 of the dissertation): teachers and students.

A teacher is a Faster R-CNN trained on a share of the labels; its boxes are stored once with their scores. A student
starts from the teacher's weights and learns from labeled images and from those boxes, of which each class lets pass
those above a threshold of its own. CA is the head that finds sides as intervals, DT the thresholds, RE the weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from casl.spec import (
    PARTS,
    Applied,
    Cell,
    Evaluate,
    Finetune,
    Folder,
    Joint,
    Profile,
    SceneData,
    Scenes,
    Train,
    evaluate,
    finetune,
    joint,
    pseudo_label,
)
from casl.spec.data_kinds import DataSet
from casl.spec.profile import TARGET
from casl.spec.schedule import Schedule, times

INTERVAL, PLAIN = "faster_rcnn_interval", "faster_rcnn"
TAIL = 2.0  # exponent of the long-tailed scenes: one object in a hundred is of the rarest of eight classes
GAMMAS = (0.05, 0.6)
HALF = 0.5  # of the published schedule, as all ablations there have it
# percent of the labels of COCO -> length of the published teacher, of a student's 180,000 iterations
TEACHERS = {1: 6 / 180, 2: 12 / 180, 5: 30 / 180, 10: 60 / 180, 100: 1.0}
# of a detector where a profile asks for light ones: a thousand regions in 64 px cost most of a test and find no more
LIGHT = (("proposals", 128),)
FEWEST = 10  # images of one percent; with fewer, ten times the share is taken
FIGURES = ("AP50", "AP75", "AP")


@dataclass(frozen=True)
class Student:
    """One student of the tables; the defaults are the full method of Tables 3.3 to 3.7.

    percent: published share of the labels. length: in published 1x. teacher: likewise, None for what is published for
    the share. gammas: of thresholds and of weights. view: augmentation of unlabeled images. scale: of these. union:
    whether batches have both kinds as often as there are such images, otherwise one to one. sizes: short sides, () for
    the recipe's. options: of the detector.
    """

    detector: str = INTERVAL
    percent: int = 2
    length: float = HALF
    teacher: float | None = None
    gammas: tuple[float, float] = GAMMAS
    view: str = "ut"
    scale: str = "tiny"
    union: bool = True
    sizes: tuple[int, ...] = ()
    options: tuple[tuple[str, str | int | float | bool], ...] = field(default=())


def of_chapter(profile: Profile) -> Profile:
    """The profile with the chapter's detectors: on what stands for ResNet-50, and always on torchvision's regions, also
    where detectron2 provides the frameworks of other tables."""
    resnet = "resnet50"
    return replace(
        profile,
        provider="torchvision",
        backbones={**profile.backbones, TARGET: profile.backbone(resnet)},
        shapes={**profile.shapes, TARGET: profile.shapes.get(resnet, {})},
        recipes={**profile.recipes, TARGET: profile.recipes.get(resnet, {})},
    )


def long_tailed(profile: Profile) -> Profile:
    """The profile with scenes of which some classes are rare; other data sets are as they are."""
    if not isinstance(profile.data, SceneData):
        return profile
    return replace(profile, data=replace(profile.data, tail=TAIL))


def with_share(profile: Profile, percent: int) -> Profile:
    """The profile with a published share of the labels, or ten times that where one percent is less than ten images."""
    few = labeled_images(profile) < 100 * FEWEST
    return replace(profile, data=profile.data.labeled_share(min(10 * percent, 100) if few else percent))


def labeled_images(profile: Profile) -> int:
    """How many there are to learn objects from."""
    split = profile.data.split("labeled", "objects")
    assert isinstance(split, Scenes | Folder)
    return split.images


def lasting(profile: Profile, length: float) -> Schedule:
    """So many published 1x in the profile; drops at 2/3 and 8/9, of 3x as detectron2 has them."""
    whole = max(1, round(length))
    unit = max(1, round(profile.iters_1x * profile.certain.one_x * length / whole))
    return times(whole, unit, profile.rule)


def options_of(profile: Profile, student: Student) -> tuple[tuple[str, str | int | float | bool], ...]:
    """Options of the detector of a student and of its teacher."""
    return tuple(sorted((*student.options, *(LIGHT if profile.light else ()))))


def teacher(share: Profile, student: Student) -> Finetune:
    """The labeled images alone, class-specific. share: with the labels it may see."""
    published = TEACHERS[student.percent] if student.teacher is None else student.teacher
    least = share.certain.teacher / share.certain.one_x
    base = finetune(share, None, schedule=1, detector=student.detector)
    return replace(
        base,
        model=replace(base.model, options=options_of(share, student)),
        schedule=lasting(share, max(published, least)),
    )


def student_of(profile: Profile, student: Student, method: str = "certainty") -> Joint:
    """A joint training that starts from its teacher, on the teacher's labels.

    profile: of `of_chapter`, with all labels. method: one of a fixed teacher.
    """
    share = with_share(profile, student.percent)
    first = teacher(share, student)
    labels = pseudo_label(share, first, scale=student.scale)
    base = joint(
        share,
        method=method,
        detector=student.detector,
        init=first,
        parts=PARTS,
        pseudo=labels,
        ratio="union" if student.union else (1, 1),
        student_view=student.view,
        labeled_view="weak",
    )
    recipe = replace(base.recipe, sizes=student.sizes) if student.sizes else base.recipe
    gammas = student.gammas if method == "certainty" else (0.0, 0.0)
    return replace(
        base if method != "certainty" else _with_tau(base, share.certain.tau),
        model=replace(base.model, options=options_of(share, student)),
        recipe=recipe,
        schedule=lasting(share, student.length),
        threshold_power=gammas[0],
        weight_power=gammas[1],
    )


def _with_tau(found: Joint, tau: float) -> Joint:
    """The same with another threshold, and its range in proportion."""
    limits = tuple(round(limit * tau / found.threshold, 4) for limit in found.threshold_range)
    return found if tau == found.threshold else replace(found, threshold=tau, threshold_range=limits)


def multi_scale(profile: Profile) -> tuple[int, ...]:
    """Short sides from 8/10 of the tested one to all of it: 640 to 800 of 800."""
    short = profile.test_size[0]
    return tuple(max(32, round(short * tenths / 10)) for tenths in (8, 9, 10))


def judged(profile: Profile, model: Train, metric: str = "ap_det", lowest: float = 0.0) -> Evaluate:
    """The evaluation of a model. lowest: score threshold at test, 0 for the detector's own .05."""
    return evaluate(profile, model, metric, applied=Applied(least=lowest))


def three(profile: Profile, row: str, model: Train, published: tuple[float, ...], note: str) -> Iterator[Cell]:
    """AP50, AP75 and AP of one model."""
    stage = judged(profile, model)
    for figure, paper in zip(FIGURES, published, strict=True):
        yield Cell(row=row, column=figure, metric="ap_det", stage=stage, paper=paper, figure=figure, note=note)


def note_of(model: Train, *more: str) -> str:
    """What a cell's model learned from and for how long, and what else is to be said."""
    start = f" from a teacher of {model.init.iters:,}" if model.init else ""
    assert isinstance(model.data, DataSet)
    words = [f"{model.data.images} labeled images, {model.iters:,} iterations{start}", *more]
    return "; ".join(filter(None, words))
