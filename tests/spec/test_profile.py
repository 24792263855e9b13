"""Recipes of profile `paper`, and what --batch-size, --iters-1x and --rule change."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from ablations.profiles import GPU, MINI, PAPER, PHOTOS, SMOKE
from casl.catalog import OPTIMIZERS
from casl.errors import SpecError
from casl.spec import Profile, Scenes, finetune, labeler, pseudo_label, warmup, warmup_on_truth
from casl.spec.data_kinds import Folder
from casl.spec.data_sets import FolderData
from casl.spec.schedule import factor_at


def test_resnets_are_trained_as_in_their_reference_and_swins_as_in_theirs() -> None:
    """Method reference sec. 3: FCOS R-50 and Entity R-101 by SGD with FREEZE_AT 2, Entity Swins by AdamW."""
    r50 = warmup_on_truth(PAPER, detector="fcos", backbone="resnet50")
    r101, swin = labeler(PAPER, backbone="resnet101"), labeler(PAPER, backbone="swin_b")

    def found(stage: object) -> list[object]:
        recipe, model = stage.recipe, stage.model  # type: ignore[attr-defined]
        return [
            recipe.optimizer,
            recipe.lr,
            recipe.weight_decay,
            recipe.ramp_iters,
            model.frozen_stages,
            model.drop_path,
        ]

    assert found(r50) == ["sgd", 0.01, 1e-4, 1000, 2, 0.0]
    assert found(r101) == ["sgd", 0.01, 1e-4, 1500, 2, 0.0]
    assert found(swin) == ["adamw", 1e-4, 0.05, 1500, 0, 0.2]


def test_rule_b_drops_the_rate_of_3x_where_entityseg_does() -> None:
    """entity_swin_tiny_3x.yaml: 180k and 250k of 270k; by rule A, detectron2's, 210k and 250k."""

    def drops(profile: object) -> list[int]:
        schedule = labeler(profile).schedule  # type: ignore[arg-type]
        return [i for i in (180_000, 210_000, 250_000) if factor_at(schedule, i) < factor_at(schedule, i - 1)]

    assert drops(PAPER) == [210_000, 250_000]
    assert drops(PAPER.with_rule("B")) == [180_000, 250_000]


def test_a_larger_batch_keeps_the_epochs_and_scales_rates() -> None:
    large = PAPER.with_batch(64)
    stage, r101 = labeler(large), labeler(large, backbone="resnet101")
    assert stage.recipe.batch * stage.iters == 16 * 270_000
    assert (r101.recipe.ramp_iters, r101.recipe.batch) == (375, 64)
    assert stage.recipe.ramp_iters == 375
    assert large.epochs(stage) == pytest.approx(36)


def test_rates_follow_the_batch_by_the_rule_of_their_optimiser_and_the_note_names_it() -> None:
    """Goyal et al. 2017: SGD in proportion. Malladi et al. 2022: AdamW by the square root."""
    large = PAPER.with_batch(64)
    assert labeler(large).recipe.lr == pytest.approx(1e-4 * 2)
    assert labeler(large, backbone="resnet101").recipe.lr == pytest.approx(0.01 * 4)
    assert large.notes[-1] == (
        "batches of 64 images, not 16, as many epochs; "
        "learning rates x 2 (square root rule, adamw), x 4 (linear rule, sgd)"
    )
    small = MINI.with_batch(MINI.warmup_recipe.batch // 4)
    assert labeler(small).recipe.lr == pytest.approx(MINI.warmup_recipe.lr / 2)
    assert small.notes[-1].endswith("learning rates x 0.5 (square root rule, adamw)")


def test_an_optimiser_without_a_rule_for_batches_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPTIMIZERS, "lion", "elsewhere:lion")
    other = replace(MINI, warmup_recipe=replace(MINI.warmup_recipe, optimizer="lion"))
    assert other.with_batch(other.warmup_recipe.batch) is other
    with pytest.raises(SpecError, match=r"no rule .* 'lion' .* adamw and sgd.*\n.*set batch and lr"):
        other.with_batch(32)


def test_all_lengths_follow_the_iterations_of_1x_and_the_ramp_up_does_not() -> None:
    short = MINI.with_iters_1x(50)
    warm = warmup(short)
    assert (labeler(short).iters, warm.iters, finetune(short, warm, schedule=2).iters) == (150, 250, 100)
    assert warm.recipe == warmup(MINI).recipe and short.epochs(warm) == pytest.approx(60)
    assert short.folder == "mini-iters-1x50" and short.notes[-1] == f"1x is 50 iterations, not {MINI.iters_1x}"
    assert MINI.with_iters_1x(MINI.iters_1x) is MINI
    assert MINI.with_batch(2 * MINI.warmup_recipe.batch).with_iters_1x(50).iters_1x == 50, "what is typed is what it is"
    with pytest.raises(SpecError, match=r"--iters-1x .* at least 1, got 0"):
        MINI.with_iters_1x(0)


