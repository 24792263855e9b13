"""What a legal record is: each rule broken alone, and the same answer from the check, the readers and the metrics."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casl.coco.judge import (
    annotation_problems,
    category_problems,
    clipped,
    image_problems,
    is_apart,
    is_empty,
    keypoint_problems,
    mask_problems,
    panoptic_problems,
    plainly_legal,
    plainly_legal_images,
    png_problems,
    result_problems,
)
from casl.coco.masks import to_rle
from casl.coco.records import annotation_records, legal_records
from casl.data.check import check
from casl.data.coco import load_split
from casl.data.layout import find_splits
from casl.errors import DataError
from casl.metrics.ap import ap_seg
from casl.metrics.results import read_ground_truth
from tests.data.tiny import DOG_POLYGON, Json, cat, dog, edit, write_set

SIZES = {4: (16, 24)}  # image id -> height, width
CLASSES = {3: "cat", 7: "dog"}
BOX: Json = {"id": 1, "image_id": 4, "category_id": 3, "bbox": [2, 3, 8, 6]}
ODD_IDS = ["1", 1.0, True, None, 2**63, [1]]
AREA = "'area' must be a finite number of pixels >= 0, or absent, is"
NUMBERS = "'bbox' must be four finite numbers [x, y, width, height], is "
CORNERS = "has a negative size; it is [x, y, width, height], not two corners"


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"id": np.int64(5), "image_id": np.int32(4), "bbox": np.array([2.0, 3, 8, 6])},
        {"bbox": [2, 3, 0, 6]},
        {"bbox": [-1, -1, 26, 18]},
        {"iscrowd": 1, "area": 0},
        {"area": 1e9, "score": "0.9 manual", "anything": None},
        {"bbox": (2.5, 3, 8, 6)},
    ],
)
def test_legal_annotations_have_no_problem(change: Json) -> None:
    assert annotation_problems(BOX | change, SIZES, CLASSES) == []


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        *[({"image_id": odd}, [f"'image_id' must be an integer, is {odd!r}"]) for odd in ODD_IDS],
        ({"id": 0}, ["id is 0, which pycocotools silently counts as never matched; number annotations from 1"]),
        (
            {"id": None, "category_id": "a"},
            ["'id' must be an integer, is None", "'category_id' must be an integer, is 'a'"],
        ),
        ({"bbox": [1, 2, 3]}, [f"{NUMBERS}[1, 2, 3]"]),
        (
            {"bbox": [1, 2, 3, math.nan]},
            [f"{NUMBERS}[1, 2, 3, nan]"],
        ),
        (
            {"bbox": [5, 5, -3, 2]},
            [f"bbox [5, 5, -3, 2] {CORNERS}"],
        ),
        ({"area": -1}, [f"{AREA} -1"]),
        ({"area": None}, [f"{AREA} None"]),
        ({"area": math.inf}, [f"{AREA} inf"]),
        ({"iscrowd": 2}, ["'iscrowd' must be 0 or 1, is 2"]),
        ({"image_id": 9}, ["there is no image 9; known: 4"]),
        ({"category_id": 9}, ["there is no category 9; known: 3, 7"]),
        (
            {"bbox": [20, 3, 8, 6]},
            [
                "box [20, 3, 8, 6] (x, y, width, height) reaches 4 px outside image 4 (24x16); "
                "correct it, is it perhaps x1, y1, x2, y2?"
            ],
        ),
    ],
)
def test_every_problem_of_an_annotation_is_one_sentence(change: Json, problems: list[str]) -> None:
    assert annotation_problems(BOX | change, SIZES, CLASSES) == problems


@pytest.mark.parametrize("value", [10**4000, -(10**4000), 17 * 10**307, "x" * 9000, [[[1] * 900]] * 9])
@pytest.mark.parametrize("field", ["id", "image_id", "category_id", "iscrowd", "area", "bbox", "x", "width"])
def test_a_problem_is_short_whatever_the_value(field: str, value: object) -> None:
    sides = {"x": [value, 3, value, 6], "width": [20, 3, value, value]}
    change = {"bbox": sides[field]} if field in sides else {field: value}
    problems = annotation_problems(BOX | change, SIZES, CLASSES)
    assert (problems or field == "area") and all(len(problem) < 250 for problem in problems)


@pytest.mark.parametrize("field", ["width", "height", "file_name"])
def test_a_problem_of_an_image_is_short_whatever_the_value(field: str) -> None:
    (problem,) = image_problems({"id": 1, "file_name": "a.png", "width": 8, "height": 8} | {field: [10**4000] * 9})
    assert len(problem) < 150


def test_an_annotation_that_is_no_object_is_one_problem() -> None:
    assert annotation_problems([1], SIZES, CLASSES) == ["not an object"]


def test_where_classes_do_not_matter_none_is_asked_for() -> None:
    assert annotation_problems({k: v for k, v in BOX.items() if k != "category_id"}, SIZES, None) == []


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        ({}, []),
        ({"bbox": [90, 90, 5, 5]}, []),  # a detector may look beyond the image
        ({"bbox": None, "segmentation": [DOG_POLYGON]}, []),
        ({"bbox": None}, ["has neither 'bbox' nor 'segmentation'"]),
        (
            {"bbox": [1, 2, -1, 2]},
            [f"bbox [1, 2, -1, 2] {CORNERS}"],
        ),
        *[({"score": odd}, [f"'score' must be a finite number, is {odd!r}"]) for odd in (None, "0.9", True, math.nan)],
        *[({"image_id": odd}, [f"'image_id' must be an integer, is {odd!r}"]) for odd in ODD_IDS],
        ({"image_id": 9}, ["there is no image 9; known: 4"]),
    ],
)
def test_results_are_judged_by_the_same_rules(change: Json, problems: list[str]) -> None:
    result = {"image_id": 4, "category_id": 3, "score": 0.5, "bbox": [2, 3, 8, 6]}
    assert result_problems(result | change, SIZES, CLASSES) == problems
    if problems:
        assert not plainly_legal([result, result | change], SIZES, CLASSES)


def test_many_plain_results_are_legal_at_once() -> None:
    result = {"image_id": 4, "category_id": 3, "score": 0.5, "bbox": [2, 3, 8, 6]}
    assert plainly_legal([], SIZES, CLASSES)
    assert plainly_legal([result, result | {"bbox": [90.5, -2, 0, 0]}], SIZES, CLASSES)
    assert plainly_legal([result | {"category_id": "any"}], SIZES, None)
    assert not plainly_legal([result | {"bbox": (2, 3, 8, 6)}], SIZES, CLASSES)


@pytest.mark.parametrize(
    ("record", "count", "legal"),
    [
        ({}, 2, True),
        ({"keypoints": []}, 2, True),
        ({"keypoints": [1, 2, 2, 0, 0, 0], "num_keypoints": 1}, 2, True),
        ({"keypoints": [1, 2, 2, 0, 0, 0], "num_keypoints": 2}, 2, False),
        ({"keypoints": [1, 2, 2]}, 2, False),
        ({"keypoints": [1, 2, 2]}, None, True),
        ({"keypoints": [1, 2]}, None, False),
        ({"keypoints": [1, 2, "2"]}, 1, False),
        ({"keypoints": [[1, 2, 2]]}, 1, False),
        ({"keypoints": None}, 1, False),
    ],
)
def test_keypoints(record: Json, count: int | None, legal: bool) -> None:
    assert (keypoint_problems(record, count) == []) is legal


def test_the_third_number_of_a_found_keypoint_is_a_score() -> None:
    assert keypoint_problems({"keypoints": [1, 2, -0.5], "num_keypoints": 1}, 1, found=True) == []


def test_names_are_asked_for_where_they_are_used() -> None:
    image = {"id": 1, "width": 3, "height": 2}
    assert image_problems(image) == ["'file_name' must be a name, is None"]
    assert image_problems(image, named=False) == []
    assert image_problems(image | {"file_name": "a\0"}, named=False) == ["'file_name' must be a name, is 'a\\x00'"]
    assert image_problems(image | {"width": 2.0, "height": 0}, named=False) == [
        "'width' must be a positive integer, is 2.0",
        "'height' must be a positive integer, is 0",
    ]
    assert len(category_problems({"id": 1})) == len(category_problems({"id": 1, "name": 3}, named=False)) == 1
    assert category_problems({"id": 1}, named=False) == []
    assert category_problems({"id": 1, "name": "a"}, panoptic=True) == ["'isthing' must be 0 or 1, is None"]


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "a/../../b.png", ".."])
def test_a_file_that_is_opened_lies_in_the_folder_of_the_images(name: str) -> None:
    image = {"id": 1, "file_name": name, "width": 3, "height": 2}
    assert image_problems(image) == [f"'file_name' must stay inside the folder of the images, is {name!r}"]
    assert image_problems(image, named=False) == []  # of a ground truth whose image files are not opened


NAMES = st.one_of(st.text(max_size=4), st.text("./\na\0", max_size=5))


@given(
    names=st.lists(NAMES, max_size=4),
    ids=st.sampled_from([1, 0, -1, 2**63 - 1, -(2**63)]),
    width=st.sampled_from([1, 0, -1, 10**6, 10**6 + 1, 2**62]),
)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_columns_of_images_are_plainly_legal_only_if_each_image_is(names: list[str], ids: int, width: int) -> None:
    count = len(names)
    plain = plainly_legal_images(np.full(count, ids), names, np.full(count, width), np.ones(count, np.int64))
    images = [{"id": ids, "file_name": name, "width": width, "height": 1} for name in names]
    legal = not any(image_problems(image) for image in images)
    assert legal or not plain
    odd = any(letter in name for name in names for letter in ("..", "\n"))
    assert plain or not legal or odd  # and these are only looked at more closely


def test_panoptic_annotations() -> None:
    segment = {"id": 5, "category_id": 3}
    record = {"image_id": 4, "file_name": "a.png", "segments_info": [segment]}
    assert panoptic_problems(record, SIZES, CLASSES) == []
    odd = [
        segment,
        segment,
        {"id": 0, "category_id": 3},
        {"id": 6, "category_id": 8, "iscrowd": 2, "area": -1},
        {"id": "x"},
    ]
    assert panoptic_problems(record | {"image_id": 9, "segments_info": odd}, SIZES, CLASSES) == [
        "there is no image 9; known: 4",
        "a segment has id 0, which means void",
        "segment 6: there is no category 8; known: 3, 7",
        "segment 6: 'iscrowd' must be 0 or 1, is 2",
        "segment 6: 'area' must be a finite number of pixels >= 0, or absent, is -1",
        "a segment has integers 'id' and 'category_id', number 4 is {'id': 'x'}",
        "2 segments have id 5",
    ]
    assert panoptic_problems(record | {"image_id": 9}, None, CLASSES) == []


def test_a_png_and_its_list_must_hold_the_same_segments() -> None:
    assert png_problems([5, 6], [0, 6, 5]) == []
    assert png_problems([5], [6]) == [
        "no pixel of the segments [5] that the JSON lists; write the PNG again",
        "holds segments [6] that the JSON does not list; write the JSON again",
    ]


def test_what_is_legal_may_still_be_empty() -> None:
    size = SIZES[4]
    assert not is_empty(BOX, size, None)
    assert clipped([-1, 3, 30, 6], size) == (0, 3, 24, 9)
    for bbox in ([2, 3, 0, 6], [24, 3, 1, 6], [-1, 0, 1, 5]):
        assert is_empty(BOX | {"bbox": bbox}, size, None)
    assert is_empty(BOX, size, to_rle([[1, 1, 2, 2]], *size))


@pytest.mark.parametrize(
    ("bbox", "apart"),
    [
        ([12, 2, 8, 8], False),
        ([11, 2, 8, 8], False),
        ([14, 2, 8, 8], False),
        ([17, 2, 7, 8], True),
        ([0, 2, 8, 8], True),
    ],
)
def test_a_box_is_near_its_mask_or_apart(bbox: list[float], apart: bool) -> None:
    assert is_apart(bbox, to_rle([DOG_POLYGON], *SIZES[4])) is apart


def test_small_slips_of_small_boxes_are_not_apart() -> None:
    dot = to_rle([[4, 4, 5, 4, 5, 5, 4, 5]], *SIZES[4])
    assert not is_apart([4.6, 4.6, 1, 1], dot)


def test_every_problem_reaches_a_collector_and_the_first_one_is_raised() -> None:
    records = [BOX | {"id": 1.5, "bbox": None}, BOX, BOX, 5]
    said: list[str] = []
    legal = list(legal_records(records, "x: annotation", lambda r: annotation_problems(r, SIZES, CLASSES), said.append))
    assert legal == [BOX]
    assert [line[:44] for line in said] == [
        "x: annotation 1.5: 'id' must be an integer, ",
        "x: annotation 1.5: 'bbox' must be four finit",
        "x: annotation 1: this id is used twice; give",
        "x: annotation at position 3: not an object",
    ]
    with pytest.raises(DataError, match=r"x: annotation 1\.5: 'id' must"):
        list(annotation_records({"annotations": records}, "x", SIZES, CLASSES))


ILLEGAL: list[Json] = [
    {"bbox": [9, 9, -3, -2]},
    {"bbox": [20, 3, 8, 6]},
    {"bbox": None},
    {"area": -1},
    {"area": None},
    {"area": "48"},
    {"image_id": 4.0},
    {"id": 0},
    {"iscrowd": 2},
    {"category_id": 9},
    {"segmentation": [[2, 3], [10, 3], [10, 9], [2, 9]]},
    {"segmentation": [2, 3, 10, 3, 10, 9]},
    {"segmentation": [[2, 3, 10, 3, 10]]},
    {"segmentation": {"size": [24, 16], "counts": [384]}},
    {"segmentation": {"size": [16, 24], "counts": [300]}},
    {"segmentation": {"size": [16, 24], "counts": "zzz"}},
    {"segmentation": [[2, 3, 10, 3, 1e9, 9]]},
]
LEGAL: list[Json] = [
    {},
    {"segmentation": [[2, 3, 10, 3, 10, 9, 2, 9], [4, 4, 5, 5], [6, 6], []]},
    {"score": "0.9 manual"},
    {"score": None},
    {"bbox": [2, 3, 8.5, 6]},
    {"area": 0},
    {"iscrowd": 1},
]


def with_two(root: Path, change: Json) -> Path:
    """The tiny set, its val with a changed cat and a sound dog."""
    edit(write_set(root), "instances_val", lambda d: d.update(annotations=[cat(1, 4) | change, dog(2, 4)]))
    return root


def perfect(truth: Json) -> list[Json]:
    """Predictions equal to the truth."""
    keys = ("image_id", "category_id", "bbox", "segmentation")
    return [{key: a[key] for key in keys} | {"score": 0.5} for a in truth["annotations"]]


@pytest.mark.parametrize("change", ILLEGAL, ids=str)
def test_what_the_check_refuses_reading_and_scoring_refuse_with_the_same_sentence(change: Json, tmp_path: Path) -> None:
    root = with_two(tmp_path, change)
    path = root / "annotations" / "instances_val.json"
    (error,) = check(root).errors
    sentence = error.split("annotation ", 1)[1]

    with pytest.raises(DataError) as reading:
        load_split(find_splits(root)["val"]).labels(0)
    with pytest.raises(DataError) as scoring:
        read_ground_truth(path)
    with pytest.raises(DataError) as evaluating:
        ap_seg(json.loads(path.read_text()), [])

    for raised in (reading, scoring, evaluating):
        assert str(raised.value).split("annotation ", 1)[1] == sentence


@pytest.mark.parametrize("change", LEGAL, ids=str)
def test_what_the_check_passes_reading_and_scoring_accept(change: Json, tmp_path: Path) -> None:
    root = with_two(tmp_path, change)
    path = root / "annotations" / "instances_val.json"
    assert check(root).errors == []

    split = load_split(find_splits(root)["val"])
    labels, truth = split.labels(0), read_ground_truth(path)

    assert labels.scores.tolist() == [1, 1]
    assert ap_seg(truth, perfect(truth)) == ap_seg(split.coco(), perfect(split.coco()))
    assert ap_seg(truth, perfect(truth))["AP"] == pytest.approx(100)


def test_mask_problems_leave_records_without_mask_alone() -> None:
    assert mask_problems(BOX, SIZES[4]) == mask_problems(BOX | {"segmentation": [[]]}, SIZES[4]) == []
    assert len(mask_problems(BOX | {"segmentation": [[1, 2, 3]]}, SIZES[4])) == 1


def test_boxes_elsewhere_than_their_masks_are_warned_of(tmp_path: Path) -> None:
    root = with_two(tmp_path, {"bbox": [15, 9, 8, 6]})
    report: Any = check(root)
    assert report.errors == []
    assert report.warnings == [
        "annotations/instances_val.json: 1 box overlaps the box around the mask by less than half "
        "(the first: annotation 1); 'bbox' is the box around the segmentation"
    ]


def test_a_list_of_points_is_an_error_in_coco_as_downloaded_too(tmp_path: Path) -> None:
    points = [[2, 3], [10, 3], [10, 9], [2, 9]]
    root = with_two(tmp_path / "native", {"segmentation": points})
    coco = tmp_path / "coco"
    (coco / "annotations").mkdir(parents=True)
    (root / "annotations" / "instances_val.json").rename(coco / "annotations" / "instances_val2017.json")
    (root / "images").rename(coco / "val2017")
    (error,) = check(coco).errors
    assert error.endswith("'segmentation' is a list of points; write each polygon as one flat list x, y, x, y, ...")
