"""Published methods that learn from labeled and unlabeled images at once, as rows of data, and the stage of one.

What is published for two-stage detectors and differs for one-stage ones stands in `dense`; what has no published
counterpart is in docs/method.md, "Joint training".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from casl import catalog
from casl.errors import SpecError, unknown
from casl.spec.joint_kind import Joint
from casl.spec.kinds import PseudoLabel, Train
from casl.spec.once import once
from casl.spec.profile import Profile
from casl.spec.recipe import PLAIN_SIZES, finetune, labeler, pseudo_label
from casl.spec.stage import Stage

SMALL_SPREAD = 0.07  # of neighbours in images of 64 px: half of the boxes above 0.3 have less
EQUAL = (6, 10)  # of 16: in 8x as many passes of labeled and unlabeled images as 5x warmup and 3x finetune have


@dataclass(frozen=True)
class Method:
    """One method.

    source: where the values are from. values: fields of Joint, as published. dense: those that are others for one-stage
    detectors. labeled: augmentation of labeled images; student: of unlabeled ones for the student; twice: labeled
    images are seen in both. small: values that are others in small profiles, beside what `_scaled` changes. ema:
    whether its teacher is an average of the student.
    """

    source: str
    values: Mapping[str, Any]
    dense: Mapping[str, Any] = field(default_factory=dict)
    labeled: str = "weak"
    student: str = "strong"
    twice: bool = False
    small: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ema(self) -> bool:
        """Whether its teacher follows the student; otherwise it is fixed."""
        return self.values.get("teacher") == "ema"


METHODS: Mapping[str, Method] = {
    "stac": Method(
        source="Sohn et al. 2020; google-research/ssl_detection @00d5227",
        values={"threshold": 0.9, "relax": True, "unsup_weight": 2.0, "mix": "mean"},
        dense={"threshold": 0.5},  # of one-stage scores .9 would leave hardly more than the best box of an image
        student="stac",
    ),
    "self_training": Method(
        source="Zoph et al. 2020; threshold and form of the loss from memory of the paper",
        values={"threshold": 0.5},
        labeled="strong_labeled",
    ),
    "certainty": Method(
        source="certainty-aware pseudo labels (AAAI 2022; chapter 3 of the dissertation); nothing was released",
        values={
            "threshold": 0.7,
            "threshold_range": (0.4, 0.9),
            "threshold_power": 0.05,
            "weight_power": 0.6,
            "mix": "mean",  # L + U as printed, in the size of one loss over all images
        },
        dense={"threshold": 0.5, "threshold_range": (0.3, 0.65)},
        student="ut",
        small={"weight_range": (0.1, 10.0), "absent": "leave out"},
    ),
    "soft_teacher": Method(
        source="Xu et al. 2021; microsoft/SoftTeacher @0423bb2",
        values={
            "teacher": "ema",
            "momentum": 0.999,
            "unsup_weight": 2.0,
            "threshold": 0.9,
            "box_rule": "spread",
            "floor": 0.5,
            "spread": 0.02,
            "soft_background": True,
        },
        dense={"threshold": 0.5, "score": "class", "floor": 0.3},
        labeled="strong_labeled",
    ),
    "unbiased_teacher": Method(
        source="Liu et al. 2021; facebookresearch/unbiased-teacher @6977c6f; one-stage: unbiased-teacher-v2 @93bb125",
        values={
            "teacher": "ema",
            "momentum": 0.9996,
            "ramp": False,
            "burn_in": 90_000,  # as the weight, of all labels of COCO; 2,000 beside a weight of 4, of a few percent
            "unsup_weight": 2.0,
            "threshold": 0.7,
            "box_rule": "none",
            "focal": 1.5,
        },
        dense={
            "momentum": 0.9999,
            "burn_in": 10_000,
            "unsup_weight": 3.0,
            "unsup_box_weight": 0.2,
            "mix": "share",
            "threshold": 0.5,
            "score": "class",
            "box_rule": "spread",
            "floor": 0.5,
            "focal": 0.0,
        },
        student="ut",
        twice=True,
    ),
}


@once
def joint(
    profile: Profile,
    *,
    method: str,
    schedule: int = 8,
    detector: str = "fcos",
    init: Train | None = None,
    parts: tuple[str, ...] | None = None,
    ratio: tuple[int, int] | Literal["union"] = EQUAL,
    pseudo: PseudoLabel | None = None,
    scale: str | None = None,
    threshold: float | None = None,
    weight: float | None = None,
    burn_in: float | None = None,
    normalised: bool = False,
    student_view: str | None = None,
    labeled_view: str | None = None,
) -> Joint:
    """A joint training of the target by a published method. Any other field is one of `varied`'s: "joint.spread".

    Args:
        method: a key of METHODS.
        schedule: length in x of labeled data; 8 is that of a 5x warmup and a 3x finetune.
        detector: of the target.
        init: a trained stage to start from, such as a warmup, as a finetune does. parts: which of its parts.
        ratio: labeled and unlabeled images, scaled to the profile's batch: (6, 10) is 3 + 5 in batches of 8; of "union"
            both kinds are in a batch as often as there are such.
        pseudo: labels of a fixed teacher; default those of the default labeler, class-specific, on the scale.
        scale: of the unlabeled images, default tiny; not beside `pseudo`, whose images they are.
        threshold: of scores; default the method's. weight: of the losses of unlabeled images; default the method's.
        burn_in: in x; default the method's, which is 1 for averages in a small profile.
        normalised: losses of unlabeled images are scaled by the moving averages of both, as in self-training.
        student_view, labeled_view: augmentations of unlabeled images for the student and of labeled ones; default the
            method's, in a small profile "weak" for labeled ones.

    Raises:
        SpecError: unknown method, or it does not fit the detector or the data; a scale beside `pseudo`.
    """
    if pseudo is not None and scale is not None:
        raise SpecError(
            f"scale {scale!r} beside pseudo labels: their images are those that were labelled; leave one out"
        )
    if method not in METHODS:
        raise SpecError(unknown("joint method", method, METHODS))
    chosen = METHODS[method]
    labeled = labeled_view or ("weak" if profile.small else chosen.labeled)
    base = finetune(profile, init, schedule=schedule, detector=detector, parts=parts, augmentation=labeled)
    values = _scaled(profile, chosen, base.model.detector)
    if burn_in is not None:
        values["burn_in"] = round(burn_in * profile.iters_1x)
    given = {"threshold": threshold, "unsup_weight": weight, "mix": "normalised" if normalised else None}
    values |= {name: value for name, value in given.items() if value is not None}
    views = ("weak", student_view or chosen.student)
    teachers, students = (() if (own := _sizes(profile, view)) == base.recipe.sizes else own for view in views)
    mixed = {"sampling": "union"} if ratio == "union" else {"ratio": _of_batch(ratio, base.recipe.batch)}
    return Joint(
        **{f.name: getattr(base, f.name) for f in fields(base)},
        unlabeled=pseudo or _unlabeled(profile, chosen, scale),
        **mixed,
        views=views,
        view_sizes=(teachers, students),
        second_view=views[1] if chosen.twice else "",
        **values,
    )


def _scaled(profile: Profile, method: Method, detector: str) -> dict[str, Any]:
    """What is another for a kind of detector, and for the length and the images of a small profile.

    Published momenta have half-lives of 693 to 6,931 iterations. An average over more than half of 1x would still be
    the initial weights when a short training ends, so it is bounded there; published values stay where they are less.
    Other values for small profiles have their evidence in docs/method.md.
    """
    dense = catalog.row("detector", detector).teaches == "dense"
    values = {**method.values, **(method.dense if dense else {})}
    if not profile.small:
        return values
    if not method.ema:
        return {**values, **_threshold(profile, values, dense), **method.small}
    values["momentum"] = min(values["momentum"], round(max(0.0, 1 - 2 / profile.iters_1x), 4))
    values["burn_in"] = values["rise"] = profile.iters_1x
    if not dense:
        return values
    return {**values, "score": "detection", "spread": SMALL_SPREAD, "threshold": profile.threshold}


def _threshold(profile: Profile, values: Mapping[str, Any], dense: bool) -> dict[str, Any]:
    """The profile's delta, and its range in proportion; not where images relax it, nor where classes of regions do."""
    limits = values.get("threshold_range", ())
    if values.get("relax") or (limits and not dense):
        return {}
    scale = profile.threshold / values["threshold"]
    return {"threshold": profile.threshold} | (
        {"threshold_range": tuple(round(limit * scale, 4) for limit in limits)} if limits else {}
    )


def _sizes(profile: Profile, view: str) -> tuple[int, ...]:
    """Short sides of a view: the recipe's own, as it is tested, or those of strong augmentation."""
    plain = view in PLAIN_SIZES or not profile.strong_sizes
    return profile.finetune_recipe.sizes if plain else profile.strong_sizes


def _unlabeled(profile: Profile, method: Method, scale: str | None) -> Stage:
    if method.ema:
        return profile.data.split("unlabeled", "images", scale)
    return pseudo_label(profile, labeler(profile, labels="objects", agnostic=False), scale=scale)


def _of_batch(ratio: tuple[int, int], batch: int) -> tuple[int, int]:
    """A ratio as numbers of images that make up a batch, at least one of each."""
    labeled, unlabeled = ratio
    if min(ratio) < 1 or batch < 2:
        raise SpecError(f"{labeled} labeled to {unlabeled} unlabeled images in batches of {batch}: at least 1 of each")
    count = min(max(round(batch * labeled / (labeled + unlabeled)), 1), batch - 1)
    return count, batch - count
