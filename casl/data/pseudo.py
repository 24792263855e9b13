"""Pseudo labels on disk: every prediction of the labeler with its score, so that delta is chosen when reading.

A folder of shards and an index, which is written last: without it there are no labels. A shard holds 8,192 images as
one batch of Arrow's file format, a row an image:

    image_id, width, height int64      file_name string
    boxes list<float32>, four a label, XYXY pixels      scores list<float32>      labels list<int32>
    rles list<binary>, pycocotools' compressed form, empty without masks

Arrow's own layout rather than Parquet: a shard is mapped into memory and a row found by its offsets, so images can be
read in any order without decoding their neighbours, and opening at a delta touches the scores alone. What Parquet would
save, a third at best since RLE texts hardly compress, it would cost again in every random read. Memory does not grow
with the number of images, but for eight bytes for each that is left. The same predictions give the same bytes. The
index has the sha256 of every shard; all are compared when the labels are opened.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_tools

from casl.coco.masks import Rle, to_json, to_rle
from casl.coco.records import Record
from casl.coco.runs import are_whole
from casl.data.coco import CocoSplit
from casl.data.image_info import ImageInfo
from casl.data.label_shards import LabelShards, Shard, damaged, packed
from casl.errors import DataError
from casl.files import json_value, write_atomic

INDEX = "labels.json"
FORMAT = 2
SHARD = 8192  # images
TOGETHER = 256  # images whose masks are checked at once
_OLD = "pseudo_labels.npz"


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a labeler predicts for one image; N = 0 is legal.

    Attributes:
        boxes: (N, 4) float32, XYXY pixels of the original image.
        scores: (N,) float32 in [0, 1].
        labels: (N,) int64, positions in the classes; all 0 for a class-agnostic labeler.
        rles: N masks in pycocotools' compressed form and of the image's size, or None for a labeler without masks.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    rles: list[Rle] | None = None


def predictions_of(shard: Shard) -> list[Prediction]:
    """The predictions in a shard, exactly as they were written, an image each."""
    found = []
    for row in range(len(shard)):
        first, last = (int(end) for end in shard.offsets[row : row + 2])
        image, texts = shard.image(row), shard.rles(row)
        size = [image.height, image.width]
        rles = None if texts is None else [{"size": size, "counts": text} for text in texts]
        labels = shard.labels(first, last).astype(np.int64)
        found.append(Prediction(shard.boxes(first, last), shard.scores[first:last], labels, rles))
    return found


class LabelWriter:
    """Writes the labels of a split as they come, a shard at a time.

    Args:
        folder: made if missing.
        classes: names that `labels` point into.
        category_ids: COCO ids of the classes; 1, 2, ... if not given.

    Raises:
        ValueError: as many category ids as classes are needed.
    """

    def __init__(
        self, folder: Path, classes: Sequence[str] = ("object",), category_ids: Sequence[int] | None = None
    ) -> None:
        ids = list(range(1, len(classes) + 1)) if category_ids is None else [int(number) for number in category_ids]
        if len(ids) != len(classes):
            raise ValueError(f"{len(classes)} classes but {len(ids)} category ids")
        self.folder, self.classes, self.category_ids = folder, list(classes), ids
        self._waiting: list[tuple[ImageInfo, Prediction]] = []
        self._shards: list[dict[str, Any]] = []
        self._masks: set[bool] = set()

    def add(self, images: Sequence[ImageInfo], predictions: Sequence[Prediction]) -> list[Prediction]:
        """The next images and what was predicted for each, whatever its score.

        Predictions whose box has no area inside the image, or whose mask is empty, are left out: nothing can be learned
        from them, and an image that has only such would count as labeled.

        Returns:
            What is kept, a prediction for each image.

        Raises:
            ValueError: numbers of images, boxes, scores, labels or masks do not fit together; a number is not finite, a
                score outside [0, 1], a label without class, a mask not of the image's size.
            StoreError: the folder cannot be written.
        """
        if len(images) != len(predictions):
            raise ValueError(f"{len(images)} images but {len(predictions)} predictions: one for each image")
        kept = []
        for first in range(0, len(images), TOGETHER):
            chunk = range(first, min(first + TOGETHER, len(images)))
            kept += self._add([(images[i], predictions[i]) for i in chunk])
        return kept

    def _add(self, rows: list[tuple[ImageInfo, Prediction]]) -> list[Prediction]:
        whole, added = _whole(rows), []
        for image, prediction in rows:
            if len(prediction.boxes):
                self._masks.add(prediction.rles is not None)
            if len(self._masks) > 1:
                raise ValueError(
                    "some images have masks and others have none: a labeler gives masks for all or for none"
                )
            added.append(_kept(image, prediction, len(self.classes), whole))
            self._waiting.append((image, added[-1]))
            if len(self._waiting) == SHARD:
                self._flush()
        return added

    def close(self) -> None:
        """Write what is left and the index; only then the labels can be read."""
        if self._waiting:
            self._flush()
        index = {
            "format": FORMAT,
            "classes": self.classes,
            "category_ids": self.category_ids,
            "has_masks": self._masks == {True},
            "shards": self._shards,
        }
        write_atomic(self.folder / INDEX, (json.dumps(index, indent=1) + "\n").encode())

    def _flush(self) -> None:
        # no mask is written as an empty list, whether a labeler has none at all or found none
        content = packed([(image, replace(found, rles=found.rles or [])) for image, found in self._waiting])
        name = f"{len(self._shards):06d}.arrow"
        write_atomic(self.folder / name, content)
        entry = {"file": name, "images": len(self._waiting), "labels": sum(len(p.scores) for _, p in self._waiting)}
        self._shards.append(entry | {"sha256": hashlib.sha256(content).hexdigest()})
        self._waiting = []


def write_pseudo_labels(
    folder: Path,
    images: Sequence[ImageInfo],
    predictions: Sequence[Prediction],
    classes: Sequence[str] = ("object",),
    category_ids: Sequence[int] | None = None,
) -> None:
    """Store the predictions of a labeler that are all at hand; arguments and errors as LabelWriter's."""
    writer = LabelWriter(folder, classes, category_ids)
    writer.add(images, predictions)
    writer.close()


