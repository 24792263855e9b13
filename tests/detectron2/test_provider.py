"""Table 10 with detectron2's frameworks, from the command's option to the metric."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from casl.models.parts import part_of
from casl.runner.store import Store
from casl.spec import Cell, SceneData, evaluate, finetune, warmup_on_truth
from casl.spec.run import WEIGHTS
from casl.stages.training import TRANSFER
from casl.train.checkpoint import load_weights
from tests.detectron2.there import MISSING
from tests.runner.stores import NANO, run

pytest.importorskip("detectron2", reason=MISSING)

PROFILE = replace(
    NANO,
    data=SceneData(labeled=16, unlabeled={"tiny": 4}, val=4, size=64),
    shape=replace(NANO.shape, channels=32),
).with_provider("detectron2")
FRAMEWORKS = [
    ("retinanet", "ap_det", "AP"),
    ("faster_rcnn", "ap_det", "AP"),
    ("cascade_rcnn", "ap_det", "AP"),
    ("mask_rcnn", "ap_seg", "AP"),
    ("keypoint_rcnn", "ap_point", "AP"),
    ("panoptic_fpn", "pq", "PQ"),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("frameworks"))  # shared, so the warmup is trained once


@pytest.mark.parametrize(("framework", "metric", "figure"), FRAMEWORKS)
def test_a_framework_of_detectron2_is_finetuned_from_a_warmup_and_judged(
    store: Store, framework: str, metric: str, figure: str
) -> None:
    model = finetune(PROFILE, warmup_on_truth(PROFILE, schedule=1), schedule=1, detector=framework)
    assert model.model.detector == f"d2_{framework}"
    cell = Cell(framework, "ours", metric, evaluate(PROFILE, model, metric), figure=figure)
    plan, summary, watcher = run([cell], store)
    assert not summary.failed, [watcher.ended[n][1] for n in summary.failed]
    assert -1.0 <= store.run(cell.evaluation.name).metrics[figure] <= 100.0
    first = next(n for n in plan.nodes.values() if n.stage.kind == "finetune" and n.resume is None)
    record = json.loads((store.folder(first.stage.name) / TRANSFER).read_text())
    assert {part_of(key) for key in record["loaded"]} == {"backbone", "neck"} and not record["replicated"]
    kept = load_weights(store.folder(first.stage.name) / WEIGHTS)
    assert {*record["loaded"], *record["left"]} == set(kept)
