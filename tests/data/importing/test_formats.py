"""A set written as each tool exports it comes back box for box and point for point, and passes the check."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from casl.data.check import check
from casl.data.importing.assign import Plan
from casl.data.importing.draw import Share
from casl.data.importing.looks import format_of
from casl.data.importing.make import How, import_set, read_source
from casl.errors import DataError
from tests.data.importing import exports
from tests.data.importing.exports import Photo
from tests.data.tiny import REAL, needs_real

HOW = How(told={"command": "casl data import SRC --out SET", "version": "0"})
Export = Callable[[Sequence[Photo], Path], Path]
Found = dict[str, list[tuple[str, list[float], list[list[float]]]]]
WITH_OUTLINES: list[Export] = [
    exports.yolo,
    exports.labelme,
    exports.via,
    exports.cvat,
    exports.label_studio,
    exports.roboflow,
]


def objects_of(root: Path) -> Found:
    """What a set says of each image file, by its last name: class, box, polygons; in order of box."""
    found: Found = {}
    for split in ("labeled", "val", "unlabeled_gt"):
        path = root / "annotations" / f"instances_{split}.json"
        data: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {"images": [], "annotations": []}
        names = {image["id"]: Path(image["file_name"]).name for image in data["images"]}
        classes = {category["id"]: category["name"] for category in data.get("categories", ())}
        found.update({name: [] for name in names.values()})
        for record in data["annotations"]:
            row = (classes[record["category_id"]], record["bbox"], record.get("segmentation", []))
            found[names[record["image_id"]]].append(row)
    return found


def assert_same(found: Found, photos: Sequence[Photo]) -> None:
    """The set says what the photos say; boxes to a millionth of a pixel."""
    assert found.keys() == {photo.file for photo in photos}
    for photo in photos:
        rows = sorted(found[photo.file], key=lambda row: (row[0], [round(side, 4) for side in row[1]]))
        things = sorted(photo.things, key=lambda thing: (thing.name, thing.box))
        assert [name for name, _, _ in rows] == [thing.name for thing in things], photo.file
        for (_, box, polygons), thing in zip(rows, things, strict=True):
            np.testing.assert_allclose(box, thing.box, atol=1e-6)
            assert len(polygons) == bool(thing.outline)
            if thing.outline:
                np.testing.assert_allclose(polygons[0], thing.outline, atol=1e-6)


@pytest.mark.parametrize("export", [exports.voc, *WITH_OUTLINES], ids=lambda export: str(export.__name__))
def test_boxes_come_back(export: Export, tmp_path: Path) -> None:
    photos = exports.boxes()
    import_set(read_source(export(photos, tmp_path / "src")), tmp_path / "set", Plan(), HOW)
    assert_same(objects_of(tmp_path / "set"), photos)
    report = check(tmp_path / "set")
    assert not report.errors
    assert report.counts.keys() == {"labeled", "val", "unlabeled", "unlabeled_gt"}


@pytest.mark.parametrize("export", WITH_OUTLINES, ids=lambda export: str(export.__name__))
def test_polygons_come_back(export: Export, tmp_path: Path) -> None:
    photos = exports.outlines()
    import_set(read_source(export(photos, tmp_path / "src")), tmp_path / "set", Plan(), HOW)
    assert_same(objects_of(tmp_path / "set"), photos)
    assert not check(tmp_path / "set").errors


def test_the_first_pixel_of_pascal_voc_itself_is_one(tmp_path: Path) -> None:
    photos = exports.boxes()
    source = read_source(exports.voc(photos, tmp_path / "src", source="PASCAL VOC2007"))
    import_set(source, tmp_path / "set", Plan(), HOW)
    found = objects_of(tmp_path / "set")
    assert ("cat", [1.0, 2.0, 11.0, 13.0], []) in found["photo-00.png"]


@pytest.mark.parametrize("word", ["1", " 1 ", "true", "True"])
def test_a_difficult_object_of_pascal_voc_is_a_crowd_and_counted(word: str, tmp_path: Path) -> None:
    photos = exports.boxes()
    root = exports.voc(photos, tmp_path / "src")
    first = min((root / "Annotations").glob("*.xml"))
    first.write_text(first.read_text().replace("<difficult>0<", f"<difficult>{word}<"))
    manifest = import_set(read_source(root), tmp_path / "set", Plan(), HOW)
    of_photo = len(photos[0].things)
    assert manifest["left_out_or_changed"] == {
        "objects marked difficult (crowds now: neither learned nor judged)": of_photo
    }
    files = (tmp_path / "set/annotations").glob("instances_*.json")
    crowds = {r["image_id"]: r["iscrowd"] for f in files for r in json.loads(f.read_text())["annotations"]}
    assert of_photo and sum(crowds.values()) == 1  # one image's objects are crowds


def test_roboflows_project_name_is_no_class_and_its_val_stays_val(tmp_path: Path) -> None:
    photos = exports.boxes()
    manifest = import_set(read_source(exports.roboflow(photos, tmp_path / "src")), tmp_path / "set", Plan(), HOW)
    assert manifest["classes"] == ["cat", "cow", "dog"]
    assert manifest["left_out_or_changed"] == {"categories that only name the others' group": 2}
    val = json.loads((tmp_path / "set" / "annotations" / "instances_val.json").read_text())["images"]
    assert {Path(image["file_name"]).name for image in val} == {photo.file for photo in photos[8:]}


@pytest.mark.parametrize("splits", [("train", "val"), ("train", "train", "test")])
def test_splits_in_folder_names_stay_unless_val_is_asked_for(splits: tuple[str, ...], tmp_path: Path) -> None:
    photos = exports.boxes()
    source = exports.yolo(photos, tmp_path / "src", splits)
    own = import_set(read_source(source), tmp_path / "own", Plan(labeled=Share("100%")), HOW)
    assert own["splits"]["val"]["images"] == sum(splits[n % len(splits)] != "train" for n in range(12))
    drawn = import_set(read_source(source), tmp_path / "drawn", Plan(Share("100%"), Share("3")), HOW)
    assert drawn["splits"]["val"]["images"] == 3
    assert drawn["splits"]["labeled"]["images"] == 9


@pytest.mark.parametrize(
    ("images", "labels", "suffix"),
    [
        ("Images", "Labels", ".TXT"),
        ("IMAGES", "labels", ".txt"),
        ("images", "LABELS", ".Txt"),
        ("images", "images", ".TXT"),
    ],
)
def test_yolo_in_capitals_is_read_as_in_small_letters(images: str, labels: str, suffix: str, tmp_path: Path) -> None:
    photos = exports.boxes()
    plain = exports.yolo(photos, tmp_path / "plain", ("train", "val"))
    capital = tmp_path / "capital"
    for path in (path for path in plain.rglob("*") if path.is_file()):
        inside = path.relative_to(plain)
        new = capital / Path(*({"images": images, "labels": labels}.get(part, part) for part in inside.parts))
        if path.suffix == ".txt":
            new = new.with_suffix(suffix)
        new.parent.mkdir(parents=True, exist_ok=True)
        path.rename(new)
    import_set(read_source(capital), tmp_path / "set", Plan(labeled=Share("100%")), HOW)
    assert_same(objects_of(tmp_path / "set"), photos)


def test_labels_that_differ_in_capitals_alone_are_told_apart_or_refused(tmp_path: Path) -> None:
    source = exports.yolo([Photo("a.png", 1, (exports.Thing("cat", (2.0, 2.0, 9.0, 9.0)),))], tmp_path / "src")
    label = source / "labels" / "a.txt"
    (source / "labels" / "a.TXT").write_text("0 .5 .5 .1 .1\n")
    with pytest.raises(DataError, match=r"a\.TXT: no image 'a' beside it"):
        read_source(source)  # a.txt is the one, by its letters
    label.rename(source / "labels" / "a.Txt")
    with pytest.raises(DataError, match=r"a\.png: its labels may be .*a\.TXT and .*a\.Txt; keep one of them"):
        read_source(source)


def test_images_without_annotations_are_unlabeled(tmp_path: Path) -> None:
    photos = exports.boxes()
    for photo in photos:
        exports.draw(photo, tmp_path / "plain" / "a folder")
    manifest = import_set(read_source(tmp_path / "plain"), tmp_path / "set", Plan(), HOW)
    assert list(manifest["splits"]) == ["unlabeled"]
    names = json.loads((tmp_path / "set" / "annotations" / "unlabeled.json").read_text())["images"]
    assert {image["file_name"] for image in names} == {f"a folder/{photo.file}" for photo in photos}


def test_a_further_folder_is_the_unlabeled_split_and_all_labels_are_kept(tmp_path: Path) -> None:
    source = exports.labelme(exports.boxes(10), tmp_path / "src")
    for n in range(100, 107):
        exports.draw(Photo(f"more-{n}.png", n), tmp_path / "more")
    (tmp_path / "more" / "broken.png").write_bytes(b"\x89PNG nothing")
    manifest = import_set(read_source(source), tmp_path / "set", Plan(), HOW, tmp_path / "more")
    counts = {split: found["images"] for split, found in manifest["splits"].items()}
    assert counts == {"labeled": 8, "val": 2, "unlabeled": 7}  # the labels of all of unlabeled are not known: no truth
    assert manifest["left_out_or_changed"] == {"unlabeled images that are damaged": 1}
    assert not check(tmp_path / "set").errors


@needs_real
@pytest.mark.parametrize(
    "export", [exports.voc, exports.yolo, exports.labelme, exports.via, exports.cvat], ids=lambda e: str(e.__name__)
)
def test_bccd_comes_back(export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = real_photos(60)
    monkeypatch.setattr(exports, "draw", link)
    import_set(read_source(export(photos, tmp_path / "src")), tmp_path / "set", Plan(Share("30%")), HOW)
    assert_same(objects_of(tmp_path / "set"), photos)
    assert not check(tmp_path / "set", decode=False).errors


def real_photos(count: int) -> list[Photo]:
    """The first images of bccd with labels, cut to their images as an annotation tool would."""
    data = json.loads((REAL / "bccd" / "annotations" / "instances_labeled.json").read_text())
    names = {category["id"]: category["name"] for category in data["categories"]}
    photos = []
    for image in data["images"][:count]:
        records = [record for record in data["annotations"] if record["image_id"] == image["id"]]
        things = tuple(exports.Thing(names[r["category_id"]], tuple(r["bbox"])) for r in records)
        photos.append(Photo(image["file_name"], 0, things, image["width"], image["height"]))
    return photos


def link(photo: Photo, folder: Path) -> Path:
    """An image of bccd where an export wants it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / photo.file
    path.symlink_to(REAL / "bccd" / "images" / photo.file)
    return path


def test_a_list_of_numbered_images_is_no_label_file_of_yolo(tmp_path: Path) -> None:
    listed = tmp_path / "train.txt"
    listed.write_text("000005\n000007\n000009\n000016\n000019\n")  # as in VOC's ImageSets/Main
    assert format_of(listed) is None
    listed.write_text("5 0.5 0.5 0.25 0.25\n")
    assert format_of(listed) == "yolo"
