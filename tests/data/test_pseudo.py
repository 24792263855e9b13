"""Pseudo labels survive the way to disk and back, and the threshold acts when they are read."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as rle_tools

from casl.data import pseudo
from casl.data.coco import agnostic, subset
from casl.data.image_info import ImageInfo
from casl.data.pseudo import LabelWriter, Prediction, count_pseudo_labels, read_pseudo_labels, write_pseudo_labels
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
    assert (tuple(split.images), split.classes, split.category_ids) == (tuple(IMAGES[:2]), ("cat", "dog"), (3, 7))
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


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_predictions_give_the_same_bytes_at_any_time_and_however_they_come(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_pseudo_labels(tmp_path / name, IMAGES, predictions(), classes=("cat", "dog"))
    writer = LabelWriter(tmp_path / "c", ("cat", "dog"))
    for image, prediction in zip(IMAGES, predictions(), strict=True):
        writer.add([image], [prediction])
    writer.close()
    assert content(tmp_path / "a") == content(tmp_path / "b") == content(tmp_path / "c")


def many(count: int) -> tuple[list[ImageInfo], list[Prediction]]:
    """Images of 0 to 4 labels with random scores, some equal to 0.5."""
    rng = np.random.default_rng(0)
    images = [ImageInfo(1000 - n, f"{n}.jpg", 40, 30) for n in range(count)]
    found = []
    for n in rng.integers(0, 5, count).tolist():
        corners = rng.uniform(0, 20, (n, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(1, 9, (n, 2))], axis=1).astype(np.float32)
        masks = [rectangle(images[0], 0, 0, int(w) + 1, 3) for w in rng.integers(0, 20, n)]
        scores = np.round(rng.random(n), 1).astype(np.float32)
        found.append(Prediction(boxes, scores, rng.integers(0, 2, n), masks))
    return images, found


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.95, 1.0])
def test_many_shards_hold_what_one_does_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threshold: float
) -> None:
    """Expected is written out from the arrays, label by label."""
    images, found = many(50)
    monkeypatch.setattr(pseudo, "SHARD", 3)  # 17 shards, more than are open at a time
    write_pseudo_labels(tmp_path, images, found, classes=("cat", "dog"))
    split = read_pseudo_labels(tmp_path, tmp_path, threshold)

    expected: dict[int, list[tuple[Any, ...]]] = {}
    number = 0
    for image, p in zip(images, found, strict=True):
        for box, score, label, mask in zip(p.boxes, p.scores, p.labels, p.rles or [], strict=True):
            number += 1
            if score > np.float32(threshold):
                expected.setdefault(image.id, []).append(
                    (number, *box.tolist(), float(score), int(label), mask["counts"])
                )
    assert [image.id for image in split.images] == list(expected)
    for i in np.random.default_rng(1).permutation(len(split)).tolist():
        labels = split.labels(i)
        columns = (labels.annotation_ids, *labels.boxes.T, labels.scores, labels.labels)
        rows = zip(*(c.tolist() for c in columns), [rle["counts"] for rle in labels.rles or []], strict=True)
        assert list(rows) == expected[split.images[i].id]
    count = sum(map(len, expected.values()))
    assert count_pseudo_labels(tmp_path, threshold) == (len(expected), count)


def test_threads_may_read_one_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, found = many(60)
    monkeypatch.setattr(pseudo, "SHARD", 2)
    write_pseudo_labels(tmp_path, images, found, classes=("cat", "dog"))
    split = read_pseudo_labels(tmp_path, tmp_path, 0.1)
    order = np.random.default_rng(2).integers(0, len(split), 400).tolist()
    alone = [split.labels(i).annotation_ids.tolist() for i in order]
    with ThreadPoolExecutor(8) as pool:
        assert [labels.annotation_ids.tolist() for labels in pool.map(split.labels, order)] == alone


def test_predictions_that_nothing_can_be_learned_from_are_left_out(tmp_path: Path) -> None:
    boxes = np.array([[1, 1, 1, 5], [50, 1, 60, 9], [1, 1, 5, 5], [2, 2, 9, 9]], np.float32)
    full, empty = rectangle(IMAGES[0], 2, 2, 9, 9), rectangle(IMAGES[0], 0, 0, 0, 0)
    guess = Prediction(boxes, np.full(4, 0.5, np.float32), np.zeros(4, np.int64), [full, full, empty, full])
    writer = LabelWriter(tmp_path)
    (kept,) = writer.add(IMAGES[:1], [guess])
    writer.close()
    assert read_pseudo_labels(tmp_path, tmp_path, 0).labels(0).boxes.tolist() == [[2, 2, 9, 9]] == kept.boxes.tolist()
    assert kept.rles == [full] and count_pseudo_labels(tmp_path, 0) == (1, len(kept.scores))


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


def test_a_failed_write_leaves_the_old_labels(tmp_path: Path) -> None:
    write_pseudo_labels(tmp_path, IMAGES, predictions(), classes=("cat", "dog"))
    before = content(tmp_path)
    with pytest.raises(ValueError, match="finite"):
        write_pseudo_labels(tmp_path, IMAGES[:1], one(boxes=np.full((1, 4), np.inf, np.float32)))
    assert content(tmp_path) == before


def test_without_its_end_a_labelling_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pseudo, "SHARD", 1)
    LabelWriter(tmp_path, ("cat", "dog")).add(IMAGES, predictions())
    assert len(list(tmp_path.iterdir())) == 3
    with pytest.raises(DataError, match="never written"):
        read_pseudo_labels(tmp_path, tmp_path, 0.5)


@pytest.mark.parametrize("damage", ["cut", "empty", "bit", "text", "gone"])
def test_a_damaged_shard_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    monkeypatch.setattr(pseudo, "SHARD", 1)
    write_pseudo_labels(tmp_path, IMAGES, predictions(), classes=("cat", "dog"))
    path = tmp_path / "000001.arrow"
    whole = bytearray(path.read_bytes())
    whole[whole.find(SCORES[2:].tobytes())] ^= 1
    changed = {"cut": whole[:-40], "empty": b"", "bit": whole, "text": b"text, not numbers"}
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(bytes(changed[damage]))
    with pytest.raises(DataError, match=r"000001\.arrow: damaged or cut short"):
        read_pseudo_labels(tmp_path, tmp_path, 0.5)


def test_missing_foreign_older_and_newer_labels_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labels\.json: no such file"):
        read_pseudo_labels(tmp_path, tmp_path, 0.5)
    (tmp_path / "pseudo_labels.npz").touch()
    with pytest.raises(DataError, match=r"an earlier casl wrote.\n  remove .* and run again"):
        read_pseudo_labels(tmp_path, tmp_path, 0.5)
    for text, reason in (('{"format": 99}', "format 99 is newer"), ("[]", "damaged"), ('{"format": 2}', "damaged")):
        (tmp_path / "labels.json").write_text(text)
        with pytest.raises(DataError, match=reason):
            read_pseudo_labels(tmp_path, tmp_path, 0.5)