def read_pseudo_labels(folder: Path, images_folder: Path, threshold: float) -> CocoSplit:
    """The pseudo labels above a threshold, as a split to train on.

    Args:
        folder: what LabelWriter was given.
        images_folder: where the image files are.
        threshold: delta of the paper, in [0, 1]; a score must exceed it, equal is dropped. Compared as float32, the
            precision of the scores.

    Returns:
        The images that have a label left, possibly none, with `scores` in their labels. Annotation ids do not depend on
        the threshold.

    Raises:
        ValueError: threshold is outside [0, 1].
        DataError: files are missing, damaged or of another version; the message names one.

    Source: CA-SSL (ECCV 2022) eq. 2 and 3, sec. 3.1.
    """
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"threshold is a probability in [0, 1], got {threshold}")
    index = _read_index(folder)
    shards = LabelShards(folder, index["shards"])
    shards.verify()
    rows = np.concatenate([np.zeros(0, np.int64), *(rows for rows, _ in shards.above(threshold))])
    category_ids = tuple(index["category_ids"])
    has_masks = bool(index["has_masks"]) and len(rows) > 0
    return CocoSplit(
        source=str(folder),
        folder=images_folder,
        images=_Images(shards, rows),
        classes=tuple(index["classes"]),
        category_ids=category_ids,
        annotations=_Stored(shards, rows, np.float32(threshold), category_ids, has_masks),
        label_of={number: label for label, number in enumerate(category_ids)},
        has_masks=has_masks,
        scored=True,
    )


def count_pseudo_labels(folder: Path, threshold: float) -> tuple[int, int]:
    """Images with a label above a threshold, and such labels. Raises DataError as `read_pseudo_labels`."""
    shards = LabelShards(folder, _read_index(folder)["shards"])
    found = [(len(rows), labels) for rows, labels in shards.above(threshold)]
    return sum(images for images, _ in found), sum(labels for _, labels in found)


class _Images(Sequence[ImageInfo]):
    """Images made from their rows when asked for: millions of them as objects would not fit in memory."""

    def __init__(self, shards: LabelShards, rows: NDArray[np.int64]) -> None:
        self.shards, self.rows = shards, rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, i: int) -> ImageInfo: ...
    @overload
    def __getitem__(self, i: slice) -> _Images: ...
    def __getitem__(self, i: int | slice) -> ImageInfo | _Images:
        if isinstance(i, slice):
            return _Images(self.shards, self.rows[i])
        shard, row, _ = self.shards.at(int(self.rows[i]))
        return shard.image(row)


