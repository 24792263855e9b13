"""What is started first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from casl.runner.plan import make_plan
from casl.runner.schedule import costs_to_go
from casl.spec import Cell, Pretrain, Scenes, evaluate, finetune
from tests.runner.stores import NANO, new_store


def test_the_iterations_of_a_stand_in_for_imagenet_count_on_the_path(tmp_path: Path) -> None:
    """A baseline that begins with one is longer than the same without, so it is started first."""
    stand_in = Pretrain("resnet_micro", Scenes(split="labeled", count=4, size=64, seed=1), 32, 4, 250, 1e-3)
    profile = replace(NANO, pretrain=stand_in)
    cell = Cell("r", "c", "ap_det", evaluate(profile, trained := finetune(profile, None, schedule=1), "ap_det"))
    costs = costs_to_go(make_plan({"table": [cell]}, new_store(tmp_path)))
    first = max((name for name in costs if name.startswith("finetune")), key=lambda name: costs[name])
    assert trained.pretrained == stand_in
    assert costs[stand_in.name] - costs[first] == stand_in.iters
