"""Things and stuff for training, compared with files that others made of the same segments."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as rle_tools

from casl.data.coco import CocoSplit, agnostic, load_split, subset
from casl.data.layout import SplitFiles, find_splits
from casl.data.scenes import write_scenes
from casl.errors import DataError
from tests.data.tiny import HEIGHT, REAL, WIDTH, Json, edit, needs_real, write_ids, write_set

DOG = {"id": 7, "name": "dog", "isthing": 1}


def pets(root: Path, **changes: Any) -> CocoSplit:
    return load_split(replace(find_splits(root)["labeled"], **changes), "panoptic")


def decoded(rles: list[Any] | None) -> NDArray[np.bool_]:
    assert rles is not None
    found: NDArray[np.bool_] = rle_tools.decode(rles).transpose(2, 0, 1).astype(np.bool_)
    return found


def test_the_map_says_stuff_things_and_void(tmp_path: Path) -> None:
    split = pets(write_set(tmp_path))
    drawn = np.full((HEIGHT, WIDTH), 255, np.uint8)  # the crowd in the upper right corner is as good as void
    drawn[3:9, 2:10], drawn[12:, :] = 0, 1
    np.testing.assert_array_equal(split.semantic(0), drawn, strict=True)
    assert (split.semantic(1) == 1).all()
    assert (split.stuff_classes, split.stuff_category_ids) == (("grass",), (9,))
    assert split.panoptic_png(0)[0, 23] == 70000


def test_objects_are_those_of_the_instance_file(tmp_path: Path) -> None:
    split = pets(write_set(tmp_path))
    objects = load_split(find_splits(tmp_path)["labeled"], "objects")
    assert (split.classes, split.images, split.coco()) == (objects.classes, objects.images, objects.coco())
    assert split.labels(0).rles == objects.labels(0).rles
    assert (objects.stuff_classes, objects.stuff_category_ids, split.labels(0).keypoints) == ((), (), None)
    for ask in (lambda: objects.semantic(0), objects.panoptic, lambda: objects.panoptic_png(0)):
        with pytest.raises(ValueError, match="was not read as 'panoptic'"):
            ask()


def test_without_an_instance_file_things_are_drawn_from_the_maps(tmp_path: Path) -> None:
    split = pets(write_set(tmp_path), instances=None)
    labels = split.labels(0)
    assert (split.classes, split.category_ids, split.has_masks) == (("cat", "dog"), (3, 7), True)
    np.testing.assert_array_equal(labels.boxes, [[2, 3, 10, 9], [20, 0, 24, 1]])
    assert (labels.crowd.tolist(), labels.labels.tolist(), labels.annotation_ids.tolist()) == (
        [False, True],
        [0, 0],
        [1, 2],
    )
    np.testing.assert_array_equal(decoded(labels.rles)[0], split.semantic(0) == 0)
    assert [record["area"] for record in split.coco()["annotations"]] == [48, 4]


def test_the_panoptic_truth_is_the_file_and_may_be_written_into(tmp_path: Path) -> None:
    split = pets(write_set(tmp_path))
    path = tmp_path / "annotations" / "panoptic_labeled.json"
    edit(tmp_path, "panoptic_labeled", lambda data: data["annotations"][1]["segments_info"][0].pop("iscrowd"))
    for reader in (split, agnostic(split), pets(tmp_path)):
        truth = reader.panoptic()
        truth["annotations"][0]["segments_info"][0]["area"] = -1
        truth = reader.panoptic()
        wanted = json.loads(path.read_text())
        wanted["annotations"][1]["segments_info"][0]["iscrowd"] = 0  # said where the file does not
        assert {key: truth[key] for key in wanted} == wanted
    assert [image["id"] for image in subset(split, 1).panoptic()["images"]] == [1]
    assert [record["image_id"] for record in subset(split, 1).panoptic()["annotations"]] == [1]
    copy = pickle.loads(pickle.dumps(split))
    np.testing.assert_array_equal(copy.semantic(0), split.semantic(0))


def test_images_without_panoptic_annotation_are_left_out(tmp_path: Path) -> None:
    def forget_a(data: Json) -> None:
        data["images"].pop(0)
        data["annotations"].pop(0)

    edit(write_set(tmp_path), "panoptic_labeled", forget_a)
    split = pets(tmp_path)
    assert [image.file_name for image in split.images] == ["b.png"]
    assert (split.semantic(0) == 1).all() and len(split.labels(0).labels) == 0


def first(data: Json) -> Json:
    record: Json = data["annotations"][0]
    return record


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d["categories"].pop(), r"not the same.*\(7, 'dog'\)"),
        (lambda d: d["categories"][2].update(name="hound"), "not the same.*hound"),
        (lambda d: d["images"][0].update(width=25), "image 1 is .*25.* in one and .*24"),
        (lambda d: d["images"].append({**d["images"][0], "id": 9}), "image 9 has no panoptic annotation"),
        (lambda d: first(d).update(image_id=9), "there is no image 9"),
        (lambda d: first(d).update(image_id=2), "image 2: it is annotated twice"),
        (lambda d: first(d).pop("segments_info"), "a list 'segments_info'"),
        (lambda d: first(d).pop("file_name"), "'file_name'"),
        (lambda d: first(d)["segments_info"][0].update(category_id=99), "there is no category 99"),
        (lambda d: first(d)["segments_info"][0].update(id=0), "id 0, which means void"),
        (lambda d: first(d)["segments_info"][0].update(id=700), "2 segments have id 700"),
        (lambda d: first(d)["segments_info"][0].pop("id"), "a segment has integers"),
        (lambda d: d.pop("annotations"), "'annotations' is missing"),
        (
            lambda d: d["categories"].extend({**DOG, "id": k, "isthing": 0} for k in range(100, 354)),
            "255 kinds of stuff",
        ),
    ],
)
def test_what_cannot_be_learned_from_is_named(tmp_path: Path, change: Callable[[Json], object], reason: str) -> None:
    edit(write_set(tmp_path), "panoptic_labeled", change)
    with pytest.raises(DataError, match=rf"panoptic_labeled\.json.*{reason}"):
        pets(tmp_path)


def test_an_image_that_the_instances_lack_is_named(tmp_path: Path) -> None:
    edit(write_set(tmp_path), "instances_labeled", lambda data: data["images"].pop())
    with pytest.raises(DataError, match=r"image 2 is .* in one and not there in the other"):
        pets(tmp_path)


def test_a_map_of_another_size_and_one_without_its_segment_are_named(tmp_path: Path) -> None:
    png = write_set(tmp_path) / "annotations" / "panoptic_labeled" / "a.png"
    write_ids(png, np.full((HEIGHT, WIDTH), 700))
    with pytest.raises(DataError, match=r"a\.png: no pixel of segment 5"):
        pets(tmp_path, instances=None)
    write_ids(png, np.full((WIDTH, HEIGHT), 700))
    with pytest.raises(DataError, match=r"a\.png: is 16x24, its image 24x16"):
        pets(tmp_path).semantic(0)
    png.unlink()
    with pytest.raises(DataError, match=r"a\.png: no such panoptic PNG"):
        pets(tmp_path).panoptic_png(0)


def test_pixels_that_no_segment_claims_are_void(tmp_path: Path) -> None:
    write_ids(write_set(tmp_path) / "annotations" / "panoptic_labeled" / "b.png", np.full((HEIGHT, WIDTH), 701))
    assert (pets(tmp_path).semantic(1) == 255).all()


def map_by_entities(split: CocoSplit, path: Path, count: int) -> list[NDArray[np.uint8]]:
    """Semantic maps of the first images as the entity file has it, which gives every segment a mask of its own."""
    data = json.loads(path.read_text())
    maps = {image.id: np.full((image.height, image.width), 255, np.uint8) for image in split.images[:count]}
    for record in data["annotations"]:
        if record["image_id"] in maps:
            stuff = 0 if record["isthing"] else 1 + split.stuff_category_ids.index(record["source_category_id"])
            maps[record["image_id"]][rle_tools.decode(record["segmentation"]) == 1] = stuff
    return list(maps.values())


def compare_with_entities(files: SplitFiles, count: int) -> CocoSplit:
    split = load_split(files, "panoptic")
    assert files.entity is not None and files.panoptic_pngs is not None
    for i, wanted in enumerate(map_by_entities(split, files.entity, count)):
        np.testing.assert_array_equal(split.semantic(i), wanted)
        pixels = np.asarray(Image.open(files.panoptic_pngs / f"{Path(split.images[i].file_name).stem}.png")).astype(int)
        np.testing.assert_array_equal(split.panoptic_png(i), pixels @ [1, 256, 65536])
        np.testing.assert_array_equal(decoded(split.labels(i).rles).any(axis=0), wanted == 0)
    return split


def compare_things(files: SplitFiles) -> None:
    """Things drawn from the maps are the objects of the instance file, whatever the order."""
    drawn, objects = load_split(replace(files, instances=None), "panoptic"), load_split(files, "objects")
    for i in range(len(drawn)):
        found, wanted = (
            {(label, rle["counts"]) for label, rle in zip(labels.labels.tolist(), labels.rles or [], strict=True)}
            for labels in (drawn.labels(i), objects.labels(i))
        )
        assert found == wanted
        np.testing.assert_array_equal(np.sort(drawn.labels(i).boxes, axis=0), np.sort(objects.labels(i).boxes, axis=0))


def test_scenes_agree_with_their_entities_and_instances(tmp_path: Path) -> None:
    write_scenes(tmp_path, "val", 8, 64, 1)
    files = find_splits(tmp_path)["val"]
    split = compare_with_entities(files, 8)
    compare_things(files)
    data = json.loads((tmp_path / "annotations" / "panoptic_val.json").read_text())
    assert split.stuff_category_ids == tuple(c["id"] for c in data["categories"] if not c["isthing"])
    assert (
        split.panoptic()["annotations"] == data["annotations"] and split.panoptic()["categories"] == data["categories"]
    )


@needs_real
def test_camvid_agrees_with_its_entities() -> None:
    split = compare_with_entities(find_splits(REAL / "camvid")["labeled"], 12)
    assert (len(split), split.classes) == (93, ("Car", "Pedestrian", "Bicyclist"))
    assert split.stuff_classes[:2] == ("Sky", "Building") and split.stuff_category_ids == tuple(range(1, 9))
    data = json.loads((REAL / "camvid/annotations/panoptic_labeled.json").read_text())
    assert split.panoptic()["annotations"] == data["annotations"]


@needs_real
def test_things_of_the_official_sample_are_those_of_the_official_converter() -> None:
    folder = REAL / "coco_panoptic_sample"
    split = load_split(find_splits(folder)["sample"], "panoptic")
    data = json.loads((folder / "annotations" / "detection_format_sample.json").read_text())
    panoptic = json.loads((folder / "annotations" / "panoptic_sample.json").read_text())
    things = {category["id"] for category in panoptic["categories"] if category["isthing"]}
    for i, image in enumerate(split.images):
        of_image = [r for r in data["annotations"] if r["image_id"] == image.id]
        labels = split.labels(i)
        wanted = [r for r in of_image if r["category_id"] in things]
        assert [split.category_ids[label] for label in labels.labels] == [r["category_id"] for r in wanted]
        masks = decoded([r["segmentation"] for r in wanted])
        np.testing.assert_array_equal(decoded(labels.rles), masks)
        assert labels.crowd.tolist() == [bool(r["iscrowd"]) for r in wanted]
        drawn = np.full((image.height, image.width), 255)
        for record in (r for r in of_image if not r["iscrowd"]):
            stuff = 0 if record["category_id"] in things else 1 + split.stuff_category_ids.index(record["category_id"])
            drawn[decoded([record["segmentation"]])[0]] = stuff
        np.testing.assert_array_equal(split.semantic(i), drawn)
    assert (len(split.classes), len(split.stuff_classes)) == (80, 53)
