from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from casl.errors import DataError
from casl.metrics.panoptic import Ids, rgb_of_ids
from casl.metrics.pq import pq, pq_of_arrays
from tests.data.tiny import REAL
from tests.metrics.panoptic_perturbed import Json, first_images, perturbed, write_png

THING, OTHER_THING, STUFF = 1, 2, 7
CATEGORIES = [
    {"id": THING, "name": "cat", "isthing": 1},
    {"id": OTHER_THING, "name": "dog", "isthing": 1},
    {"id": STUFF, "name": "sky", "isthing": 0},
]
KEYS = ["PQ", "SQ", "RQ", "PQ_th", "SQ_th", "RQ_th", "PQ_st", "SQ_st", "RQ_st"]

# by panopticapi (commit 7bb4655) on what tests.metrics.panoptic_perturbed makes of the ground truth
PANOPTICAPI = {
    "coco_panoptic_sample/annotations/panoptic_sample.json": [
        *(27.963211268978082, 40.60732542514672, 36.9047619047619),
        *(16.615623547608063, 34.626703688691926, 23.21428571428571),
        *(41.5803165346221, 47.78407150889248, 53.333333333333336),
    ],
    "camvid/annotations/panoptic_val.json": [
        *(28.6711007847224, 47.85628584516539, 38.324226927738565),
        *(19.743821846190468, 65.0049932424976, 27.482872827911613),
        *(32.497077472664664, 40.506839817737294, 42.97052154195011),
    ],
}


def row(*runs: tuple[int, int]) -> Ids:
    """One line of pixels: (id, how many) and so on; one line is as good as an image, and can be counted by eye."""
    return np.array([np.repeat([i for i, _ in runs], [n for _, n in runs])])


def segment(number: int, category: int, crowd: int = 0) -> Json:
    return {"id": number, "category_id": category, "iscrowd": crowd}


def quality(gt: tuple[Ids, list[Json]], dt: tuple[Ids, list[Json]]) -> dict[str, float]:
    return pq_of_arrays([(*gt, *dt)], CATEGORIES)


@pytest.mark.parametrize("file", PANOPTICAPI)
def test_real_ground_truth_scores_as_in_panopticapi(file: str, tmp_path: Path) -> None:
    if not (REAL / file).exists():
        pytest.skip(f"real data {file} is not in {REAL}; say where with CASL_REAL_DATA=folder")
    gt, gt_pngs = first_images(json.loads((REAL / file).read_bytes()), 20), (REAL / file).with_suffix("")
    dt = perturbed(gt, gt_pngs, tmp_path)
    before = copy.deepcopy((gt, dt))

    values = pq(gt, gt_pngs, dt, tmp_path)

    assert list(values) == KEYS
    assert list(values.values()) == pytest.approx(PANOPTICAPI[file], abs=1e-9)
    assert (gt, dt) == before


def test_the_truth_itself_is_perfect_and_parts_without_anything_are_minus_one() -> None:
    image = (row((0, 5), (3, 10), (4, 85)), [segment(3, THING), segment(4, OTHER_THING)])
    assert quality(image, image) == dict.fromkeys(KEYS[:6], 100.0) | dict.fromkeys(KEYS[6:], -1.0)
    assert pq_of_arrays([], CATEGORIES) == dict.fromkeys(KEYS, -1.0)


