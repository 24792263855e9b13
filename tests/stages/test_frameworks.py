"""Every framework of Table 10, from one warmup through training to its metric."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from casl.models.parts import part_of
from casl.report.table import read_draws
from casl.runner.store import Store
from casl.spec import Cell, SceneData, Scenes, evaluate, finetune, warmup_on_truth
from casl.spec.data_kinds import Pretrain
from casl.spec.run import WEIGHTS
from casl.stages.training import TRANSFER
from casl.train.checkpoint import load_weights
from tests.runner.stores import NANO, run

PROFILE = replace(
    NANO,
    data=SceneData(labeled=16, unlabeled={"tiny": 4}, val=4, size=64),
    backbones=dict.fromkeys(("swin_t", "swin_l"), "resnet_micro"),
    shape=replace(NANO.shape, channels=32),
)
FRAMEWORKS = [
    ("fcos", None, "ap_det", "AP"),
    ("condinst", None, "ap_seg", "AP"),
    ("condinst", "entities", "ap_e_mask", "AP"),
    ("retinanet", None, "ap_det", "AP"),
    ("faster_rcnn", None, "ap_det", "AP"),
    ("mask_rcnn", None, "ap_seg", "AP"),
    ("keypoint_rcnn", None, "ap_point", "AP"),
    ("panoptic_fpn", None, "pq", "PQ"),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("frameworks"))  # shared, so the warmup is trained once


@pytest.mark.parametrize(("detector", "labels", "metric", "figure"), FRAMEWORKS)
def test_a_framework_is_finetuned_from_a_warmup_and_judged(
    store: Store, detector: str, labels: str | None, metric: str, figure: str
) -> None:
    model = finetune(PROFILE, warmup_on_truth(PROFILE, schedule=1), schedule=1, detector=detector, labels=labels)
    cell = Cell(detector, "ours", metric, evaluate(PROFILE, model, metric), figure=figure)
    plan, summary, watcher = run([cell], store)
    assert not summary.failed, [watcher.ended[n][1] for n in summary.failed]
    measured = store.run(cell.evaluation.name)
    assert -1.0 <= measured.metrics[figure] <= 100.0
    draws = read_draws(measured.folder)
    assert len(draws) == 400
    assert min(draws) <= measured.metrics[figure] <= max(draws)

    first = next(n for n in plan.nodes.values() if n.stage.kind == "finetune" and n.resume is None)
    record = json.loads((store.folder(first.stage.name) / TRANSFER).read_text())
    kept = load_weights(store.folder(first.stage.name) / WEIGHTS)
    taken = {*record["loaded"], *record["replicated"]}
    # the entire warmup for FCOS and CondInst, backbone and neck for the others; what never learned stays behind
    parts = ("backbone", "neck", "head", "classifier") if detector in ("fcos", "condinst") else ("backbone", "neck")
    could = {key for key in kept if part_of(key) in parts}
    assert taken <= could
    assert {part_of(key) for key in taken} >= {"backbone", "neck"}
    assert taken | set(record["left"]) == set(kept)
    untrained = {key for key in kept if key.startswith(("fpn.lateral2", "fpn.output2"))}
    if detector in ("faster_rcnn", "mask_rcnn", "keypoint_rcnn", "panoptic_fpn"):
        assert untrained and untrained <= set(record["left"])


def test_a_pretrained_backbone_starts_every_training_that_has_no_warmup(tmp_path: Path) -> None:
    pretrain = Pretrain("resnet_micro", Scenes(split="labeled", count=6, size=64, seed=7), 32, 8, 4, 1e-3)
    profile = replace(PROFILE, pretrain=pretrain)
    baseline = finetune(profile, None, schedule=1)
    assert baseline.pretrained == pretrain
    assert finetune(profile, warmup_on_truth(profile), schedule=1).pretrained is None
    store = Store(tmp_path)
    cell = Cell("r", "c", "ap_det", evaluate(profile, baseline, "ap_det"))
    _, summary, watcher = run([cell], store)
    assert not summary.failed, watcher.ended
    plain = Cell("r", "c", "ap_det", evaluate(PROFILE, finetune(PROFILE, None, schedule=1), "ap_det"))
    assert plain.evaluation.key != cell.evaluation.key
    run([plain], store)
    weights = [load_weights(store.folder(c.evaluation.model.name) / WEIGHTS) for c in (cell, plain)]
    assert not all((weights[0][k] == weights[1][k]).all() for k in weights[0] if k.startswith("backbone"))
