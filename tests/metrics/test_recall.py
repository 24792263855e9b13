"""Average recall. Oracles: pycocotools by the book, faster-coco-eval, and counting by hand."""

from __future__ import annotations

import contextlib
import copy
import io

import pytest
from faster_coco_eval import COCO, COCOeval_faster

from casl.catalog import METRICS, load, load_place
from casl.errors import DataError
from casl.metrics.bootstrap import image_weights
from casl.metrics.matching import coco_eval
from casl.metrics.recall import FIGURES, ar_det_a
from tests.metrics.random_scenes import RECALLS, Json, oracle, random_scene
from tests.metrics.test_ap import A, B, found, truth
from tests.metrics.test_bootstrap import repeated, untied

KINDS = [("ar_det_a", "bbox"), ("ar_e", "bbox"), ("ar_seg_a", "segm"), ("ar_e_mask", "segm")]


@pytest.mark.parametrize(("metric", "iou_type"), KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_recall_is_pycocotools_of_one_class(metric: str, iou_type: str, seed: int) -> None:
    gt, dt = random_scene(seed)
    before = copy.deepcopy((gt, dt))
    expected = oracle(gt, dt, iou_type, agnostic=True, drop_box=metric == "ar_e_mask", names=RECALLS)
    assert load("metric", metric)(gt, dt) == pytest.approx(expected, abs=1e-9)
    assert (gt, dt) == before


def test_recall_is_that_of_another_implementation() -> None:
    gt, dt = random_scene(0)
    one = gt | {  # it takes 0 for "not matched", so all are counted from 1
        "categories": [{"id": 1}],
        "images": [image | {"id": image["id"] + 1} for image in gt["images"]],
        "annotations": [
            a | {"id": n, "category_id": 1, "image_id": a["image_id"] + 1} for n, a in enumerate(gt["annotations"], 1)
        ],
    }
    moved = [r | {"category_id": 1, "image_id": r["image_id"] + 1} for r in dt]
    with contextlib.redirect_stdout(io.StringIO()):
        both = COCO(one), COCO(one).loadRes(moved)
        judge = COCOeval_faster(*both, "bbox")
        judge.evaluate()
        judge.accumulate()
    table = judge.eval["recall"]  # IoU, class, size of object (any, s, m, l), at most 1, 10, 100 predictions
    places = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (3, 2)]
    expected = {
        name: 100 * float(table[:, 0, size, most].mean()) for name, (size, most) in zip(FIGURES, places, strict=True)
    }
    assert ar_det_a(gt, dt) == pytest.approx(expected, abs=1e-6)


def test_objects_found_are_counted_whatever_they_are_called_and_however_they_rank() -> None:
    """Two objects of one image, both found, one by the less sure prediction: 1 of 2 with one prediction."""
    gt, dt = truth(A, B), [found(A, 0.9, category=2), found(B, 0.1, category=1)]
    assert [ar_det_a(gt, dt)[name] for name in ("AR1", "AR10", "AR100")] == pytest.approx([50, 100, 100])


def test_nothing_found_is_zero_and_nothing_to_find_undefined() -> None:
    assert ar_det_a(truth(A), [])["AR100"] == 0.0
    assert set(ar_det_a(truth(), [found(A)]).values()) == {-1.0}
    assert set(ar_det_a({"images": [], "annotations": [], "categories": []}, []).values()) == {-1.0}


def test_bad_input_is_named_as_of_precision() -> None:
    with pytest.raises(DataError):
        ar_det_a(truth(A), [found(A) | {"image_id": 99}])


@pytest.mark.parametrize(("metric", "iou_type"), KINDS)
def test_a_draw_recalls_as_pycocotools_on_repeated_images(metric: str, iou_type: str) -> None:
    gt, dt = random_scene(3)
    dt = untied(dt)
    weights = image_weights(len(gt["images"]), draws=4)
    values = load_place(METRICS[metric].interval)(gt, dt, weights)
    for value, drawn in zip(values, weights.astype(int).tolist(), strict=True):
        again: tuple[Json, list[Json]] = repeated(gt, dt, drawn)
        expected = oracle(*again, iou_type, agnostic=True, drop_box=metric == "ar_e_mask", names=RECALLS)
        assert value == pytest.approx(expected["AR100"], abs=1e-4)


@pytest.mark.parametrize(("metric", "most"), [("ar_proposals", (10, 30, 100)), ("ar_proposals_1000", (100, 300, 1000))])
def test_recall_of_proposals_counts_other_numbers_of_predictions(metric: str, most: tuple[int, int, int]) -> None:
    gt, dt = random_scene(4)
    many = [r | {"score": r["score"] / n} for n in range(1, 40) for r in dt]  # some images have hundreds
    one = copy.deepcopy(gt)
    one["categories"] = [{"id": 1, "name": "object"}]
    for entry in one["annotations"]:
        entry["category_id"] = 1
    judge = coco_eval(one, [r | {"category_id": 1} for r in many], masks=False, agnostic=False)
    judge.params.maxDets = list(most)
    with contextlib.redirect_stdout(io.StringIO()):
        judge.evaluate()
        judge.accumulate()
    recalls = judge.eval["recall"]  # IoU, class, size of object, at most so many predictions
    figures = load("metric", metric)(gt, many)
    for place, count in enumerate(most):
        assert figures[f"AR{count}"] == pytest.approx(100 * float(recalls[:, 0, 0, place].mean()), abs=1e-9)
