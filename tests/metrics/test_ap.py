from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from casl.metrics.ap import ap_det, ap_det_a, ap_e, ap_e_mask, ap_seg, ap_seg_a
from tests.data.tiny import REAL
from tests.metrics.random_scenes import KEYS, Json, jittered, oracle, random_scene

Metric = Callable[[Json, list[Json]], dict[str, float]]

METRICS = [
    (ap_det, "bbox", False),
    (ap_det_a, "bbox", True),
    (ap_seg, "segm", False),
    (ap_seg_a, "segm", True),
    (ap_e, "bbox", True),
    (ap_e_mask, "segm", True),
]


def truth(*boxes: list[float], **fields: Any) -> Json:
    """One image, one class, the given XYWH boxes."""
    annotations = [
        {"id": i, "image_id": 1, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0} | fields
        for i, box in enumerate(boxes, start=1)
    ]
    return {
        "images": [{"id": 1, "height": 200, "width": 200}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
    }


def found(box: list[float], score: float = 0.9, category: int = 1) -> Json:
    return {"image_id": 1, "category_id": category, "score": score, "bbox": box}


A, B, NOWHERE = [10.0, 10, 20, 20], [100.0, 100, 20, 20], [60.0, 150, 20, 20]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("metric", "iou_type", "agnostic"), METRICS)
def test_random_scenes_score_as_in_pycocotools(metric: Metric, iou_type: str, agnostic: bool, seed: int) -> None:
    gt, dt = random_scene(seed)

    expected = oracle(gt, dt, iou_type, agnostic, drop_box=metric is ap_e_mask)

    assert 1 < expected["AP"] < 99
    assert metric(gt, dt) == expected


@pytest.mark.parametrize(
    ("file", "metric", "iou_type", "agnostic"),
    [("coco_mini/annotations/instances_val.json", *m) for m in METRICS[:4]]
    + [("bccd/annotations/instances_val.json", *m) for m in METRICS[:2]]
    + [("camvid/annotations/instances_val.json", *m) for m in METRICS[:4]]
    + [("camvid/annotations/entity_val.json", *m) for m in METRICS[4:]],
)
def test_real_ground_truth_scores_as_in_pycocotools(file: str, metric: Metric, iou_type: str, agnostic: bool) -> None:
    if not (REAL / file).exists():
        pytest.skip(f"real data {file} is not in {REAL}; say where with CASL_REAL_DATA=folder")
    gt = json.loads((REAL / file).read_bytes())
    keep = {image["id"] for image in gt["images"][:12]}
    gt["images"] = gt["images"][:12]
    gt["annotations"] = [a for a in gt["annotations"] if a["image_id"] in keep]
    dt = jittered(gt, 0.08, seed=1)

    expected = oracle(gt, dt, iou_type, agnostic, drop_box=metric is ap_e_mask)

    assert 1 < expected["AP"] < 99
    assert metric(gt, dt) == expected


@pytest.mark.parametrize(
    ("gt", "dt", "expected"),
    [
        pytest.param(truth(A, B), [found(A), found(B)], {"AP": 100, "AP50": 100, "AP75": 100}, id="all found"),
        # recall 0.5: precision 1 at the 51 recall points 0, .01 ... .5, then 0
        pytest.param(truth(A, B), [found(A)], {"AP": 5100 / 101, "APs": 5100 / 101}, id="one of two found"),
        # right, wrong, right: precision 1 at 51 recall points, 2/3 at the other 50
        pytest.param(
            truth(A, B),
            [found(A, 0.9), found(NOWHERE, 0.8), found(B, 0.7)],
            {"AP50": (51 + 50 * 2 / 3) / 101 * 100},
            id="a wrong one between",
        ),
        # IoU .62 is enough at .5, .55 and .6
        pytest.param(
            truth([0.0, 0, 100, 100]), [found([0.0, 0, 100, 62])], {"AP": 30, "AP50": 100, "AP70": 0}, id="IoU .62"
        ),
        # precision 1/2 everywhere
        pytest.param(truth(A), [found(NOWHERE, 0.9), found(A, 0.8)], {"AP": 50}, id="a wrong one first"),
        pytest.param(truth(A), [found(A, 0.9), found(A, 0.8)], {"AP": 100}, id="found twice, second after full recall"),
        pytest.param(truth(A), [found(A, category=2)], {"AP": 0}, id="wrong class"),
        pytest.param(truth(A), [], {"AP": 0, "APs": 0, "APm": -1, "APl": -1}, id="no predictions"),
        pytest.param(truth(), [found(A)], dict.fromkeys(KEYS, -1), id="no truth"),
        pytest.param(truth(A), [found(NOWHERE)] * 99 + [found(A, 0.1)], {"AP": 1}, id="hundredth prediction counts"),
        pytest.param(truth(A), [found(NOWHERE)] * 100 + [found(A, 0.1)], {"AP": 0}, id="the one after does not"),
    ],
)
def test_boxes_score_as_counted_by_hand(gt: Json, dt: list[Json], expected: dict[str, float]) -> None:
    values = ap_det(gt, dt)
    assert {key: values[key] for key in expected} == pytest.approx(expected, abs=1e-6)


