"""One thing broken at a time: the message names the file and the record."""

from __future__ import annotations

import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from casl.data.check import Report, check, check_split
from casl.data.digest import digest
from casl.data.layout import SplitFiles, find_splits
from casl.errors import DataError
from tests.data.deep import write_deep
from tests.data.tiny import CATEGORIES, HEIGHT, REAL, WIDTH, cat, edit, needs_real, write_json, write_set

Change = Callable[[dict[str, Any]], object]


def error_of(root: Path, **options: Any) -> str:
    """The only error of a set that is broken in one place."""
    report = check(root, **options)
    assert len(report.errors) == 1, report.errors
    return report.errors[0]


def first(section: str, **fields: Any) -> Change:
    return lambda data: data[section][0].update(fields)


def test_a_sound_set_passes_and_is_counted(tmp_path: Path) -> None:
    report = check(write_set(tmp_path))
    report.raise_if_bad()
    assert (report.errors, report.warnings) == ([], [])
    assert json.loads(json.dumps(report.counts)) == {
        "labeled": {
            "images": 2,
            "annotations": 2,
            "crowds": 0,
            "masks": 2,
            "images_without_annotation": 1,
            "per_class": {"cat": 1, "dog": 1},
            "entities": 1,
            "segments": 4,
        },
        "unlabeled": {"images": 1},
        "val": {
            "images": 1,
            "annotations": 1,
            "crowds": 0,
            "masks": 1,
            "images_without_annotation": 0,
            "per_class": {"cat": 1, "dog": 0},
        },
    }


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda data: data.pop("annotations"), "instances_labeled.json: not COCO: 'annotations' missing"),
        (lambda data: data.update(images={}), "instances_labeled.json: not COCO: 'images' missing or not a list"),
        (first("images", id="1"), "instances_labeled.json: image 1: 'id' must be an integer, is '1'"),
        (first("images", width=0), "instances_labeled.json: image 1: 'width' must be a positive integer, is 0"),
        (first("images", height=16.0), "instances_labeled.json: image 1: 'height' must be"),
        (first("images", file_name=None), "instances_labeled.json: image 1: 'file_name' must be"),
        (first("images", file_name="a\0.png"), "instances_labeled.json: image 1: 'file_name' must be"),
        (first("images", width=10**30), "instances_labeled.json: image 1: 'width' must be a positive integer"),
        (first("annotations", id=2**63), "'id' must be an integer"),
        (first("categories", name=5), "instances_labeled.json: category 3: a category is"),
        (first("categories", id=7), "instances_labeled.json: category 7: this id is used twice"),
        (first("annotations", id=0), "instances_labeled.json: annotation 0: id is 0, which pycocotools silently"),
        (first("annotations", id=2), "instances_labeled.json: annotation 2: this id is used twice"),
        (first("annotations", image_id=77), "instances_labeled.json: annotation 1: there is no image 77"),
        (
            first("annotations", category_id=1),
            "instances_labeled.json: annotation 1: there is no category 1; known: 3, 7",
        ),
        (first("annotations", bbox=[1, 1, float("inf"), 2]), "annotation 1: 'bbox' must be four finite numbers"),
        (first("annotations", bbox=None), "instances_labeled.json: annotation 1: 'bbox' must be four finite numbers"),
        (first("annotations", area=float("nan")), "annotation 1: 'area' must be a finite number"),
        (first("annotations", iscrowd="no"), "instances_labeled.json: annotation 1: 'iscrowd' must be 0 or 1"),
        (
            first("annotations", bbox=[20, 3, 8, 6]),
            "annotation 1: box [20, 3, 8, 6] (x, y, width, height) reaches 4 px",
        ),
        (first("annotations", bbox=[-3, 3, 8, 6]), "instances_labeled.json: annotation 1: box [-3, 3, 8, 6]"),
        (first("annotations", bbox=[2, 3, 8, -1]), "annotation 1: bbox [2, 3, 8, -1] has a negative size"),
        (
            first("annotations", segmentation={"size": [WIDTH, HEIGHT], "counts": [0, HEIGHT * WIDTH]}),
            "instances_labeled.json: annotation 1: mask is [24, 16] (height, width) but the image is [16, 24]",
        ),
        (
            first("annotations", segmentation={"size": [HEIGHT, WIDTH], "counts": "zzz"}),
            "instances_labeled.json: annotation 1: RLE counts is not a COCO run-length string",
        ),
        (first("annotations", segmentation=[[1, 2, 3]]), "annotation 1: a polygon is a flat list of finite numbers"),
    ],
)
def test_one_broken_entry_is_named(tmp_path: Path, change: Change, wanted: str) -> None:
    root = write_set(tmp_path)
    for name in ("entity_labeled", "panoptic_labeled"):
        (root / "annotations" / f"{name}.json").unlink()
    edit(root, "instances_labeled", change)
    report = check(root)
    assert wanted in report.errors[0]
    with pytest.raises(DataError) as error:
        report.raise_if_bad()
    assert wanted in str(error.value)


