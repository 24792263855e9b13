from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from casl.errors import DataError
from casl.metrics.ap import ap_det, ap_det_a, ap_seg
from casl.metrics.results import have_masks, read_ground_truth, read_results
from tests.metrics.random_scenes import Json
from tests.metrics.test_ap import A, found, truth

SQUARE = [[10, 10, 30, 10, 30, 30, 10, 30]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": math.nan}, "'score' must be a finite number, is nan"),
        ({"score": math.inf}, "'score' must be a finite number"),
        ({"score": "0.9"}, "'score' must be a finite number, is '0.9'"),
        ({"score": 10**400}, "'score' must be a finite number"),
        ({"score": True}, "'score' must be a finite number, is True"),
        ({"score": None}, "'score' must be a finite number"),
        ({"bbox": [1, 2, math.inf, 4]}, "four finite numbers"),
        ({"bbox": [1, 2, 3]}, "four finite numbers"),
        ({"bbox": [1, 2, 3, 10**400]}, "four finite numbers"),
        ({"bbox": [1, 2, 3, "4"]}, "four finite numbers"),
        ({"bbox": {"x": 1}}, "four finite numbers"),
        ({"bbox": "1 2 3 4"}, "four finite numbers"),
        ({"bbox": [30, 30, -10, 5]}, "negative size"),
        ({"bbox": None}, "neither 'bbox' nor 'segmentation'"),
        ({"image_id": 7}, "there is no image 7; known: 1"),
        ({"image_id": "1"}, "'image_id' must be an integer, is '1'"),
        ({"image_id": 1.0}, "'image_id' must be an integer, is 1.0"),
        ({"image_id": 2**63}, "'image_id' must be an integer"),
        ({"image_id": True}, "'image_id' must be an integer, is True"),
        ({"image_id": [1]}, "'image_id' must be an integer"),
        ({"category_id": 3}, "there is no category 3; known: 1, 2"),
        ({"category_id": None}, "'category_id' must be an integer, is None"),
    ],
)
def test_a_wrong_prediction_file_is_an_error_that_names_the_entry(change: Json, message: str) -> None:
    with pytest.raises(DataError, match=rf"predictions: entry 1.*{message}"):
        ap_det(truth(A), [found(A), found(A) | change])


@pytest.mark.parametrize("dt", [{"annotations": []}, [[1, 2, 3]], ["x"]])
def test_predictions_that_are_not_a_list_of_objects_are_an_error(dt: Any) -> None:
    with pytest.raises(DataError, match=r"predictions.*(list of COCO results|not an object)"):
        ap_det(truth(A), dt)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": 0}, "annotation 0: id is 0, which pycocotools.*number annotations from 1"),
        ({"id": 2}, "annotation 2: this id is used twice"),
        ({"id": None}, "annotation at position 0: 'id' must be an integer"),
        ({"image_id": 9}, "annotation 1: there is no image 9"),
        ({"category_id": 9}, "annotation 1: there is no category 9; known: 1, 2"),
        ({"iscrowd": 3}, "'iscrowd' must be 0 or 1"),
        ({"area": math.nan}, "'area' must be a finite number"),
        ({"area": -1}, "annotation 1: 'area' must be a finite number of pixels >= 0, or absent, is -1"),
        ({"bbox": [0, 0, math.nan, 1]}, "four finite numbers"),
        ({"bbox": None}, "four finite numbers"),
        ({"bbox": [60, 40, -10, 5]}, "annotation 1: bbox .* has a negative size"),
        ({"bbox": [150, 10, 60, 20]}, "annotation 1: box .* reaches 10 px outside image 1"),
    ],
)
def test_wrong_ground_truth_is_an_error_that_names_the_annotation(change: Json, message: str) -> None:
    gt = truth(A, A)
    gt["annotations"][0] |= change
    with pytest.raises(DataError, match=rf"ground truth: .*{message}"):
        ap_det(gt, [found(A)])


