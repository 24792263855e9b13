"""Trainings that start from pretrained weights, from the plan to the first step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file

from casl.errors import DataError
from casl.models.lite import kept
from casl.runner.plan import make_plan
from casl.runner.store import Store
from casl.spec import finetune, warmup, warmup_on_truth
from casl.spec.kinds import Train
from casl.spec.profile import Profile
from casl.study.ready import need_packages
from tests.models.test_lite_weights import INSTALLED
from tests.runner.stores import NANO, cell_of, run

PRETRAINED = replace(
    NANO,
    backbones=dict.fromkeys(("swin_t", "swin_l"), "lite0"),
    shape=replace(NANO.shape, detector="fcos", towers=1, weights="imagenet"),
    warmup_recipe=replace(NANO.warmup_recipe, lr=1e-3),
    iters_1x=1,
)


def trained_once(profile: Profile) -> Train:
    return warmup_on_truth(profile, schedule=1, detector="fcos")


@INSTALLED
def test_a_detector_on_lite0_starts_from_its_weights_and_keeps_the_frozen_ones(tmp_path: Path) -> None:
    stage = trained_once(PRETRAINED)
    store = Store(tmp_path / "store")
    _, summary, _ = run([cell_of(stage, PRETRAINED)], store)
    assert not summary.failed
    start = load_file(kept("lite0", store.root / "weights"))
    state = load_file(store.folder(stage.name) / "model.safetensors")
    body = {k.removeprefix("backbone.body."): v for k, v in state.items() if k.startswith("backbone.body.")}
    moved = {key.rsplit(".", 1)[0] for key, value in body.items() if not torch.equal(value, start[key])}
    assert moved and not [
        m for m in moved if m.startswith(("conv_stem", "bn1", "blocks.0.", "blocks.1.")) or ".bn" in m
    ]
    assert {m.split(".")[1] for m in moved} == {"2", "3", "4", "5", "6"}
    for key in moved:  # one step of AdamW at a thousandth of the rate, which ramps up
        torch.testing.assert_close(body[f"{key}.weight"], start[f"{key}.weight"], rtol=0, atol=1e-3)


def test_what_a_stage_starts_from_is_read_before_any_stage_runs(tmp_path: Path) -> None:
    profile = replace(PRETRAINED, backbones={"swin_t": "resnet_micro", "swin_l": "resnet_nano"})
    store = Store(tmp_path / "store")
    cell = cell_of(finetune(profile, warmup(profile, schedule=1)), profile)
    plan = make_plan({"t": [cell]}, store)
    weights = store.root / "weights"
    with pytest.raises(DataError, match=r"weights has no resnet_micro.safetensors or .pth; it has nothing"):
        need_packages(plan, store, "")
    weights.mkdir()
    for name, channels in (("resnet_micro", (32, 48, 64, 96)), ("resnet_nano", (32, 48, 64, 96))):
        model = timm.create_model("resnet10t", channels=channels, stem_width=16)
        torch.save(model.state_dict(), weights / f"{name}.pth")
    with pytest.raises(DataError, match=r"resnet_nano\.pth does not fit resnet_nano: .*\n  It fits resnet_micro\."):
        need_packages(plan, store, "")
    need_packages(make_plan({"t": [cell_of(trained_once(profile), profile)]}, store), store, "")
    (weights / "resnet_micro.pth").write_bytes((weights / "resnet_micro.pth").read_bytes()[:5000])
    with pytest.raises(DataError, match=r"resnet_micro\.pth is no checkpoint of plain tensors"):
        need_packages(plan, store, str(weights))


@INSTALLED
def test_a_backbone_that_is_not_of_the_warmup_starts_from_its_weights(tmp_path: Path) -> None:
    """Table 9 takes other parts of a warmup alone."""
    start = trained_once(PRETRAINED)
    stage = finetune(PRETRAINED, start, schedule=1, parts=("neck", "head"))
    store = Store(tmp_path / "store")
    _, summary, _ = run([cell_of(stage, PRETRAINED)], store)
    assert not summary.failed
    wanted = load_file(kept("lite0", store.root / "weights"))["conv_stem.weight"]
    for done in (start, stage):
        assert torch.equal(
            load_file(store.folder(done.name) / "model.safetensors")["backbone.body.conv_stem.weight"], wanted
        )


def test_which_trainings_start_from_weights() -> None:
    start = warmup(PRETRAINED, schedule=1)
    assert start.reads_weights and finetune(PRETRAINED, None).reads_weights
    assert not finetune(PRETRAINED, start).reads_weights
    assert finetune(PRETRAINED, start, parts=("neck", "head")).reads_weights
    assert not finetune(NANO, None).reads_weights
