"""Files of labels: read again by casl's own importers, by pycocotools, and as their formats say."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools import mask as rle_tools
from pycocotools.coco import COCO

from casl.data.exporting.make import FORMATS, writer_of
from casl.data.exporting.writer import Labelled, useful
from casl.data.importing.make import read_source
from casl.data.importing.yolo import beside
from casl.errors import DataError, SpecError

CLASSES = {4: "cell", 9: "cell wall & more"}
ABOUT = {"description": "pseudo labels of labeler-48a4, score > 0.3"}
SIZES = {"b/one.png": (40, 30), "a/one.png": (64, 48), "two.jpg": (20, 50)}


def rle(width: int, height: int) -> dict[str, Any]:
    mask = np.zeros((height, width), np.uint8, order="F")
    mask[3:9, 2:7] = 1
    found = rle_tools.encode(mask)
    return {"size": found["size"], "counts": found["counts"].decode()}


def objects(width: int, height: int) -> list[dict[str, Any]]:
    first = {"category_id": 9, "bbox": [2.0, 3.0, 5.25, 6.5], "score": 0.75, "segmentation": rle(width, height)}
    last = {"category_id": 4, "bbox": [0.0, 0.0, float(width), float(height)], "score": 1.0}
    return [first, {**last, "segmentation": rle(width, height)}]


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    """Labels of three images in a format, beside or with their images."""

    def write(form: str) -> Path:
        out = tmp_path / "labels.json" if form == "coco" else tmp_path / "out"
        with writer_of(form, out, CLASSES, ABOUT) as writer:
            for n, (name, (width, height)) in enumerate(SIZES.items()):
                path = tmp_path / "images" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (width, height), (n, 90, 40)).save(path)
                writer.add(Labelled(name, width, height, path), objects(width, height) if name != "two.jpg" else [])
        assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
        return tmp_path if form == "coco" else out

    return write


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_written_is_what_casl_data_import_reads(form: str, written: Callable[[str], Path]) -> None:
    source = read_source(written(form))
    assert source.form == form
    assert len(source.pictures) == len(SIZES)
    for picture in source.pictures:
        name = next(n for n in SIZES if picture.path.as_posix().endswith(f"/{n}"))
        wanted = objects(*SIZES[name]) if name != "two.jpg" else []
        assert [shape.name for shape in picture.shapes] == [CLASSES[o["category_id"]] for o in wanted]
        assert picture.annotation is not None
        for shape, entry in zip(picture.shapes, wanted, strict=True):
            assert shape.box == pytest.approx(entry["bbox"], abs=0.01)
            assert (shape.rle is not None) == (form == "coco")


def test_pycocotools_reads_boxes_masks_and_scores(written: Callable[[str], Path]) -> None:
    read = COCO(str(written("coco") / "labels.json"))
    assert {c["name"]: c["id"] for c in read.loadCats(read.getCatIds())} == {n: i for i, n in CLASSES.items()}
    (image,) = (i for i in read.dataset["images"] if i["file_name"] == "a/one.png")
    first, last = read.loadAnns(read.getAnnIds(imgIds=[image["id"]]))
    assert (first["bbox"], first["score"], first["category_id"]) == ([2.0, 3.0, 5.25, 6.5], 0.75, 9)
    assert read.annToMask(first).sum() == first["area"] == 30 and read.annToMask(first)[3:9, 2:7].all()
    assert last["score"] == 1.0 and last["iscrowd"] == 0


def test_yolo_has_shares_of_sides_and_scores_in_the_order_of_its_lines(written: Callable[[str], Path]) -> None:
    out = written("yolo")
    assert yaml.safe_load((out / "data.yaml").read_text()) == {"train": "images", "names": {0: "cell", 1: CLASSES[9]}}
    lines = [line.split() for line in (out / "labels/a/one.txt").read_text().splitlines()]
    assert [line[0] for line in lines] == ["1", "0"] and {len(line) for line in lines} == {5}
    x, y, w, h = map(float, lines[0][1:])
    assert (x * 64, y * 48, w * 64, h * 48) == pytest.approx((2 + 5.25 / 2, 3 + 6.5 / 2, 5.25, 6.5), abs=1e-4)
    assert (out / "scores/a/one.txt").read_text() == "0.750000\n1.000000\n"
    assert (out / "images/a/one.png").samefile(out.parent / "images/a/one.png"), "a second name of the file, no copy"


def test_voc_has_scores_as_attributes_and_lists_its_images(written: Callable[[str], Path]) -> None:
    out = written("voc")
    root = ElementTree.parse(out / "Annotations/a/one.xml").getroot()
    assert [root.findtext(f"size/{side}") for side in ("width", "height", "depth")] == ["64", "48", "3"]
    scores = {
        a.findtext("value") for a in root.iterfind("object/attributes/attribute") if a.findtext("name") == "score"
    }
    assert scores == {"0.750000", "1.000000"}
    box = root.find("object/bndbox")
    assert box is not None
    assert [box.findtext(c) for c in ("xmin", "ymin", "xmax", "ymax")] == ["2.00", "3.00", "7.25", "9.50"]
    assert (out / "ImageSets/Main/train.txt").read_text().split() == ["b/one", "a/one", "two"]


@pytest.mark.parametrize("form", FORMATS)
def test_a_writing_that_fails_leaves_nothing(form: str, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), writer_of(form, tmp_path / "out", CLASSES, ABOUT) as writer:
        writer.add(Labelled("a.png", 8, 8), [{"category_id": 4, "bbox": [0, 0, 2, 2], "score": 0.5}])
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_what_is_in_the_way_is_said_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("kept")
    for form in ("yolo", "voc"):
        with pytest.raises(DataError, match="is there already"):
            writer_of(form, tmp_path, CLASSES, ABOUT)
    with pytest.raises(SpecError, match=r"labels\.json"):
        writer_of("coco", tmp_path, CLASSES, ABOUT)
    with pytest.raises(SpecError, match="did you mean 'yolo'"):
        writer_of("yolov", tmp_path / "new", CLASSES, ABOUT)


def leave(path: Path, what: str) -> None:
    """Something of a person's at a path."""
    if what == "link":
        path.symlink_to(path.with_name("nowhere"))
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(
            {"image": b"\xff\xd8\xff\xe0", "empty": b"", "truth": b'{"info": {"description": "true"}}'}[what]
        )


