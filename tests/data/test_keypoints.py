"""Keypoints as training reads them, and back again as evaluation wants them."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from casl.data.augment import Sample, flip
from casl.data.coco import CocoSplit, agnostic, load_split, subset, with_keypoints
from casl.data.keypoints import coco_keypoints
from casl.data.layout import find_splits
from casl.data.scenes import write_scenes
from casl.errors import DataError
from tests.data.tiny import HEIGHT, REAL, WIDTH, Json, cat, coco, edit, needs_real, write_json, write_set

NAMES = ["nose", "left_ear", "tail", "right_ear"]


def write_cats(root: Path) -> Path:
    """Image a.png: a cat with three of four keypoints, one with none, one that says nothing; b.png: a crowd."""
    cats = [cat(number, 1) for number in (1, 2, 3)] + [cat(4, 2) | {"iscrowd": 1}]
    cats[0] |= {"keypoints": [5, 4, 2, 3, 3, 1, 0, 0, 0, 9, 3, 2], "num_keypoints": 3}
    cats[1] |= {"keypoints": [0] * 12, "num_keypoints": 0}
    category = {"id": 3, "name": "cat", "keypoints": NAMES, "skeleton": [[1, 2], [1, 4]]}
    write_json(write_set(root), "person_keypoints_labeled", coco("ab", cats) | {"categories": [category]})
    return root


def cats(root: Path) -> CocoSplit:
    return load_split(find_splits(root)["labeled"], "keypoints")


def keypoints_of(split: CocoSplit, i: int) -> NDArray[np.float32]:
    found = split.labels(i).keypoints
    assert found is not None
    return found


def test_pixel_indices_become_middles_of_pixels_and_what_is_not_labelled_is_zero(tmp_path: Path) -> None:
    split = cats(write_cats(tmp_path))
    found = keypoints_of(split, 0)
    first = [[5.5, 4.5, 2], [3.5, 3.5, 1], [0, 0, 0], [9.5, 3.5, 2]]
    np.testing.assert_array_equal(found, np.array([first, np.zeros((4, 3)), np.zeros((4, 3))], np.float32), strict=True)
    np.testing.assert_array_equal(split.labels(0).boxes, [[2, 3, 10, 9]] * 3)  # all three are boxes to learn
    assert (split.classes, split.keypoint_names, split.flip_pairs) == (("cat",), tuple(NAMES), ((1, 3),))
    assert (split.has_masks, split.labels(1).crowd.tolist()) == (True, [True])
    edit(tmp_path, "person_keypoints_labeled", lambda data: data["annotations"].pop())
    assert keypoints_of(cats(tmp_path), 1).shape == (0, 4, 3)


def test_other_kinds_have_no_keypoints(tmp_path: Path) -> None:
    split = load_split(find_splits(write_cats(tmp_path))["labeled"], "objects")
    assert (split.labels(0).keypoints, split.keypoint_names, split.flip_pairs) == (None, (), ())


@pytest.mark.parametrize(("x", "y"), [(WIDTH, 3), (3, HEIGHT), (-1, 3), (3, -0.7)])
def test_a_keypoint_outside_the_image_is_not_a_target(tmp_path: Path, x: float, y: float) -> None:
    points = [x, y, 2] * 4
    edit(
        write_cats(tmp_path),
        "person_keypoints_labeled",
        lambda d: d["annotations"][0].update(keypoints=points, num_keypoints=4),
    )
    assert not keypoints_of(cats(tmp_path), 0).any()
    assert cats(tmp_path).coco()["annotations"][0]["keypoints"] == points


@pytest.mark.parametrize("x", [0, 5, WIDTH - 1])
def test_a_mirrored_keypoint_is_on_its_mirrored_pixel(x: int) -> None:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[4, x] = 255
    points = np.array([[[x + 0.5, 4.5, 2]]], np.float32)
    sample = Sample(image, np.array([[0, 0, WIDTH, HEIGHT]], np.float32), np.zeros(1, np.int64), keypoints=points)
    mirrored = flip(sample)
    assert mirrored.keypoints is not None
    column, row, _ = (int(value) for value in coco_keypoints(mirrored.keypoints)[0])
    assert mirrored.image[row, column].tolist() == [255, 255, 255]


def test_the_way_back_keeps_scores_and_what_is_not_labelled() -> None:
    predicted = np.array([[[3.5, 4.5, -1.25], [0, 0, 0], [0.5, 0.5, 0]]], np.float32)
    assert coco_keypoints(predicted) == [[3, 4, -1.25, 0, 0, 0, 0, 0, 0]]
    assert coco_keypoints(np.zeros((0, 17, 3), np.float32)) == []


def test_the_ground_truth_is_the_files_and_complete(tmp_path: Path) -> None:
    split = cats(write_cats(tmp_path))
    truth = split.coco()
    assert truth["categories"] == [{"id": 3, "name": "cat", "keypoints": NAMES, "skeleton": [[1, 2], [1, 4]]}]
    assert [record["num_keypoints"] for record in truth["annotations"]] == [3, 0, 0, 0]
    assert truth["annotations"][0]["keypoints"] == [5, 4, 2, 3, 3, 1, 0, 0, 0, 9, 3, 2]
    assert truth["annotations"][2]["keypoints"] == [0] * 12
    merged = agnostic(split).coco()["categories"][0]
    assert (merged["id"], merged["name"], merged["keypoints"]) == (1, "object", NAMES)


@pytest.mark.parametrize(
    ("names", "pairs", "expected"),
    [
        (NAMES, None, ((1, 3),)),
        (["left_ear", "nose", "tail"], None, ()),
        (["a", "b", "c"], None, ()),
        (NAMES, [], ()),
        (["a", "b", "c"], [[2, 0]], ((2, 0),)),
    ],
)
def test_pairs_are_those_of_the_category_or_those_of_the_names(
    tmp_path: Path, names: list[str], pairs: list[list[int]] | None, expected: tuple[tuple[int, int], ...]
) -> None:
    category = {"id": 3, "name": "cat", "keypoints": names} | ({} if pairs is None else {"flip_pairs": pairs})
    write_json(write_set(tmp_path), "person_keypoints_labeled", coco("ab", []) | {"categories": [category]})
    assert cats(tmp_path).flip_pairs == expected


@pytest.mark.parametrize(
    "pairs", [[[0, 4]], [[0, 0]], [[0, 1], [1, 2]], [[0]], [["a", "b"]], [[-1, 0]], 3, [[True, 0]]]
)
def test_impossible_pairs_are_refused(tmp_path: Path, pairs: Any) -> None:
    edit(write_cats(tmp_path), "person_keypoints_labeled", lambda d: d["categories"][0].update(flip_pairs=pairs))
    with pytest.raises(DataError, match=r"person_keypoints_labeled\.json: categories: 'flip_pairs' must be pairs"):
        cats(tmp_path)


@pytest.mark.parametrize("points", [[1, 2, 2], [1] * 15, ["1"] * 12, [float("nan")] * 12, 3])
def test_malformed_keypoints_name_their_annotation(tmp_path: Path, points: Any) -> None:
    edit(write_cats(tmp_path), "person_keypoints_labeled", lambda d: d["annotations"][0].update(keypoints=points))
    with pytest.raises(DataError, match=r"labeled\.json: annotation 1: 'keypoints' must be 12 finite numbers"):
        cats(tmp_path)


@pytest.mark.parametrize(
    ("categories", "reason"),
    [
        ([{"id": 3, "name": "cat"}], "must be a list of names"),
        ([{"id": 3, "name": "cat", "keypoints": []}], "must be a list of names"),
        ([{"id": k, "name": "x", "keypoints": NAMES[:k]} for k in (3, 4)], "must have the same"),
    ],
)
def test_categories_without_a_common_set_of_names_are_refused(
    tmp_path: Path, categories: list[Json], reason: str
) -> None:
    write_json(write_set(tmp_path), "person_keypoints_labeled", coco("ab", []) | {"categories": categories})
    with pytest.raises(DataError, match=reason):
        cats(tmp_path)


def test_training_takes_the_images_with_a_labelled_keypoint(tmp_path: Path) -> None:
    write_cats(tmp_path)
    edit(tmp_path, "person_keypoints_labeled", lambda d: d["annotations"][3].update(keypoints=[1, 1, 2] * 4))
    split = with_keypoints(cats(tmp_path))
    assert [image.file_name for image in split.images] == ["a.png"]  # a crowd does not count
    assert len(split.labels(0).labels) == 3
    edit(tmp_path, "person_keypoints_labeled", lambda d: d["annotations"].pop(0))
    assert len(with_keypoints(cats(tmp_path))) == 0


def results(split: CocoSplit, shift: float) -> list[Json]:
    """The truth as predictions, moved to the right; only what has keypoints, since 20 predictions an image count."""
    found = []
    for i, image in enumerate(split.images):
        labels = split.labels(i)
        assert labels.keypoints is not None
        labelled = labels.keypoints[:, :, 2].any(axis=1)
        written = coco_keypoints(labels.keypoints[labelled] + np.array([shift, 0, 0], np.float32))
        for box, points in zip(labels.boxes[labelled].tolist(), written, strict=True):
            entry = {"image_id": image.id, "category_id": split.category_ids[0], "score": 1.0, "keypoints": points}
            found.append(entry | {"bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]]})
    return found


def ap_of_keypoints(split: CocoSplit, shift: float = 0) -> float:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = split.coco()
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(results(split, shift)), "keypoints")
        if len(split.keypoint_names) != 17:
            judge.params.kpt_oks_sigmas = np.full(len(split.keypoint_names), 0.05)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return float(judge.stats[0])


def test_scenes_come_back_bit_for_bit_and_score_full_marks(tmp_path: Path) -> None:
    write_scenes(tmp_path, "val", 24, 64, 0)
    files = find_splits(tmp_path)["val"]
    split = load_split(files, "keypoints")
    data = json.loads((tmp_path / "annotations" / "person_keypoints_val.json").read_text())
    back = [points for i in range(len(split)) for points in coco_keypoints(keypoints_of(split, i))]
    assert back == [record["keypoints"] for record in data["annotations"]] and len(back) > 4
    assert split.flip_pairs == tuple(map(tuple, data["categories"][0]["flip_pairs"])) == ((3, 4), (5, 6))
    assert ap_of_keypoints(split) == 1
    assert ap_of_keypoints(split, shift=20) < 0.1
    assert [image.id for image in split.images] == [image.id for image in load_split(files).images]
    assert subset(split, 2).keypoint_names == split.keypoint_names


@needs_real
@pytest.mark.parametrize("name", ["labeled", "val"])
def test_real_people_come_back_as_they_were(name: str) -> None:
    path = REAL / "coco_mini" / "annotations" / f"person_keypoints_{name}.json"
    data = json.loads(path.read_text())
    records = {record["id"]: record for record in data["annotations"]}
    split = load_split(find_splits(REAL / "coco_mini")[name], "keypoints")
    assert split.flip_pairs == ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16))
    for i in range(len(split)):
        labels, points = split.labels(i), keypoints_of(split, i)
        wanted = [records[number] for number in labels.annotation_ids.tolist()]
        np.testing.assert_allclose(coco_keypoints(points), [r["keypoints"] for r in wanted], atol=1e-4)
        assert (points[:, :, 2] > 0).sum(axis=1).tolist() == [r["num_keypoints"] for r in wanted]
    kept = {r["image_id"] for r in records.values() if r["num_keypoints"] and not r["iscrowd"]}
    assert [image.id for image in with_keypoints(split).images] == [i["id"] for i in data["images"] if i["id"] in kept]
    assert 0 < len(kept) < len(split)
    assert ap_of_keypoints(split) == 1
