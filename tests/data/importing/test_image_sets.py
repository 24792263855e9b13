"""A split that Pascal VOC's ImageSets give is the split of the set, however its entries are written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from casl.data.importing.assign import Plan
from casl.data.importing.draw import Share
from casl.data.importing.make import import_set, read_source
from casl.errors import DataError
from tests.data.importing import exports
from tests.data.importing.exports import Photo, Thing
from tests.data.importing.test_formats import HOW

MISSING = "entries of ImageSets whose image is not there"


def photos(names: Sequence[str], first: int = 0) -> list[Photo]:
    """Images of these names with a cat each."""
    return [Photo(f"{name}.png", n, (Thing("cat", (2, 3, 10, 12)),)) for n, name in enumerate(names, start=first)]


def listed(root: Path, word: str, lines: Sequence[str]) -> Path:
    """One list of ImageSets/Main."""
    path = root / "ImageSets" / "Main" / f"{word}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def splits_of(source: Path) -> dict[str, set[str]]:
    """Names of the images of each split of the imported set."""
    import_set(read_source(source), source.parent / "set", Plan(labeled=Share("100%")), HOW)
    files = (source.parent / "set" / "annotations").glob("instances_*.json")
    return {f.stem[10:]: {image["file_name"] for image in json.loads(f.read_text())["images"]} for f in files}


def left_out(source: Path) -> dict[str, Any]:
    """What the import of a source says it left out."""
    out = source.parent / "counted"
    return import_set(read_source(source), out, Plan(labeled=Share("100%")), HOW)["left_out_or_changed"]  # type: ignore[no-any-return]


PLAIN = [f"photo-{n}" for n in range(8)]
SPACED = [f"photo ({n})" for n in range(8)]
FLAG_LIKE = [f"photo {n}" for n in range(8)]  # of which two end as the lines of a list of one class do
DOTTED = [f"v1.{n}" for n in range(8)]


@pytest.mark.parametrize(
    ("names", "entry"),
    [
        (PLAIN, "{}"),
        (PLAIN, "{}.png"),
        (PLAIN, "{}.xml"),
        (PLAIN, "JPEGImages/{}.png"),
        (PLAIN, "./JPEGImages/{}"),
        (PLAIN, "../../JPEGImages/{}.png"),
        (PLAIN, "src/JPEGImages/{}"),
        (PLAIN, "/home/me/VOC/JPEGImages/{}.png"),
        (PLAIN, "C:\\VOC\\JPEGImages\\{}.png"),
        (PLAIN, "{} 1"),
        (PLAIN, "{}   0"),
        (PLAIN, "{}\t-1"),
        (PLAIN, "  {}  \r"),
        (SPACED, "{}"),
        (SPACED, "{}.png"),
        (SPACED, "{}  1"),
        (FLAG_LIKE, "{}"),
        (FLAG_LIKE, "{} -1"),
        (DOTTED, "{}"),
        (DOTTED, "{}.png"),
    ],
)
def test_however_an_entry_names_an_image_its_split_is_kept(names: Sequence[str], entry: str, tmp_path: Path) -> None:
    source = exports.voc(photos(names), tmp_path / "src")
    listed(source, "train", [entry.format(name) for name in names[:5]])
    listed(source, "trainval", [entry.format(name) for name in names])
    listed(source, "val", [entry.format(name) for name in names[5:]])
    listed(source, "cat_train", [f"{name} {n % 3 - 1}" for n, name in enumerate(names)])
    found = splits_of(source)
    assert found["val"] == {f"JPEGImages/{name}.png" for name in names[5:]}
    assert found["labeled"] == {f"JPEGImages/{name}.png" for name in names[:5]}


def test_a_list_of_val_alone_leaves_the_others_for_training(tmp_path: Path) -> None:
    source = exports.voc(photos(PLAIN), tmp_path / "src")
    listed(source, "val", PLAIN[6:])
    assert splits_of(source)["val"] == {f"JPEGImages/{name}.png" for name in PLAIN[6:]}


def test_entries_of_two_folders_with_equal_names_stay_apart(tmp_path: Path) -> None:
    names = ["0", "1", "2"]
    for n, (kit, word) in enumerate((("A", "train"), ("B", "val"))):
        exports.voc(photos(names, 10 * n), tmp_path / "src" / kit)
        listed(tmp_path / "src" / kit, word, names)
    found = splits_of(tmp_path / "src")
    assert found["val"] == {f"B/JPEGImages/{name}.png" for name in names}
    assert found["labeled"] == {f"A/JPEGImages/{name}.png" for name in names}


def test_entries_with_folders_are_told_apart_by_them(tmp_path: Path) -> None:
    """As `casl label --format voc` writes images of two folders: the folders are below Annotations too."""
    source, ids = tmp_path / "src", ["0", "1", "2"]
    for n, inner in enumerate("xy"):
        exports.voc(photos(ids, 10 * n), source / inner)
        for kind in ("JPEGImages", "Annotations"):
            (source / kind).mkdir(exist_ok=True)
            (source / inner / kind).rename(source / kind / inner)
        (source / inner).rmdir()
    listed(source, "train", [f"x/{name}" for name in ids])
    listed(source, "val", [f"y/{name}" for name in ids])
    found = splits_of(source)
    assert found["val"] == {f"JPEGImages/y/{name}.png" for name in ids}
    assert found["labeled"] == {f"JPEGImages/x/{name}.png" for name in ids}


def test_masks_of_the_same_names_are_not_the_images_of_a_list(tmp_path: Path) -> None:
    source = exports.voc(photos(PLAIN), tmp_path / "src")
    (source / "JPEGImages").rename(source / "photos")
    for n, name in enumerate(PLAIN, start=50):
        exports.draw(Photo(f"{name}.jpg", n), source / "SegmentationClass")
    listed(source, "train", PLAIN[:6])
    listed(source, "val", PLAIN[6:])
    assert splits_of(source)["val"] == {f"photos/{name}.png" for name in PLAIN[6:]}


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        (["img-6", "img-7"], r"Main/val\.txt: 'img-6' and all other entries name no image of .*src\.$"),
        (["phot-6", "phot-7"], r"Main/val\.txt: 'phot-6' and all .*; did it mean 'photo-6'\?"),
        (["PHOTO-6"], r"Main/val\.txt: 'PHOTO-6' and all .*; did it mean 'photo-6'\?"),
        (["photo-6.jpg"], r"Main/val\.txt: 'photo-6\.jpg' and all .*; did it mean 'photo-6'\?"),
        (["other/photo-6"], r"Main/val\.txt: 'other/photo-6' and all .*; did it mean 'photo-6'\?"),
        (["photo-6 2"], r"Main/val\.txt: 'photo-6 2' and all"),
    ],
)
def test_a_list_that_names_no_image_is_refused(entries: Sequence[str], says: str, tmp_path: Path) -> None:
    source = exports.voc(photos(PLAIN), tmp_path / "src")
    listed(source, "train", PLAIN[:6])
    listed(source, "val", entries)
    with pytest.raises(DataError, match=says):
        read_source(source)


def test_entries_without_an_image_are_counted_once_where_others_have_one(tmp_path: Path) -> None:
    """A part of VOC keeps the lists of the whole."""
    source = exports.voc(photos(PLAIN), tmp_path / "src")
    listed(source, "train", [*PLAIN[:6], "gone-1", "gone-2"])
    listed(source, "trainval", [*PLAIN, "gone-1", "gone-2", "gone-3"])
    listed(source, "val", [*PLAIN[6:], "gone-3"])
    listed(source, "test", [])
    assert left_out(source) == {MISSING: 3}
    assert splits_of(source)["val"] == {f"JPEGImages/{name}.png" for name in PLAIN[6:]}


def test_an_image_that_is_not_there_is_not_taken_for_one_whose_name_is_shorter(tmp_path: Path) -> None:
    """In a list of names that do not all end in 1, 0 or -1 such an end is a part of the name."""
    source = exports.voc(photos([*PLAIN, "photo"]), tmp_path / "src")
    listed(source, "train", [*PLAIN[:6], "photo"])
    listed(source, "val", [*PLAIN[6:], "photo 1"])
    assert left_out(source) == {MISSING: 1}
    assert splits_of(source)["val"] == {f"JPEGImages/{name}.png" for name in PLAIN[6:]}


def test_an_entry_that_may_be_two_images_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "src"
    exports.voc(photos(PLAIN), source / "a")
    exports.voc(photos(PLAIN[6:], 90), source / "b")
    listed(source, "train", PLAIN[:6])
    listed(source, "val", PLAIN[6:])
    with pytest.raises(DataError, match=r"Main/val\.txt: 'photo-6' may be .*a/JPEGImages/photo-6\.png and .*b/JPEGIm"):
        read_source(source)
