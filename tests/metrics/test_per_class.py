"""AP of each class. Oracle: pycocotools asked for one category alone, and the stored metric as their mean."""

from __future__ import annotations

import contextlib
import copy
import io
from collections import Counter

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from casl.catalog import METRICS, load, load_place
from casl.metrics.per_class import boxes
from tests.metrics.random_scenes import Json, random_scene
from tests.metrics.test_ap import A, found, truth


def alone(gt: Json, dt: list[Json], kind: str, category: int) -> list[float]:
    """AP and AP50 of one category as pycocotools computes them when it is told of no other."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = copy.deepcopy(gt)
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(copy.deepcopy(dt)), kind)
        judge.params.catIds = [category]
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return [100 * float(figure) if figure > -1 else -1.0 for figure in judge.stats[:2]]


@pytest.mark.parametrize(("metric", "kind"), [("ap_det", "bbox"), ("ap_seg", "segm")])
@pytest.mark.parametrize("seed", range(2))
def test_a_class_has_the_ap_that_pycocotools_gives_it_alone(metric: str, kind: str, seed: int) -> None:
    gt, dt = random_scene(seed)
    before = copy.deepcopy((gt, dt))
    classes = load_place(METRICS[metric].by_class)(gt, dt)
    assert (gt, dt) == before
    assert [c.name for c in classes] == ["c2", "c5", "c90"]
    for one, number in zip(classes, (2, 5, 90), strict=True):
        assert [one.ap, one.ap50] == pytest.approx(alone(gt, dt, kind, number), abs=1e-9)
    counted = Counter(a["category_id"] for a in gt["annotations"] if not a["iscrowd"])
    assert [c.objects for c in classes] == [counted[number] for number in (2, 5, 90)]
    mean = sum(c.ap for c in classes) / len(classes)
    assert mean == pytest.approx(load("metric", metric)(gt, dt)["AP"], abs=1e-9)


def test_a_class_without_objects_is_undefined_and_one_that_is_not_found_is_zero() -> None:
    gt = truth(A) | {"categories": [{"id": 1, "name": "there"}, {"id": 7, "name": "absent"}]}
    assert [(c.name, c.objects, c.ap, c.ap50) for c in boxes(gt, [])] == [
        ("there", 1, 0.0, 0.0),
        ("absent", 0, -1.0, -1.0),
    ]
    only_absent = [found(A, category=7)]
    assert [c.ap for c in boxes(gt, only_absent)] == [0.0, -1.0]
