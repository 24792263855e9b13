"""Objects that are missed, by how much of them others hide."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from casl.errors import DataError
from casl.metrics.occlusion import hidden_share, level, missed, missed_by_level
from tests.metrics.random_scenes import Json
from tests.metrics.test_ap import NOWHERE, found, truth

BOXES = [[30.0 * n, 0, 20, 20] for n in range(6)]
SHARES = [0.0, 0.2, 0.25, 0.4, 0.5, 0.8]


def scene() -> Json:
    gt = truth(*BOXES)
    for annotation, share in zip(gt["annotations"], SHARES, strict=True):
        annotation["full_area"] = annotation["area"] / (1 - share)
    return gt


def test_the_share_is_what_is_not_visible_of_the_whole() -> None:
    assert hidden_share(75, 100) == 0.25 and hidden_share(8, 8) == 0.0
    for visible, full in ((0, 4), (5, 4)):
        with pytest.raises(ValueError, match="pixels"):
            hidden_share(visible, full)


@pytest.mark.parametrize(
    ("share", "name"), [(0, "low"), (0.2499, "low"), (0.25, "medium"), (0.4999, "medium"), (0.5, "high"), (1, "high")]
)
def test_bins_begin_with_their_lower_end(share: float, name: str) -> None:
    assert level(share) == name


def test_missed_objects_are_counted_by_bin() -> None:
    levels = missed_by_level([True, False, True, True, False], [0.1, 0.2, 0.3, 0.0, 0.4])
    assert levels == {"low": pytest.approx(100 / 3), "medium": 50.0, "high": -1.0}


def test_an_object_is_found_by_a_box_of_its_class_with_half_its_area_and_no_other() -> None:
    gt = scene()
    moved = [BOXES[1][0] + 6, 0, 20, 20]  # IoU 7/13, just enough
    dt = [found(BOXES[0]), found(moved), found(BOXES[2], category=2), found(BOXES[4]), found(NOWHERE)]
    before = copy.deepcopy((gt, dt))
    assert missed(gt, dt) == {
        "missed": pytest.approx(50.0),
        "missed_low": 0.0,
        "missed_medium": 100.0,
        "missed_high": 50.0,
    }
    assert (gt, dt) == before
    assert missed(gt, [])["missed"] == 100.0


def test_two_objects_need_two_boxes_and_crowds_none() -> None:
    gt = truth(BOXES[0], BOXES[0])
    for annotation in gt["annotations"]:
        annotation["full_area"] = annotation["area"]
    assert missed(gt, [found(BOXES[0])])["missed_low"] == 50.0
    gt["annotations"][1]["iscrowd"] = 1
    assert missed(gt, [found(BOXES[0])]) == {
        "missed": 0.0,
        "missed_low": 0.0,
        "missed_medium": -1.0,
        "missed_high": -1.0,
    }


def test_annotations_that_do_not_say_what_is_hidden_are_refused() -> None:
    with pytest.raises(DataError, match=r"annotation 1 has no 'full_area'.*\n.*hidden=True"):
        missed(truth(BOXES[0]), [])
    gt = scene()
    gt["annotations"][2]["full_area"] = 5
    with pytest.raises(DataError, match="annotation 3: 400 of 5 pixels cannot be visible"):
        missed(gt, [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": None}, "annotation at position 2: 'id' must be an integer, is None"),
        ({"id": "3"}, "annotation 3: 'id' must be an integer, is '3'"),
        ({"id": 1}, "annotation 1: this id is used twice"),
        ({"bbox": None}, "annotation 3: 'bbox' must be four finite numbers"),
        ({"area": "400"}, "annotation 3: 'area' must be a finite number of pixels >= 0"),
        ({"area": None}, "annotation 3: 'area' must be a finite number of pixels >= 0"),
        ({"full_area": "500"}, "annotation 3: 'full_area' must be a finite number of pixels, is '500'"),
        ({"full_area": float("nan")}, "annotation 3: 'full_area' must be a finite number of pixels, is nan"),
    ],
)
def test_a_wrong_annotation_is_an_error_that_names_it(change: Json, message: str) -> None:
    gt = scene()
    gt["annotations"][2] |= change
    with pytest.raises(DataError, match=f"ground truth: {message}"):
        missed(gt, [])


@pytest.mark.parametrize(
    ("key", "message"),
    [("id", "annotation at position 2: 'id' must be an integer"), ("area", "annotation 3 has no 'area'.*500.0 pixels")],
)
def test_an_annotation_without_id_or_area_is_an_error(key: str, message: str) -> None:
    gt = scene()
    gt["annotations"][2]["full_area"] = 500.0
    del gt["annotations"][2][key]
    with pytest.raises(DataError, match=f"ground truth: {message}"):
        missed(gt, [])


@pytest.mark.parametrize("gt", [{key: value for key, value in scene().items() if key != "annotations"}, [], None])
def test_a_ground_truth_that_is_not_coco_is_an_error(gt: Any) -> None:
    with pytest.raises(DataError, match=r"ground truth: not COCO: '(annotations|images)' is missing"):
        missed(gt, [])
