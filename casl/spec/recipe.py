"""The method in five functions: labeler -> pseudo_label -> warmup -> finetune -> evaluate.

An ablation changes arguments of these and nothing else. Defaults are the paper's default setting (Sec. 4; method
reference sec. 7): Swin-L entity labeler, tiny split, 5x warmup, 3x finetune, weak augmentation, Swin-T target.
"""

from __future__ import annotations

from dataclasses import replace

from casl.errors import SpecError
from casl.spec.kinds import PARTS, Evaluate, Finetune, Labeler, Model, PseudoLabel, Recipe, Train, Warmup
from casl.spec.profile import Profile
from casl.spec.schedule import times

TARGET = "swin_t"


def label_kind(profile: Profile) -> str:
    """What labelers and warmups learn: entities (Sec. 3.2), or objects where a data set has no entities."""
    return "entities" if profile.data.has_entities else "objects"


def mask_detector(profile: Profile) -> str:
    """The base detector (Sec. 3.3): CondInst, or FCOS where a data set has boxes only."""
    return "condinst" if profile.data.has_masks else "fcos"


def model(profile: Profile, detector: str, backbone: str, classes: int) -> Model:
    """A detector in the profile's size; backbone is the paper's name for it."""
    return replace(profile.shape, detector=detector, backbone=profile.backbone(backbone), classes=classes)


def labeler(profile: Profile, *, backbone: str | None = None, labels: str | None = None) -> Labeler:
    """Stage 1, class-agnostic (eq. 1).

    Args:
        backbone: the paper's name; default the profile's labeler, Swin-L.
        labels: "entities" or "objects"; default entities where the data set has them.
    """
    labels = labels or label_kind(profile)
    return Labeler(
        model=model(profile, mask_detector(profile), backbone or profile.labeler_backbone, classes=1),
        data=profile.data.split("labeled", labels),
        labels=labels,
        recipe=profile.warmup_recipe,
        schedule=times(profile.labeler_schedule, profile.iters_1x, profile.rule),
        seed=profile.seed,
    )


def pseudo_label(profile: Profile, teacher: Train, *, scale: str = "tiny") -> PseudoLabel:
    """Stage 1b (eq. 2): scored predictions on an unlabeled split."""
    return PseudoLabel(
        labeler=teacher,
        data=profile.data.split("unlabeled", "images", scale),
        size=profile.test_size[0],
        max_size=profile.test_size[1],
        non_overlap=teacher.labels == "entities" and teacher.model.detector == "condinst",
    )


def warmup(
    profile: Profile,
    *,
    schedule: int = 5,
    pseudo: PseudoLabel | None = None,
    threshold: float | None = None,
    augmentation: str = "weak",
) -> Warmup:
    """Stage 2 (eq. 4): the target detector on class-agnostic pseudo labels.

    Args:
        schedule: length in x.
        pseudo: labels to train on; default those of the default labeler on the tiny split.
        threshold: delta; default the profile's.
    """
    return Warmup(
        model=model(profile, mask_detector(profile), TARGET, classes=1),
        data=pseudo or pseudo_label(profile, labeler(profile)),
        labels="pseudo",
        recipe=_augmented(profile.warmup_recipe, augmentation),
        schedule=times(schedule, profile.iters_1x, profile.rule),
        seed=profile.seed,
        threshold=profile.threshold if threshold is None else threshold,
    )


def finetune(
    profile: Profile,
    init: Train | None,
    *,
    schedule: int = 3,
    detector: str = "fcos",
    parts: tuple[str, ...] = PARTS,
    augmentation: str = "weak",
) -> Finetune:
    """Stage 3 (eq. 5): a class-specific detector on labeled data.

    Args:
        init: the warmup to start from; None is the baseline without one.
        parts: which of its parts to take (Table 9).
    """
    if profile.data.classes < 1:
        raise SpecError(f"data set {profile.data.name!r} has no classes to finetune on")
    return Finetune(
        model=model(profile, detector, TARGET, classes=profile.data.classes),
        data=profile.data.split("labeled", "objects"),
        labels="objects",
        recipe=_augmented(profile.finetune_recipe, augmentation),
        schedule=times(schedule, profile.iters_1x, profile.rule),
        seed=profile.seed,
        init=init,
        parts=parts,
        classifier=profile.classifier,
    )


def evaluate(profile: Profile, trained: Train, metric: str) -> Evaluate:
    """One metric on the val split: against entities for ap_e and ap_e_mask, else against objects."""
    labels = "entities" if metric.startswith("ap_e") and profile.data.has_entities else "objects"
    return Evaluate(
        model=trained,
        data=profile.data.split("val", labels),
        labels=labels,
        metric=metric,
        size=profile.test_size[0],
        max_size=profile.test_size[1],
    )


def _augmented(recipe: Recipe, augmentation: str) -> Recipe:
    return replace(recipe, augmentation=augmentation)
