"""That the whole chain of data, model, loss, optimiser, inference and metric can learn: few images, by heart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from casl.runner.store import Store
from casl.spec import Cell, Finetune, Model, Recipe, Scenes, evaluate
from tests.runner.stores import NANO, run

DATA = Scenes(split="labeled", count=8, size=64)
MODEL = Model(
    detector="fcos",
    backbone="resnet_micro",
    classes=8,
    channels=64,
    mask_channels=32,
    ranges=(16, 32, 64, 128),
)
RECIPE = Recipe(lr=2e-3, batch=8, sizes=(64,), max_size=96, ramp_iters=10, weight_decay=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("detector", ["fcos", pytest.param("condinst", marks=pytest.mark.long)])
def test_eight_images_are_learned_by_heart(tmp_path: Path, detector: str) -> None:
    trained = Finetune(
        model=replace(MODEL, detector=detector),
        data=DATA,
        labels="objects",
        recipe=RECIPE,
        schedule=((320, 1.0), (400, 0.1)),
    )
    on_training_data = replace(evaluate(NANO, trained, "ap_det"), data=DATA)
    store = Store(tmp_path)
    _, summary, _ = run([Cell("r", "c", "ap_det", on_training_data)], store)
    assert not summary.failed
    assert store.run(on_training_data.name).metrics["AP"] > 90
