"""Recall of some classes while finding the others costs nothing. Oracle: pycocotools, with others it ignores by itself.

pycocotools ignores what is larger than any of its size ranges, at its true overlap: so the others are given such areas.
"""

from __future__ import annotations

import contextlib
import copy
import io
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from casl.catalog import METRICS, load, load_place
from casl.metrics.recall import FIGURES, ar_det_a
from tests.metrics.random_scenes import Json, random_scene
from tests.metrics.test_ap import NOWHERE, A, B, found, truth
from tests.metrics.test_bootstrap import repeated, untied

WANTED = (2, 90)
ENDLESS = 1e12
KINDS = [("ar_det_a", "bbox"), ("ar_seg_a", "segm")]


def judged(gt: Json, dt: list[Json], kind: str, classes: tuple[int, ...]) -> Any:
    """pycocotools' evaluation of one class, the others of the ground truth out of all ranges."""
    gt, dt = copy.deepcopy(gt), copy.deepcopy(dt)
    for a in gt["annotations"]:
        a["area"] = a["area"] if a["category_id"] in classes else ENDLESS
    for entry in gt["annotations"] + dt:
        entry["category_id"] = 1
    gt["categories"] = [{"id": 1}]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = gt
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(dt), kind)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge


def without_spent(gt: Json, dt: list[Json], kind: str, classes: tuple[int, ...]) -> list[Json]:
    """The predictions that do not take one of the others at IoU .5; result ids count from 1."""
    others = {a["id"] for a in gt["annotations"] if a["category_id"] not in classes}
    judge = judged(gt, dt, kind, classes)
    spent = {
        number
        for entry in judge.evalImgs
        if entry and entry["aRng"] == judge.params.areaRng[0]
        for number, match in zip(entry["dtIds"], entry["dtMatches"][0], strict=True)
        if match in others
    }
    assert 0 < len(spent) < len(dt)
    return [result for number, result in enumerate(dt, start=1) if number not in spent]


@pytest.mark.parametrize(("metric", "kind"), KINDS)
@pytest.mark.parametrize("seed", range(2))
def test_recall_is_pycocotools_once_predictions_on_others_are_gone(metric: str, kind: str, seed: int) -> None:
    gt, dt = random_scene(seed)
    dt = untied(dt)
    before = copy.deepcopy((gt, dt))
    stats = judged(gt, without_spent(gt, dt, kind, WANTED), kind, WANTED).stats[6:12]
    measured = load("metric", metric)(gt, dt, classes=WANTED)
    assert [measured[name] for name in FIGURES[:3]] == pytest.approx([100 * s for s in stats[:3]], abs=1e-9)
    assert (gt, dt) == before
    # with all predictions allowed, those on others have no budget to take: plain pycocotools alone gives the same
    assert measured["AR100"] == pytest.approx(100 * judged(gt, dt, kind, WANTED).stats[8], abs=1e-9)
    assert measured != load("metric", metric)(gt, dt)


def test_a_better_prediction_on_another_object_takes_no_place_and_one_on_nothing_does() -> None:
    gt = truth(A, B)
    gt["annotations"][1]["category_id"] = 2  # B is wanted
    on_other = [found(A, 0.9), found(B, 0.5)]
    assert ar_det_a(gt, on_other, classes=[2])["AR1"] == pytest.approx(100)
    assert ar_det_a(gt, [found(NOWHERE, 0.9), found(B, 0.5)], classes=[2])["AR1"] == 0.0
    assert ar_det_a(gt, on_other)["AR1"] == pytest.approx(50)


def test_all_classes_named_are_all_classes_and_none_there_is_undefined() -> None:
    gt, dt = random_scene(1)
    assert ar_det_a(gt, dt, classes=[2, 5, 90]) == ar_det_a(gt, dt)
    assert set(ar_det_a(gt, dt, classes=[7]).values()) == {-1.0}


@pytest.mark.parametrize(("metric", "kind"), KINDS)
def test_a_draw_is_the_recall_of_a_file_with_its_images_repeated(metric: str, kind: str) -> None:
    gt, dt = random_scene(3)
    dt = untied(dt)
    weights = np.array([[1, 1, 1, 1, 1, 1, 1, 1], [0, 2, 1, 0, 3, 0, 2, 0]], np.float32)
    values = load_place(METRICS[metric].interval)(gt, dt, weights, classes=WANTED)
    for value, drawn in zip(values, weights.astype(int).tolist(), strict=True):
        again: tuple[Json, list[Json]] = repeated(gt, dt, drawn)
        assert value == pytest.approx(100 * judged(*again, kind, WANTED).stats[8], abs=1e-4)
