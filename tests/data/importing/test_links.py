"""Folders that are links are read as folders, each once; what is no file is refused."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from casl.data.importing.assign import Plan
from casl.data.importing.draw import Share
from casl.data.importing.looks import files_under, formats_in
from casl.data.importing.make import import_set, read_source
from casl.errors import DataError
from tests.data.importing import exports
from tests.data.importing.exports import Photo
from tests.data.importing.test_formats import HOW, assert_same, objects_of

ALL = Plan(labeled=Share("100%"), val=Share("2"))
AGAIN = "links to folders that are read under another name, or that lie above the link"
Export = Callable[[Sequence[Photo], Path], Path]


def moved(folder: Path, to: Path) -> None:
    """The folder somewhere else, and a link to it where it was."""
    to.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(to)
    folder.symlink_to(to)


def made(source: Path, plan: Plan = ALL) -> dict[str, Any]:
    return import_set(read_source(source), source.parent / "set", plan, HOW)


@pytest.mark.parametrize(
    ("export", "folders"),
    [
        (exports.voc, ["JPEGImages"]),
        (exports.voc, ["Annotations"]),
        (exports.voc, ["JPEGImages", "Annotations"]),
        (exports.yolo, ["images"]),
        (exports.yolo, ["labels"]),
        (exports.yolo, ["images", "labels"]),
        (exports.cvat, ["images"]),
        (exports.cvat, ["images/default"]),
        (exports.cvat, ["annotations"]),
        (exports.label_studio, ["images"]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "-".join(value),
)
def test_a_folder_that_is_a_link_is_read_as_the_folder(export: Export, folders: list[str], tmp_path: Path) -> None:
    photos = exports.boxes()
    source = export(photos, tmp_path / "src")
    for n, folder in enumerate(folders):
        moved(source / folder, tmp_path / f"disk{n}" / "somewhere")
    assert made(source)["left_out_or_changed"] == {}
    assert_same(objects_of(tmp_path / "set"), photos)


@pytest.mark.parametrize("entries", [("images/train", "images/val"), ("train.txt", "val.txt")])
@pytest.mark.parametrize("files", [False, True])
def test_splits_of_yolo_hold_where_images_are_behind_links(
    files: bool, entries: tuple[str, str], tmp_path: Path
) -> None:
    """The folder of the images is a link, or each image is one."""
    photos = exports.boxes()
    source = exports.yolo(photos, tmp_path / "src", ("train", "val"))
    for split in ("train", "val"):
        images = sorted((source / "images" / split).iterdir())
        (source / f"{split}.txt").write_text("".join(f"./images/{split}/{image.name}\n" for image in images))
        for image in images if files else ():
            moved(image, tmp_path / "disk" / image.name)
    if not files:
        moved(source / "images", tmp_path / "disk")
    with (source / "data.yaml").open("a") as file:
        file.write(f"train: {entries[0]}\nval: {entries[1]}\n")
    manifest = made(source, Plan(labeled=Share("100%")))
    assert manifest["left_out_or_changed"] == {}
    assert manifest["splits"]["val"]["images"] == 6


@pytest.mark.parametrize("target", [".", "..", "../..", "images", "images/default"])
@pytest.mark.parametrize("place", ["loop", "images/loop", "images/default/loop"])
def test_links_in_circles_end_and_are_counted(place: str, target: str, tmp_path: Path) -> None:
    photos = exports.boxes()
    source = exports.cvat(photos, tmp_path / "above" / "src")
    exports.draw(Photo("elsewhere.png", 99), tmp_path / "above")
    exports.draw(Photo("elsewhere.png", 98), tmp_path)
    (source / place).symlink_to(source / target if target[0] != "." else target)
    assert made(source)["left_out_or_changed"] == {AGAIN: 1}
    assert_same(objects_of(source.parent / "set"), photos)


def test_links_that_lead_to_each_other_end(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        exports.draw(Photo(f"{name}.png", ord(name)), tmp_path / "disk" / name)
        (tmp_path / "disk" / name / "other").symlink_to(tmp_path / "disk" / other)
    source = tmp_path / "src"
    source.mkdir()
    (source / "a").symlink_to(tmp_path / "disk" / "a")
    (source / "self").symlink_to("self")
    found = [path.relative_to(source).as_posix() for path in files_under(source)]
    assert found == ["self", "a/a.png", "a/other/b.png"]


def test_of_two_links_to_one_folder_the_first_is_read_and_the_other_counted(tmp_path: Path) -> None:
    source = tmp_path / "src"
    for photo in exports.boxes():
        exports.draw(photo, tmp_path / "disk" / "inner")
    source.mkdir()
    for name, target in (("b", "disk"), ("a", "disk"), ("c", "disk/inner")):
        (source / name).symlink_to(tmp_path / target)
    manifest = made(source)
    assert manifest["left_out_or_changed"] == {AGAIN: 2}
    assert manifest["splits"]["unlabeled"]["images"] == 12
    assert (tmp_path / "set" / "images" / "a" / "inner" / "photo-00.png").is_file()


def test_a_folder_of_the_source_keeps_its_own_name_where_a_link_leads_to_it_too(tmp_path: Path) -> None:
    source = tmp_path / "src"
    for photo in exports.boxes():
        exports.draw(photo, source / "z")
    (source / "a").symlink_to("z")
    assert made(source)["left_out_or_changed"] == {AGAIN: 1}
    assert (tmp_path / "set" / "images" / "z" / "photo-00.png").is_file()


def test_links_in_a_folder_of_unlabeled_images_are_followed_and_counted(tmp_path: Path) -> None:
    source = exports.voc(exports.boxes(), tmp_path / "src")
    for n in range(3):
        exports.draw(Photo(f"more-{n}.png", 100 + n), tmp_path / "disk")
    more = tmp_path / "more"
    more.mkdir()
    for name in ("a", "b"):
        (more / name).symlink_to(tmp_path / "disk")
    manifest = import_set(read_source(source), tmp_path / "set", ALL, HOW, more)
    assert manifest["left_out_or_changed"] == {AGAIN: 1}
    assert manifest["splits"]["unlabeled"]["images"] == 3


@pytest.mark.parametrize("export", [exports.voc, exports.yolo, exports.cvat], ids=lambda export: export.__name__)
def test_a_link_to_a_folder_that_is_gone_is_named_with_the_image_that_is_missing(
    export: Export, tmp_path: Path
) -> None:
    source = export(exports.boxes(), tmp_path / "src")
    folder = source / ("JPEGImages" if export is exports.voc else "images")
    moved(folder, tmp_path / "disk")
    (tmp_path / "disk").rename(tmp_path / "gone")
    with pytest.raises(DataError, match=rf"{folder.name} is a link to {tmp_path}/disk, which is not there"):
        read_source(source)


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("name", ["x.jpg", "x.json", "x.xml", "x.txt", "x.yaml"])
def test_a_pipe_that_is_called_as_a_file_is_refused_and_not_waited_for(name: str, linked: bool, tmp_path: Path) -> None:
    source = exports.yolo(exports.boxes(), tmp_path / "src")
    os.mkfifo(tmp_path / "pipe" if linked else source / name)
    if linked:
        (source / name).symlink_to(tmp_path / "pipe")
    assert formats_in(source) == ["yolo"]
    with pytest.raises(DataError, match=rf"{name}: is no regular file"):
        read_source(source)
    with pytest.raises(DataError, match=rf"{name}: is no regular file"):
        import_set(read_source(exports.voc(exports.boxes(), tmp_path / "b")), tmp_path / "set", ALL, HOW, source)