@pytest.mark.parametrize(
    ("what", "said"),
    [
        *((what, "is there and is no file of pseudo labels") for what in ("image", "empty", "truth")),
        ("link", "is a link to"),
        ("pipe", "is no file but a pipe or a device"),
    ],
)
def test_what_is_no_file_of_pseudo_labels_is_never_replaced_by_one(what: str, said: str, tmp_path: Path) -> None:
    out = tmp_path / "labels.json"
    leave(out, what)
    before = (out.lstat().st_ino, out.lstat().st_size, out.lstat().st_mtime_ns)
    with pytest.raises(SpecError, match=f"labels.json {said}") as refused:
        writer_of("coco", out, CLASSES, ABOUT)
    assert "name another file with --out" in str(refused.value)
    assert (out.lstat().st_ino, out.lstat().st_size, out.lstat().st_mtime_ns) == before


def test_a_file_of_pseudo_labels_is_replaced_by_newer_ones(tmp_path: Path) -> None:
    out = tmp_path / "labels.json"
    for name in ("a.png", "b.png"):
        with writer_of("coco", out, CLASSES, ABOUT) as writer:
            writer.add(Labelled(name, 40, 30), objects(40, 30))
    assert [image["file_name"] for image in COCO(str(out)).dataset["images"]] == ["b.png"]


@pytest.mark.parametrize("form", ["voc", "yolo"])
@pytest.mark.parametrize("name", [".", "../here", "{}"], ids=["here", "around", "absolute"])
def test_an_empty_folder_that_one_is_in_is_filled_and_stays_the_same(
    form: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    before = here.stat().st_ino
    with writer_of(form, Path(name.format(here)), CLASSES, ABOUT) as writer:
        writer.add(Labelled("a.png", 40, 30), objects(40, 30))
    assert here.stat().st_ino == before and len(list(here.iterdir())) >= 3
    assert not [path for path in here.iterdir() if path.name.startswith(".")]
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ["images/a.png", "images/images/a.png", "a/images/b/c.png", "labels/a.png"])
def test_labels_of_images_in_folders_of_any_name_are_found_again(form: str, name: str, tmp_path: Path) -> None:
    out = tmp_path / "labels.json" if form == "coco" else tmp_path / "out"
    path = tmp_path / "here" / name
    path.parent.mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(path)
    with writer_of(form, out, CLASSES, ABOUT) as writer:
        writer.add(Labelled(name, 40, 30, path), objects(40, 30))
    (picture,) = read_source(tmp_path if form == "coco" else out).pictures
    assert [shape.name for shape in picture.shapes] == [CLASSES[9], CLASSES[4]]


def test_yolo_has_labels_where_trainers_look() -> None:
    """Ultralytics' rule: the last /images/ of a path is /labels/."""
    for image, label in [("images/a.jpg", "labels/a.txt"), ("images/images/a.b.jpg", "images/labels/a.b.txt")]:
        assert beside(PurePosixPath(image), "labels") == PurePosixPath(label)


@pytest.mark.parametrize(
    ("forms", "names", "classes", "said"),
    [
        (("yolo", "voc"), ["a/x.jpg", "b/x.png", "a/x.png"], ["cell"], r"a/x\.jpg and a/x\.png.*(.|\n)*--format coco"),
        (FORMATS, ["a.png", "z\udce4.png"], ["cell"], r"image 'z\\udce4\.png' has bytes (.|\n)*rename it"),
        (FORMATS, ["a.png"], ["z\udce4"], r"class 'z\\udce4' has bytes"),
        (("voc",), ["a\x0bb.png"], ["cell"], r"image 'a\\x0bb\.png' has a control character"),
        (("voc",), ["a\nb.png"], ["cell"], "control character"),
        (("voc",), ["a.png"], ["c\x01"], r"class 'c\\x01'"),
        (("yolo", "voc"), [" a.png"], ["cell"], "begins or ends with a blank"),
        (("yolo", "voc"), ["a.png"], ["cat", " cat "], "class ' cat ' begins or ends with a blank"),
        (("yolo", "voc"), ["a.png"], [""], "class '' has no letter"),
    ],
)
def test_names_that_a_format_cannot_hold_are_refused_before_the_first_image(
    forms: Iterable[str], names: list[str], classes: list[str], said: str
) -> None:
    for form in forms:
        with pytest.raises(DataError, match=said):
            FORMATS[form].check(names, classes)


@pytest.mark.parametrize("form", FORMATS)
def test_all_other_names_are_written(form: str) -> None:
    FORMATS[form].check(["ä/ö ü.png", "a#1%20.png", "a..png", "images/a.png"], ["cat", "Zebra, gestreift", "<&>"])


def test_labels_without_area_or_with_an_empty_mask_teach_nothing() -> None:
    good = objects(40, 30)[0]
    empty = {
        **good,
        "segmentation": {"size": [30, 40], "counts": rle_tools.encode(np.zeros((30, 40), np.uint8, "F"))["counts"]},
    }
    assert useful([good, empty, {**good, "bbox": [1, 1, 0, 4]}]) == [good]
