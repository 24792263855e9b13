"""What exports have wrong is one sentence that names the file, or counted where tools write it habitually."""

from __future__ import annotations

import base64
import io
import json
import os
import tracemalloc
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle_tools

from casl.data.check import check
from casl.data.image import read_image
from casl.data.importing.assign import Plan
from casl.data.importing.draw import Share
from casl.data.importing.make import import_set, read_source
from casl.errors import DataError, SpecError
from tests.data.importing import exports
from tests.data.importing.exports import Photo, Thing
from tests.data.importing.test_formats import HOW, objects_of

BOMB = """<?xml version="1.0"?>
<!DOCTYPE annotation [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;">]>
<annotation><filename>photo-00.png</filename><object><name>&c;</name></object></annotation>"""
ODD = "<x1>2</x1><y1>3</y1><x2>12</x2><y2>3</y2><x3>12</x3><y3>15</y3><x4>2</x4>"
ALL = Plan(labeled=Share("100%"), val=Share("2"))


def make(source: Path, plan: Plan = ALL) -> dict[str, Any]:
    """Import beside the source."""
    return import_set(read_source(source), source.parent / "set", plan, HOW)


def changed(path: Path, old: str, new: str) -> None:
    """Replace a text in a file that has it."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def edited(path: Path, change: Callable[[Any], object]) -> None:
    """Change a JSON file in place."""
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("photo-00.png", "gone.png", r"photo-00\.xml: unknown image 'gone\.png' in .*src"),
        ("photo-00.png", "PHOTO-00.png", r"photo-00\.xml: unknown image .*'photo-00\.png' differs in case"),
        ("<xmin>2", "<xmin>two", r"photo-00\.xml: object 1: 'two.*' is no finite number"),
        ("<xmin>2", "<xmin>nan", r"photo-00\.xml: object 1: 'nan.*' is no finite number"),
        ("<xmin>2", "<xmin>60", r"photo-00\.xml: object 1: its corners are in the wrong order"),
        ("<xmax>12", "<xmax>70", r"photo-00\.xml: object 1: 'cat' at .* reaches 6 px outside its image of 64x48"),
        ("<name>cat</name>", "<name> </name>", r"photo-00\.xml: object 1: has no <name>"),
        ("</annotation>", "", r"photo-00\.xml: not XML .*Is the file complete"),
        (
            "<bndbox>",
            "<polygon><x1>5</x1></polygon><bndbox>",
            r"photo-00\.xml: object 1: its <polygon> is not .* has <x1>",
        ),
        (
            "<bndbox>",
            f"<polygon>{ODD}</polygon><bndbox>",
            r"photo-00\.xml: object 1: its <polygon> is not .* has <x1>, ",
        ),
        ("<bndbox>", f"<polygon>{ODD}<x1>1</x1></polygon><bndbox>", r"photo-00\.xml: object 1: its <polygon> is not"),
        ("<bndbox>", "<polygon><pt><x>5</x></pt></polygon><bndbox>", r"object 1: its <polygon> is not .* has <pt>\."),
        (
            "<bndbox>",
            "<polygon><x1>5</x1><y1/></polygon><bndbox>",
            r"photo-00\.xml: object 1: None is no finite number",
        ),
        ("<width>64", "<width>640", r"photo-00\.xml: says that photo-00\.png is 640x48 px, but the file is 64x48"),
    ],
)
def test_a_wrong_voc_file_is_named(old: str, new: str, says: str, tmp_path: Path) -> None:
    source = exports.voc(exports.boxes(4), tmp_path / "src")
    changed(source / "Annotations" / "photo-00.xml", old, new)
    with pytest.raises(DataError, match=says):
        make(source)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("order", ["x1 y1 x2 y2 x3 y3", "x1 x2 x3 y1 y2 y3", "y3 x3 y1 x1 y2 x2"])
def test_points_of_a_voc_polygon_are_read_by_their_names(order: str, tmp_path: Path) -> None:
    source = exports.voc(exports.boxes(4), tmp_path / "src")
    at = {"x1": 2, "y1": 3, "x2": 12, "y2": 3, "x3": 12, "y3": 15}
    points = "".join(f"<{name}>{at[name]}</{name}>" for name in order.split())
    changed(source / "Annotations" / "photo-00.xml", "<bndbox>", f"<polygon>{points}</polygon><bndbox>")
    make(source)
    assert ("cat", [2, 3, 10, 12], [[2, 3, 12, 3, 12, 15]]) in objects_of(tmp_path / "set")["photo-00.png"]


def test_an_xml_bomb_is_refused_before_any_entity_is_expanded(tmp_path: Path) -> None:
    source = exports.voc(exports.boxes(4), tmp_path / "src")
    (source / "Annotations" / "photo-00.xml").write_text(BOMB)
    with pytest.raises(DataError, match=r"photo-00\.xml: declares a document type"):
        make(source)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("3 0.5 0.5 0.1 0.1", r"line 1: there is no class 3; there are 3, from 0 \(cat\)"),
        ("-1 0.5 0.5 0.1 0.1", r"line 1: there is no class -1"),
        ("0.5 0.5 0.5 0.1 0.1", r"line 1: there is no class 0\.5"),
        ("0 32 24 10 12", r"line 1: 32 is outside \[0, 1\]"),
        ("0 0.5 0.5 0.1", r"line 1: a class and then 4 numbers .* has 3"),
        ("0 0.5 0.5 -0.1 0.1", r"line 1: the box has a negative size"),
        ("0 0.98 0.5 0.2 0.1", r"line 1: 'cat' at .* reaches 5\.12 px outside"),
        ("cat 0.5 0.5 0.1 0.1", r"line 1: 'cat' is no finite number"),
    ],
)
def test_a_wrong_yolo_line_is_named(line: str, says: str, tmp_path: Path) -> None:
    source = exports.yolo(exports.boxes(4), tmp_path / "src")
    (source / "labels" / "photo-00.txt").write_text(line)
    with pytest.raises(DataError, match=r"photo-00\.txt: " + says):
        make(source)


def test_yolo_labels_without_an_image_or_without_class_names_are_named(tmp_path: Path) -> None:
    source = exports.yolo(exports.boxes(4), tmp_path / "src")
    (source / "labels" / "gone.txt").write_text("0 0.5 0.5 0.1 0.1")
    with pytest.raises(DataError, match=r"gone\.txt: no image 'gone'"):
        make(source)
    (source / "labels" / "gone.txt").unlink()
    (source / "data.yaml").unlink()
    with pytest.raises(DataError, match=r"src: the names of the classes are missing: add data\.yaml"):
        make(source)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("names: [cat, dog", "data.yaml: not YAML"),
        ("names: [cat, cat]", "data.yaml: two classes are named 'cat'"),
        ("names: {0: cat, 2: dog}", "data.yaml: 'names' must be numbered from 0 without gaps"),
        ("names: {0: cat, x: dog}", "data.yaml: 'names' must be numbered from 0 without gaps, has .'0', 'x'"),
        ("names: {false: cat, true: dog}", "data.yaml: 'names' must be numbered from 0 without gaps"),
        ("names: {0: cat, 0x0: cow, 1: dog}", "data.yaml: 'names' must be numbered from 0 without gaps"),
        ("names: {0: cat, '1': dog}", "data.yaml: 'names' must be numbered from 0 without gaps"),
        ("names: {[0]: cat}", "data.yaml: not YAML"),
        ("names: cat", "data.yaml: 'names' must be a list, or an object by number, is 'cat'"),
        ("names: 3", "data.yaml: 'names' must be a list, or an object by number, is 3"),
        ("names: []", "data.yaml: the names of the classes are missing"),
        ("names: [cat, no]", "data.yaml: class 1 is 'no', which is no text in YAML; write it in quotes"),
        ("names: [cat, null]", "data.yaml: class 1 is 'null', which is no text"),
        ("names: [cat, , dog]", "data.yaml: not YAML"),
        ("names:\n- cat\n-\n- dog", "data.yaml: class 1 is '', which is no text"),
        ("names: [cat, ' ']", "data.yaml: class 1 is ' ', which is no text"),
        ("names: {0: cat, 1: {a: b}}", r"data.yaml: class 1 is \{'a': 'b'\}, which is no text"),
        ("names: [[cat], dog]", r"data.yaml: class 0 is \['cat'\], which is no text"),
        ("names: [cat, 2020-01-01]", "data.yaml: class 1 is '2020-01-01', which is no text"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nnames: [*b, *b]", "data.yaml: has YAML aliases"),
        ("names: !!python/object/apply:os.getcwd []", "data.yaml: not YAML"),
    ],
)
def test_a_wrong_data_yaml_is_named(text: str, says: str, tmp_path: Path) -> None:
    source = exports.yolo(exports.boxes(4), tmp_path / "src")
    (source / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=says):
        make(source)


@pytest.mark.parametrize(
    ("train", "other", "says"),
    [
        (range(8), {"val": range(7, 10)}, r"data\.yaml: images/photo-07\.png of val would be trained on, as train has"),
        (range(8), {"val": range(5, 8)}, r"data\.yaml: images/photo-05\.png and 2 more of val would be trained on"),
        (range(6, 8), {"val": range(8)}, r"data\.yaml: images/photo-06\.png and 1 more of val would be"),
        (range(8), {"valid": range(7, 10)}, r"data\.yaml: images/photo-07\.png of val would be"),
        (range(8), {"val": range(8, 10), "test": range(3, 4)}, r"data\.yaml: images/photo-03\.png of test would be"),
    ],
)
def test_an_image_of_yolos_val_that_is_in_train_too_is_named(
    train: Iterable[int], other: dict[str, Iterable[int]], says: str, tmp_path: Path
) -> None:
    source = listed_yolo({"train": train, **other}, tmp_path)
    with pytest.raises(DataError, match=says):
        read_source(source)


def test_a_yolo_val_that_is_train_itself_is_counted_and_one_that_is_test_stays_val(tmp_path: Path) -> None:
    same = make(listed_yolo({"train": range(12), "val": range(12)}, tmp_path / "a"), Plan(labeled=Share("100%")))
    assert same["left_out_or_changed"] == {"images of val that are those of train, so that the source has no val": 12}
    assert same["splits"]["val"]["images"] == 2
    both = make(
        listed_yolo({"train": range(8), "val": range(8, 12), "test": range(9, 12)}, tmp_path / "b"),
        Plan(labeled=Share("100%")),
    )
    assert both["left_out_or_changed"] == {}
    assert {split: found["images"] for split, found in both["splits"].items()} == {"labeled": 8, "val": 4}


@pytest.mark.parametrize(
    "entry", ["gone.txt", "images/gone", "../elsewhere", "empty", "3", "{a: b}", '"a\\0b"', "a" * 999]
)
def test_a_split_of_data_yaml_of_which_nothing_is_there_is_counted(entry: str, tmp_path: Path) -> None:
    source = listed_yolo({"train": range(12)}, tmp_path)
    (source / "empty").mkdir()
    with (source / "data.yaml").open("a") as file:
        file.write(f"val: {entry}\ntest:\n")
    assert make(source)["left_out_or_changed"] == {"splits of data.yaml of which no image is there": 1}


def listed_yolo(splits: dict[str, Iterable[int]], root: Path) -> Path:
    """Twelve images of which data.yaml lists some by number."""
    source = exports.yolo(exports.boxes(12), root / "src")
    with (source / "data.yaml").open("a") as file:
        for word, numbers in splits.items():
            (source / f"{word}-list.txt").write_text("".join(f"images/photo-{n:02d}.png\n" for n in numbers))
            file.write(f"{word}: {word}-list.txt\n")
    return source


def test_numbers_as_names_of_yolo_classes_stay_as_they_are_written(tmp_path: Path) -> None:
    source = exports.yolo(exports.boxes(4), tmp_path / "src")
    (source / "data.yaml").write_text("names: {1: 12:30, 0: 010, 2: 1.50}")
    assert make(source)["classes"] == ["010", "12:30", "1.50"]


@pytest.mark.parametrize(("text", "line"), [("cat\n\ncow\ndog\n", 2), ("\ncat\ncow\ndog", 1), ("cat\r\n \r\ndog", 2)])
def test_an_empty_line_in_a_list_of_yolo_classes_would_renumber_them_and_is_refused(
    tmp_path: Path, text: str, line: int
) -> None:
    source = exports.yolo(exports.boxes(4), tmp_path / "src")
    (source / "data.yaml").unlink()
    (source / "classes.txt").write_bytes(text.encode())
    with pytest.raises(DataError, match=rf"classes\.txt: line {line} is empty, .*\n.* name of class {line - 1} there"):
        make(source)
    (source / "classes.txt").write_text("cat\ncow\ndog\n\n")
    assert make(source)["classes"] == ["cat", "cow", "dog"]


def test_two_different_lists_of_yolo_classes_are_refused_and_equal_ones_are_one(tmp_path: Path) -> None:
    source = exports.yolo(exports.boxes(4), tmp_path / "src")
    (source / "data.yaml").unlink()
    (source / "classes.txt").write_text("cat\ncow\ndog\n")
    (source / "labels" / "obj.names").write_text("dog\ncow\ncat\n")
    with pytest.raises(DataError, match=r"src/classes\.txt and labels/obj\.names: are different lists of classes"):
        make(source)
    (source / "labels" / "obj.names").write_text("cat \ncow\ndog\n\n")
    assert make(source)["classes"] == ["cat", "cow", "dog"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d["images"].pop(0), r"annotation 1: there is no image 1 in this file"),
        (lambda d: d["annotations"][0].update(image_id=1.0), r"annotation 1: 'image_id' must be an integer, is 1\.0\."),
        (lambda d: d["annotations"][0].update(image_id="1"), r"annotation 1: 'image_id' must be an integer, is '1'\."),
        (lambda d: d["annotations"][0].update(image_id=True), r"annotation 1: 'image_id' must be an integer, is True"),
        (lambda d: d["annotations"][0].pop("image_id"), r"annotation 1: 'image_id' must be an integer, is None"),
        (lambda d: d["annotations"][0].update(bbox=[10, 20, 60, 40]), r"is it perhaps x1, y1, x2, y2\?$"),
        (lambda d: d["annotations"][0].update(category_id=9), r"annotation 1: there is no category 9; known: 1, 2"),
        (lambda d: d["annotations"][0].update(bbox=[2, 3, -1, 4]), r"annotation 1: bbox .* has a negative size"),
        (lambda d: d["images"][0].update(file_name="gone.jpg"), r"no image 'gone\.jpg'|unknown image 'gone\.jpg'"),
        (lambda d: d["images"][1].update(id=1), r"two have one"),
        (lambda d: d["annotations"][0].update(category_id=[[1]]), r"annotation 1: 'category_id' must be an integer"),
        (lambda d: d["annotations"][0].update(image_id=-(10**4000)), r"there is no image -1\S{1,79} in this file"),
        (lambda d: d["images"][0].update(width=10**4000), r"must be positive integers, are \S{1,80}\."),
        (lambda d: d["categories"][1].update(name="cat"), r"two categories have the id 2 or the name 'cat'"),
        (lambda d: d["images"][0].update(width=0), r"image 1: width and height must be positive integers"),
        (lambda d: d.pop("annotations"), r"'annotations' is missing or not a list"),
        (lambda d: [r.update(iscrowd=1) for r in d["annotations"]], r"all 9 annotations have iscrowd 1"),
    ],
)
def test_a_wrong_coco_record_is_named(change: Callable[[Any], object], says: str, tmp_path: Path) -> None:
    source = exports.cvat(exports.boxes(4), tmp_path / "src")
    edited(source / "annotations" / "instances_default.json", change)
    with pytest.raises(DataError, match=rf"instances_default\.json: .*?(?:{says})"):
        make(source)


def test_a_group_of_categories_that_is_no_name_means_nothing(tmp_path: Path) -> None:
    source = exports.cvat(exports.boxes(4), tmp_path / "src")
    edited(source / "annotations" / "instances_default.json", lambda d: d["categories"][0].update(supercategory=[[1]]))
    assert make(source)["classes"] == ["cat", "cow", "dog"]


def test_crowds_of_cvats_brush_become_objects_when_asked(tmp_path: Path) -> None:
    source = exports.cvat(exports.boxes(4), tmp_path / "src")
    edited(source / "annotations" / "instances_default.json", lambda d: [r.update(iscrowd=1) for r in d["annotations"]])
    import_set(read_source(source, crowds_are_objects=True), tmp_path / "set", ALL, HOW)
    assert check(tmp_path / "set").counts["labeled"]["crowds"] == 0


@pytest.mark.parametrize("export", [exports.labelme, exports.via, exports.cvat], ids=lambda e: str(e.__name__))
def test_broken_json_is_named(export: Callable[..., Path], tmp_path: Path) -> None:
    source = export(exports.boxes(4), tmp_path / "src")
    path = next(source.rglob("*.json"))
    path.write_text(path.read_text()[:-20])
    with pytest.raises(DataError, match=rf"{path.name}: not JSON .*Is the download complete"):
        make(source)


def test_stray_clicks_are_counted_and_left_out(tmp_path: Path) -> None:
    photo = Photo(
        "photo-99.png",
        99,
        (
            Thing("cat", (0, 0, 0, 0), (5.0, 5.0)),
            Thing("cat", (0, 0, 0, 0), (5.0, 5.0, 9.0, 9.0, 7.0, 7.0)),
            Thing("dog", (4, 4, 8, 8), (4.0, 4.0, 12.0, 4.0, 12.0, 12.0)),
        ),
    )
    for export in (exports.labelme, exports.via, exports.cvat):
        root = tmp_path / export.__name__
        manifest = make(export([*exports.outlines(4), photo], root / "src"))
        assert list(manifest["left_out_or_changed"].values()) == [2], export
        assert [row[0] for row in objects_of(root / "set")["photo-99.png"]] == ["dog"]
        assert not check(root / "set").errors


@pytest.mark.parametrize("outline", [[[2, 3, 12, 15]], [[2, 3]], [[2, 3, 12, 15], []]])
def test_a_coco_outline_of_fewer_than_three_points_does_not_lose_its_box(outline: object, tmp_path: Path) -> None:
    source = exports.cvat(exports.outlines(4), tmp_path / "src")
    path = source / "annotations" / "instances_default.json"
    edited(path, lambda data: data["annotations"][0].update(segmentation=outline))
    manifest = make(source)
    assert ("cat", [2, 3, 10, 12], []) in objects_of(tmp_path / "set")["photo-00.png"]
    assert manifest["left_out_or_changed"] == {"outlines of fewer than three points (the boxes stay)": 1}


def test_a_voc_outline_of_fewer_than_three_points_does_not_lose_its_box(tmp_path: Path) -> None:
    source = exports.voc(exports.boxes(4), tmp_path / "src")
    outline = "<polygon><x1>2</x1><y1>3</y1><x2>12</x2><y2>15</y2></polygon>"
    changed(source / "Annotations" / "photo-00.xml", "<bndbox>", f"{outline}<bndbox>")
    manifest = make(source)
    assert ("cat", [2, 3, 10, 12], []) in objects_of(tmp_path / "set")["photo-00.png"]
    assert manifest["left_out_or_changed"] == {"outlines of fewer than three points (the boxes stay)": 1}


CROSSED = (5.0, 5.0, 25.0, 25.0, 25.0, 5.0, 5.0, 25.0)  # two triangles of one size, drawn in opposite senses
EIGHT = (4.0, 4.0, 24.0, 4.0, 4.0, 24.0, 24.0, 24.0)


@pytest.mark.parametrize("export", [exports.yolo, exports.labelme, exports.via, exports.cvat], ids=lambda e: e.__name__)
@pytest.mark.parametrize("outline", [CROSSED, EIGHT])
def test_an_outline_that_crosses_itself_is_what_pycocotools_makes_of_it(
    outline: tuple[float, ...], export: Callable[..., Path], tmp_path: Path
) -> None:
    pixels = float(rle_tools.area(rle_tools.merge(rle_tools.frPyObjects([list(outline)], 48, 64))))
    assert pixels > 180
    photo = Photo("crossed.png", 99, (Thing("cat", (5, 5, 20, 20), outline),))
    manifest = make(export([*exports.outlines(4), photo], tmp_path / "src"))
    assert manifest["left_out_or_changed"] == {}
    files = [json.loads(path.read_text()) for path in (tmp_path / "set" / "annotations").glob("instances_*.json")]
    names = [{image["id"]: image["file_name"] for image in data["images"]} for data in files]
    areas = {
        Path(known[record["image_id"]]).name: record["area"]
        for known, data in zip(names, files, strict=True)
        for record in data["annotations"]
    }
    assert areas["crossed.png"] == pixels


def test_polygons_that_leave_their_image_stay_and_rounding_is_cut(tmp_path: Path) -> None:
    source = exports.cvat(exports.outlines(4), tmp_path / "src")
    far, near = [-20.0, 5.0, 12.0, 5.0, 12.0, 15.0], [-0.5, 5.0, 12.0, 5.0, 12.0, 15.0]

    def change(data: Any) -> None:
        data["annotations"][0].update(segmentation=[far], bbox=[0, 5, 12, 10])
        data["annotations"][3].update(segmentation=[near], bbox=[-0.5, 5, 12.5, 10])

    edited(source / "annotations" / "instances_default.json", change)
    manifest = make(source)
    rows = [row for found in objects_of(tmp_path / "set").values() for row in found]
    assert ("cat", [0.0, 5.0, 12.0, 10.0], [far]) in rows
    assert ("cat", [0.0, 5.0, 12.0, 10.0], [[0.0, *near[1:]]]) in rows
    assert list(manifest["left_out_or_changed"].values()) == [1, 1]
    assert not check(tmp_path / "set").errors


def test_labelme_kinds_of_shapes(tmp_path: Path) -> None:
    """A circle is its polygon, a mask its pixels, two polygons of one group one object; a point is counted."""
    source = exports.labelme(exports.boxes(3), tmp_path / "src")
    drawn = np.zeros((4, 6), np.uint8)
    drawn[1:3, 2:5] = 255
    stream = io.BytesIO()
    Image.fromarray(drawn).save(stream, "PNG")
    triangles = [[[1, 1], [5, 1], [5, 5]], [[11, 1], [15, 1], [15, 5]]]
    shapes: list[dict[str, Any]] = [
        {"label": "sun", "shape_type": "circle", "points": [[32, 24], [32, 34]]},
        {"label": "moon", "shape_type": "mask", "points": [[10, 20], [15, 23]]},
        {"label": "dot", "shape_type": "point", "points": [[1, 1]]},
        *({"label": "pair", "shape_type": "polygon", "points": points, "group_id": 7} for points in triangles),
    ]
    shapes[1]["mask"] = base64.b64encode(stream.getvalue()).decode()
    edited(source / "photo-00.json", lambda d: d.update(shapes=shapes))
    manifest = make(source, Plan(Share("100%"), Share("1")))
    found = {name: (box, mask) for name, box, mask in objects_of(tmp_path / "set")["photo-00.png"]}
    assert sorted(found) == ["moon", "pair", "sun"]
    np.testing.assert_allclose(found["sun"][0], [22, 14, 20, 20], atol=1e-9)
    assert found["moon"][0] == [12, 21, 3, 2]
    assert found["pair"][0] == [1, 1, 14, 4]
    assert len(found["pair"][1]) == 2
    assert manifest["left_out_or_changed"] == {"shapes of kind point, which have no area": 1}


@pytest.mark.parametrize("side", [10**6, 20_000, 63, -5])
def test_a_labelme_mask_is_not_drawn_on_a_size_that_its_image_has_not(side: int, tmp_path: Path) -> None:
    source = exports.labelme(exports.boxes(4), tmp_path / "src")
    stream = io.BytesIO()
    Image.fromarray(np.full((4, 4), 255, np.uint8)).save(stream, "PNG")
    mask = base64.b64encode(stream.getvalue()).decode()
    shape = {"label": "cat", "shape_type": "mask", "points": [[1, 1], [5, 5]], "mask": mask}
    edited(source / "photo-00.json", lambda d: d.update(shapes=[shape], imageWidth=side, imageHeight=side))
    tracemalloc.start()
    with pytest.raises(DataError, match=rf"photo-00\.json: says that photo-00\.png is {side}x{side} px, but .* 64x48"):
        read_source(source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000  # bytes; the stated canvas has from 400,000,000 on


def test_a_class_that_labels_txt_lacks_is_named_with_the_nearest(tmp_path: Path) -> None:
    source = exports.labelme(exports.boxes(4), tmp_path / "src")
    (source / "labels.txt").write_text("__ignore__\ncat\ndoge\ncow\n")
    with pytest.raises(DataError, match=r"(?s)photo-0\d\.json: shape \d: unknown class 'dog'.*did you mean 'doge'"):
        make(source)


@pytest.mark.parametrize("field", ["region_attributes", "shape_attributes"])
@pytest.mark.parametrize("value", [["cat"], [["cat"]], "cat", 3, [{"class": "cat"}]])
def test_attributes_of_via_that_are_no_object_are_named(field: str, value: object, tmp_path: Path) -> None:
    source = exports.via(exports.boxes(4), tmp_path / "src")

    def spoil(data: Any) -> None:
        next(iter(data["_via_img_metadata"].values()))["regions"][0][field] = value

    edited(source / "via_project.json", spoil)
    with pytest.raises(DataError, match=r"via_project\.json: photo-00\.png\d+: 'regions' is not a list of objects"):
        make(source)


def test_via_with_two_attributes_needs_to_know_the_class(tmp_path: Path) -> None:
    source = exports.via(exports.boxes(4), tmp_path / "src")
    path = source / "via_project.json"

    def rename(data: Any, *names: str) -> None:
        for entry in data["_via_img_metadata"].values():
            for region in entry["regions"]:
                region["region_attributes"] = dict.fromkeys(names, "cat")

    edited(path, lambda data: rename(data, "animal", "colour"))
    with pytest.raises(DataError, match=r"via_project\.json: regions have the attributes animal, colour; name"):
        make(source)
    edited(path, lambda data: rename(data))
    assert make(source)["classes"] == ["object"]


def test_equal_names_in_different_folders_stay_apart(tmp_path: Path) -> None:
    for n, folder in enumerate("abcd"):
        exports.labelme([Photo("x.png", n, (Thing("cat", (n, 0, 9, 9)),))], tmp_path / "src" / folder)
    make(tmp_path / "src")
    origins = json.loads((tmp_path / "set" / "import.json").read_text())["images"]
    assert sorted(entry["file"] for entry in origins) == [f"images/{folder}/x.png" for folder in "abcd"]
    for entry in origins:
        assert (tmp_path / "set" / entry["file"]).samefile(entry["source"])


def test_a_name_that_may_be_two_images_is_named(tmp_path: Path) -> None:
    source = exports.cvat(exports.boxes(4), tmp_path / "src")
    for folder in ("a", "b"):
        exports.draw(exports.boxes(1)[0], source / folder)
    (source / "images" / "default" / "photo-00.png").unlink()
    with pytest.raises(DataError, match=r"instances_default\.json: 'photo-00\.png' may be a/photo-00\.png and b/"):
        make(source)


def test_an_image_whose_name_is_no_utf_8_is_named_before_anything_is_made(tmp_path: Path) -> None:
    """Files of labels are UTF-8; such a set was made, and then no command could read it."""
    source = tmp_path / "photos"
    source.mkdir()
    for name in (b"a.png", b"z\xe4.png"):
        Image.new("RGB", (8, 8)).save(os.fsdecode(os.fsencode(source) + b"/" + name))
    with pytest.raises(DataError, match=r"image 'z\\udce4\.png' has bytes in its name that are no UTF-8.*rename it"):
        make(source)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_names_in_either_unicode_form_are_one(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Käfer 日本.png") for form in ("NFC", "NFD"))
    assert composed != decomposed
    photos = [*exports.boxes(4), Photo(decomposed, 77, (Thing("käfer", (1, 1, 9, 9)),))]
    source = exports.voc(photos, tmp_path / "src")
    changed(next((source / "Annotations").glob("K*.xml")), decomposed, composed)
    make(source)
    assert not check(tmp_path / "set").errors
    assert [row[0] for row in objects_of(tmp_path / "set")[decomposed]] == ["käfer"]


def test_names_as_addresses_have_them_and_areas_that_are_wrong_do_no_harm(tmp_path: Path) -> None:
    photos = [*exports.boxes(4), Photo("my photo.png", 77, (Thing("cat", (1, 1, 9, 9)),))]
    source = exports.cvat(photos, tmp_path / "src")
    path = source / "annotations" / "instances_default.json"
    edited(path, lambda d: d["images"][4].update(file_name="/data/local-files/?d=x/my%20photo.png"))
    edited(path, lambda d: [record.update(area=-1) for record in d["annotations"]])
    make(source)
    assert objects_of(tmp_path / "set")["my photo.png"] == [("cat", [1.0, 1.0, 9.0, 9.0], [])]
    assert not check(tmp_path / "set").errors


def test_a_set_of_casls_own_is_read_as_coco_with_its_unlabeled_images(tmp_path: Path) -> None:
    make(exports.voc(exports.boxes(), tmp_path / "src"), Plan(Share("50%"), Share("4")))
    manifest = import_set(read_source(tmp_path / "set"), tmp_path / "again", Plan(Share("50%")), HOW)
    counts = {split: found["images"] for split, found in manifest["splits"].items()}
    assert counts == {"labeled": 4, "val": 4, "unlabeled": 4, "unlabeled_gt": 4}


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_labels_of_an_image_shown_without_its_exif_rotation_are_turned_with_it(
    orientation: int, tmp_path: Path
) -> None:
    """The oracle: a white box drawn into the stored pixels is at the label's place in the upright ones."""
    photos = exports.boxes(4)
    source = exports.voc([*photos, Photo("turned.png", 9, (Thing("cat", (10, 4, 20, 6)),))], tmp_path / "src")
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[4:10, 10:30] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(source / "JPEGImages" / "turned.png", exif=exif)
    manifest = make(source)
    ((_, box, _),) = objects_of(tmp_path / "set")["turned.png"]
    ys, xs = np.nonzero(read_image(source / "JPEGImages" / "turned.png")[:, :, 0])
    assert box == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
    assert not check(tmp_path / "set").errors
    assert sum("EXIF" in what for what in manifest["left_out_or_changed"]) == 1