class _Stored(Sequence[Sequence[Record]]):
    """COCO records made from the shards when asked for."""

    def __init__(
        self,
        shards: LabelShards,
        rows: NDArray[np.int64],
        threshold: np.float32,
        category_ids: tuple[int, ...],
        has_masks: bool,
    ) -> None:
        self.shards, self.rows, self.threshold = shards, rows, threshold
        self.category_ids, self.has_masks = category_ids, has_masks

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, i: int) -> Sequence[Record]: ...
    @overload
    def __getitem__(self, i: slice) -> _Stored: ...
    def __getitem__(self, i: int | slice) -> Sequence[Record] | _Stored:
        if isinstance(i, slice):
            return _Stored(self.shards, self.rows[i], self.threshold, self.category_ids, self.has_masks)
        shard, row, before = self.shards.at(int(self.rows[i]))
        first, last = (int(end) for end in shard.offsets[row : row + 2])
        scores, image = shard.scores[first:last], shard.image(row)
        boxes, labels = shard.boxes(first, last).tolist(), shard.labels(first, last).tolist()
        records = []
        for n in np.flatnonzero(scores > self.threshold).tolist():
            x1, y1, x2, y2 = boxes[n]
            record = {
                "id": before + first + n + 1,
                "image_id": image.id,
                "category_id": self.category_ids[labels[n]],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "iscrowd": 0,
                "score": float(scores[n]),
            }
            if self.has_masks:
                rle = {"size": [image.height, image.width], "counts": shard.rle(first + n)}
                record["segmentation"] = to_json(rle)
            records.append(record)
        return records


def _kept(image: ImageInfo, prediction: Prediction, num_classes: int, whole: bool) -> Prediction:
    where = f"prediction of image {image.id}"
    boxes, scores = np.asarray(prediction.boxes, np.float32), np.asarray(prediction.scores, np.float32)
    labels = np.asarray(prediction.labels, np.int64)
    count = len(boxes)
    lengths = {count, len(scores), len(labels), count if prediction.rles is None else len(prediction.rles)}
    if len(lengths) > 1 or boxes.shape != (count, 4):
        raise ValueError(f"{where}: boxes {boxes.shape}, scores, labels and masks must be as many")
    if not np.isfinite(boxes).all() or not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError(f"{where}: boxes must be finite and scores in [0, 1]")
    if count and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(f"{where}: labels {labels.min()} to {labels.max()} for {num_classes} classes")
    limits = np.array([image.width, image.height], np.float32)
    low, high = np.clip(boxes[:, :2], 0, limits), np.clip(boxes[:, 2:], 0, limits)
    useful = (low < high).all(axis=1)
    rles = None
    if prediction.rles is not None:
        checked = prediction.rles if whole else [to_rle(rle, image.height, image.width) for rle in prediction.rles]
        useful &= np.asarray(rle_tools.area(checked) if checked else [], np.float64) > 0
        rles = [rle for rle, keep in zip(checked, useful, strict=True) if keep]
    return Prediction(boxes[useful], scores[useful], labels[useful], rles)


def _whole(rows: Sequence[tuple[ImageInfo, Prediction]]) -> bool:
    """Whether all masks are in the compressed form and of their images' sizes: checked together, since one by one, as
    it takes to say which is not, is slow."""
    texts, pixels = [], []
    for image, prediction in rows:
        for rle in prediction.rles or ():
            if not isinstance(rle["counts"], bytes) or list(rle["size"]) != [image.height, image.width]:
                return False
            texts.append(rle["counts"])
            pixels.append(image.height * image.width)
    return are_whole(texts, pixels)


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    try:
        index = json_value(path.read_bytes())
        version = int(index["format"])
        if version > FORMAT:
            raise DataError(f"{path}: format {version} is newer than this casl reads ({FORMAT}). Update casl.")
        _ = [(s["file"], int(s["images"]), int(s["labels"]), s["sha256"]) for s in index["shards"]]
        return {**index, "classes": list(index["classes"]), "category_ids": [int(n) for n in index["category_ids"]]}
    except FileNotFoundError as error:
        if (folder / _OLD).exists():
            raise DataError(
                f"{folder / _OLD} is in a form that an earlier casl wrote.\n"
                f"  remove {folder.parent} and run again: the images are labelled anew, with the same numbers."
            ) from error
        raise DataError(f"{path}: no such file; the pseudo labels were never written.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(damaged(path, str(error))) from error
