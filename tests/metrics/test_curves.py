from __future__ import annotations

import math

import pytest

from casl.metrics.ap import ap_det, ap_seg_a
from casl.metrics.curves import ap_by_size, precision_recall
from tests.metrics.random_scenes import random_scene
from tests.metrics.test_ap import NOWHERE, A, B, found, truth


def test_a_curve_is_the_one_worked_out_by_hand() -> None:
    curves = precision_recall(truth(A, B), [found(A, 0.9), found(NOWHERE, 0.8), found(B, 0.7)], ious=(0.5,))
    assert len(curves["recall"]) == len(curves["0.50"]) == 101
    assert curves["0.50"][:51] == pytest.approx([100] * 51)
    assert curves["0.50"][51:] == pytest.approx([200 / 3] * 50)


@pytest.mark.parametrize("seed", range(3))
def test_the_mean_of_a_curve_is_the_average_precision(seed: int) -> None:
    gt, dt = random_scene(seed)
    curves, scores = precision_recall(gt, dt), ap_det(gt, dt)
    assert sum(curves["0.50"]) / 101 == pytest.approx(scores["AP50"])
    assert sum(curves["0.75"]) / 101 == pytest.approx(scores["AP75"])


@pytest.mark.parametrize("seed", range(3))
def test_sizes_at_cocos_edges_score_as_coco(seed: int) -> None:
    gt, dt = random_scene(seed)
    boxes, masks = ap_by_size(gt, dt), ap_by_size(gt, dt, masks=True, agnostic=True)
    names = ("0-32 px", "32-96 px", "96 px on")
    assert [boxes[n]["AP"] for n in names] == pytest.approx([ap_det(gt, dt)[k] for k in ("APs", "APm", "APl")])
    assert [masks[n]["AP"] for n in names] == pytest.approx([ap_seg_a(gt, dt)[k] for k in ("APs", "APm", "APl")])


def test_a_size_without_objects_has_no_ap() -> None:
    sizes = ap_by_size(truth(A), [found(A)], (0, 10, 25, math.inf))
    assert sizes["0-10 px"] == {"AP": -1.0, "AP50": -1.0, "objects": 0}
    assert sizes["10-25 px"]["AP"] == pytest.approx(100) and sizes["10-25 px"]["objects"] == 1


@pytest.mark.parametrize("edges", [(0,), (8, 4), (-1, 4), (0, 4, 4)])
def test_edges_that_do_not_rise_are_refused(edges: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="rising sides in pixels"):
        ap_by_size(truth(A), [], edges)


def test_without_objects_there_is_no_precision() -> None:
    assert set(precision_recall(truth(), [found(A)])["0.50"]) == {-1.0}
