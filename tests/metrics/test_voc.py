"""Cases B1 to B3: average precision in VOC's terms, and what an IoU of .5, .7 and .75 asks of a box."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from casl.metrics.ap import ap_det
from casl.metrics.voc import area, at_points, recall_precision
from tests.metrics.random_scenes import random_scene
from tests.metrics.test_ap import NOWHERE, A, found, truth

HITS = [True, True, False, True, False, False, True]
SHIFTS = {"AP50": 0.183503, "AP70": 0.092515, "AP75": 0.074180}


def test_b1_voc_ap_of_five_objects_and_seven_predictions() -> None:
    recall, precision = recall_precision(HITS, 5)
    assert recall == pytest.approx([0.2, 0.4, 0.4, 0.6, 0.6, 0.6, 0.8])
    assert precision == pytest.approx([1, 1, 0.666667, 0.75, 0.6, 0.5, 0.571429], abs=1e-6)
    assert area(recall, precision) == pytest.approx(0.664286, abs=1e-6)
    assert at_points(recall, precision) == pytest.approx(0.694805, abs=1e-6)
    assert at_points(recall, precision, points=101) == pytest.approx(0.667610, abs=1e-6)


def test_b1_is_what_casl_counts_of_boxes() -> None:
    objects = [[20.0 * n, 0, 10, 10] for n in range(5)]
    own = iter(objects)
    dt = [found(next(own) if hit else NOWHERE, 0.9 - 0.1 * n) for n, hit in enumerate(HITS)]
    assert ap_det(truth(*objects), dt)["AP50"] == pytest.approx(66.7610, abs=1e-4)


def test_without_predictions_ap_is_nothing_and_without_objects_it_is_refused() -> None:
    assert area(*recall_precision([], 3)) == at_points(*recall_precision([], 3)) == 0.0
    assert area(*recall_precision([True, True], 2)) == at_points(*recall_precision([True, True], 2)) == 1.0
    with pytest.raises(ValueError, match="1 hits of 0 objects"):
        recall_precision([True], 0)


@pytest.mark.parametrize(
    ("a", "b", "iou"),
    [
        ((0, 0, 100, 100), (0, 0, 100, 72), 0.72),
        ((0, 0, 100, 100), (10, 10, 100, 100), 0.81),
        ((0, 0, 40, 40), (4, 4, 44, 44), 0.680672),
        ((0, 0, 16, 16), (1, 1, 17, 17), 0.783972),
    ],
)
def test_b2_boxes_are_hits_at_the_iou_that_they_have(a: tuple[float, ...], b: tuple[float, ...], iou: float) -> None:
    assert float(box_iou(torch.tensor([a]), torch.tensor([b]))) == pytest.approx(iou, abs=1e-6)
    (x, y, right, bottom), (u, v, r, s) = a, b
    values = ap_det(truth([x, y, right - x, bottom - y]), [found([u, v, r - u, s - v])])
    for name, needed in (("AP50", 0.5), ("AP70", 0.7), ("AP75", 0.75)):
        assert values[name] == pytest.approx(100.0 if iou >= needed else 0.0), name


@pytest.mark.parametrize(("figure", "share"), SHIFTS.items())
def test_b3_the_largest_diagonal_shift_of_a_square(figure: str, share: float) -> None:
    iou = int(figure[2:]) / 100
    assert 1 - math.sqrt(2 * iou / (1 + iou)) == pytest.approx(share, abs=1e-6)
    for moved, expected in ((share - 1e-5, 100.0), (share + 1e-5, 0.0)):
        shift = 50 * moved
        box = [10 + shift, 10 + shift, 50.0, 50.0]
        assert ap_det(truth([10.0, 10, 50, 50]), [found(box)])[figure] == pytest.approx(expected)


def test_ap_of_some_classes_is_the_mean_of_theirs() -> None:
    gt, dt = random_scene(1)
    each = {n: ap_det(gt, dt, classes=[n]) for n in (2, 5, 90)}
    both = ap_det(gt, dt, classes=[2, 90])
    assert both["AP70"] == pytest.approx((each[2]["AP70"] + each[90]["AP70"]) / 2)
    assert ap_det(gt, dt)["AP"] == pytest.approx(np.mean([one["AP"] for one in each.values()]))
    assert len({one["AP70"] for one in each.values()}) == 3


def test_a_small_box_inside_a_difficult_object_is_left_out_by_coco_and_wrong_by_voc() -> None:
    difficult, inside, beside = [100.0, 100, 40, 40], [100.0, 100, 20, 20], [130.0, 100, 20, 40]
    gt = truth(A, difficult)
    gt["annotations"][1]["iscrowd"] = 1  # as the import writes it
    # of its own area on the crowd: all and a half; IoU with it: 400/1600 and 400/2000, so VOC has a miss before its hit
    for box in (inside, beside):
        assert ap_det(gt, [found(box, 0.95), found(A, 0.9)])["AP50"] == pytest.approx(100)
    assert ap_det(gt, [found(NOWHERE, 0.95), found(A, 0.9)])["AP50"] == pytest.approx(50)
    assert area(*recall_precision([False, True], 1)) == 0.5
