"""What a backbone starts from, as specs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from casl import catalog
from casl.errors import SpecError
from casl.spec import (
    Cell,
    Contrast,
    ContrastRecipe,
    Folder,
    Pretrain,
    Profile,
    Scenes,
    contrast,
    evaluate,
    finetune,
    labeler,
    probe,
    varied,
    warmup,
)
from casl.spec.freeze import freeze, thaw
from casl.spec.kinds import Evaluate

MINI: Profile = catalog.load("profile", "mini")
PAPER: Profile = catalog.load("profile", "paper")
RECIPE = ContrastRecipe(lr=0.03, batch=256, size=224)


def test_mini_and_paper_have_the_settings_of_the_reference() -> None:
    assert MINI.contrast is not None and PAPER.contrast is not None
    small, published = MINI.contrast.recipe, PAPER.contrast.recipe
    assert (small.size, small.batch, small.queue, small.dim) == (64, 64, 1024, 64)
    assert (small.momentum, small.temperature, small.optimizer, small.lr) == (0.99, 0.2, "adamw", 1e-3)
    assert MINI.contrast.iters <= 1000 and contrast(MINI, dense=0.5).grid == "c4"
    assert (published.lr, published.batch, published.queue, published.dim) == (0.03, 256, 65_536, 128)
    assert (published.momentum, published.temperature, published.optimizer) == (0.999, 0.2, "sgd")
    assert published.weight_decay == 1e-4
    assert PAPER.contrast.iters * published.batch / 1_281_167 == pytest.approx(200, abs=1e-3)


@pytest.mark.parametrize("name", ["smoke", "mini", "gpu", "photos", "paper"])
def test_every_profile_can_start_a_finetune_without_labels(name: str) -> None:
    profile: Profile = catalog.load("profile", name)
    for dense, method in ((0.0, "MoCo v2"), (0.5, "DenseCL")):
        start = contrast(profile, dense=dense)
        assert start.method == method and method in start.title and method in start.stands_for
        trained = finetune(profile, None, start=start)
        assert trained.pretrained is start and start in trained.inputs()
        assert (trained.model.weights, trained.model.frozen_stages) == ("random", 0) and not trained.reads_weights
        assert thaw(freeze(trained)) == trained
    moco = contrast(profile)
    assert moco.grid == "c5" and moco.key != contrast(profile, dense=0.5).key
    assert profile.contrast is not None
    other = replace(profile, contrast=replace(profile.contrast, grid="c4"))
    assert contrast(other).key == moco.key


def test_a_profile_may_have_it_in_the_place_of_the_classifier_of_crops() -> None:
    swapped = replace(MINI, pretrain=contrast(MINI, dense=0.5, iters=250))
    trained = finetune(swapped, None)
    assert isinstance(trained.pretrained, Contrast) and "DenseCL on 246 unlabeled images, 250" in swapped.start
    start = labeler(swapped).pretrained
    assert isinstance(start, Contrast) and start.backbone == swapped.backbone("swin_l")
    assert finetune(MINI.with_seed(3), None, start=contrast(MINI.with_seed(3))).pretrained != trained.pretrained


def test_images_are_those_of_a_scale_or_those_given() -> None:
    assert contrast(MINI, scale="large").data == MINI.data.split("unlabeled", "images", "large")
    given = MINI.data.split("labeled", "objects")
    assert contrast(MINI, data=given).data == given and contrast(MINI, iters=7).iters == 7
    with pytest.raises(SpecError, match="not both"):
        contrast(MINI, data=given, scale="large")
    with pytest.raises(SpecError, match="does not say how to pre-train"):
        contrast(replace(MINI, contrast=None))


@pytest.mark.parametrize(
    "data",
    [
        Scenes(split="val", count=4, size=64),
        Folder(split="val", labels="objects", digest="0", classes=2, count=4),
        Folder(split="test", labels="objects", digest="0", classes=2, count=4),
        contrast(MINI),
    ],
)
def test_images_that_detectors_are_judged_on_are_refused(data: Any) -> None:
    with pytest.raises(SpecError, match="must not be seen before"):
        contrast(MINI, data=data)


def test_folders_with_named_scales_are_unlabeled_images_too() -> None:
    data = Folder(split="unlabeled_tiny", labels="images", digest="0", classes=2, count=4)
    assert contrast(MINI, data=data).data == data


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"queue": 1000}, "multiple of the batch"),
        ({"groups": 3}, "do not divide"),
        ({"momentum": 1.0}, "never moves"),
        ({"temperature": 0.0}, "must be positive"),
        ({"lr": 0.0}, "must be positive"),
        ({"size": 16}, "at least 32"),
        ({"optimizer": "adamv"}, "did you mean 'adamw'"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        replace(RECIPE, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"dense": 1.5}, "in .0, 1."), ({"grid": "c4"}, "no grid is used"), ({"grid": "c3", "dense": 0.5}, "c4, c5")],
)
def test_a_contrast_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        replace(contrast(MINI), **changes)


def test_a_start_needs_a_backbone_that_takes_it() -> None:
    with pytest.raises(SpecError, match="so a start has no effect"):
        finetune(MINI, warmup(MINI), start=contrast(MINI))
    head_only = finetune(MINI, warmup(MINI), parts=("neck", "head"), start=contrast(MINI))
    assert head_only.pretrained == contrast(MINI)
    with pytest.raises(SpecError, match="the start is a resnet_half, the model has a resnet_micro"):
        finetune(MINI, None, start=contrast(MINI, backbone="swin_b"))


def test_of_photographs_in_another_size_views_grow_too() -> None:
    larger = MINI.with_data(catalog.load("profile", "photos").data)
    assert MINI.contrast is not None and larger.contrast is not None
    assert (MINI.contrast.recipe.size, larger.contrast.recipe.size) == (64, 128)


def test_a_probe_is_a_cell_and_every_other_metric_needs_a_detector() -> None:
    found = evaluate(MINI, contrast(MINI), "linear_probe")
    cell = Cell("MoCo v2", "crops", "linear_probe", found)
    assert cell.figure == "top1" and cell.is_headline and cell.measurement is found
    assert found.is_headline("linear_probe/top1") and not found.is_headline("linear_probe/largest")
    assert [use.context for use in found.reads()] == ["training", "evaluation"]
    assert "MoCo v2" in found.title and "random resnet_micro" in evaluate(MINI, None, "linear_probe").title
    assert "finetune" in probe(MINI, finetune(MINI, None)).title
    longer = varied(cell, "contrast.iters", 7)
    assert isinstance(longer.measurement, type(found)) and longer.measurement.key != found.key
    with pytest.raises(SpecError, match="no detector predicts there"):
        cell.evaluation  # noqa: B018
    with pytest.raises(SpecError, match="judges predictions of a detector"):
        evaluate(MINI, contrast(MINI), "ap_det")
    with pytest.raises(SpecError, match=r"casl.spec.probe\(\) measures it"):
        evaluate(MINI, finetune(MINI, None), "linear_probe")
    for asked in ({"split": "unlabeled"}, {"classes": (1,)}, {"above": 0.5}, {"of": "teacher"}):
        with pytest.raises(SpecError, match="a start is probed on val as it is"):
            evaluate(MINI, contrast(MINI), "linear_probe", **asked)


def test_a_start_is_work_of_the_method_that_is_counted_in_iterations() -> None:
    stage = contrast(MINI, dense=0.5)
    assert stage.work(0).units == 1000 and stage.of_method and stage.ranks(4) == 1
    assert stage.reads()[0].context == "training" and isinstance(finetune(MINI, None).pretrained, Pretrain)
    assert isinstance(evaluate(MINI, finetune(MINI, None, start=stage), "ap_det"), Evaluate)
