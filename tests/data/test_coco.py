"""Splits read image by image, compared with pycocotools' own reading of the same files."""

from __future__ import annotations

import dataclasses
import json
import pickle
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as rle_tools
from pycocotools.coco import COCO

from casl.coco.masks import to_rle
from casl.data.coco import CocoSplit, agnostic, load_split, sample, subset, with_objects
from casl.data.image_info import ImageInfo
from casl.data.layout import SplitFiles, find_splits
from casl.errors import DataError
from tests.data.tiny import CAT_BOX, DOG_POLYGON, HEIGHT, REAL, WIDTH, cat, edit, needs_real, write_set


def labeled(root: Path, kind: str = "objects") -> CocoSplit:
    return load_split(find_splits(root)["labeled"], kind)


def decoded(rle: dict[str, Any]) -> NDArray[np.uint8]:
    mask: NDArray[np.uint8] = rle_tools.decode(rle)
    return mask


def test_labels_are_positions_and_boxes_are_corners(tmp_path: Path) -> None:
    split = labeled(write_set(tmp_path))
    first, second = split.labels(0), split.labels(1)
    assert (len(split), split.classes, split.category_ids, split.has_masks) == (2, ("cat", "dog"), (3, 7), True)
    assert split.path(1) == tmp_path / "images" / "b.png"
    np.testing.assert_array_equal(first.boxes, np.array([[2, 3, 10, 9], [12, 2, 20, 10]], np.float32), strict=True)
    np.testing.assert_array_equal(first.labels, np.array([0, 1]), strict=True)
    np.testing.assert_array_equal(first.scores, np.ones(2, np.float32), strict=True)
    np.testing.assert_array_equal(first.crowd, [False, False])
    np.testing.assert_array_equal(first.annotation_ids, [1, 2])
    np.testing.assert_array_equal(second.boxes, np.empty((0, 4), np.float32), strict=True)
    assert second.rles == []


def test_masks_of_all_four_forms_are_the_same(tmp_path: Path) -> None:
    runs = cat(1, 1)["segmentation"]
    x, y, w, h = CAT_BOX
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    drawn[y : y + h, x : x + w] = 1
    packed = rle_tools.encode(np.asfortranarray(drawn))
    corners = [x, y, x + w, y, x + w, y + h, x, y + h]
    text = {"size": [HEIGHT, WIDTH], "counts": packed["counts"].decode()}
    for form in (runs, packed, text, [corners], [corners, [1, 1, 2, 2]]):
        rle = to_rle(form, HEIGHT, WIDTH)
        assert isinstance(rle["counts"], bytes)
        np.testing.assert_array_equal(decoded(rle), drawn)


@pytest.mark.parametrize("seed", range(5))
def test_any_compressed_mask_is_accepted_as_it_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((200, 300)) < rng.choice([0.001, 0.5, 0.999])
    rle = rle_tools.encode(np.asfortranarray(mask, np.uint8))
    assert to_rle(rle, 200, 300) == rle


def test_boxes_are_clipped_and_what_has_no_area_or_no_mask_pixel_is_left_out(tmp_path: Path) -> None:
    def spoil(data: dict[str, Any]) -> None:
        over, flat, blank = cat(3, 2), cat(4, 2), cat(5, 2)
        over["bbox"] = [-0.5, 3, WIDTH + 1, 6]
        flat["bbox"] = [2, 3, 8, 0]
        blank["segmentation"] = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}
        data["annotations"] += [over, flat, blank]

    edit(write_set(tmp_path), "instances_labeled", spoil)
    split = labeled(tmp_path)
    labels = split.labels(1)
    np.testing.assert_array_equal(labels.boxes, [[0, 3, WIDTH, 9]])
    np.testing.assert_array_equal(labels.annotation_ids, [3])
    assert len(split.coco()["annotations"]) == 5


def test_a_crowd_without_mask_gets_its_box_and_does_not_take_the_masks_away(tmp_path: Path) -> None:
    crowd = {key: value for key, value in cat(3, 2).items() if key != "segmentation"} | {"iscrowd": 1}
    edit(write_set(tmp_path), "instances_labeled", lambda data: data["annotations"].append(crowd))
    split = labeled(tmp_path)
    labels = split.labels(1)
    assert (split.has_masks, labels.crowd.tolist()) == (True, [True])
    assert labels.rles is not None
    np.testing.assert_array_equal(decoded(labels.rles[0]), decoded(to_rle(cat(1, 1)["segmentation"], HEIGHT, WIDTH)))


