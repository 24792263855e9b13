"""Pseudo labels survive the way to disk and back, and the threshold acts when they are read."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as rle_tools

from casl.data.coco import ImageInfo, agnostic, subset
from casl.data.pseudo import Prediction, read_pseudo_labels, write_pseudo_labels
from casl.errors import DataError

IMAGES = [ImageInfo(7, "seven.jpg", 40, 30), ImageInfo(3, "sub/drei ü.png", 20, 50), ImageInfo(9, "nine.jpg", 8, 8)]
BOXES = np.array([[0.1, 0.2, 20.3, 10.7], [5, 5, 6.25, 7], [1, 2, 19, 49]], np.float32)
SCORES = np.array([0.3, 0.9, 0.55], np.float32)


def rectangle(image: ImageInfo, x1: int, y1: int, x2: int, y2: int) -> dict[str, Any]:
    mask = np.zeros((image.height, image.width), np.uint8, order="F")
    mask[y1:y2, x1:x2] = 1
    rle: dict[str, Any] = rle_tools.encode(mask)
    return rle


MASKS = [rectangle(IMAGES[0], 0, 0, 20, 11), rectangle(IMAGES[0], 5, 5, 7, 7), rectangle(IMAGES[1], 1, 2, 19, 49)]


def predictions(masks: bool = True) -> list[Prediction]:
    """Two for the first image, one for the second, none for the third."""
    labels = np.array([1, 0, 1])
    return [
        Prediction(BOXES[part], SCORES[part], labels[part], MASKS[part] if masks else None)
        for part in (slice(0, 2), slice(2, 3), slice(3, 3))
    ]


def one(**fields: Any) -> list[Prediction]:
    values = {"boxes": BOXES[:1], "scores": SCORES[:1], "labels": np.array([0]), "rles": None} | fields
    return [Prediction(**values)]


def test_everything_comes_back_as_it_was(tmp_path: Path) -> None:
    write_pseudo_labels(tmp_path / "new", IMAGES, predictions(), classes=("cat", "dog"), category_ids=(3, 7))
    split = read_pseudo_labels(tmp_path / "new", Path("pictures"), 0.0)
    assert (split.images, split.classes, split.category_ids) == (tuple(IMAGES[:2]), ("cat", "dog"), (3, 7))
    assert (split.has_masks, split.path(1)) == (True, Path("pictures/sub/drei ü.png"))
    first, second = split.labels(0), split.labels(1)
    np.testing.assert_array_equal(np.concatenate([first.boxes, second.boxes]), BOXES)
    np.testing.assert_array_equal(np.concatenate([first.scores, second.scores]), SCORES)
    assert (first.labels.tolist(), second.labels.tolist()) == ([1, 0], [1])
    assert (first.rles, second.rles) == (MASKS[:2], MASKS[2:])
    assert first.annotation_ids.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("threshold", "kept"),
    [(0.0, {7: [1, 2], 3: [3]}), (0.3, {7: [2], 3: [3]}), (0.55, {7: [2]}), (0.9, {}), (1.0, {})],
)
def test_a_score_must_exceed_the_threshold_and_images_without_labels_drop_out(
    tmp_path: Path, threshold: float, kept: dict[int, list[int]]
) -> None:
    write_pseudo_labels(tmp_path, IMAGES, predictions(), classes=("cat", "dog"))
    split = read_pseudo_labels(tmp_path, tmp_path, threshold)
    found = {image.id: split.labels(i).annotation_ids.tolist() for i, image in enumerate(split.images)}
    assert (found, len(split), split.has_masks) == (kept, len(kept), bool(kept))
    assert len(split.coco()["annotations"]) == sum(map(len, kept.values()))


def test_labels_of_boxes_alone(tmp_path: Path) -> None:
    write_pseudo_labels(tmp_path, IMAGES, predictions(masks=False), classes=("cat", "dog"))
    split = read_pseudo_labels(tmp_path, tmp_path, 0.2)
    assert (split.has_masks, split.labels(0).rles) == (False, None)
    width, height = np.float64(BOXES[0, 2:]) - BOXES[0, :2]
    assert split.coco()["annotations"][0]["area"] == width * height


def test_a_pseudo_split_is_a_split_like_any_other(tmp_path: Path) -> None:
    write_pseudo_labels(tmp_path, IMAGES, predictions(), classes=("cat", "dog"))
    split = read_pseudo_labels(tmp_path, tmp_path, 0.2)
    merged = agnostic(subset(split, 1))
    assert (merged.classes, merged.labels(0).labels.tolist()) == (("object",), [0, 0])
    assert pickle.loads(pickle.dumps(split)).labels(1).annotation_ids.tolist() == [3]
    assert [record["score"] for record in split.coco()["annotations"]] == SCORES.tolist()
    assert [record["area"] for record in split.coco()["annotations"]] == [220, 4, 18 * 47]


def test_the_same_predictions_give_the_same_bytes_at_any_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_pseudo_labels(tmp_path / name, IMAGES, predictions(), classes=("cat", "dog"))
        for path in (tmp_path / name).iterdir():
            os.utime(path, (0, 0))
    (first,), (second,) = (tmp_path / "a").iterdir(), (tmp_path / "b").iterdir()
    assert first.read_bytes() == second.read_bytes()


def test_predictions_that_nothing_can_be_learned_from_are_left_out(tmp_path: Path) -> None:
    boxes = np.array([[1, 1, 1, 5], [50, 1, 60, 9], [1, 1, 5, 5], [2, 2, 9, 9]], np.float32)
    full, empty = rectangle(IMAGES[0], 2, 2, 9, 9), rectangle(IMAGES[0], 0, 0, 0, 0)
    guess = Prediction(boxes, np.full(4, 0.5, np.float32), np.zeros(4, np.int64), [full, full, empty, full])
    write_pseudo_labels(tmp_path, IMAGES[:1], [guess])
    assert read_pseudo_labels(tmp_path, tmp_path, 0).labels(0).boxes.tolist() == [[2, 2, 9, 9]]


def test_no_image_at_all_is_legal(tmp_path: Path) -> None:
    write_pseudo_labels(tmp_path, [], [])
    split = read_pseudo_labels(tmp_path, tmp_path, 0.5)
    assert (len(split), split.has_masks, split.coco()["annotations"]) == (0, False, [])


@pytest.mark.parametrize("threshold", [-0.01, 1.01, 30, float("nan")])
def test_a_threshold_outside_0_to_1_is_rejected(tmp_path: Path, threshold: float) -> None:
    write_pseudo_labels(tmp_path, [], [])
    with pytest.raises(ValueError, match=r"in \[0, 1\], got"):
        read_pseudo_labels(tmp_path, tmp_path, threshold)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"scores": SCORES[:2]}, "must be as many"),
        ({"labels": np.array([], np.int64)}, "must be as many"),
        ({"rles": []}, "must be as many"),
        ({"boxes": BOXES[:1, :3]}, "must be as many"),
        ({"boxes": np.full((1, 4), np.nan, np.float32)}, "must be finite"),
        ({"scores": np.array([np.nan], np.float32)}, r"scores in \[0, 1\]"),
        ({"scores": np.array([1.5], np.float32)}, r"scores in \[0, 1\]"),
        ({"labels": np.array([1])}, "labels 1 to 1 for 1 classes"),
        ({"labels": np.array([-1])}, "labels -1 to -1 for 1 classes"),
        ({"rles": [MASKS[2]]}, r"mask is \[50, 20\]"),
    ],
)
def test_numbers_that_cannot_be_labels_are_rejected_before_writing(
    tmp_path: Path, fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        write_pseudo_labels(tmp_path, IMAGES[:1], one(**fields))
    assert list(tmp_path.iterdir()) == []


def test_counts_must_fit(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3 images but 1 predictions"):
        write_pseudo_labels(tmp_path, IMAGES, one())
    with pytest.raises(ValueError, match="1 classes but 2 category ids"):
        write_pseudo_labels(tmp_path, IMAGES[:1], one(), category_ids=(1, 2))
    with pytest.raises(ValueError, match="for all or for none"):
        write_pseudo_labels(tmp_path, IMAGES[:2], [predictions()[0], *one()], classes=("a", "b"))


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    write_pseudo_labels(tmp_path, IMAGES, predictions(), classes=("cat", "dog"))
    with pytest.raises(ValueError, match="finite"):
        write_pseudo_labels(tmp_path, IMAGES[:1], one(boxes=np.full((1, 4), np.inf, np.float32)))
    assert len(list(tmp_path.iterdir())) == 1
    assert len(read_pseudo_labels(tmp_path, tmp_path, 0)) == 2


def damaged_file(folder: Path, damage: str) -> None:
    write_pseudo_labels(folder, IMAGES, predictions(), classes=("cat", "dog"))
    (path,) = folder.iterdir()
    content = bytearray(path.read_bytes())
    position = content.find(SCORES.tobytes())
    content[position] ^= 1 if damage == "bit" else 0
    cut = {"cut": len(content) - 40, "half": len(content) // 2, "empty": 0}.get(damage, len(content))
    path.write_bytes(b"text, not numbers" if damage == "text" else bytes(content[:cut]))


@pytest.mark.parametrize("damage", ["cut", "half", "empty", "bit", "text"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    damaged_file(tmp_path, damage)
    with pytest.raises(DataError, match=r"pseudo_labels\.npz: damaged or cut short"):
        read_pseudo_labels(tmp_path, tmp_path, 0.5)


def test_missing_foreign_and_newer_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"pseudo_labels\.npz: no such file"):
        read_pseudo_labels(tmp_path, tmp_path, 0.5)
    np.savez(tmp_path / "pseudo_labels.npz", a=np.zeros(3))
    with pytest.raises(DataError, match="do not fit together"):
        read_pseudo_labels(tmp_path, tmp_path, 0.5)
    np.savez(tmp_path / "pseudo_labels.npz", format=np.array(99))
    with pytest.raises(DataError, match="format 99 is newer"):
        read_pseudo_labels(tmp_path, tmp_path, 0.5)
    np.savez(tmp_path / "pseudo_labels.npz", a=np.array([{}]))
    with pytest.raises(DataError, match="damaged"):
        read_pseudo_labels(tmp_path, tmp_path, 0.5)