def test_a_damaged_labeled_image_and_one_described_twice_are_named(tmp_path: Path) -> None:
    source = exports.labelme(exports.boxes(4), tmp_path / "src")
    (source / "again.json").write_text((source / "photo-02.json").read_text())
    with pytest.raises(DataError, match=r"photo-02\.png: described twice, in .*again\.json and .*photo-02\.json"):
        make(source)
    (source / "again.json").unlink()
    (source / "photo-01.png").write_bytes((source / "photo-01.png").read_bytes()[:60])
    with pytest.raises(DataError, match=r"photo-01\.png: not a readable image"):
        make(source)


def test_a_folder_of_two_formats_asks_which_and_an_unknown_one_lists_them(tmp_path: Path) -> None:
    source = exports.voc(exports.boxes(4), tmp_path / "src")
    exports.labelme(exports.boxes(4), source / "JPEGImages")
    with pytest.raises(DataError, match=r"has files of LabelMe and Pascal VOC; name one of them with --format labelme"):
        make(source)
    with pytest.raises(SpecError, match="did you mean 'voc'"):
        read_source(source, "vocs")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: has no images, and no annotations of a known format: COCO JSON, "):
        make(tmp_path / "empty")
    with pytest.raises(DataError, match="gone: no such file or folder"):
        make(tmp_path / "gone")