def test_duplicate_images_and_categories_are_errors() -> None:
    gt = truth(A)
    with pytest.raises(DataError, match="image 1: this id is used twice"):
        ap_det(gt | {"images": gt["images"] * 2}, [])
    with pytest.raises(DataError, match="category 1: this id is used twice"):
        ap_det(gt | {"categories": gt["categories"][:1] * 2}, [])


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
def test_ground_truth_without_a_list_is_not_coco(key: str) -> None:
    gt = truth(A)
    del gt[key]
    with pytest.raises(DataError, match=f"ground truth: not COCO: '{key}' is missing"):
        ap_det(gt, [])


def test_a_mask_metric_needs_masks_on_both_sides_and_every_metric_the_size_of_the_image() -> None:
    with_masks, mask = truth(A, segmentation=SQUARE), {"segmentation": SQUARE}
    with pytest.raises(DataError, match="annotation 1 has no segmentation"):
        ap_seg(truth(A), [found(A) | mask])
    with pytest.raises(DataError, match="entry 0 has no segmentation"):
        ap_seg(with_masks, [found(A)])
    assert ap_det(with_masks, [found(A)])["AP"] == pytest.approx(100)
    del with_masks["images"][0]["height"]
    with pytest.raises(DataError, match="image 1: 'height' must be a positive integer, is None"):
        ap_det(with_masks, [found(A)])


@pytest.mark.parametrize("place", [0, 499, 500, 1100])
def test_one_damaged_mask_among_many_is_an_error_that_names_its_entry(place: int) -> None:
    sound = coco_mask.encode(np.asfortranarray(np.ones((200, 200), dtype=np.uint8)))
    dt = [found(A) | {"segmentation": sound} for _ in range(1101)]
    dt[place]["segmentation"] = sound | {"counts": sound["counts"][:-1]}
    with pytest.raises(DataError, match=f"predictions: entry {place}: RLE "):
        ap_seg(truth(A, segmentation=SQUARE), dt)
    dt[place]["segmentation"] = sound | {"size": [100, 400]}
    with pytest.raises(DataError, match=rf"predictions: entry {place}: mask is \[100, 400\]"):
        ap_seg(truth(A, segmentation=SQUARE), dt)


def test_numpy_numbers_are_numbers() -> None:
    result = {"image_id": np.int64(1), "category_id": np.int64(1), "score": np.float32(0.5), "bbox": np.array(A)}
    assert ap_det_a(truth(A), [result])["AP"] == pytest.approx(100)


def test_the_box_of_a_prediction_may_come_from_its_mask() -> None:
    result = {"image_id": 1, "category_id": 1, "score": 0.9, "segmentation": SQUARE}
    assert ap_det(truth(A), [result])["AP"] == pytest.approx(100)


def test_a_crowd_given_as_a_box_is_compared_as_that_box() -> None:
    gt = truth(A, [100, 100, 40, 40], segmentation=SQUARE)
    del gt["annotations"][1]["segmentation"]
    gt["annotations"][1]["iscrowd"] = 1
    inside = {"segmentation": [[110, 110, 120, 110, 120, 120, 110, 120]]}
    results = [found(A, 0.5) | {"segmentation": SQUARE}, found([110, 110, 10, 10], 0.9) | inside]
    assert ap_seg(gt, results)["AP"] == pytest.approx(100)


def test_masks_are_there_only_if_every_entry_has_one() -> None:
    assert have_masks([{"segmentation": SQUARE}])
    assert not have_masks([{"segmentation": SQUARE}, {"bbox": A}])
    assert not have_masks([{"segmentation": []}])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"3", "not COCO: |not a COCO result file"),
        (b'{"images": []}', "not COCO: |not a COCO result file"),
        (b'{"images": {}, "annotations": {}}', "not COCO: |not a COCO result file"),
    ],
)
def test_a_file_that_is_not_coco_is_an_error_that_names_the_file(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"file\.json: ({message})"):
        read_ground_truth(path)
    with pytest.raises(DataError, match=rf"file\.json: ({message})"):
        read_results(path)


def test_a_missing_file_and_a_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_results(tmp_path / "nowhere.json")
    with pytest.raises(DataError, match="cannot be read"):
        read_ground_truth(tmp_path)


def test_results_are_read_from_a_list_and_from_annotations(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    for content in ([found(A)], {"annotations": [found(A)], "images": []}):
        path.write_text(json.dumps(content))
        assert read_results(path) == [found(A)]
