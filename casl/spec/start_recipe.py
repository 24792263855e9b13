"""What a backbone starts from and how that is judged: contrast -> finetune(start=...), probe."""

from __future__ import annotations

from dataclasses import replace

from casl.errors import SpecError
from casl.spec.data_kinds import Pretrain, Start
from casl.spec.kinds import Train
from casl.spec.once import once
from casl.spec.profile import TARGET, Profile
from casl.spec.records import Model
from casl.spec.stage import Stage
from casl.spec.starts import Contrast, Probe

PROBED = 20_000  # crops of each split at most: a probe of COCO's 860,000 objects would say the same
PROBED_PX = 224  # largest side of a crop
CROPS = 64  # in a batch, where a profile does not say


@once
def contrast(
    profile: Profile,
    *,
    dense: float = 0.0,
    scale: str | None = None,
    data: Stage | None = None,
    iters: int | None = None,
    backbone: str = TARGET,
) -> Contrast:
    """A start without labels, for `finetune(profile, None, start=contrast(profile))`.

    Args:
        dense: weight of DenseCL's loss of cells, 0.5 as published; 0 is MoCo v2.
        scale: of the unlabeled images, "tiny" .. "large", default tiny.
        data: images to learn from in their place: a split "labeled" or "unlabeled".
        iters: default the profile's.
        backbone: the paper's name; default that of the target.

    Raises:
        SpecError: the profile does not say how, both scale and data are given, or they are images of another split.
    """
    if profile.contrast is None:
        raise SpecError(f"profile {profile.name!r} does not say how to pre-train by contrast: set its `contrast`")
    if scale is not None and data is not None:
        raise SpecError("the images of a contrastive start are those of a scale or those given as data, not both")
    return Contrast(
        backbone=profile.backbone(backbone),
        data=data or profile.data.split("unlabeled", "images", scale),
        recipe=profile.contrast.recipe,
        iters=iters or profile.contrast.iters,
        dense=dense,
        grid=profile.contrast.grid if dense else "c5",
        seed=profile.seed,
    )


@once
def crop_classifier(
    profile: Profile,
    data: Stage,
    iters: int,
    before: Start | None = None,
    frozen_stages: int = 0,
    backbone: str = TARGET,
) -> Pretrain:
    """A start that learns the classes of crops of a split's objects and nothing of boxes.

    Crops and batches are those of the profile's stand-in for ImageNet; where it has none, crops are as large as a
    probe's, and the rate is that of the backbone in a warmup.

    Args:
        data: what is cropped.
        before: the start that it goes on from; None for the weights that the profile's detectors start from.
        frozen_stages: as in Model.
        backbone: the paper's name; default that of the target.
    """
    recipe, alike = profile.warmup_recipe, profile.pretrain
    chosen = Pretrain(
        backbone=profile.backbone(backbone),
        data=data,
        size=crop_size(profile),
        batch=CROPS,
        iters=iters,
        lr=recipe.lr * recipe.body_lr,
        before=before,
        weights="random" if before else profile.shape.weights,
        frozen_stages=frozen_stages,
        seed=profile.seed,
    )
    return replace(chosen, size=alike.size, batch=alike.batch, lr=alike.lr) if isinstance(alike, Pretrain) else chosen


def crop_size(profile: Profile) -> int:
    """Side of a crop of an object: about as large as detectors see objects, pixels."""
    return min(PROBED_PX, max(32, profile.test_size[0] // 2))


@once
def probe(
    profile: Profile,
    start: Train | Start | None,
    metric: str = "linear_probe",
    *,
    weights: str = "random",
    tuned: int = 0,
) -> Probe:
    """How well crops of val's objects are named by their features, after learning it from crops of labeled objects.

    Args:
        start: what made the backbone: a start, or a detector; None for the target's with `weights`.
        weights, tuned: as of Probe.
    """
    chosen = Probe(
        backbone=_body_of(profile, start),
        data=profile.data.split("labeled", "objects"),
        judged=profile.data.split("val", "objects"),
        metric=metric,
        size=crop_size(profile),
        start=start,
        crops=PROBED,
        seed=profile.seed,
        weights=weights,
        tuned=tuned,
    )
    if not tuned or profile.shape.weights == "random":
        return chosen
    # of a backbone with weights of its own, as a detector would tune it
    return replace(chosen, lr=profile.finetune_recipe.lr * profile.finetune_recipe.body_lr)


def _body_of(profile: Profile, start: Train | Start | None) -> str:
    if start is None:
        return profile.backbone(TARGET)
    return start.model.backbone if isinstance(start, Train) else start.backbone


def started(chosen: Model, start: Start, own_backbone: bool) -> Model:
    """A model whose backbone starts from a start: it is read from nowhere else, and none of it stays fixed."""
    if not own_backbone:
        raise SpecError("the warmup hands over its backbone, so a start has no effect: leave start or that part out")
    if start.backbone != chosen.backbone:
        raise SpecError(
            f"the start is a {start.backbone}, the model has a {chosen.backbone}: make one for that backbone"
        )
    return replace(chosen, weights="random", frozen_stages=0)
