"""Published methods as stages: their values, and what becomes of them in a small profile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ablations.profiles import GPU, MINI, PAPER, PHOTOS, SMOKE
from casl.errors import SpecError
from casl.spec import METHODS, PseudoLabel, finetune, joint, labeler, pseudo_label, warmup
from casl.spec.profile import Profile


@pytest.mark.parametrize("profile", [SMOKE, MINI, GPU, PAPER, PHOTOS], ids=lambda profile: profile.name)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("detector", ["fcos", "condinst", "faster_rcnn"])
def test_every_method_is_a_stage_in_every_profile(profile: Profile, method: str, detector: str) -> None:
    stage = joint(profile, method=method, detector=detector)
    assert stage.iters == 8 * profile.iters_1x and sum(stage.ratio) == stage.recipe.batch
    assert stage.momentum <= METHODS[method].values.get("momentum", 0.999) or detector != "faster_rcnn"
    assert joint(profile, method=method, detector=detector) is stage


@pytest.mark.parametrize(
    ("method", "detector", "expected"),
    [
        ("stac", "faster_rcnn", ("fixed", 0.9, True, 2.0, "mean", "all", 0)),
        ("self_training", "fcos", ("fixed", 0.5, False, 1.0, "sum", "all", 0)),
        ("soft_teacher", "faster_rcnn", ("ema", 0.9, False, 2.0, "sum", "spread", 0)),
        ("unbiased_teacher", "faster_rcnn", ("ema", 0.7, False, 2.0, "sum", "none", 90_000)),
        ("unbiased_teacher", "fcos", ("ema", 0.5, False, 3.0, "share", "spread", 10_000)),
    ],
)
def test_published_values_stand_in_the_profile_of_the_paper(
    method: str, detector: str, expected: tuple[object, ...]
) -> None:
    s = joint(PAPER, method=method, detector=detector)
    assert (s.teacher, s.threshold, s.relax, s.unsup_weight, s.mix, s.box_rule, s.burn_in) == expected


def test_momenta_are_as_published_where_trainings_are_as_long() -> None:
    momenta = [joint(PAPER, method="soft_teacher").momentum]
    momenta += [joint(PAPER, method="unbiased_teacher", detector=d).momentum for d in ("faster_rcnn", "fcos")]
    assert momenta == [0.999, 0.9996, 0.9999]
    assert [joint(p, method="soft_teacher").momentum for p in (MINI, GPU, PHOTOS)] == [0.9861, 0.999, 0.995]
    assert [joint(p, method="soft_teacher").burn_in for p in (MINI, GPU, PAPER)] == [144, 2000, 0]


def test_what_small_profiles_need_otherwise() -> None:
    for profile in (SMOKE, MINI, GPU, PHOTOS):
        average = joint(profile, method="soft_teacher")
        assert (average.score, average.floor, average.spread) == ("detection", 0.3, 0.07)
        assert average.threshold == joint(profile, method="unbiased_teacher").threshold == profile.threshold
        assert average.rise == average.burn_in == profile.iters_1x
        assert joint(profile, method="self_training").threshold == profile.threshold
        assert joint(profile, method="stac").threshold == 0.5, "which every image relaxes"
        two_stage = joint(profile, method="soft_teacher", detector="faster_rcnn")
        assert (two_stage.threshold, two_stage.floor, two_stage.spread) == (0.9, 0.5, 0.02)
        assert joint(profile, method="soft_teacher", threshold=0.2).threshold == 0.2
        assert {joint(profile, method=method).recipe.augmentation for method in METHODS} == {"weak"}
    published = joint(PAPER, method="soft_teacher")
    assert published.recipe.augmentation == "strong_labeled" and published.rise == 0 and published.threshold == 0.5


def test_labeled_and_unlabeled_images_are_as_many_as_in_warmup_and_finetune() -> None:
    for method in ("stac", "soft_teacher"):
        stage = joint(PAPER, method=method)
        assert stage.ratio == (6, 10)
        assert stage.passes == tuple(16 * chain.iters for chain in (finetune(PAPER, None), warmup(PAPER)))
    small = joint(MINI, method="stac")
    assert small.ratio == (3, 5) and small.passes == (3 * 8 * MINI.iters_1x, 5 * 8 * MINI.iters_1x)
    ratios = [joint(MINI, method="stac", ratio=r).ratio for r in ((1, 4), (1, 1), (1, 100))]
    assert ratios == [(2, 6), (4, 4), (1, 7)]
    assert joint(MINI.with_batch(16), method="stac").ratio == (6, 10)


def test_a_fixed_teacher_is_class_specific_and_an_average_sees_images() -> None:
    fixed = joint(MINI, method="stac", scale="base").unlabeled
    assert isinstance(fixed, PseudoLabel) and fixed.labeler.model.classes == MINI.data.classes
    assert fixed == pseudo_label(MINI, labeler(MINI, labels="objects", agnostic=False), scale="base")
    assert joint(MINI, method="soft_teacher", scale="base").unlabeled == fixed.data


def test_what_is_asked_for_is_in_the_stage() -> None:
    plain = joint(MINI, method="self_training")
    asked = joint(MINI, method="self_training", threshold=0.3, weight=0.5, normalised=True, burn_in=0.5, schedule=2)
    assert (asked.threshold, asked.unsup_weight, asked.mix, asked.burn_in) == (
        0.3,
        0.5,
        "normalised",
        MINI.iters_1x // 2,
    )
    assert asked.iters == 2 * MINI.iters_1x and plain.mix == "sum"
    looks = joint(MINI, method="stac", student_view="weak", labeled_view="strong_labeled")
    assert (looks.views, looks.recipe.augmentation) == (("weak", "weak"), "strong_labeled")


def test_the_teachers_view_keeps_the_sizes_that_are_tested_whatever_the_others_have() -> None:
    for method, wanted in (("stac", (64,)), ("unbiased_teacher", (64,)), ("soft_teacher", (32, 96))):
        stage = joint(MINI, method=method)
        teacher, student = (sizes or stage.recipe.sizes for sizes in stage.view_sizes)
        assert (teacher, student) == ((64,), wanted)
    assert joint(MINI, method="stac", student_view="weak").view_sizes == ((), ())
    small = joint(MINI, method="soft_teacher", labeled_view="strong_labeled", student_view="weak")
    assert small.view_sizes == ((64,), (64,))


def test_unbiased_teacher_sees_labeled_images_in_both_views() -> None:
    stage = joint(MINI, method="unbiased_teacher")
    assert (stage.recipe.augmentation, stage.second_view) == stage.views
    assert joint(MINI, method="soft_teacher").second_view == ""


def test_a_joint_training_can_start_from_a_warmup_as_a_finetune_does() -> None:
    first = warmup(MINI)
    stage, other = joint(MINI, method="soft_teacher", init=first), finetune(MINI, first)
    assert (stage.init, stage.parts, stage.classifier) == (other.init, other.parts, other.classifier)
    assert stage.chain == f"joint {8 * MINI.iters_1x} it ← warmup {5 * MINI.iters_1x} it"


def test_methods_are_told_apart_and_near_misses_are_named() -> None:
    with pytest.raises(SpecError, match="did you mean 'soft_teacher'"):
        joint(MINI, method="soft_teachers")
    with pytest.raises(SpecError, match="at least 1 of each"):
        joint(MINI, method="stac", ratio=(0, 1))
    with pytest.raises(SpecError, match="at least 1 of each"):
        joint(replace(MINI, finetune_recipe=replace(MINI.finetune_recipe, batch=1)), method="stac")


def test_no_setting_is_passed_over() -> None:
    labels = joint(MINI, method="stac").unlabeled
    assert isinstance(labels, PseudoLabel)
    with pytest.raises(SpecError, match="scale 'large' beside pseudo labels"):
        joint(MINI, method="stac", pseudo=labels, scale="large")
