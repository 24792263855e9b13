"""What a source says of an image's licence is said of it in the set, through any number of imports and splits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from casl.data.importing.assign import Plan
from casl.data.importing.draw import Share
from casl.data.importing.make import import_set, protocol, read_source
from casl.data.importing.native import read_set
from tests.data.importing import exports
from tests.data.importing.exports import Json
from tests.data.importing.test_formats import HOW

BY = {"name": "CC BY 4.0", "url": "https://example.org/by"}
CLOSED = {"name": "CC BY-NC 4.0", "url": "https://example.org/by-nc"}
HALF = Plan(labeled=Share("50%"))
Said = dict[str, tuple[str, str] | None]


def said(root: Path) -> Said:
    """Name and address of the licence of each image file of a set, found as pycocotools' users would."""
    found: Said = {}
    for path in (root / "annotations").glob("*.json"):
        data = json.loads(path.read_text())
        known = {entry["id"]: (entry["name"], entry["url"]) for entry in data.get("licenses", ())}
        for image in data["images"]:
            assert known.keys() >= {image["license"]} - {None} if known else "license" not in image
            mine = known.get(image.get("license"))
            assert found.setdefault(Path(image["file_name"]).name, mine) == mine, "two files of the set disagree"
    return found


def licensed(root: Path) -> tuple[Path, Said]:
    """Roboflow's two files: in train number 0 is open for all but two images, in valid it is closed for all."""
    photos = exports.boxes(20)
    source = exports.roboflow(photos, root)
    truth: Said = {photo.file: (BY["name"], BY["url"]) for photo in photos}
    train, valid = (source / split / "_annotations.coco.json" for split in ("train", "valid"))
    data: Json = json.loads(train.read_text())
    data["licenses"] = [{"id": 0, **BY}, {"id": 1, "name": "", "url": ""}]
    for image, number in zip(data["images"][3:5], (1, 7), strict=True):
        image["license"] = number
        truth[image["file_name"]] = None
    exports.write(train, data)
    data = json.loads(valid.read_text())
    data["licenses"] = [{"id": 0, **CLOSED}]
    for image in data["images"]:
        del image["license"]  # a list of one stands for all images
        truth[image["file_name"]] = CLOSED["name"], CLOSED["url"]
    exports.write(valid, data)
    return source, truth


def test_licences_of_images_are_carried_by_an_import_and_by_splits_of_the_set(tmp_path: Path) -> None:
    source, truth = licensed(tmp_path / "src")
    assert len(set(truth.values())) == 3
    import_set(read_source(source), tmp_path / "set", HALF, HOW)
    assert said(tmp_path / "set") == truth
    import_set(read_set(tmp_path / "set"), tmp_path / "again", Plan(Share("2"), Share("3"), seed=4), HOW)
    assert said(tmp_path / "again") == truth
    for name in protocol(read_set(tmp_path / "set"), tmp_path / "all", 0, HOW):
        assert said(tmp_path / "all" / name) == truth
    import_set(read_source(tmp_path / "set"), tmp_path / "as-coco", HALF, HOW)
    assert said(tmp_path / "as-coco") == truth


def test_licences_of_images_that_are_only_listed_are_carried(tmp_path: Path) -> None:
    source = exports.cvat(exports.boxes(8), tmp_path / "src")
    more = exports.boxes(12)[8:]
    for photo in more:
        exports.draw(photo, source / "images" / "default")
    listed: list[Any] = [{"id": n, "file_name": photo.file, "license": 3} for n, photo in enumerate(more)]
    listed += [{"id": 90, "file_name": "not-here.png", "license": 3}, {"id": 91, "license": 3}, None]
    exports.write(source / "unlabeled.json", {"images": listed, "licenses": [{"id": 3, **BY}, {"id": 4, **CLOSED}]})
    import_set(read_source(source), tmp_path / "set", HALF, HOW)
    found = said(tmp_path / "set")
    assert {name for name, licence in found.items() if licence} == {photo.file for photo in more}
    import_set(read_set(tmp_path / "set"), tmp_path / "again", HALF, HOW)
    assert said(tmp_path / "again") == found


def test_a_set_without_licences_has_no_word_of_them(tmp_path: Path) -> None:
    """So that its digest does not move; CVAT's empty licence of all images is none."""
    source = exports.cvat(exports.boxes(8), tmp_path / "src")
    path = source / "annotations" / "instances_default.json"
    data = json.loads(path.read_text())
    exports.write(path, {**data, "licenses": [{"id": 0, "name": "", "url": ""}]})
    import_set(read_source(source), tmp_path / "set", HALF, HOW)
    files = list((tmp_path / "set" / "annotations").glob("*.json"))
    assert len(files) == 4
    assert not any("licen" in file.read_text() for file in files)
