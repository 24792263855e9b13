"""A chain of CA-SSL without any training: real images, made-up labels and predictions, as stages leave them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from casl.data.coco import CocoSplit, load_split
from casl.data.layout import find_splits
from casl.data.pseudo import Prediction, write_pseudo_labels
from casl.data.scenes import write_scenes
from casl.runner.store import Store
from casl.spec import Evaluate, Scenes
from casl.spec.kinds import PseudoLabel
from casl.spec.run import PREDICTIONS
from casl.spec.stage import Stage, ancestors
from casl.stages.sources import LABELS
from tests.metrics.random_scenes import Json, jittered
from tests.runner.stores import RECORD

QUALITY = {"AP": 31.5, "precision@0.3": 40.0, "recall@0.3": 50.0, "f1@0.3": 44.4}


def commit_chain(store: Store, *ends: Evaluate, roots: dict[str, Path] | None = None, spread: float = 0.1) -> None:
    """Commit evaluations and all before them.

    roots: digest -> folder of a data set. spread: of predictions, as in jittered; the first end has twice as much.
    """
    for n, end in enumerate(ends):
        for stage in ancestors(end):
            if not store.is_done(stage.name):
                _commit(store, stage, roots or {}, spread * (1 if n else 2))


def _commit(store: Store, stage: Stage, roots: dict[str, Path], spread: float) -> None:
    work = store.work(stage.name)
    work.mkdir(parents=True)
    figures = {"AP": 12.5}
    if isinstance(stage, Scenes):
        write_scenes(work / "set", stage.split, stage.count, stage.size, stage.seed)
    elif isinstance(stage, PseudoLabel):
        split = _split(store, stage.data, "images", roots)
        write_pseudo_labels(work / LABELS, split.images, [_marks(n) for n in range(len(split))])
        figures = QUALITY
    elif isinstance(stage, Evaluate):
        gt = _split(store, stage.data, stage.labels, roots).coco()
        (work / PREDICTIONS).write_text(json.dumps(predictions(gt, spread)))
    store.commit(stage, {**RECORD, "metrics": figures, "facts": {"images": 4}})


def predictions(gt: Json, spread: float) -> list[Json]:
    return [{name: value for name, value in r.items() if name != "segmentation"} for r in jittered(gt, spread, seed=1)]


def _marks(n: int) -> Prediction:
    """Two labels of an image, one of them below most thresholds; every third image has none above."""
    scores = np.array([0.2 if n % 3 == 2 else 0.9, 0.1], np.float32)
    boxes = np.array([[5, 5, 30, 30], [10, 10, 50, 40]], np.float32)
    return Prediction(boxes, scores, np.zeros(2, np.int64))


def _split(store: Store, data: Stage, labels: str, roots: dict[str, Path]) -> CocoSplit:
    root = store.folder(data.name) / "set" if isinstance(data, Scenes) else roots[vars(data)["digest"]]
    return load_split(find_splits(root)[vars(data)["split"]], labels)