@pytest.mark.parametrize(("text", "wanted"), [("{", "not JSON"), ("[1]", "not COCO"), ('{"images": [1', "not JSON")])
def test_an_annotation_file_that_is_not_coco_is_named(tmp_path: Path, text: str, wanted: str) -> None:
    (write_set(tmp_path) / "annotations" / "instances_val.json").write_text(text)
    error = check(tmp_path).errors[0]
    assert "instances_val.json" in error
    assert wanted in error


def test_entries_without_an_id_are_named_by_position(tmp_path: Path) -> None:
    edit(write_set(tmp_path), "instances_val", lambda data: data["annotations"].append(5))
    assert "instances_val.json: annotation at position 1: not an object" in error_of(tmp_path)


def test_duplicate_images_are_named(tmp_path: Path) -> None:
    write_set(tmp_path)
    edit(tmp_path, "unlabeled", lambda data: data["images"].append(data["images"][0] | {"id": 9}))
    report = check(tmp_path)
    assert "annotations/unlabeled.json: image file c.png is listed 2 times; keep one entry" in report.errors
    edit(tmp_path, "unlabeled", lambda data: data["images"][1].update(id=3, file_name="b.png"))
    assert "unlabeled.json: image 3: this id is used twice" in error_of(tmp_path)


def test_two_files_of_a_split_must_mean_the_same_image(tmp_path: Path) -> None:
    edit(write_set(tmp_path), "entity_labeled", first("images", file_name="c.png"))
    assert "entity_labeled.json: image 1 is c.png, elsewhere it is a.png" in error_of(tmp_path)


def test_classes_must_be_the_same_in_every_split(tmp_path: Path) -> None:
    edit(write_set(tmp_path), "instances_val", lambda data: data.update(categories=CATEGORIES[::-1]))
    assert "categories of 'val' are not those of 'labeled'" in error_of(tmp_path)


def remove(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-300])


def shrink(path: Path) -> None:
    Image.new("RGB", (WIDTH - 1, HEIGHT)).save(path)


def turn(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(path, exif=exif)


@pytest.mark.parametrize(
    ("damage", "wanted"),
    [
        (remove, "no such image"),
        (cut, "not a readable image"),
        (lambda path: path.write_text("<html>"), "not a readable image"),
        (shrink, "said to be 24x16 but the file is 23x16"),
        (turn, "said to be 24x16 but the file is 16x24 (EXIF rotation applied)"),
    ],
)
def test_a_damaged_image_is_named(tmp_path: Path, damage: Callable[[Path], object], wanted: str) -> None:
    damage(write_set(tmp_path) / "images" / "d.png")
    error = error_of(tmp_path)
    for part in ("instances_val.json: image 4", "d.png", wanted):
        assert part in error
    assert len(check(tmp_path, decode=False).errors) == (damage is not cut)


def test_a_missing_image_folder_is_one_error_not_one_an_image(tmp_path: Path) -> None:
    write_set(tmp_path)
    shutil.rmtree(tmp_path / "images")
    assert all("images: no such folder" in error for error in check(tmp_path).errors)
    assert len(check(tmp_path).errors) == 3


@pytest.mark.parametrize("mode", ["L", "LA", "CMYK", "I;16", "1", "P"])
def test_images_of_any_mode_are_legal(tmp_path: Path, mode: str) -> None:
    path = write_set(tmp_path) / "images" / "c.png"
    Image.new(mode, (WIDTH, HEIGHT)).save(path, format="TIFF" if mode == "CMYK" else "PNG")
    assert check(tmp_path).errors == []


def grey(path: Path) -> None:
    Image.new("L", (WIDTH, HEIGHT), ord(path.stem)).save(path)  # no two alike


def animated(path: Path) -> None:
    frames = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def preview(path: Path) -> None:
    frames = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("red", "blue")]
    frames[0].save(path, format="MPO", save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (grey, "have one channel and are read as grey among coloured ones"),
        (animated, "hold several pictures (animations, pages), of which the first is used"),
        (preview, None),  # a photo of a telephone
    ],
)
def test_photos_that_are_read_otherwise_than_one_may_think_are_named(
    tmp_path: Path, change: Callable[[Path], None], said: str | None
) -> None:
    change(write_set(tmp_path) / "images" / "b.png")
    report = check(tmp_path)
    first = f"1 of 2 images of 'labeled' (the first: b.png, {WIDTH}x{HEIGHT})"
    assert (report.errors, report.warnings) == ([], [f"{first} {said}"] if said else [])
    assert check(tmp_path, decode=False).warnings == report.warnings


