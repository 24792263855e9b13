"""The digest of a split follows its content and nothing else."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from casl.data.check import check
from casl.data.digest import changes, digest
from casl.data.layout import SplitFiles, find_splits
from casl.errors import DataError, SpecError, StoreError
from tests.data.tiny import edit, write_set


def labeled(root: Path) -> SplitFiles:
    return find_splits(root)["labeled"]


def age(root: Path) -> None:
    """Make all files an hour old, as they are when a set is used again."""
    for path in root.rglob("*"):
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 3600))


def overwrite_unseen(path: Path) -> None:
    """Change the content, and neither size, time nor inode."""
    before = path.stat()
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_it_names_every_file_with_the_hash_of_its_content(tmp_path: Path) -> None:
    files = digest(labeled(write_set(tmp_path)), "objects").files
    assert files == {
        name: hashlib.sha256((tmp_path / path).read_bytes()).hexdigest()
        for name, path in {
            "objects": "annotations/instances_labeled.json",
            "images/a.png": "images/a.png",
            "images/b.png": "images/b.png",
        }.items()
    }


@pytest.mark.parametrize("kind", ["objects", "entities", "images"])
def test_copies_have_the_same_digest_in_any_folder_and_layout(tmp_path: Path, kind: str) -> None:
    here = digest(labeled(write_set(tmp_path / "here")), kind)
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    age(tmp_path / "there")
    assert digest(labeled(tmp_path / "there"), kind) == here
    (tmp_path / "coco" / "annotations").mkdir(parents=True)
    for stem in ("instances", "entity"):
        old = tmp_path / "here" / "annotations" / f"{stem}_labeled.json"
        shutil.copy(old, tmp_path / "coco" / "annotations" / f"{stem}_train2017.json")
    shutil.copytree(tmp_path / "here" / "images", tmp_path / "coco" / "train2017")
    assert digest(labeled(tmp_path / "coco"), kind) == here


def test_the_kinds_depend_on_the_files_they_read(tmp_path: Path) -> None:
    files = labeled(write_set(tmp_path))
    made_of_panoptic = digest(replace(files, entity=None), "entities")
    assert set(made_of_panoptic.files) == {
        "panoptic",
        "panoptic/a.png",
        "panoptic/b.png",
        "images/a.png",
        "images/b.png",
    }
    values = {digest(files, kind).value for kind in ("objects", "entities", "images")} | {made_of_panoptic.value}
    assert len(values) == 4


def test_labels_that_nobody_reads_do_not_count_for_images(tmp_path: Path) -> None:
    files = labeled(write_set(tmp_path))
    before = {kind: digest(files, kind) for kind in ("objects", "images")}
    edit(tmp_path, "instances_labeled", lambda data: data["annotations"].pop())
    assert digest(files, "images") == before["images"]
    assert changes(before["objects"], digest(files, "objects")) == ["changed: objects"]


@pytest.mark.parametrize("held", [None, 5, "text", [5], [None, []], {}])
def test_annotations_in_a_list_of_images_are_not_looked_at(tmp_path: Path, held: object) -> None:
    unlabeled = find_splits(write_set(tmp_path))["unlabeled"]
    before = digest(unlabeled, "images")
    edit(tmp_path, "unlabeled", lambda data: data.update(annotations=held))
    assert not check(tmp_path).errors
    assert digest(unlabeled, "images") == before


def test_panoptic_depends_on_its_maps_and_on_the_instances_it_takes_things_from(tmp_path: Path) -> None:
    files = labeled(write_set(tmp_path))
    before, things = digest(files, "panoptic"), digest(replace(files, instances=None), "panoptic")
    maps = {"panoptic/a.png", "panoptic/b.png"}
    assert set(before.files) == {"panoptic", "objects", "images/a.png", "images/b.png"} | maps
    assert things.files == {name: value for name, value in before.files.items() if name != "objects"}
    shutil.copy(tmp_path / "annotations/panoptic_labeled/b.png", tmp_path / "annotations/panoptic_labeled/a.png")
    assert changes(before, digest(files, "panoptic")) == ["changed: panoptic/a.png"]
    assert changes(things, digest(replace(files, instances=None), "panoptic")) == ["changed: panoptic/a.png"]
    edit(tmp_path, "instances_labeled", lambda data: data["annotations"].pop())
    assert changes(before, digest(files, "panoptic")) == ["changed: objects", "changed: panoptic/a.png"]


def test_keypoints_depend_on_their_file_and_its_images(tmp_path: Path) -> None:
    shutil.copy(
        write_set(tmp_path) / "annotations/instances_val.json", tmp_path / "annotations/person_keypoints_val.json"
    )
    files = find_splits(tmp_path)["val"]
    before = digest(files, "keypoints")
    assert set(before.files) == {"keypoints", "images/d.png"}
    edit(tmp_path, "instances_val", lambda data: data["annotations"].pop())
    assert digest(files, "keypoints") == before
    edit(tmp_path, "person_keypoints_val", lambda data: data["annotations"].pop())
    assert changes(before, digest(files, "keypoints")) == ["changed: keypoints"]


def drop_b_and_add_c(root: Path) -> None:
    edit(root, "instances_labeled", lambda data: data["images"][1].update(file_name="c.png"))


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (lambda root: None, []),
        (lambda root: shutil.copy(root / "images/d.png", root / "images/a.png"), ["changed: images/a.png"]),
        (drop_b_and_add_c, ["added: images/c.png", "changed: objects", "removed: images/b.png"]),
    ],
)
def test_changes_are_listed_by_file(tmp_path: Path, change: Callable[[Path], object], lines: list[str]) -> None:
    old = digest(labeled(write_set(tmp_path)), "objects")
    change(tmp_path)
    new = digest(labeled(tmp_path), "objects")
    assert changes(old, new) == lines
    assert (old.value == new.value) == (not lines)


def test_unchanged_files_are_not_read_again(tmp_path: Path) -> None:
    cache = tmp_path / "made" / "cache.json"
    files = labeled(write_set(tmp_path / "set"))
    age(tmp_path / "set")
    first = digest(files, "objects", cache)
    for path in (tmp_path / "set").rglob("*.*"):
        overwrite_unseen(path)
    assert digest(files, "objects", cache) == first
    assert list(cache.parent.iterdir()) == [cache]


@pytest.mark.parametrize("touch_time", [True, False])
def test_a_changed_file_is_seen_through_the_cache(tmp_path: Path, touch_time: bool) -> None:
    cache, image = tmp_path / "cache.json", tmp_path / "set" / "images" / "a.png"
    files = labeled(write_set(tmp_path / "set"))
    age(tmp_path / "set")
    first = digest(files, "objects", cache)
    before = image.stat()
    image.write_bytes(bytes(before.st_size + (not touch_time)))
    os.utime(image, ns=(0, before.st_mtime_ns + touch_time))
    assert changes(first, digest(files, "objects", cache)) == ["changed: images/a.png"]


def test_a_file_written_just_now_is_not_trusted_to_the_clock(tmp_path: Path) -> None:
    files = labeled(write_set(tmp_path / "set"))
    first = digest(files, "objects", tmp_path / "cache.json")
    overwrite_unseen(tmp_path / "set" / "images" / "a.png")
    assert changes(first, digest(files, "objects", tmp_path / "cache.json")) == ["changed: images/a.png"]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"format": 99, "entries": {}}', '{"format": 1, "entries": {"a": 1}}']
)
def test_a_damaged_cache_is_made_anew(tmp_path: Path, content: str) -> None:
    files = labeled(write_set(tmp_path / "set"))
    (tmp_path / "cache.json").write_text(content)
    assert digest(files, "objects", tmp_path / "cache.json") == digest(files, "objects")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_names_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = labeled(write_set(tmp_path / "set"))
    age(tmp_path / "set")
    found = digest(files, "objects")
    with (
        monkeypatch.context() as patched,
        pytest.raises(StoreError, match=r"cannot write .*cache\.json: the disk is full"),
    ):
        patched.setattr(os, "fsync", lambda handle: os.write(os.open("/dev/full", os.O_WRONLY), b"0"))
        digest(files, "objects", tmp_path / "cache.json")
    assert digest(files, "objects", tmp_path / "cache.json") == found


def test_one_cache_serves_several_sets(tmp_path: Path) -> None:
    for name in ("one", "two"):
        age(write_set(tmp_path / name))
    edit(tmp_path / "two", "instances_labeled", lambda data: data["annotations"].pop())
    for _ in range(2):
        values = {digest(labeled(tmp_path / name), "objects", tmp_path / "cache").value for name in ("one", "two")}
        assert len(values) == 2


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    files = labeled(write_set(tmp_path))
    (tmp_path / "images" / "b.png").unlink()
    with pytest.raises(DataError, match=r"b\.png: cannot be read"):
        digest(files, "objects")
    edit(tmp_path, "instances_labeled", lambda data: data["images"][0].pop("width"))
    with pytest.raises(DataError, match=r"instances_labeled\.json: not COCO: .*width"):
        digest(files, "objects")
    with pytest.raises(DataError, match="has no entities"):
        digest(find_splits(tmp_path)["val"], "entities")
    with pytest.raises(SpecError, match="unknown annotation kind 'masks'"):
        digest(files, "masks")


def test_planning_needs_neither_numpy_nor_pillow() -> None:
    code = "import sys, casl.data.layout, casl.data.digest; print(sorted({'numpy', 'PIL', 'torch'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