def test_a_target_that_is_there_or_inside_the_source_is_refused(tmp_path: Path) -> None:
    source = exports.voc(exports.boxes(4), tmp_path / "src")
    (tmp_path / "set" / "mine").mkdir(parents=True)
    with pytest.raises(DataError, match="set: is there already"):
        make(source)
    with pytest.raises(DataError, match=r"lies inside .*src"):
        import_set(read_source(source), source / "set", ALL, HOW)


@pytest.mark.parametrize("words", [("--val", "12"), ("--val", "99"), ("--val", "100%"), ("--labeled", "11")])
def test_more_images_than_there_are_are_refused(words: tuple[str, str], tmp_path: Path) -> None:
    option, text = words
    plan = Plan(val=Share(text)) if option == "--val" else Plan(labeled=Share(text), val=Share("2"))
    there = r"12 labeled images, some of which stay outside" if option == "--val" else r"10 labeled images outside val"
    with pytest.raises(DataError, match=rf"{option} {text}: there are {there}.*; ask for fewer\."):
        make(exports.voc(exports.boxes(12), tmp_path / "src"), plan)
    assert not (tmp_path / "set").exists()


def test_a_labelme_mask_that_is_no_image_says_nothing_of_how_it_was_opened(tmp_path: Path) -> None:
    source = exports.labelme(exports.boxes(3), tmp_path / "src")
    shape = {"label": "a", "shape_type": "mask", "points": [[1, 1], [2, 2]], "mask": base64.b64encode(b"text").decode()}
    edited(source / "photo-00.json", lambda d: d.update(shapes=[shape]))
    with pytest.raises(DataError, match=r"shape 1: its mask is no PNG in base64\.$"):
        make(source)
