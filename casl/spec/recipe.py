"""The method in a few functions: labeler -> pseudo_label -> warmup -> finetune -> evaluate.

An ablation changes arguments of these and nothing else. Defaults are the paper's default setting (Sec. 4; method
reference sec. 7): Swin-L entity labeler, tiny split, 5x warmup, 3x finetune, weak augmentation, Swin-T target.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, overload

from casl import catalog
from casl.errors import SpecError
from casl.rows import PARTS, Backbone, Detector
from casl.spec.data_kinds import DataSet, Folder, Scenes, Start
from casl.spec.data_sets import check_learns
from casl.spec.kinds import (
    Evaluate,
    Finetune,
    Labeler,
    PseudoLabel,
    Train,
    Warmup,
)
from casl.spec.once import once
from casl.spec.profile import TARGET, Profile
from casl.spec.records import OWN_WAY, SETTINGS, Applied, Model, Recipe
from casl.spec.schedule import times
from casl.spec.stage import Stage
from casl.spec.start_recipe import probe, started
from casl.spec.starts import Probe

# augmentations of a recipe's own sizes; others take a profile's `strong_sizes`
PLAIN_SIZES = ("weak", "lsj", "stac", "ut", "ut_blur", "ut_colour")


def label_kind(profile: Profile) -> str:
    """What labelers and warmups learn: entities (Sec. 3.2), or objects where a data set has no entities."""
    return "entities" if profile.data.has_entities else "objects"


def mask_detector(profile: Profile) -> str:
    """The base detector (Sec. 3.3): CondInst, or FCOS where a data set has boxes only."""
    return "condinst" if profile.data.has_masks else "fcos"


def anchor_scale(first_range: int) -> float:
    """The factor that keeps RetinaNet's finest anchors two strides wide: they are 32 px at COCO's ranges, whose first
    is 64, and follow ranges, while their stride stays 8. With narrower ones a third of the objects of 64 px scenes
    meets no anchor at IoU .5."""
    return max(1.0, 2 * 8 / (32 * first_range / 64))


@once
def model(profile: Profile, detector: str, backbone: str, classes: int) -> Model:
    """A detector in the profile's size, of the profile's provider; backbone is the paper's name for it.

    What the profile's shape says of settings that this detector lacks is left out. Where the backbone starts from
    pretrained weights, as many of its stages stay fixed as its row says, unless the profile says how many.
    """
    detector = profile.provided(detector)
    row: Detector = catalog.row("detector", detector)
    fields: dict[str, Any] = {name: SETTINGS[name] for name in SETTINGS if name not in row.settings}
    if profile.shape.weights != "random" and not profile.shape.frozen_stages:
        body: Backbone = catalog.row("backbone", profile.backbone(backbone))
        fields["frozen_stages"] = body.frozen_stages
    if "anchor_scale" in row.settings:
        fields["anchor_scale"] = anchor_scale(profile.shape.ranges[0])
    fields |= {**profile.shapes.get(backbone, {}), **(row.light if profile.light else {})}
    return replace(profile.shape, detector=detector, backbone=profile.backbone(backbone), classes=classes, **fields)


@once
def _split(profile: Profile, split: str, labels: str, scale: str | None = None) -> DataSet:
    return profile.data.split(split, labels, scale)


@once
def labeler(
    profile: Profile,
    *,
    backbone: str | None = None,
    labels: str | None = None,
    agnostic: bool = True,
    without: tuple[int, ...] = (),
) -> Labeler:
    """Stage 1 (eq. 1).

    Args:
        backbone: the paper's name; default the profile's labeler, Swin-L.
        labels: "entities" or "objects"; default entities where the data set has them.
        agnostic: whether alpha(.) drops the classes; class-specific labelers need objects.
        without: classes whose objects it is not taught, as DataSet.without; these need objects too.
    """
    labels = labels or label_kind(profile)
    backbone = backbone or profile.labeler_backbone
    profile = profile.larger(backbone)
    data = _split(profile, "labeled", labels)
    return Labeler(
        model=model(profile, mask_detector(profile), backbone, 1 if agnostic else profile.data.classes),
        data=_without(data, without) if without else data,
        labels=labels,
        recipe=_recipe(profile, profile.warmup_recipe, backbone),
        schedule=times(profile.labeler_schedule, profile.iters_1x, profile.rule),
        seed=profile.seed,
        pretrained=_pretrained(profile, backbone),
    )


@once
def pseudo_label(profile: Profile, labeler: Train, *, scale: str | None = None, first: int = 0) -> PseudoLabel:
    """Stage 1b (eq. 2): scored predictions on an unlabeled split.

    Args:
        scale: "tiny" .. "large", default tiny.
        first: only so many of its images, 0 for all: scenes from its beginning, of a set on disk drawn by chance.

    Raises:
        SpecError: `first` is more than the split has.
    """
    size, max_size = profile.sides(labeler)
    return PseudoLabel(
        labeler=labeler,
        data=_first(_split(profile, "unlabeled", "images", scale), first),
        size=size,
        max_size=max_size,
        non_overlap=labeler.labels == "entities" and labeler.model.predicts("entities"),
    )


@once
def warmup(
    profile: Profile,
    *,
    schedule: int = 5,
    pseudo: PseudoLabel | None = None,
    threshold: float | None = None,
    augmentation: str = "weak",
    detector: str | None = None,
    backbone: str = TARGET,
) -> Warmup:
    """Stage 2 (eq. 4): the target detector on pseudo labels, class-agnostic if its labeler is.

    Args:
        schedule: length in x.
        pseudo: labels to train on; default those of the default labeler on the tiny split.
        threshold: delta; default the profile's.
        detector, backbone: of the target; default CondInst and Swin-T.
    """
    pseudo = pseudo or pseudo_label(profile, labeler(profile))
    return Warmup(
        model=model(profile, detector or mask_detector(profile), backbone, pseudo.labeler.model.classes),
        data=pseudo,
        labels="pseudo",
        recipe=_recipe(profile, profile.warmup_recipe, backbone, augmentation),
        schedule=times(schedule, profile.iters_1x_on(pseudo), profile.rule),
        seed=profile.seed,
        threshold=profile.threshold if threshold is None else threshold,
        pretrained=_pretrained(profile, backbone),
    )


@once
def warmup_on_truth(
    profile: Profile,
    *,
    schedule: int = 5,
    agnostic: bool = True,
    detector: str | None = None,
    backbone: str = TARGET,
    split: str = "labeled",
    labels: str = "objects",
) -> Warmup:
    """A warmup on ground truth, that of the labeled objects in Tables 1 and 2.

    Args:
        split: "unlabeled" takes the hidden truth of the tiny split, where the data have it; no step of the method does.
        labels: "objects" or "entities".
    """
    data: Stage = _split(profile, split, labels)
    classes = 1 if agnostic else profile.data.classes
    return Warmup(
        model=model(profile, detector or mask_detector(profile), backbone, classes),
        data=data,
        labels=labels,
        recipe=_recipe(profile, profile.warmup_recipe, backbone),
        schedule=times(schedule, profile.iters_1x_on(data), profile.rule),
        seed=profile.seed,
        pretrained=_pretrained(profile, backbone),
    )


@once
def finetune(
    profile: Profile,
    init: Train | None,
    *,
    schedule: int = 3,
    detector: str = "fcos",
    backbone: str = TARGET,
    labels: str | None = None,
    parts: tuple[str, ...] | None = None,
    augmentation: str = "weak",
    classifier: str | None = None,
    start: Start | None = None,
) -> Finetune:
    """Stage 3 (eq. 5): a detector of any framework on labeled data.

    Args:
        init: the warmup to start from; None is the baseline without one.
        labels: what to learn; default what the framework is for, "entities" makes it class-agnostic.
        parts: which parts of the warmup to take (Table 9); default all that the framework can take.
        classifier: how one channel becomes many, as in Train; default the profile's way.
        start: what the backbone starts from, such as a `contrast`; all of it learns. Not with that of a warmup.
        backbone: of the detector, by its name in the paper; that of `init` too.

    Raises:
        SpecError: the data set lacks what the framework learns from; parts of no warmup.
    """
    if init is None and parts is not None:
        raise SpecError(f"parts {', '.join(parts) or 'none'} of no warmup: give init, or leave parts out")
    if profile.data.classes < 1:
        raise SpecError(f"data set {profile.data.name!r} has no classes to finetune on")
    row: Detector = catalog.row("detector", profile.provided(detector))
    labels = labels or row.learns
    check_learns(profile.data, detector, row, labels)
    classes = 1 if labels in ("entities", "keypoints") else profile.data.classes
    chosen = _with_outputs(profile, model(profile, detector, backbone, classes), labels)
    own_backbone = init is None or "backbone" not in (parts or PARTS)
    return Finetune(
        model=started(chosen, start, own_backbone) if start else chosen,
        data=_split(profile, "labeled", labels),
        labels=labels,
        recipe=_recipe(profile, profile.finetune_recipe, backbone, augmentation),
        schedule=times(schedule, profile.iters_1x, profile.rule),
        seed=profile.seed,
        init=init,
        parts=parts if parts is not None else row.takes,
        classifier=_classifier(profile, init, classes, classifier),
        pretrained=(start or _pretrained(profile, backbone)) if own_backbone else None,
    )


@overload
def evaluate(
    profile: Profile,
    trained: Train,
    metric: str,
    *,
    split: str = "val",
    classes: tuple[int, ...] = (),
    above: float = 0.0,
    of: str = "student",
    applied: Applied = OWN_WAY,
) -> Evaluate: ...
@overload
def evaluate(profile: Profile, trained: Start | None, metric: str) -> Probe: ...
def evaluate(
    profile: Profile,
    trained: Train | Start | None,
    metric: str,
    *,
    split: str = "val",
    classes: tuple[int, ...] = (),
    above: float = 0.0,
    of: str = "student",
    applied: Applied = OWN_WAY,
) -> Evaluate | Probe:
    """One metric on a split, against the labels the metric is about.

    Args:
        trained: a detector; or a start, or None for random weights, of which only a metric of features can be had.
        split: "val", or "unlabeled" for the hidden truth of its images, where the data have it.
        classes, above, of, applied: as of Evaluate.

    Raises:
        SpecError: any of these, or another split, of a start.
    """
    if not isinstance(trained, Train):
        if (split, classes, above, of, applied) != ("val", (), 0.0, "student", OWN_WAY):
            raise SpecError("a start is probed on val as it is: split, classes, above, of and applied are of detectors")
        return probe(profile, trained, metric)
    size, max_size = profile.sides(trained)
    labels = catalog.row("metric", metric).labels
    if labels == "entities" and not profile.data.has_entities:
        labels = "objects"
    data = _split(profile, split, labels)
    if "occlusion" in catalog.row("metric", metric).needs and isinstance(data, Scenes):
        data = replace(data, hidden=True)
    return Evaluate(
        model=trained,
        data=data,
        labels=labels,
        metric=metric,
        size=size,
        max_size=max_size,
        classes=classes,
        above=above,
        of=of,
        applied=applied,
    )


def _without(split: DataSet, classes: tuple[int, ...]) -> DataSet:
    """A split whose objects of some classes are not annotated."""
    assert isinstance(split, Scenes | Folder)
    return replace(split, without=classes)


def _first(split: DataSet, images: int) -> DataSet:
    """So many images of a split; 0 is all of it."""
    if not images:
        return split
    assert isinstance(split, Scenes | Folder)
    if not 0 < images <= split.images:
        there = split.images
        raise SpecError(f"{images} images of a split of {there} were asked for; 1 to {there}, or 0 for all")
    return replace(split, count=images) if isinstance(split, Scenes) else replace(split, drawn=images)


def _with_outputs(profile: Profile, chosen: Model, labels: str) -> Model:
    """Stuff classes and keypoints, for the frameworks that have outputs for them."""
    if labels == "panoptic":
        return replace(chosen, stuff=profile.data.stuff)
    return replace(chosen, keypoints=profile.data.keypoints) if labels == "keypoints" else chosen


def _classifier(profile: Profile, init: Train | None, classes: int, wanted: str | None) -> str:
    """A warmup of as many classes is taken as it is; one class for many is fitted as wanted, or as the profile says.
    Where nothing is taken over nothing is fitted, and no key says how it would have been."""
    if init is None or init.model.classes == classes:
        return "replicate"
    return profile.classifier if wanted is None else wanted


@once
def _pretrained(profile: Profile, backbone: str) -> Start | None:
    """The profile's stand-in for ImageNet weights of a backbone, if it has one."""
    if profile.pretrain is None:
        return None
    return replace(profile.pretrain, backbone=profile.backbone(backbone), seed=profile.seed)


def _recipe(profile: Profile, recipe: Recipe, backbone: str, augmentation: str = "weak") -> Recipe:
    """A recipe as it is with a backbone of the paper and an augmentation."""
    changed: dict[str, Any] = dict(profile.recipes.get(backbone, {}))
    if augmentation not in PLAIN_SIZES and profile.strong_sizes:
        changed["sizes"] = profile.strong_sizes
    if augmentation != recipe.augmentation:
        changed["augmentation"] = augmentation
    return replace(recipe, **changed) if changed else recipe
