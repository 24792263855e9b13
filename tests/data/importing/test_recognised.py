"""What a file is, its content says: no annotation is passed over for its encoding, its length or its name."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from casl.data.importing.assign import Plan
from casl.data.importing.draw import Share
from casl.data.importing.looks import import_advice
from casl.data.importing.make import import_set, read_source
from casl.errors import DataError
from tests.data.importing import exports
from tests.data.importing.exports import Json, Photo
from tests.data.importing.test_formats import HOW, assert_same, objects_of

ALL = Plan(labeled=Share("100%"), val=Share("2"))
LONG = "x" * 200_000  # beyond what is looked at for a hint, from either end
Export = Callable[[Sequence[Photo], Path], Path]


def utf16(path: Path) -> None:
    path.write_text(path.read_text(), "utf-16")


def utf16_xml(path: Path) -> None:
    path.write_text(f'<?xml version="1.0" encoding="utf-16"?>{path.read_text()}', "utf-16")


def marked(path: Path) -> None:
    """As editors of Windows save UTF-8: behind a byte order mark."""
    path.write_text(path.read_text(), "utf-8-sig")


def long_ends(path: Path) -> None:
    """Other fields in front of and behind all that says what the file is."""
    path.write_text(json.dumps({"first": LONG, **json.loads(path.read_text()), "last": LONG}))


def long_objects(path: Path) -> None:
    """The same for VIA, each of whose values is an object, the last of an image without regions."""
    entries = json.loads(path.read_text())["_via_img_metadata"]
    many = {"filename": "photo-05.png", "file_attributes": {"note": LONG}}
    path.write_text(
        json.dumps({"a": many, **{key: e for key, e in entries.items() if e["filename"] != "photo-05.png"}})
    )


def sorted_keys(path: Path) -> None:
    """As a formatter of JSON leaves LabelMe's files: the pixels stand before the shapes."""
    data = {**json.loads(path.read_text()), "imageData": LONG, "text": "", "zoom": LONG}
    path.write_text(json.dumps(data, sort_keys=True, indent=2))


def spaced(path: Path) -> None:
    path.write_text(" " * 300_000 + path.read_text() + "\n" * 300_000)


@pytest.mark.parametrize("share", [1, 3])
@pytest.mark.parametrize(
    ("export", "suffix", "change"),
    [
        (exports.voc, ".xml", utf16_xml),
        (exports.voc, ".xml", marked),
        (exports.yolo, ".txt", marked),
        (exports.yolo, ".yaml", marked),
        (exports.yolo, "", marked),
        (exports.labelme, ".json", marked),
        (exports.cvat, ".json", marked),
        (exports.via, ".json", marked),
        (exports.labelme, ".json", utf16),
        (exports.labelme, ".json", long_ends),
        (exports.labelme, ".json", sorted_keys),
        (exports.labelme, ".json", spaced),
        (exports.cvat, ".json", utf16),
        (exports.cvat, ".json", long_ends),
        (exports.cvat, ".json", spaced),
        (exports.roboflow, ".json", long_ends),
        (exports.via, ".json", utf16),
        (exports.via, ".json", long_objects),
        (exports.via, ".json", spaced),
    ],
)
def test_annotations_are_read_however_the_file_begins_and_ends(
    export: Export, suffix: str, change: Callable[[Path], None], share: int, tmp_path: Path
) -> None:
    """All files of the source are changed, or every third."""
    photos = exports.boxes()
    source = export(photos, tmp_path / "src")
    files = sorted(p for p in source.rglob(f"*{suffix}") if p.is_file() and p.suffix != ".png")[::share]
    assert files
    for path in files:
        change(path)
    manifest = import_set(read_source(source), tmp_path / "set", ALL, HOW)
    assert_same(objects_of(tmp_path / "set"), photos)
    assert not any("JSON" in what or "XML" in what for what in manifest["left_out_or_changed"])


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("name", ["unlabeled_pool_done.json", "image_info_done.json", "import.json", "Unlabeled.json"])
def test_coco_annotations_are_read_whatever_their_file_is_called(name: str, alone: bool, tmp_path: Path) -> None:
    photos = exports.boxes()
    source = tmp_path / "src"
    for photo in photos:
        exports.draw(photo, source)
    exports.write(source / name, exports.coco(photos[0 if alone else 6 :], lambda photo: photo.file))
    if not alone:
        exports.write(source / "a.json", exports.coco(photos[:6], lambda photo: photo.file))
    import_set(read_source(source), tmp_path / "set", ALL, HOW)
    assert_same(objects_of(tmp_path / "set"), photos)


@pytest.mark.parametrize("name", ["person_keypoints_train.json", "stuff_train.json", "entity_train.json"])
def test_coco_files_beside_others_are_counted_and_read_where_there_are_no_others(name: str, tmp_path: Path) -> None:
    photos = exports.boxes()
    source = exports.cvat(photos, tmp_path / "src")
    objects = source / "annotations" / "instances_default.json"
    beside = objects.with_name(name)
    beside.write_text(objects.read_text())
    manifest = import_set(read_source(source), tmp_path / "set", ALL, HOW)
    assert manifest["left_out_or_changed"] == {
        "COCO files that by their names have keypoints, captions or segments, beside others": 1
    }
    objects.unlink()
    assert "looks like COCO JSON" in import_advice(source)
    import_set(read_source(source), tmp_path / "alone", ALL, HOW)
    assert_same(objects_of(tmp_path / "alone"), photos)


