"""Data sets are found in both layouts, and a folder that is none says what was looked for."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from casl.data.layout import SplitFiles, find_splits, unread
from casl.errors import DataError, SpecError
from casl.stages.dataset import inspect
from tests.data.tiny import REAL, needs_real, write_set


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")
    return root


def test_the_native_layout(tmp_path: Path) -> None:
    splits = find_splits(write_set(tmp_path))
    folder = tmp_path / "annotations"
    assert splits == {
        "labeled": SplitFiles(
            name="labeled",
            images=tmp_path / "images",
            instances=folder / "instances_labeled.json",
            entity=folder / "entity_labeled.json",
            panoptic=folder / "panoptic_labeled.json",
            panoptic_pngs=folder / "panoptic_labeled",
        ),
        "unlabeled": SplitFiles("unlabeled", tmp_path / "images", listing=folder / "unlabeled.json"),
        "val": SplitFiles("val", tmp_path / "images", instances=folder / "instances_val.json"),
    }


def test_sized_unlabeled_splits_and_the_hidden_truth_have_names_of_their_own(tmp_path: Path) -> None:
    files = ["unlabeled_tiny.json", "unlabeled_large.json", "instances_unlabeled_gt.json"]
    splits = find_splits(touch(tmp_path, *(f"annotations/{name}" for name in files)))
    assert list(splits) == ["unlabeled_gt", "unlabeled_large", "unlabeled_tiny"]
    assert splits["unlabeled_tiny"].source("images").name == "unlabeled_tiny.json"
    assert splits["unlabeled_tiny"].instances is None
    assert splits["unlabeled_gt"].source("objects").name == "instances_unlabeled_gt.json"


@pytest.mark.parametrize("pngs", ["annotations/panoptic_val2017/", "panoptic_val2017/"])
def test_the_coco_folders(tmp_path: Path, pngs: str) -> None:
    names = ["instances_train2017", "instances_val2017", "image_info_unlabeled2017", "person_keypoints_val2017"]
    touch(tmp_path, *(f"annotations/{name}.json" for name in names), "annotations/panoptic_val2017.json", pngs)
    splits = find_splits(tmp_path)
    assert {name: files.images.name for name, files in splits.items()} == {
        "labeled": "train2017",
        "unlabeled": "unlabeled2017",
        "val": "val2017",
    }
    assert splits["val"].panoptic_pngs == tmp_path / pngs
    assert splits["val"].keypoints == tmp_path / "annotations/person_keypoints_val2017.json"
    assert splits["unlabeled"].source("images").name == "image_info_unlabeled2017.json"


def test_one_split_alone_is_legal(tmp_path: Path) -> None:
    assert list(find_splits(touch(tmp_path / "n", "annotations/instances_val.json"))) == ["val"]
    assert list(find_splits(touch(tmp_path / "c", "annotations/instances_val2017.json"))) == ["val"]


def test_a_folder_in_neither_layout_says_what_was_wanted_and_what_is_there(tmp_path: Path) -> None:
    touch(tmp_path, "annotations/labels.json", "photos/")
    with pytest.raises(DataError) as error:
        find_splits(tmp_path)
    for part in ("instances_{labeled,val}.json", "instances_{train,val}2017.json", "photos/", "labels.json"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (
            "annotations/instances_labeled.JSON",
            "instances_labeled.JSON is called in other letters: rename it to instances",
        ),
        (
            "annotations/Instances_labeled.json",
            "Instances_labeled.json is called in other letters: rename it to instances_labeled.json",
        ),
        ("annotations/instances_labeled.json.gz", "instances_labeled.json.gz is packed: unpack it"),
        ("annotations/instances_labeled.json/", "instances_labeled.json is a folder, not a file"),
    ],
)
def test_a_file_under_a_near_name_is_pointed_at(tmp_path: Path, there: str, said: str) -> None:
    root = write_set(tmp_path / "set")
    (whole := root / "annotations" / "instances_labeled.json").unlink()
    touch(root, there)
    with pytest.raises(DataError, match=f"not read of annotations/: {re.escape(said)}"):
        find_splits(root)["labeled"].source("objects")
    assert said in inspect(root)[0].errors[-1]
    assert not whole.is_file()


def test_a_packed_file_alone_is_pointed_at(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"instances_train2017\.json\.zip is packed: unpack it"):
        find_splits(touch(tmp_path, "annotations/instances_train2017.json.zip"))


def test_a_folder_of_annotations_in_other_letters_is_pointed_at(tmp_path: Path) -> None:
    (write_set(tmp_path) / "annotations").rename(tmp_path / "Annotations")
    with pytest.raises(DataError, match="Annotations/ is not read: upper and lower case count; rename it"):
        find_splits(tmp_path)


def test_a_sound_set_has_nothing_unread(tmp_path: Path) -> None:
    assert unread(touch(write_set(tmp_path), "annotations/notes.txt", "annotations/instances_A.json")) == ""


def test_a_missing_folder_and_a_mixed_one_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        find_splits(tmp_path / "nowhere")
    touch(tmp_path, "annotations/instances_val2017.json", "annotations/instances_labeled.json")
    with pytest.raises(DataError, match="both COCO 2017 names"):
        find_splits(tmp_path)


def test_what_a_split_does_not_have_is_explained(tmp_path: Path) -> None:
    splits = find_splits(write_set(tmp_path))
    with pytest.raises(DataError, match=r"'val' .* has no entities(.|\n)*entity_val\.json"):
        splits["val"].source("entities")
    with pytest.raises(DataError, match=r"'unlabeled' .* has no objects(.|\n)*unlabeled_gt"):
        splits["unlabeled"].source("objects")
    with pytest.raises(SpecError, match="did you mean 'entities'"):
        splits["val"].source("entity")


def test_keypoints_and_panoptic_come_from_their_own_files(tmp_path: Path) -> None:
    files = find_splits(touch(write_set(tmp_path), "annotations/person_keypoints_labeled.json"))
    assert files["labeled"].source("keypoints").name == "person_keypoints_labeled.json"
    assert files["labeled"].source("panoptic").name == "panoptic_labeled.json"
    with pytest.raises(DataError, match=r"'val' .* has no keypoints(.|\n)*person_keypoints_val\.json"):
        files["val"].source("keypoints")
    with pytest.raises(DataError, match=r"'val' .* has no panoptic(.|\n)*panoptic_val\.json.*found neither"):
        files["val"].source("panoptic")
    with pytest.raises(DataError, match=r"'labeled' .* has no panoptic(.|\n)*without its folder of PNGs"):
        replace(files["labeled"], panoptic_pngs=None).source("panoptic")


@needs_real
@pytest.mark.parametrize(
    ("name", "splits"),
    [
        ("bccd", ["labeled", "unlabeled", "unlabeled_gt", "val"]),
        ("camvid", ["labeled", "unlabeled", "unlabeled_gt", "val"]),
        ("coco_mini", ["labeled", "unlabeled", "unlabeled_gt", "val"]),
        ("coco_panoptic_sample", ["sample"]),
    ],
)
def test_real_sets_are_found(name: str, splits: list[str]) -> None:
    assert list(find_splits(REAL / name)) == splits