@pytest.mark.parametrize(
    ("gt", "dt", "expected"),
    [
        # 80 of 120 shared: IoU 2/3; the stuff around it shares 80 of 120 too
        pytest.param(
            (row((1, 100), (2, 100)), [segment(1, THING), segment(2, STUFF)]),
            (row((2, 20), (1, 100), (2, 80)), [segment(1, THING), segment(2, STUFF)]),
            {"PQ": 200 / 3, "SQ": 200 / 3, "RQ": 100, "PQ_th": 200 / 3, "PQ_st": 200 / 3},
            id="shifted",
        ),
        # exactly half is not enough: one wrong and one missed
        pytest.param(
            (row((1, 100), (0, 0)), [segment(1, THING)]),
            (row((1, 50), (0, 50)), [segment(1, THING)]),
            {"PQ": 0, "SQ": 0, "RQ": 0, "PQ_st": -1},
            id="IoU .5",
        ),
        # one of two found by a segment over both: IoU .6, one missed
        pytest.param(
            (row((1, 60), (2, 40)), [segment(1, THING), segment(2, THING)]),
            (row((9, 100)), [segment(9, THING)]),
            {"PQ": 60 / 1.5, "SQ": 60, "RQ": 100 / 1.5},
            id="merged",
        ),
        # the halves have IoU .6 and .4: one match, one wrong
        pytest.param(
            (row((1, 100)), [segment(1, THING)]),
            (row((8, 60), (9, 40)), [segment(8, THING), segment(9, THING)]),
            {"PQ": 60 / 1.5, "SQ": 60, "RQ": 100 / 1.5},
            id="split",
        ),
        # one category misses, the other is wrong; the mean is over both
        pytest.param(
            (row((1, 100)), [segment(1, THING)]),
            (row((1, 100)), [segment(1, OTHER_THING)]),
            {"PQ": 0, "PQ_th": 0, "PQ_st": -1},
            id="wrong class",
        ),
        # stuff where no stuff is: a category without ground truth counts, with 0
        pytest.param(
            (row((1, 50), (2, 50)), [segment(1, THING), segment(2, OTHER_THING)]),
            (row((1, 50), (2, 50)), [segment(1, THING), segment(2, STUFF)]),
            {"PQ": 100 / 3, "PQ_th": 50, "PQ_st": 0},
            id="invented stuff",
        ),
        # 60 of the prediction's 120 pixels are void and leave the union: 60 / (120 + 60 - 60 - 60)
        pytest.param(
            (row((1, 60), (0, 60)), [segment(1, THING)]),
            (row((1, 120)), [segment(1, THING)]),
            {"PQ": 100, "SQ": 100, "RQ": 100},
            id="void is not in the union",
        ),
        pytest.param(
            (row((1, 50), (0, 50)), [segment(1, THING)]),
            (row((1, 49), (2, 51)), [segment(1, THING), segment(2, THING)]),
            {"SQ": 98, "RQ": 100},
            id="50 of 51 on void are ignored",
        ),
        pytest.param(
            (row((1, 50), (0, 50)), [segment(1, THING)]),
            (row((1, 50), (2, 25), (3, 25)), [segment(1, THING), segment(2, STUFF), segment(3, OTHER_THING)]),
            {"PQ": 100, "PQ_st": -1},
            id="all on void, any class",
        ),
        pytest.param(
            (row((1, 80), (0, 20)), [segment(1, THING)]),
            (row((1, 60), (2, 40)), [segment(1, THING), segment(2, THING)]),
            {"PQ": 75 / 1.5, "SQ": 75, "RQ": 100 / 1.5},
            id="exactly half on void is wrong",
        ),
        pytest.param(
            (row((1, 50), (2, 50)), [segment(1, THING), segment(2, THING, crowd=1)]),
            (row((1, 50), (3, 50)), [segment(1, THING), segment(3, THING)]),
            {"PQ": 100},
            id="a crowd of the class is ignored",
        ),
        pytest.param(
            (row((1, 50), (2, 50)), [segment(1, THING), segment(2, THING, crowd=1)]),
            (row((1, 50), (0, 50)), [segment(1, THING)]),
            {"PQ": 100},
            id="a crowd need not be found",
        ),
        pytest.param(
            (row((1, 50), (2, 50)), [segment(1, THING), segment(2, THING, crowd=1)]),
            (row((1, 50), (3, 50)), [segment(1, THING), segment(3, OTHER_THING)]),
            {"PQ": 50},
            id="a crowd of another class is wrong",
        ),
        # 30 on void and 30 on the crowd, of 100: neither is more than half, together they are
        pytest.param(
            (
                row((1, 100), (0, 30), (2, 30), (4, 40)),
                [segment(1, THING), segment(2, THING, crowd=1), segment(4, STUFF)],
            ),
            (row((1, 100), (3, 100)), [segment(1, THING), segment(3, THING)]),
            {"PQ": 50, "PQ_th": 100, "PQ_st": 0},
            id="void and crowd add up",
        ),
    ],
)
def test_images_score_as_counted_by_hand(
    gt: tuple[Ids, list[Json]], dt: tuple[Ids, list[Json]], expected: dict[str, float]
) -> None:
    values = quality(gt, dt)
    assert {key: values[key] for key in expected} == pytest.approx(expected)


def test_of_several_crowds_of_a_class_the_last_counts_as_in_panopticapi() -> None:
    gt = row((1, 40), (2, 30), (3, 30))
    crowds = [segment(2, THING, crowd=1), segment(3, THING, crowd=1)]
    dt = (row((1, 40), (4, 30), (5, 30)), [segment(1, THING), segment(4, THING), segment(5, THING)])
    assert quality((gt, [segment(1, THING), *crowds]), dt)["RQ"] == pytest.approx(100 / 1.5)


def test_images_are_counted_together_before_anything_is_divided() -> None:
    found = (row((1, 10)), [segment(1, THING)], row((1, 10)), [segment(1, THING)])
    missed: tuple[Ids, list[Json], Ids, list[Json]] = (row((1, 10)), [segment(1, THING)], row((0, 10)), [])
    assert pq_of_arrays([found, found, missed], CATEGORIES)["PQ"] == pytest.approx(100 * 2 / 2.5)


def test_the_area_of_a_true_segment_is_the_written_one() -> None:
    true, both = segment(1, THING), row((1, 60), (0, 0))
    assert quality((both, [true | {"area": 90}]), (both, [true]))["SQ"] == pytest.approx(100 * 60 / 90)
    with pytest.raises(DataError, match=r"image number 0: segment 1 is said to have an area of 30.*shares 60"):
        quality((both, [true | {"area": 30}]), (both, [true]))


