"""A classifier of crops that goes on from another start, as what classes without boxes teach."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ablations.profiles import MINI, PAPER
from casl.data.scene_shapes import THINGS
from casl.errors import SpecError
from casl.spec import Pretrain, Scenes, Stage, crop_classifier, finetune, probe
from casl.spec.data_sets import SILHOUETTES
from casl.spec.run import WEIGHTS
from casl.train.checkpoint import load_weights
from tests.runner.stores import NANO
from tests.stages.ranks import carry_out, context, with_inputs

SEEN = Scenes(split="labeled", count=6, size=64, seed=2)
FIRST = Pretrain("resnet_micro", replace(SEEN, shapes="others"), size=32, batch=8, iters=2, lr=1e-3)
PROFILE = replace(NANO, pretrain=FIRST)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("crops")


def weights_of(stage: Stage, root: Path) -> dict[str, torch.Tensor]:
    with_inputs(stage, root)
    if not (root / stage.name).exists():
        given = context(stage, root, root / stage.name).inputs
        carry_out(stage, root, inputs={**given, **{s.name: root / s.name for s in (FIRST, SEEN)}})
    return dict(load_weights(root / stage.name / WEIGHTS))


def test_it_goes_on_from_the_start_before_with_what_stays_fixed_as_it_was(root: Path) -> None:
    after = crop_classifier(PROFILE, SEEN, 2, before=FIRST, frozen_stages=2)
    assert (after.size, after.batch, after.lr, after.weights) == (32, 8, 1e-3, "random")
    before, found = weights_of(FIRST, root), weights_of(after, root)
    moved = {name for name in found if not torch.equal(found[name], before[name])}
    assert moved and {name.split(".")[2] for name in moved} == {"layer2", "layer3", "layer4"}
    assert not any("num_batches" in name or "running" in name for name in moved), "batch norms are fixed too"
    alone = weights_of(replace(after, before=None, frozen_stages=0), root)
    assert not torch.equal(alone["backbone.body.layer1.0.conv1.weight"], found["backbone.body.layer1.0.conv1.weight"])


def test_a_detector_and_a_probe_take_it_though_its_batch_norms_were_fixed(root: Path) -> None:
    after = crop_classifier(PROFILE, SEEN, 2, before=FIRST, frozen_stages=2)
    trained = replace(finetune(PROFILE, None, start=after), schedule=((1, 1.0),))
    assert weights_of(trained, root).keys() > weights_of(after, root).keys()
    assert 0 <= carry_out(with_inputs(probe(PROFILE, after), root), root).metrics["top1"] <= 100


def test_keys_of_plain_classifiers_and_probes_are_as_ever() -> None:
    assert set(FIRST.payload()["fields"]) == {"backbone", "data", "size", "batch", "iters", "lr"}
    assert not {"tuned", "weights", "lr", "batch"} & set(probe(MINI, None).payload()["fields"])
    tuned = probe(MINI, None, tuned=5)
    assert tuned.key != probe(MINI, None).key and "tuned 5 it" in tuned.title
    assert isinstance(MINI.pretrain, Pretrain)
    assert replace(MINI.pretrain, before=FIRST).key != MINI.pretrain.key


def test_without_a_stand_in_crops_are_as_large_as_a_probes_and_weights_those_of_the_profile() -> None:
    stage = crop_classifier(PAPER, PAPER.data.split("labeled", "objects"), 100)
    assert (stage.weights, stage.size, stage.lr) == ("imagenet", 224, PAPER.warmup_recipe.lr)
    reading = [stage, probe(PAPER, None, weights="imagenet"), finetune(PAPER, None)]
    assert {found.weights_read for found in reading} == {("swin_t", "imagenet")}
    assert FIRST.weights_read is None and finetune(PAPER, None, start=stage).weights_read is None
    with pytest.raises(SpecError, match="or from 'imagenet' weights, not both"):
        replace(stage, before=replace(FIRST, backbone="swin_t"))
    with pytest.raises(SpecError, match="the start before is a resnet_micro, this one a swin_t"):
        replace(stage, before=FIRST, weights="random")


def test_pairs_of_silhouettes_are_the_classes_that_they_name() -> None:
    for name, places in SILHOUETTES.items():
        assert name == ", ".join(THINGS[place].name for place in places)