def test_without_images_there_is_nothing_to_find() -> None:
    gt: Json = {"images": [], "annotations": [], "categories": []}
    assert set(ap_det(gt, []).values()) == {-1.0}
    assert set(ap_e_mask(gt, []).values()) == {-1.0}


def test_class_agnostic_ap_forgives_the_wrong_class_and_needs_no_categories() -> None:
    gt = truth(A, B)
    assert ap_det_a(gt, [found(A, category=2), found(B, category=7)])["AP"] == pytest.approx(100)
    del gt["categories"], gt["annotations"][0]["category_id"]
    assert ap_e(gt, [found(A), found(B)])["AP"] == pytest.approx(100)


def test_a_prediction_on_a_crowd_is_neither_right_nor_wrong() -> None:
    gt = truth(A, [50.0, 50, 100, 100])
    inside, dt = [70.0, 70, 10, 10], [found(A, 0.5)]
    assert ap_det(gt, [found(inside), *dt])["AP"] < 50
    gt["annotations"][1]["iscrowd"] = 1
    assert ap_det(gt, [found(inside), *dt])["AP"] == pytest.approx(100)


def test_the_area_in_the_file_decides_the_size_of_an_object() -> None:
    big = [0.0, 0, 150, 150]
    assert ap_e(truth(big), [found(big)])["APl"] == pytest.approx(100)
    thin = ap_e(truth(big, area=500), [found(big)])
    assert [thin["APs"], thin["APl"]] == pytest.approx([100, -1])


def test_a_missing_area_is_that_of_the_mask_or_else_of_the_box_and_missing_iscrowd_is_no_crowd() -> None:
    gt = truth([0.0, 0, 150, 150])
    del gt["annotations"][0]["area"], gt["annotations"][0]["iscrowd"]
    assert ap_det(gt, [])["APl"] == 0
    gt["annotations"][0]["segmentation"] = [[0, 0, 5, 0, 5, 5, 0, 5]]
    assert ap_det(gt, [])["APl"] == -1
    assert ap_det(gt, [])["APs"] == 0


def test_a_wrong_prediction_has_the_size_of_its_box_for_boxes_and_of_its_mask_for_masks() -> None:
    square = [[10, 10, 30, 10, 30, 30, 10, 30]]
    gt = truth(A, segmentation=square, area=400)
    tall_and_thin = {"bbox": [50.0, 0, 100, 150], "segmentation": [[50, 0, 52, 0, 52, 150, 50, 150]]}

    dt = [found(A, 0.5) | {"segmentation": square}, found(A, 0.9) | tall_and_thin]

    assert ap_e(gt, dt)["APs"] == pytest.approx(100)  # a large box: not judged among the small
    assert ap_e_mask(gt, dt)["APs"] == pytest.approx(50)  # a small mask: wrong, and first


def test_results_with_masks_only_score_their_boxes_as_in_pycocotools() -> None:
    gt, dt = random_scene(seed=11)
    for result in dt:
        del result["bbox"]
    assert ap_det(gt, dt) == pytest.approx(oracle(gt, dt, "bbox", agnostic=False), abs=1e-9)


@pytest.mark.parametrize("metric", [m[0] for m in METRICS])
def test_inputs_are_left_alone_and_nothing_is_printed(metric: Metric, capsys: pytest.CaptureFixture[str]) -> None:
    gt, dt = random_scene(seed=5, num_images=2)
    before = copy.deepcopy((gt, dt))

    metric(gt, dt)

    assert (gt, dt) == before
    assert capsys.readouterr().out == ""