def test_a_set_of_grey_photos_is_legal(tmp_path: Path) -> None:
    write_set(tmp_path)
    for name in "ab":
        grey(tmp_path / "images" / f"{name}.png")
    assert check(tmp_path).warnings == []


def test_photos_without_room_for_an_object_are_named(tmp_path: Path) -> None:
    edit(write_set(tmp_path), "unlabeled", lambda data: data["images"][0].update(width=1, height=1))
    Image.new("RGB", (1, 1)).save(tmp_path / "images" / "c.png")
    (warning,) = check(tmp_path).warnings
    assert "1 of 1 images of 'unlabeled' (the first: c.png, 1x1) have a side of less than 8 px" in warning


def test_classes_without_labeled_object_are_named(tmp_path: Path) -> None:
    edit(write_set(tmp_path), "instances_labeled", lambda data: data["annotations"].pop())
    assert any(
        w.endswith("1 of 2 classes have no annotation and cannot be learned: dog") for w in check(tmp_path).warnings
    )


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda data: data["annotations"][0].update(file_name="z.png"), "z.png: no such panoptic PNG"),
        (
            lambda data: data["annotations"][0]["segments_info"].pop(0),
            "a.png (image 1): holds segments [5] that the JSON",
        ),
        (
            lambda data: data["annotations"][0]["segments_info"].append({"id": 8, "category_id": 3}),
            "panoptic_labeled/a.png (image 1): no pixel of the segments [8]",
        ),
        (
            lambda data: data["annotations"][0]["segments_info"][0].update(category_id=4),
            "panoptic_labeled.json: image 1: segment 5: there is no category 4; known: 3, 9, 7",
        ),
        (
            lambda data: data["annotations"][0]["segments_info"].append({"id": 5, "category_id": 3}),
            "panoptic_labeled.json: image 1: 2 segments have id 5",
        ),
        (
            lambda data: data["annotations"][0]["segments_info"].append({"id": 0, "category_id": 3}),
            "panoptic_labeled.json: image 1: a segment has id 0",
        ),
        (lambda data: data["annotations"].pop(), "panoptic_labeled.json: image 2 has no panoptic annotation"),
        (lambda data: data["annotations"].append(data["annotations"][1]), "image 2: it is annotated twice"),
        (lambda data: data["annotations"].append({"image_id": 1}), "has 'image_id', 'file_name' and a list"),
        (lambda data: data["annotations"].append(data["annotations"][1] | {"image_id": 8}), "there is no image 8"),
    ],
)
def test_panoptic_annotations_must_match_their_pngs(tmp_path: Path, change: Change, wanted: str) -> None:
    edit(write_set(tmp_path), "panoptic_labeled", change)
    error = error_of(tmp_path)
    assert wanted in error
    assert "panoptic_labeled" in error


def test_things_that_are_not_the_categories_of_the_objects_are_warned_of(tmp_path: Path) -> None:
    edit(write_set(tmp_path), "panoptic_labeled", lambda data: data["categories"][2].update(name="hound"))
    report = check(tmp_path)
    assert report.errors == []
    assert any("(7, 'dog'), (7, 'hound')" in warning for warning in report.warnings)