@pytest.fixture
def files(tmp_path: Path) -> tuple[Json, Path, Json, Path]:
    """One image, truth and prediction the same, both on disk."""
    record = {"image_id": 12, "file_name": "a.png", "segments_info": [segment(3, THING), segment(70000, STUFF)]}
    for side in ("gt", "dt"):
        write_png(tmp_path / side / "a.png", row((0, 2), (3, 10), (70000, 20)))
    gt = {"images": [], "annotations": [record], "categories": CATEGORIES}
    return gt, tmp_path / "gt", {"annotations": [copy.deepcopy(record)]}, tmp_path / "dt"


def test_ids_on_disk_use_three_bytes(files: tuple[Json, Path, Json, Path]) -> None:
    assert rgb_of_ids(row((1 + 2 * 256 + 3 * 65536, 1))).tolist() == [[[1, 2, 3]]]
    assert pq(*files)["PQ"] == 100


@pytest.mark.parametrize("side", ["ground truth", "predictions"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"segments_info": [segment(3, THING)]}, r"holds segments \[70000\] that the JSON does not list"),
        (
            {"segments_info": [segment(i, THING) for i in (3, 5, 70000)]},
            r"no pixel of the segments \[5\]",
        ),
        ({"segments_info": [segment(3, 9)]}, "segment 3: there is no category 9; known: "),
        ({"segments_info": [segment(3, THING)] * 2}, "2 segments have id 3"),
        ({"segments_info": [segment(0, THING)]}, "a segment has id 0, which means void"),
        ({"segments_info": [segment(3, THING) | {"iscrowd": 2}]}, "segment 3: 'iscrowd' must be 0 or 1, is 2"),
        ({"segments_info": [segment(3, THING) | {"area": -1}]}, "segment 3: 'area' must be a finite number"),
        ({"segments_info": {}}, "a panoptic annotation has .* a list 'segments_info'"),
        ({"file_name": "b.png"}, r"b\.png: no such panoptic PNG"),
        ({"file_name": 3}, "'file_name' must be the name of its PNG, is 3"),
    ],
)
def test_wrong_segments_are_errors_that_name_image_and_segment(
    change: Json, message: str, side: str, files: tuple[Json, Path, Json, Path]
) -> None:
    (files[0] if side == "ground truth" else files[2])["annotations"][0] |= change
    with pytest.raises(DataError, match=rf"^{side}: image 12: .*{message}"):
        pq(*files)


def test_an_image_without_prediction_is_an_error_and_a_prediction_without_image_is_not(
    files: tuple[Json, Path, Json, Path],
) -> None:
    gt, gt_pngs, dt, dt_pngs = files
    dt["annotations"].append({"image_id": 13, "file_name": "nowhere.png", "segments_info": []})
    assert pq(*files)["PQ"] == 100
    with pytest.raises(DataError, match=r"no prediction for image 12 \(1 of 1 images"):
        pq(gt, gt_pngs, {"annotations": dt["annotations"][1:]}, dt_pngs)


def test_an_image_that_is_there_twice_is_an_error(files: tuple[Json, Path, Json, Path]) -> None:
    files[2]["annotations"] *= 2
    with pytest.raises(DataError, match="predictions: image 12: it is annotated twice"):
        pq(*files)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (row((0, 2), (3, 10), (70000, 21)), "image 12: the ground truth is 32 x 1 pixels, the prediction 33 x 1"),
        (None, r"predictions: image 12: .*a\.png: not a readable PNG"),
    ],
)
def test_a_png_of_another_size_or_damaged_is_an_error(
    ids: Ids | None, message: str, files: tuple[Json, Path, Json, Path]
) -> None:
    path = files[3] / "a.png"
    path.write_bytes(path.read_bytes()[:60]) if ids is None else write_png(path, ids)
    with pytest.raises(DataError, match=message):
        pq(*files)


def test_a_grey_png_is_not_panoptic(files: tuple[Json, Path, Json, Path]) -> None:
    Image.new("L", (32, 1)).save(files[3] / "a.png")
    with pytest.raises(DataError, match="8-bit RGB pixels, this one is L"):
        pq(*files)


def test_a_missing_folder_says_how_to_name_it(files: tuple[Json, Path, Json, Path]) -> None:
    with pytest.raises(DataError, match=r"predictions: no folder .*nowhere.*--dt-pngs"):
        pq(*files[:3], files[3] / "nowhere")


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        (None, "'categories' is missing or not a list"),
        ([{"isthing": 1}], "category at position 0: a category is an object with an integer 'id'"),
        ([{"id": 1}], "category 1: 'isthing' must be 0 or 1, is None"),
        (CATEGORIES * 2, "category 1: this id is used twice"),
    ],
)
def test_categories_must_say_what_is_a_thing(categories: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        pq_of_arrays([], categories)


@pytest.mark.parametrize("ids", [np.zeros((2, 3, 3), dtype=int), np.zeros((1, 4)), np.full((1, 4), -1)])
def test_ids_that_are_none_are_errors(ids: Any) -> None:
    with pytest.raises(DataError, match="predictions: image number 0: ids must be"):
        pq_of_arrays([(row((0, 4)), [], ids, [])], CATEGORIES)
