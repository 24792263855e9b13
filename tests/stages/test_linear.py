"""The linear probe as a stage: of random weights, a start and a detector."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from casl.errors import DataError, StoppedError
from casl.spec import Pretrain, SceneData, Scenes, Stage, Unlabelled, contrast, evaluate, finetune, probe
from casl.spec.run import CURVES, WEIGHTS
from casl.stages.linear import drawn
from casl.stages.sources import open_split
from casl.train.checkpoint import load_weights, save_weights
from tests.runner.stores import NANO
from tests.stages.ranks import carry_out, context, with_inputs
from tests.stages.test_contrast import RECIPE

PROFILE = replace(
    NANO,
    data=SceneData(labeled=12, unlabeled={"tiny": 4}, val=8, size=64),
    contrast=Unlabelled(RECIPE, iters=1),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("probe")


def figures(stage: Stage, root: Path) -> dict[str, float]:
    with_inputs(stage, root)
    return dict(carry_out(stage, root).metrics)


def test_a_probe_can_be_had_of_random_weights_a_start_and_a_detector(root: Path) -> None:
    start = contrast(PROFILE)
    trained = replace(finetune(PROFILE, None, start=start), schedule=((1, 1.0),))
    found = [
        figures(stage, root)
        for stage in (
            evaluate(PROFILE, None, "linear_probe"),
            evaluate(PROFILE, start, "linear_probe"),
            probe(PROFILE, trained),
        )
    ]
    for one in found:
        assert one.keys() == {"top1", "mean", "largest"} and 0 <= one["top1"] <= 100
    assert len({one["largest"] for one in found}) == 1


def test_a_classifier_of_crops_names_new_ones_better_than_random_weights(root: Path) -> None:
    seen, unseen = Scenes(split="labeled", count=40, size=64), Scenes(split="val", count=30, size=64)
    taught = Pretrain("resnet_micro", seen, size=32, batch=32, iters=50, lr=2e-3)
    stages = (replace(probe(PROFILE, start), data=seen, judged=unseen) for start in (None, taught))
    random, better = (figures(stage, root)["top1"] for stage in stages)
    assert better > random + 8


def test_features_do_not_depend_on_the_batch_and_nothing_of_the_start_moves(root: Path) -> None:
    start = contrast(PROFILE)
    stage = probe(PROFILE, start)
    with_inputs(stage, root)
    before = load_weights(root / start.name / WEIGHTS)
    assert carry_out(stage, root, root / "once").metrics == carry_out(stage, root, root / "again").metrics
    assert all(torch.equal(v, before[k]) for k, v in load_weights(root / start.name / WEIGHTS).items())


def test_weights_of_another_backbone_are_refused(root: Path, tmp_path: Path) -> None:
    stage = probe(PROFILE, contrast(PROFILE))
    with_inputs(stage, root)
    folder = tmp_path / "other"
    folder.mkdir()
    save_weights(folder / WEIGHTS, torch.nn.Linear(2, 2))
    ctx = context(stage, root, tmp_path / "probe")
    assert stage.start is not None
    inputs = {**ctx.inputs, stage.start.name: folder}
    with pytest.raises(DataError, match="no backbone"):
        carry_out(stage, root, tmp_path / "probe", inputs=inputs)


def test_of_many_crops_as_many_as_wanted_are_drawn_by_chance(root: Path) -> None:
    stage = probe(PROFILE, None)
    with_inputs(stage, root)
    split = open_split(stage.data, "objects", context(stage, root, root / "drawn"))
    every = drawn(split, stage)
    some = drawn(split, replace(stage, crops=5))
    assert len(every) > 20 and len(some) == 5 and some == sorted(some) and set(some) < set(every)
    assert some != drawn(split, replace(stage, crops=5, seed=1)) and some != every[:5]


def test_a_tuned_backbone_learns_the_crops_and_a_stopped_tuning_goes_on(root: Path, tmp_path: Path) -> None:
    stage = replace(probe(PROFILE, None, tuned=10), batch=16, lr=2e-3)
    with_inputs(stage, root)
    whole = carry_out(stage, root).metrics
    losses = [float(line.split(",")[1]) for line in (root / stage.name / CURVES).read_text().splitlines()[1:]]
    assert len(losses) == 10 and losses[-1] < losses[0] - 0.2
    calls = iter([False] * 5 + [True] * 9)
    with pytest.raises(StoppedError):
        carry_out(stage, root, tmp_path / "tuned", stopping=lambda: next(calls))
    assert carry_out(stage, root, tmp_path / "tuned").metrics == whole
    same = [load_weights(folder / WEIGHTS) for folder in (root / stage.name, tmp_path / "tuned")]
    assert all(torch.equal(value, same[1][name]) for name, value in same[0].items())