@pytest.mark.parametrize("more", [{}, {"annotations": []}, {"annotations": [], "categories": []}])
@pytest.mark.parametrize("name", ["unlabeled.json", "unlabeled_tiny.json", "image_info_unlabeled2017.json"])
def test_images_that_are_only_listed_stay_unlabeled(name: str, more: Json, tmp_path: Path) -> None:
    photos = exports.boxes()
    source = exports.cvat(photos[:8], tmp_path / "src")
    images = [{"id": n, "file_name": photo.file} for n, photo in enumerate(photos[8:])]
    for photo in photos[8:]:
        exports.draw(photo, source / "images" / "default")
    exports.write(source / "annotations" / name, {"images": images, **more})
    manifest = import_set(read_source(source), tmp_path / "set", ALL, HOW)
    assert {split: found["images"] for split, found in manifest["splits"].items()} == {
        "labeled": 6,
        "val": 2,
        "unlabeled": 4,
    }
    assert manifest["left_out_or_changed"] == {}


OTHER_JSON: list[Any] = [[1, 2], {"a": 1}, {}, "text", None]
OTHER_XML = ["<annotations><image/></annotations>", "<svg/>"]


@pytest.mark.parametrize(
    ("export", "said"),
    [
        (exports.labelme, {"JSON files without LabelMe annotations": 5}),
        (exports.via, {"JSON files without VIA annotations": 5}),
        (exports.cvat, {"JSON files without COCO annotations": 5}),
        (exports.voc, {"XML files without a Pascal VOC annotation": 2}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_file_that_holds_no_annotations_is_counted(export: Export, said: dict[str, int], tmp_path: Path) -> None:
    source = export(exports.boxes(), tmp_path / "src")
    for n, content in enumerate(OTHER_JSON):
        exports.write(source / f"other-{n}.json", content)
    for n, text in enumerate(OTHER_XML):
        (source / f"other-{n}.xml").write_text(text)
    assert import_set(read_source(source), tmp_path / "set", ALL, HOW)["left_out_or_changed"] == said


@pytest.mark.parametrize("text", ["", "{", '{"shapes": [', '{"images": [], "imageData": "AAAA'])
@pytest.mark.parametrize(
    ("export", "form"), [(exports.labelme, "labelme"), (exports.via, "via"), (exports.cvat, "coco")]
)
def test_a_json_file_that_breaks_off_anywhere_is_refused(export: Export, form: str, text: str, tmp_path: Path) -> None:
    source = export(exports.boxes(), tmp_path / "src")
    (source / "other.json").write_text(text)
    with pytest.raises(DataError, match=r"other\.json: not JSON"):
        read_source(source, form)


@pytest.mark.parametrize("text", ["", "<annotat", "<annotation>", "<a></b>"])
def test_an_xml_file_that_breaks_off_anywhere_is_refused(text: str, tmp_path: Path) -> None:
    source = exports.voc(exports.boxes(), tmp_path / "src")
    (source / "Annotations" / "other.xml").write_text(text)
    with pytest.raises(DataError, match=r"other\.xml: not XML"):
        read_source(source)


@pytest.mark.parametrize("names", ["classes.txt", "obj.names"])
def test_yolo_labels_with_a_byte_order_mark_are_no_plain_images(names: str, tmp_path: Path) -> None:
    photos = exports.boxes()
    source = exports.yolo(photos, tmp_path / "src")
    (source / "data.yaml").unlink()
    for path in (source / "labels").iterdir():
        marked(path)
    with pytest.raises(DataError, match="the names of the classes are missing"):
        read_source(source)
    (source / names).write_text("cat\ncow\ndog", "utf-8-sig")
    import_set(read_source(source), tmp_path / "set", ALL, HOW)
    assert_same(objects_of(tmp_path / "set"), photos)


@pytest.mark.parametrize("name", ["data.yaml", "labels/photo-00.txt"])
def test_yolo_files_in_utf16_are_refused(name: str, tmp_path: Path) -> None:
    source = exports.yolo(exports.boxes(), tmp_path / "src")
    utf16(source / name)
    with pytest.raises(DataError, match=rf"{name}: not UTF-8 text"):
        read_source(source)


@pytest.mark.parametrize("line", ["1 0.5 0.5 5E-01 2e-01", "1.0 0.5 0.5 0.5 0.2", "1 +0.5 0.5 0.5 2.0e+0"])
def test_labels_of_yolo_are_known_by_numbers_in_any_notation(line: str, tmp_path: Path) -> None:
    source = exports.yolo(exports.boxes(2), tmp_path / "src")
    (source / "data.yaml").unlink()
    for path in (source / "labels").iterdir():
        path.write_text(line)
    assert "looks like YOLO" in import_advice(source)


def test_texts_in_labels_that_no_reader_knows_are_counted(tmp_path: Path) -> None:
    source = exports.yolo(exports.boxes(), tmp_path / "src")
    (source / "data.yaml").unlink()
    for path in (source / "labels").iterdir():
        path.write_text("cat 0.5;0.5;0.1;0.1")
    manifest = import_set(read_source(source), tmp_path / "set", ALL, HOW)
    assert manifest["left_out_or_changed"] == {
        "files that are named as annotations, of no known format; their images are unlabeled": 12
    }


def test_a_folder_of_images_counts_files_that_may_have_been_meant_as_annotations(tmp_path: Path) -> None:
    source = tmp_path / "src"
    for photo in exports.boxes():
        exports.draw(photo, source)
    exports.write(source / "photo-00.json", {"objects": []})
    exports.write(source / "unlabeled.json", {"images": []})
    (source / "annotations.xml").write_text("<annotations/>")
    (source / "photo-01.txt").write_text("")
    (source / "README.txt").write_text("0.5")
    manifest = import_set(read_source(source), tmp_path / "set", ALL, HOW)
    assert manifest["left_out_or_changed"] == {
        "files that are named as annotations, of no known format; their images are unlabeled": 3
    }
    assert manifest["splits"]["unlabeled"]["images"] == 12
