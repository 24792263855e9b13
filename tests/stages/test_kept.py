"""Further figures of finished evaluations, on the built-in scenes with made-up predictions. Oracle: the metrics."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from casl.data.coco import load_split
from casl.data.layout import find_splits
from casl.data.scenes import write_scenes
from casl.errors import DataError
from casl.metrics.ap import ap_det, ap_det_a
from casl.metrics.error_types import error_types
from casl.spec import Evaluate, Scenes, evaluate, finetune
from casl.spec.run import PREDICTIONS
from casl.stages.kept import KeptPredictions
from tests.metrics.random_scenes import Json, jittered
from tests.runner.stores import NANO

DONE = evaluate(NANO, finetune(NANO, None), "ap_det")


def lay(root: Path, done: Evaluate, images: int = 6) -> tuple[Json, list[Json]]:
    """A store's folder with a val split and the predictions that an evaluation kept; both sides."""
    data = done.data
    assert isinstance(data, Scenes)
    write_scenes(root / data.name / "set", "val", images, data.size, data.seed)
    gt = load_split(find_splits(root / data.name / "set")["val"], done.labels).coco()
    dt = jittered(gt, 0.1, seed=1)
    (root / done.name).mkdir()
    (root / done.name / PREDICTIONS).write_text(json.dumps(dt))
    return gt, dt


def kept(root: Path) -> KeptPredictions:
    return KeptPredictions(lambda name: root / name, {}, root / "digests.json")


def test_the_mean_over_classes_is_the_figure_of_the_evaluation(tmp_path: Path) -> None:
    gt, dt = lay(tmp_path, DONE)
    classes = kept(tmp_path).by_class(DONE)
    assert [c["name"] for c in classes] == [c["name"] for c in gt["categories"]]
    assert sum(c["objects"] for c in classes) == len(gt["annotations"])
    mean = np.mean([c["ap"] for c in classes if c["ap"] >= 0])
    assert 0 < mean == pytest.approx(ap_det(gt, dt)["AP"], abs=1e-9)


def test_predictions_that_are_gone_are_named(tmp_path: Path) -> None:
    lay(tmp_path, DONE)
    (tmp_path / DONE.name / PREDICTIONS).unlink()
    with pytest.raises(DataError, match=PREDICTIONS):
        kept(tmp_path).by_class(DONE)


def test_errors_are_with_classes_or_without_as_the_metric_is(tmp_path: Path) -> None:
    gt, dt = lay(tmp_path, DONE)
    found = kept(tmp_path).errors(DONE)
    assert found["AP50"] == pytest.approx(ap_det(gt, dt)["AP50"], abs=1e-9)
    assert found["counts"] == error_types(gt, dt).counts and sum(found["counts"].values()) > 0
    agnostic = replace(DONE, metric="ap_det_a")
    (tmp_path / DONE.name).rename(tmp_path / agnostic.name)
    assert kept(tmp_path).errors(agnostic)["AP50"] == pytest.approx(ap_det_a(gt, dt)["AP50"], abs=1e-9)
