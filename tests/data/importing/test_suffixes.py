"""Images of every format of photographs are found by their suffix; pictures of other formats are counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from casl.data.check import check
from casl.data.importing.looks import is_image, is_other_picture
from casl.data.importing.make import import_set, read_source
from casl.errors import DataError
from tests.data.importing import exports
from tests.data.importing.exports import Photo
from tests.data.importing.test_formats import HOW
from tests.data.importing.test_recognised import ALL

WRITTEN = [".jfif", ".jpe", ".gif", ".ppm", ".pgm", ".jp2", ".tga", ".webp", ".bmp", ".tiff", ".png", ".pcx", ".GIF"]
NO_PICTURES = {".pdf", ".mpg", ".mpeg", ".h5", ".hdf", ".bufr", ".grib"}  # documents, films, fields of numbers
NOT_READ = "pictures of formats that are not read; convert them to JPEG or PNG"


def photo(suffix: str, n: int, folder: Path) -> Path:
    """An image of a format, its pixels drawn from a number."""
    path = exports.draw(Photo("a.png", n), folder)
    target = folder / f"im{n}{suffix}"
    Image.open(path).convert("L" if suffix == ".pgm" else "RGB").save(target)
    path.unlink()
    return target


@pytest.mark.parametrize("suffix", [*WRITTEN, ".avif"])
def test_an_image_is_found_whatever_its_format(suffix: str, tmp_path: Path) -> None:
    if suffix == ".avif" and ".avif" not in Image.registered_extensions():
        pytest.skip("this Pillow reads no AVIF")
    photos = exports.boxes(6)
    source = exports.cvat(photos, tmp_path / "src")
    for n in range(6):
        (source / "images" / "default" / photos[n].file).unlink()
        photo(suffix, n, source / "images" / "default")
    path = source / "annotations" / "instances_default.json"
    data = json.loads(path.read_text())
    for n, image in enumerate(data["images"]):
        image["file_name"] = f"im{n}{suffix}"
    path.write_text(json.dumps(data))
    manifest = import_set(read_source(source), tmp_path / "set", ALL, HOW)
    assert manifest["left_out_or_changed"] == {}
    assert sum(found["images"] for found in manifest["splits"].values()) == 6
    assert not check(tmp_path / "set").errors


def test_every_suffix_that_pillow_knows_is_an_image_or_counted() -> None:
    known = set(Image.registered_extensions()) - NO_PICTURES
    assert {
        suffix for suffix in known if not is_image(Path(f"a{suffix}")) and not is_other_picture(Path(f"a{suffix}"))
    } == set()
    assert not any(is_image(Path(f"a{suffix}")) and is_other_picture(Path(f"a{suffix}")) for suffix in known)


@pytest.mark.parametrize("further", [False, True])
def test_pictures_of_other_formats_are_counted_with_their_suffixes(further: bool, tmp_path: Path) -> None:
    source, more = exports.voc(exports.boxes(), tmp_path / "src"), tmp_path / "more"
    exports.draw(Photo("more.png", 99), more)
    for name in ("a.heic", "b.HEIC", "c.svg"):
        ((more if further else source) / name).write_bytes(b"x")
    manifest = import_set(read_source(source), tmp_path / "set", ALL, HOW, more)
    assert manifest["left_out_or_changed"] == {f"{NOT_READ} (.heic, .svg)": 3}


def test_an_image_of_an_annotation_that_is_there_in_a_format_that_is_not_read_says_so(tmp_path: Path) -> None:
    source = exports.voc(exports.boxes(4), tmp_path / "src")
    (source / "JPEGImages" / "photo-00.png").rename(source / "JPEGImages" / "photo-00.heic")
    path = source / "Annotations" / "photo-00.xml"
    path.write_text(path.read_text().replace("photo-00.png", "photo-00.heic"))
    with pytest.raises(DataError, match=r"JPEGImages/photo-00\.heic is there, but \.heic is not read: convert it"):
        read_source(source)


def test_a_folder_of_other_pictures_alone_is_refused_with_them(tmp_path: Path) -> None:
    for name in ("a.heic", "b.heic"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=rf"has no images, .*\n  Passed over: 2 {NOT_READ} \(\.heic\)\."):
        read_source(tmp_path)