def test_the_batch_and_rule_that_a_profile_has_change_no_key() -> None:
    assert warmup(MINI.with_batch(MINI.warmup_recipe.batch).with_rule("A")).key == warmup(MINI).key
    assert warmup(MINI.with_rule("B")).key != warmup(MINI).key


def test_an_impossible_batch_or_rule_is_named() -> None:
    with pytest.raises(SpecError, match="got 0"):
        MINI.with_batch(0)
    with pytest.raises(SpecError, match="known: A, B, C"):
        MINI.with_rule("a")


OWN = FolderData(
    "own",
    {(s, k): Folder(s, k, f"{s} {k}", 3, 80) for s, k in (("labeled", "objects"), ("unlabeled", "images"))},
    3,
    has_masks=True,
    has_entities=False,
)


@pytest.mark.parametrize(
    ("data", "changed"),
    [
        (None, lambda p: p),
        (None, lambda p: p.with_provider("detectron2").with_rule("B").with_batch(16).with_iters_1x(50)),
        (OWN, lambda p: p.with_data(OWN)),
        (OWN, lambda p: p.with_data(OWN, crowds_are_objects=True).with_size(96)),
        (
            OWN,
            lambda p: p.with_provider("detectron2").with_data(OWN, True).with_size(224).with_rule("C").with_iters_1x(9),
        ),
    ],
)
@pytest.mark.parametrize("profile", [MINI, SMOKE, GPU, PHOTOS], ids=lambda p: p.name)
def test_a_profile_is_made_again_from_what_it_records(
    profile: Profile, data: FolderData | None, changed: Callable[[Profile], Profile]
) -> None:
    asked = changed(profile)
    assert profile.as_recorded(asked.options, data) == asked


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((("set", "warmup.threshold=0.4"),), "mini cannot be made again from --set warmup.threshold=0.4"),
        ((("colour", "red"),), "cannot be made again from --colour red"),
        ((("crowds-are-objects", "yes"),), "cannot be made again"),  # of a set on disk, which is not there
        ((("iters-1x", "nine"),), "a recorded option needs a whole number, got 'nine'"),
        ((("iters-1x", "0"),), "must be at least 1"),
        ((("rule", "Z"),), "known: A, B, C"),
        ((("iters-1x", "144"),), "cannot be made again"),  # what the profile has changes nothing
    ],
)
def test_options_of_which_no_profile_is_left_are_refused(options: tuple[tuple[str, str], ...], said: str) -> None:
    with pytest.raises(SpecError, match=re.escape(said)):
        MINI.as_recorded(options)


def test_the_unlabeled_scales_of_the_gpu_profile_have_the_papers_ratios() -> None:
    sizes = [GPU.images_in(scale) for scale in ("tiny", "small", "base", "large")]
    assert [size / sizes[0] for size in sizes] == pytest.approx([1, 660 / 123, 1740 / 123, 3660 / 123], rel=1e-3)


@pytest.mark.parametrize("scale, drawn", [("tiny", 100), ("small", 200), ("base", 400), ("large", 800)])
def test_the_images_that_are_drawn_count_not_those_they_are_drawn_from(scale: str, drawn: int) -> None:
    unlabeled = Folder(split="unlabeled", labels="images", digest="u", classes=3, count=800)
    labeled = Folder(split="labeled", labels="objects", digest="l", classes=3, count=80)
    folders = {("unlabeled", "images"): unlabeled, ("labeled", "objects"): labeled}
    own = FolderData("own", folders, 3, has_masks=True, has_entities=False)
    profile = replace(MINI, data=own, epochs_follow_scale=True)
    made = pseudo_label(profile, labeler(profile, labels="objects"), scale=scale)
    assert profile.images_in(scale) == drawn
    assert profile.iters_1x_on(made) == MINI.iters_1x * drawn // 100
    assert dict(made.read_by("training", "pseudo")[0].profile)["images"] == drawn
    assert f"of {drawn} images" in made.title


@pytest.mark.parametrize("profile", [MINI, SMOKE, GPU], ids=lambda p: p.name)
def test_what_stands_for_imagenet_is_not_taught_what_detectors_learn(profile: Profile) -> None:
    start, learned = labeler(profile).pretrained, labeler(profile).data
    assert start is not None and isinstance(start.data, Scenes) and isinstance(learned, Scenes)
    assert (start.data.shapes, learned.shapes) == ("others", "things")
    assert "other shapes" in profile.start and "other shapes" in start.data.title
