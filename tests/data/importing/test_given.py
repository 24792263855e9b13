"""What is given to an import and is not what was meant is refused with what it is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from casl.data.importing.make import import_set, read_source
from casl.errors import DataError
from tests.data.importing import exports
from tests.data.importing.exports import Photo
from tests.data.importing.test_formats import HOW
from tests.data.importing.test_recognised import ALL

Export = Callable[[Sequence[Photo], Path], Path]
OF: dict[str, tuple[Export, str]] = {
    "voc": (exports.voc, "Pascal VOC"),
    "yolo": (exports.yolo, "YOLO"),
    "labelme": (exports.labelme, "LabelMe"),
    "via": (exports.via, "VIA"),
    "coco": (exports.label_studio, "COCO JSON"),
}


@pytest.mark.parametrize("form", OF)
@pytest.mark.parametrize("there", OF)
def test_a_format_that_is_named_and_not_there_is_refused_with_what_is_there(
    there: str, form: str, tmp_path: Path
) -> None:
    source = OF[there][0](exports.boxes(4), tmp_path / "src")
    if form == there:
        assert any(picture.annotation for picture in read_source(source, form).pictures)
        return
    says = rf"src: has no annotations of {OF[form][1]} \(.*\)\.\n  It looks like {OF[there][1]}: --format {there}\."
    with pytest.raises(DataError, match=says):
        read_source(source, form)


@pytest.mark.parametrize("form", OF)
def test_a_format_that_is_named_is_refused_where_there_are_images_alone_or_nothing(form: str, tmp_path: Path) -> None:
    exports.draw(exports.boxes(1)[0], tmp_path / "photos")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="--format images takes its images without labels"):
        read_source(tmp_path / "photos", form)
    with pytest.raises(DataError, match="There are no images in it either"):
        read_source(tmp_path / "empty", form)


def test_yolo_without_any_labels_is_refused_and_can_be_read_as_images(tmp_path: Path) -> None:
    source = exports.yolo(exports.boxes(4), tmp_path / "src")
    shutil.rmtree(source / "labels")
    with pytest.raises(DataError, match=r"no annotations of YOLO .*\n.*--format images takes its images"):
        read_source(source)
    assert len(read_source(source, "images").pictures) == 4


@pytest.mark.parametrize("form", [None, "voc"])
@pytest.mark.parametrize("prefix", ["", "v"])
def test_pascal_voc_in_an_xml_namespace_says_so(prefix: str, form: str | None, tmp_path: Path) -> None:
    source = exports.voc(exports.boxes(4), tmp_path / "src")
    for path in (source / "Annotations").iterdir():
        root = "annotation" if not prefix else f"{prefix}:annotation"
        text = path.read_text().replace("<annotation>", f'<{root} xmlns{":" * bool(prefix)}{prefix}="http://x.org">', 1)
        path.write_text(text.removesuffix("</annotation>") + f"</{root}>")
    if prefix and form is None:
        form = "voc"  # no word of it begins as Pascal VOC does
    with pytest.raises(DataError, match=r"photo-00\.xml: its elements are in the XML namespace 'http://x\.org'"):
        read_source(source, form)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("exprot", r"exprot: no such file or folder\.\n  did you mean '.*export'\?"),
        ("wholly-other", r"wholly-other: no such file or folder\.$"),
        ("none/export", r"none/export: no such file or folder\.$"),
        ("set.zip", r"set\.zip: is packed; unpack it"),
        ("set.tar.gz", r"set\.tar\.gz: is packed; unpack it"),
        ("set.TGZ", r"set\.TGZ: is packed; unpack it"),
        ("photo-00.png", r"photo-00\.png: is an image; give the folder"),
        ("notes.txt", r"notes\.txt: holds no annotations of a known format"),
    ],
)
@pytest.mark.parametrize("form", [None, "images"])
def test_a_source_that_is_none_is_named_with_what_it_is(
    given: str, says: str, form: str | None, tmp_path: Path
) -> None:
    (tmp_path / "export").mkdir()
    for name in ("set.zip", "set.tar.gz", "set.TGZ", "notes.txt"):
        (tmp_path / name).write_text("x")
    exports.draw(exports.boxes(1)[0], tmp_path)
    if form and given == "notes.txt":
        return  # its folder is then read
    with pytest.raises(DataError, match=says):
        read_source(tmp_path / given, form)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("exprot", r"exprot: no such folder\.\n  did you mean '.*export'\?"),
        ("photo-00.pn", r"photo-00\.pn: no such folder\.$"),
        ("photo-00.png", r"photo-00\.png: is a file, not a folder of images"),
        ("set.zip", r"set\.zip: is packed; unpack it"),
        ("export", r"export: no images in it"),
    ],
)
def test_a_folder_of_unlabeled_images_that_is_none_is_named(given: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "set.zip").write_text("x")
    exports.draw(exports.boxes(1)[0], tmp_path)
    source = read_source(exports.voc(exports.boxes(), tmp_path / "src"))
    with pytest.raises(DataError, match=says):
        import_set(source, tmp_path / "set", ALL, HOW, tmp_path / given)


def test_a_pipe_is_no_source_and_no_folder_of_images(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(DataError, match=r"pipe\.json: is no regular file\."):
        read_source(tmp_path / "pipe.json")
    source = read_source(exports.voc(exports.boxes(), tmp_path / "src"))
    with pytest.raises(DataError, match=r"pipe\.json: is no regular file\."):
        import_set(source, tmp_path / "set", ALL, HOW, tmp_path / "pipe.json")
