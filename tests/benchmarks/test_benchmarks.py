"""The benchmarks run at a tiny size, and what they compare does the same thing on both sides."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from casl.metrics.ap import ap_det
from casl.runner.plan import make_plan
from casl.runner.store import Store
from tests.runner.stores import table4

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
_CLASSIFIER = {
    "casl": "head.cls_logits.weight",
    "torchvision": "head.classification_head.cls_logits.weight",
    "detectron2": "head.cls_score.weight",
}
Load = Callable[[str], ModuleType]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Scripts import each other by their bare names, as they do when they are run."""
    for folder in (FOLDER, FOLDER / "engines"):
        monkeypatch.syspath_prepend(str(folder))
    return importlib.import_module


def test_sides_take_turns_and_ratios_are_those_of_each_turn(load: Load) -> None:
    measuring = load("measuring")
    order: list[str] = []
    turns = measuring.taking_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3)
    assert sorted(order[i : i + 2] for i in range(0, 8, 2)) == [["a", "b"]] * 2 + [["b", "a"]] * 2
    assert [len(taken) for clock in (turns.wall, turns.own) for taken in clock.values()] == [3] * 4
    assert measuring.ratio({"a": [1, 4, 9], "b": [1, 2, 3]}, "a", "b") == 2


def test_all_engines_do_the_same_work(load: Load, tmp_path: Path) -> None:
    for name in ("casl", "pool", "subprocesses"):
        (tmp_path / name).mkdir()
        program = load(f"with_{name}")
        program.run(tmp_path / name if name == "casl" else str(tmp_path / name), 3, 2)
    made = [
        sorted(p.read_bytes() for p in (tmp_path / name).rglob("instances_val.json"))
        for name in ("casl", "pool", "subprocesses")
    ]
    assert len(set(made[0])) == 3 and made[0] == made[1] == made[2]


def test_an_engine_that_fails_is_no_figure(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load("engine")
    monkeypatch.setattr(engine, "command_of", lambda *_: [sys.executable, "-c", "raise SystemExit('no room')"])
    with pytest.raises(SystemExit, match=r"ray: exit status 1, 0 of 2 pieces\nno room"):
        engine.measure("ray", sys.executable, 2, 1)


def test_without_sharing_each_training_starts_from_its_own_beginning(load: Load, tmp_path: Path) -> None:
    plan = make_plan({"table4": table4("smoke")}, Store(tmp_path))
    alone = load("sharing").unshared(plan)
    assert sum(node.iters for node in plan.nodes.values()) == plan.counts.shared_iters
    assert sum(node.iters for node in alone.nodes.values()) == plan.counts.unique_iters > plan.counts.shared_iters
    assert all(node.resume is None and alone.nodes.keys() >= set(node.needs) for node in alone.nodes.values())


def test_metrics_of_different_stages_are_never_equal(load: Load) -> None:
    difference = load("sharing").difference
    assert difference({"a": {"AP": 1.0}}, {"a": {"AP": 1.5}}) == 0.5
    assert difference({"a": {"AP": 1.0}}, {"b": {"AP": 1.0}}) == float("inf")


def test_pycocotools_by_the_book_gives_the_numbers_of_casl(load: Load) -> None:
    evaluation = load("evaluation")
    gt, dt = evaluation.synthetic(20, 30, 4, seed=1)
    book = evaluation.by_pycocotools(gt, dt, "bbox")
    assert 10 < book[0] < 90
    assert list(book[:6]) == [value for name, value in ap_det(gt, dt).items() if name != "AP70"]
    gt, dt = evaluation.random_scene(0)
    assert any(a["iscrowd"] for a in gt["annotations"]) and len({r["score"] for r in dt}) < len(dt)


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_faster_coco_eval_gives_the_numbers_of_pycocotools(load: Load, kind: str) -> None:
    pytest.importorskip("faster_coco_eval", reason="pip install faster-coco-eval")
    evaluation = load("evaluation")
    assert max(evaluation.both(*evaluation.random_scene(seed), kind) for seed in range(10)) < 1e-12


def test_the_detectors_that_are_timed_compute_the_same_class_maps(load: Load) -> None:
    torch.manual_seed(0)
    sides = load("detector_sides")
    built = sides.sides(sides.Sizes("resnet_nano", 64, 3))
    inputs = sides.make_inputs(64, 1, 3)
    assert sides.agreement(built, inputs) < 1e-4
    step = load("detector_step")
    for learns, turns in ((True, step.training(built, inputs)), (False, step.inference(built, inputs))):
        assert {"casl", "torchvision"} <= turns.keys()
        for name, work in turns.items():
            weights = built[name].model.get_parameter(_CLASSIFIER[name])
            before = weights.clone()
            work()
            assert torch.isfinite(weights).all() and bool((weights != before).any()) == learns


def test_precisions_whose_steps_are_timed_have_one_loss_and_learn(load: Load) -> None:
    photos = load("photos_step")
    exact, mixed = (float(photos.step_of("fcos", 32, p, 2)()) for p in photos.PRECISIONS)
    assert exact > 0 and mixed == pytest.approx(exact, rel=0.05) and mixed != exact
    step = photos.step_of("fcos", 32, "float32", 2)
    assert step() != step(), "weights move"


def test_all_formats_of_pseudo_labels_hold_the_same(load: Load, tmp_path: Path) -> None:
    labels = load("labels")
    images, predictions = labels.infos(20), labels.Repeated(labels.drawn(3, count=8), 20)
    found = []
    for name, form in labels.FORMATS.items():
        (tmp_path / name).mkdir()
        form.write(tmp_path / name, images, predictions)
        labels_of = form.open_at(tmp_path / name)
        found.append([labels_of(number) for number in range(20)])
    kept = [int((p.scores > np.float32(labels.THRESHOLD)).sum()) for p in predictions]
    assert [len(of_image) for of_image in found[0]] == kept and sum(kept) > 20
    for other in found[1:]:
        for ours, theirs in zip(found[0], other, strict=True):
            assert [(label[1], label[2]) for label in ours] == [(label[1], label[2]) for label in theirs]
            np.testing.assert_allclose([label[0] for label in ours], [label[0] for label in theirs], atol=1e-3)


def test_both_containers_of_a_list_hold_the_same_images(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = load("lists")
    monkeypatch.setattr(lists, "FILES", 7)
    sides = {side: lists.files_of(tmp_path, side) for side in lists.SUFFIXES}
    lists.make(sides["arrow"], 20)
    for phase, told in (("first", "digest"), ("again", "digest"), ("open", "read")):
        assert len({lists.VERBS[phase](files, 20)[told] for files in sides.values()}) == 1