@pytest.mark.parametrize("odd", [[], {}, None, True, 1.0, "1", 10**30])
@pytest.mark.parametrize("field", ["image_id", "file_name", "segments_info"])
def test_a_panoptic_entry_whose_field_is_anything_is_named(tmp_path: Path, field: str, odd: object) -> None:
    if (field, odd) in (("segments_info", []), ("file_name", "1")):
        return  # are legal here; the PNG tells of them
    edit(write_set(tmp_path), "panoptic_labeled", first("annotations", **{field: odd}))
    assert any(f"'{field}'" in error for error in check(tmp_path).errors)


def test_a_value_of_another_type_anywhere_raises_nothing(tmp_path: Path) -> None:
    root = write_set(tmp_path)
    for path in sorted((root / "annotations").glob("*.json")):
        data = json.loads(path.read_text())
        for holder, key in list(_places(data)):
            was = holder[key]
            for holder[key] in ([], {"a": 1}, True, 10**30):
                path.write_text(json.dumps(data))
                check(root, decode=False)
            holder[key] = was
        path.write_text(json.dumps(data))
    assert not check(root).errors


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every field of an object and place of a list, of which the first two stand for all."""
    keys = value.keys() if isinstance(value, dict) else range(min(len(value), 2)) if isinstance(value, list) else ()
    return [(value, key) for key in keys] + [place for key in keys for place in _places(value[key])]


def test_a_panoptic_png_of_another_size_and_a_missing_folder_are_named(tmp_path: Path) -> None:
    folder = write_set(tmp_path) / "annotations" / "panoptic_labeled"
    with Image.open(folder / "b.png") as image:
        image.crop((0, 0, WIDTH, HEIGHT - 2)).save(folder / "b.png")
    assert "panoptic_labeled/b.png (image 2): is 24x14 but annotations/panoptic_labeled.json" in error_of(tmp_path)
    shutil.rmtree(folder)
    assert "folder of PNGs (panoptic_labeled/) is missing" in error_of(tmp_path)


@pytest.mark.parametrize(
    ("points", "given", "wanted"),
    [
        ([1, 2, 2, 3, 4], 1, "annotation 1: 'keypoints' must be 6 finite numbers"),
        ([1, 2, 2, 3, 4, float("nan")], 1, "annotation 1: 'keypoints' must be 6 finite numbers"),
        ([1, 2, 2, 3, 4, 0], 2, "annotation 1: 'num_keypoints' is 2 but 1 are labeled"),
        ([1], 1, "annotation 1: 'keypoints' must be 6 finite numbers"),
    ],
)
def test_keypoints_must_fit_their_category(tmp_path: Path, points: list[float], given: int, wanted: str) -> None:
    person = cat(1, 4) | {"keypoints": points, "num_keypoints": given}
    people: dict[str, Any] = {"categories": [{"id": 3, "name": "cat", "keypoints": ["nose", "tail"]}]}
    images = [{"id": 4, "file_name": "d.png", "width": WIDTH, "height": HEIGHT}]
    write_json(write_set(tmp_path), "person_keypoints_val", people | {"images": images, "annotations": [person]})
    assert wanted in error_of(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"bbox": [2, 3, 0, 6]},
        {"bbox": [24, 3, 1, 6]},
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}},
        {"segmentation": [[5, 5, 6, 6]]},
    ],
)
def test_annotations_without_area_are_legal_and_counted_in_every_layout(tmp_path: Path, change: dict[str, Any]) -> None:
    root = write_set(tmp_path / "native")
    edit(root, "instances_val", first("annotations", **change))
    report = check(root)
    assert (report.errors, len(report.warnings)) == ([], 1)
    assert "instances_val.json: 1 annotation has no area or an empty mask (the first: annotation 1)" in str(report)

    coco = tmp_path / "coco"
    (coco / "annotations").mkdir(parents=True)
    shutil.copy(root / "annotations" / "instances_val.json", coco / "annotations" / "instances_val2017.json")
    shutil.copytree(root / "images", coco / "val2017")
    report = check(coco)
    assert report.errors == []
    assert "instances_val2017.json: 1 annotation has no area" in report.warnings[0]


def test_val_images_in_training_data_are_warned_of_under_any_name(tmp_path: Path) -> None:
    root = write_set(tmp_path)
    shutil.copy(root / "images" / "d.png", root / "images" / "c.png")
    (warning,) = check(root).warnings
    assert "1 image of 'unlabeled' is also in 'val' (the first: c.png)" in warning


def test_objects_with_and_without_mask_are_warned_of(tmp_path: Path) -> None:
    edit(write_set(tmp_path), "instances_labeled", lambda data: data["annotations"][1].pop("segmentation"))
    (warning,) = check(tmp_path).warnings
    assert "instances_labeled.json: 1 of 2 annotations have no mask" in warning


def test_a_split_with_an_unknown_name_is_warned_of(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / "annotations" / "instances_val.json").rename(tmp_path / "annotations" / "instances_validation.json")
    (warning,) = check(tmp_path).warnings
    assert "'validation'; known: labeled, unlabeled, val" in warning


def test_progress_counts_every_image_and_panoptic_png(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    check(write_set(tmp_path), progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 6) for done in range(1, 7)]


def test_at_most_twenty_problems_are_listed() -> None:
    with pytest.raises(DataError) as error:
        Report(errors=[f"problem {n}" for n in range(23)]).raise_if_bad()
    lines = str(error.value).splitlines()
    assert (lines[0], lines[20], lines[-1]) == ("the data set has 23 problems:", "  problem 19", "  ... and 3 more")
    assert len(lines) == 22


def test_one_split_can_be_checked_alone(tmp_path: Path) -> None:
    splits = find_splits(write_set(tmp_path))
    (tmp_path / "images" / "d.png").unlink()
    assert check_split(splits["labeled"]).errors == []
    assert len(check_split(splits["val"], decode=False).errors) == 1


@needs_real
@pytest.mark.parametrize("name", ["bccd", "camvid", "coco_mini", "coco_panoptic_sample"])
def test_real_sets_pass_with_the_counts_they_were_published_with(name: str) -> None:
    report = check(REAL / name)
    stats = json.loads((REAL / name / "stats.json").read_text())
    report.raise_if_bad()
    assert {split: report.counts[split]["images"] for split in stats["images"]} == stats["images"]
    for split, wanted in stats.get("instances", {}).items():
        found = report.counts[split]
        assert found["annotations"] == wanted["annotations"]
        assert found["crowds"] == wanted["crowd"]
        assert found["images_without_annotation"] == wanted["images_without_annotation"]
        assert sum(count > 0 for count in found["per_class"].values()) == wanted["categories_present"]
        assert found["per_class"] == wanted.get("per_category", found["per_class"])
    for split, wanted in stats.get("entity", {}).items():
        assert report.counts[split]["entities"] == wanted["annotations"]
    for split, wanted in stats.get("panoptic", {}).items():
        assert report.counts[split]["segments"] == wanted["segments"]
        assert report.counts[split]["entities"] == wanted["segments"] - wanted["crowd"]
    for split, wanted in stats.get("person_keypoints", {}).items():
        assert report.counts[split]["keypoints"] == wanted["with_keypoints"]


@needs_real
def test_the_annotation_id_0_of_an_official_file_is_found() -> None:
    root = REAL / "coco_panoptic_sample"
    path = root / "annotations" / "detection_format_sample.json"
    (error,) = check_split(SplitFiles("val", root / "images", instances=path)).errors
    assert "detection_format_sample.json: annotation 0: id is 0" in error


@pytest.mark.parametrize(
    ("on_disk", "listed", "hint"),
    [
        ("c.png", "images\\c.png", "images/c.png is there: write names relative to images/ with /"),
        ("c.png", "images/c.png", "images/c.png is there: write names relative to images/ with /"),
        ("c c.png", "c%20c.png", "images/c c.png is there: write names as they are on disk, not as in an address"),
        ("c.PNG", "c.png", "images/c.PNG is there: upper and lower case count"),
        ("é.png", "e\u0301.png", "the same letters in another Unicode form (NFC on disk)"),
        ("sub/c.png", "c.png", "images/sub/c.png is there: write names relative to images/"),
        (None, "c.png", "Restore the files or remove their entries"),
    ],
)
def test_a_file_under_a_near_name_is_pointed_at(tmp_path: Path, on_disk: str | None, listed: str, hint: str) -> None:
    images = write_set(tmp_path) / "images"
    if on_disk is None:
        (images / "c.png").unlink()
    else:
        (images / on_disk).parent.mkdir(exist_ok=True)
        (images / "c.png").rename(images / on_disk)
    edit(tmp_path, "unlabeled", first("images", file_name=listed))
    error = error_of(tmp_path)
    assert error.startswith(f"annotations/unlabeled.json: image 3: {images}/{listed}: no such image; ")
    assert hint in error


@pytest.mark.parametrize(
    ("put", "said"),
    [
        (lambda path: path.symlink_to("nowhere"), "c.png is a link to nowhere, which is not there. Restore"),
        (os.mkfifo, "c.png is no regular file. Restore"),
        (lambda path: path.symlink_to("/dev/zero"), "c.png is no regular file. Restore"),
        (Path.mkdir, "c.png is a folder. Restore"),
        (lambda path: path.symlink_to(path.name), "c.png: no such image; "),
    ],
)
def test_what_is_no_file_in_the_place_of_an_image_is_said_and_never_waited_for(
    tmp_path: Path, put: Callable[[Path], object], said: str
) -> None:
    image = write_set(tmp_path) / "images" / "c.png"
    image.unlink()
    put(image)
    assert said in error_of(tmp_path)
    with pytest.raises(DataError, match=r"c\.png: cannot be read"):
        digest(find_splits(tmp_path)["unlabeled"], "images")


@pytest.mark.parametrize("name", ["n" * 100_000, "n " * 50_000], ids=["a word", "words"])
def test_no_name_fills_the_screen(tmp_path: Path, name: str) -> None:
    edit(write_set(tmp_path), "instances_labeled", first("categories", name=name))
    edit(tmp_path, "instances_labeled", lambda data: data.update(annotations=[]))
    report = check(tmp_path)
    said = [*report.errors, *report.warnings]
    assert any("nnn... (" in line or "n n... (" in line or "n ... (" in line for line in said)
    assert max(map(len, said)) < 5_000


def test_missing_images_are_one_line_for_each_list(tmp_path: Path) -> None:
    images = write_set(tmp_path) / "images"
    for name in ("a.png", "b.png"):
        (images / name).unlink()
    for name in ("entity_labeled", "panoptic_labeled"):
        (tmp_path / "annotations" / f"{name}.json").unlink()
    assert "instances_labeled.json: all 2 images are missing (the first: image 1): " in error_of(tmp_path)


def test_files_in_no_list_and_files_in_two_are_warned_of(tmp_path: Path) -> None:
    images = write_set(tmp_path) / "images"
    shutil.copy(images / "a.png", images / "c.png")
    for name in ("z.png", "y.JPG", "notes.txt", ".hidden.png"):
        (images / name).write_bytes(b"")
    warnings = check(tmp_path).warnings
    assert "images/: 2 image files are in no list and are not used: y.JPG, z.png" in warnings
    assert any("1 image of 'unlabeled' is also in 'labeled' (the first: c.png)" in line for line in warnings)


def test_copies_in_one_split_are_warned_of(tmp_path: Path) -> None:
    images = write_set(tmp_path) / "images"
    shutil.copy(images / "a.png", images / "b.png")
    assert "1 image of 'labeled' is there twice, as equal files under two names" in check(tmp_path).warnings


def test_boxes_written_as_corners_are_warned_of(tmp_path: Path) -> None:
    corners = [{"id": n, "image_id": 4, "category_id": 3, "bbox": [1, 1, 5 + n, 6]} for n in range(1, 11)]
    edit(write_set(tmp_path), "instances_val", lambda data: data.update(annotations=corners))
    (warning,) = check(tmp_path).warnings
    assert "all 10 boxes have a width above x and a height above y, as x1, y1, x2, y2 would" in warning


def test_points_outside_the_image_are_warned_of(tmp_path: Path) -> None:
    write_set(tmp_path)
    edit(tmp_path, "instances_val", first("annotations", segmentation=[[-1.5, 3, 10, 3, 10, 9, 2, 9]]))
    (warning,) = check(tmp_path).warnings
    assert "1 annotation has points outside the image (the first: annotation 1)" in warning
    person = cat(1, 4) | {"keypoints": [1, 2, 2, 90, 4, 1]}
    people: dict[str, Any] = {"categories": [{"id": 3, "name": "cat", "keypoints": ["nose", "tail"]}]}
    images = [{"id": 4, "file_name": "d.png", "width": WIDTH, "height": HEIGHT}]
    write_json(tmp_path, "person_keypoints_val", people | {"images": images, "annotations": [person]})
    assert any("labeled keypoints outside the image (the first: annotation 1)" in w for w in check(tmp_path).warnings)


def sixteen_bit(root: Path, name: str, highest: int, colour: bool = False) -> None:
    write_deep(root / "images" / name, WIDTH, HEIGHT, highest, colour)


@pytest.mark.parametrize("colour", [False, True])
def test_16_bit_images_say_how_much_of_their_range_is_left(tmp_path: Path, colour: bool) -> None:
    write_set(tmp_path)
    sixteen_bit(tmp_path, "c.png", 0xFFFF, colour)
    report = check(tmp_path)
    assert (report.errors, report.warnings) == ([], [])
    assert report.counts["unlabeled"]["sixteen_bit"] == {"images": 1, "highest_value": 0xFFFF}

    sixteen_bit(tmp_path, "c.png", 4095, colour)
    report = check(tmp_path)
    assert report.errors == []
    (warning,) = report.warnings
    assert "1 image of 'unlabeled' has 16-bit values that go to 4095 of 65535, of which 16 of 256 grey" in warning

    sixteen_bit(tmp_path, "c.png", 255, colour)
    assert "nothing is left of them in 8 bit" in error_of(tmp_path)


def test_a_dark_16_bit_image_among_bright_ones_is_legal(tmp_path: Path) -> None:
    write_set(tmp_path)
    sixteen_bit(tmp_path, "a.png", 0xFFFF)
    sixteen_bit(tmp_path, "b.png", 3000)
    assert check(tmp_path).warnings == []


def test_a_bright_16_bit_image_hides_no_dark_ones(tmp_path: Path) -> None:
    more = [{"id": n, "file_name": f"{n}.png", "width": WIDTH, "height": HEIGHT} for n in (5, 6)]
    edit(write_set(tmp_path), "unlabeled", lambda data: data["images"].extend(more))
    for name, highest in (("c.png", 0xFFFF), ("5.png", 4095), ("6.png", 900)):
        sixteen_bit(tmp_path, name, highest)
    (warning,) = check(tmp_path).warnings
    assert "2 of 3 images of 'unlabeled' with 16-bit values stay below 4096 of 65535" in warning


def test_mostly_crowds_are_warned_of_with_the_way_out(tmp_path: Path) -> None:
    crowds = [cat(n, 1) | {"iscrowd": 1} for n in (2, 3)]
    edit(write_set(tmp_path), "instances_labeled", lambda data: data.update(annotations=[cat(1, 1), *crowds]))
    assert any("2 of 3 annotations are crowds (iscrowd 1)" in line for line in check(tmp_path).warnings)
    assert not any("crowds" in line for line in check(tmp_path, crowds_are_objects=True).warnings)


def test_a_damaged_mask_is_an_error_also_where_no_mask_is_used(tmp_path: Path) -> None:
    plain = {name: value for name, value in cat(2, 1).items() if name != "segmentation"}
    damaged = cat(3, 1) | {"segmentation": {"size": [HEIGHT, WIDTH], "counts": [1, 2, 3]}}
    edit(write_set(tmp_path), "instances_labeled", lambda data: data.update(annotations=[cat(1, 1), plain, damaged]))
    report = check(tmp_path)
    assert any("1 of 3 annotations have no mask, so no mask is used" in warning for warning in report.warnings)
    (error,) = report.errors
    assert error.startswith("annotations/instances_labeled.json: annotation 3: RLE runs cover 6 pixels")


def test_an_image_bomb_is_a_sentence(tmp_path: Path) -> None:
    path = write_set(tmp_path) / "images" / "d.png"
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    path.write_bytes(content)
    for decode in (True, False):
        error = error_of(tmp_path, decode=decode)
        assert "d.png: not a readable image (it has more than 178,956,970 pixels, the most that are" in error