@pytest.mark.parametrize("empty", [None, [], [[]], {}])
def test_one_object_without_mask_makes_it_a_split_of_boxes(tmp_path: Path, empty: object) -> None:
    edit(write_set(tmp_path), "instances_labeled", lambda data: data["annotations"][1].update(segmentation=empty))
    split = labeled(tmp_path)
    assert (split.has_masks, split.labels(0).rles) == (False, None)
    assert "segmentation" not in split.coco()["annotations"][1]


def test_the_ground_truth_dict_has_area_and_iscrowd_and_may_be_written_into(tmp_path: Path) -> None:
    split = labeled(write_set(tmp_path))
    coco = split.coco()
    dog_area = rle_tools.area(rle_tools.frPyObjects([DOG_POLYGON], HEIGHT, WIDTH))[0]
    assert [(r["iscrowd"], r["area"]) for r in coco["annotations"]] == [(0, 48), (0, dog_area)]
    assert coco["categories"] == [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
    coco["annotations"][0]["ignore"] = 1
    assert "ignore" not in split.coco()["annotations"][0]


def test_alpha_drops_the_classes_and_nothing_else(tmp_path: Path) -> None:
    split = labeled(write_set(tmp_path))
    merged = agnostic(split)
    assert (merged.classes, merged.category_ids, merged.images) == (("object",), (1,), split.images)
    assert merged.labels(0).labels.tolist() == [0, 0]
    np.testing.assert_array_equal(merged.labels(0).boxes, split.labels(0).boxes)
    assert merged.labels(0).rles == split.labels(0).rles
    assert {record["category_id"] for record in merged.coco()["annotations"]} == {1}
    assert agnostic(merged).labels(0).labels.tolist() == [0, 0]
    assert split.labels(0).labels.tolist() == [0, 1]


def test_a_subset_is_the_first_images(tmp_path: Path) -> None:
    split = labeled(write_set(tmp_path))
    assert [image.file_name for image in subset(split, 1).images] == ["a.png"]
    assert len(subset(split, 1).coco()["annotations"]) == 2
    for count in (0, 3):
        with pytest.raises(ValueError, match="a number from 1 to 2"):
            subset(split, count)


def test_a_sample_is_drawn_by_chance_and_part_of_every_larger_one(tmp_path: Path) -> None:
    """Images of a list are often frames of one video, whose beginning shows one place."""
    split = labeled(write_set(tmp_path))
    images = tuple(ImageInfo(number, f"{number:03d}.png", 8, 8) for number in range(200))
    video = replace(split, images=images, annotations=[()] * 200)
    drawn = [[image.id for image in sample(video, count).images] for count in (25, 50, 100, 200)]
    assert all(ids == sorted(ids) for ids in drawn), "in the order of the list"
    assert all(set(small) < set(large) for small, large in pairwise(drawn))
    assert [len(ids) for ids in drawn] == [25, 50, 100, 200]
    quarters = np.histogram(drawn[0], bins=4, range=(0, 200))[0]
    assert quarters.min() >= 2, "from all parts of the list"
    assert [image.id for image in sample(video, 25).images] == drawn[0]
    others = [[image.id for image in sample(video, count, fold=3).images] for count in (25, 50)]
    assert others[0] != drawn[0] and set(others[0]) < set(others[1]), "another fold is drawn anew"
    for count in (0, 201):
        with pytest.raises(ValueError, match="a number from 1 to 200"):
            sample(video, count)


def test_images_to_train_on_have_an_object_that_is_no_crowd(tmp_path: Path) -> None:
    """detectron2: filter_images_with_only_crowd_annotations."""
    split = labeled(write_set(tmp_path))  # a.png has two objects, b.png has none
    crowds = replace(split, annotations=[[{**record, "iscrowd": 1} for record in split.annotations[0]], ()])
    mixed = replace(split, annotations=[[{**split.annotations[0][0], "iscrowd": 1}, split.annotations[0][1]], ()])
    assert [image.file_name for image in with_objects(split).images] == ["a.png"]
    assert [image.file_name for image in with_objects(mixed).images] == ["a.png"]
    assert len(with_objects(crowds)) == 0


def test_a_split_cannot_be_changed_and_travels_to_other_processes(tmp_path: Path) -> None:
    split = labeled(write_set(tmp_path))
    with pytest.raises(dataclasses.FrozenInstanceError):
        split.classes = ()  # type: ignore[misc]
    copy = pickle.loads(pickle.dumps(split))
    np.testing.assert_array_equal(copy.labels(0).boxes, split.labels(0).boxes)


def test_unlabeled_images_come_without_annotations(tmp_path: Path) -> None:
    splits = find_splits(write_set(tmp_path))
    images = load_split(splits["unlabeled"], "images")
    assert ([image.file_name for image in images.images], len(images.labels(0).boxes)) == (["c.png"], 0)
    hidden = load_split(splits["labeled"], "images")
    assert (len(hidden), len(hidden.labels(0).boxes), hidden.has_masks) == (2, 0, False)
    with pytest.raises(DataError, match="has no objects"):
        load_split(splits["unlabeled"])


def test_entities_come_from_their_file_or_else_from_panoptic(tmp_path: Path) -> None:
    files = find_splits(write_set(tmp_path))["labeled"]
    assert load_split(files, "entities").labels(0).boxes.tolist() == [[2, 3, 10, 9]]
    derived = load_split(dataclasses.replace(files, entity=None), "entities")
    assert (derived.classes, derived.has_masks) == (("entity",), True)
    assert derived.labels(0).boxes.tolist() == [[2, 3, 9, 8], [0, 12, WIDTH - 1, HEIGHT - 1]]
    assert derived.coco()["annotations"][0]["area"] == 35
    with pytest.raises(DataError, match="has no entities"):
        load_split(dataclasses.replace(files, entity=None, panoptic_pngs=None), "entities")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": 0}, "id is 0"),
        ({"id": 2}, "used twice"),
        ({"id": "1"}, "'id' must be an integer"),
        ({"image_id": 99}, "no image 99"),
        ({"category_id": 99}, "no category 99"),
        ({"bbox": [1, 2, 3]}, "'bbox' must be four"),
        ({"bbox": [1, 2, 3, float("nan")]}, "'bbox' must be four"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    edit(write_set(tmp_path), "instances_labeled", lambda data: data["annotations"][0].update(change))
    with pytest.raises(DataError, match=rf"instances_labeled\.json: annotation .*: .*{reason}"):
        labeled(tmp_path)


def test_a_damaged_mask_names_its_annotation(tmp_path: Path) -> None:
    edit(
        write_set(tmp_path), "instances_labeled", lambda data: data["annotations"][0]["segmentation"].update(counts=[1])
    )
    with pytest.raises(DataError, match=r"instances_labeled\.json: annotation 1: RLE runs cover 1 pixels"):
        labeled(tmp_path).labels(0)


@needs_real
@pytest.mark.parametrize(
    ("name", "file", "kind"),
    [
        ("bccd", "instances_val", "objects"),
        ("coco_mini", "instances_labeled", "objects"),
        ("camvid", "instances_labeled", "objects"),
        ("camvid", "entity_labeled", "entities"),
    ],
)
def test_real_splits_hold_what_pycocotools_reads(name: str, file: str, kind: str) -> None:
    path = REAL / name / "annotations" / f"{file}.json"
    oracle = COCO()
    oracle.dataset = json.loads(path.read_text())
    oracle.createIndex()
    entities = kind == "entities"
    files = SplitFiles("x", path.parent, instances=None if entities else path, entity=path if entities else None)
    split = load_split(files, kind)
    assert split.has_masks == (name != "bccd")
    assert [image.id for image in split.images] == [image["id"] for image in oracle.dataset["images"]]
    for i, image in enumerate(split.images):
        labels = split.labels(i)
        records = oracle.loadAnns(oracle.getAnnIds(image.id))
        assert labels.annotation_ids.tolist() == [record["id"] for record in records]
        for j, record in enumerate(records):
            x, y, w, h = record["bbox"]
            np.testing.assert_allclose(labels.boxes[j], [x, y, x + w, y + h], rtol=1e-6)
            assert split.category_ids[labels.labels[j]] == record["category_id"]
            assert labels.crowd[j] == record["iscrowd"]
            if labels.rles is not None:
                np.testing.assert_array_equal(decoded(labels.rles[j]), oracle.annToMask(record))
