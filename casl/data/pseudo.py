"""Pseudo labels on disk: everything the labeler said, with its scores, so that delta is chosen when reading.

One file, an .npz of plain arrays without pickle and without compression: the same predictions give the same bytes on
any machine. Arrays, I images and N predictions in all:

    format        ()      version of this layout
    image_ids     (I,)    COCO ids             sizes   (I, 2) width, height     offsets (I + 1,) first prediction
    boxes         (N, 4)  XYXY pixels          scores  (N,)                     labels  (N,)
    file_names, classes, rles: texts as UTF-8 end to end, with `<name>_ends` saying where each one ends
    category_ids  (C,)                         has_masks ()
"""

from __future__ import annotations

import os
import uuid
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_tools

from casl.data.coco import Annotation, CocoSplit, ImageInfo
from casl.data.rle import Rle, to_json, to_rle
from casl.errors import DataError

FILE_NAME = "pseudo_labels.npz"
FORMAT = 1
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a labeler says about one image; N = 0 is legal.

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


def write_pseudo_labels(
    folder: Path,
    images: Sequence[ImageInfo],
    predictions: Sequence[Prediction],
    classes: Sequence[str] = ("object",),
    category_ids: Sequence[int] | None = None,
) -> None:
    """Store the predictions of a labeler, whatever their score. The file appears when it is complete, or not at all.

    Predictions whose box has no area inside the image, or whose mask is empty, are left out: nothing can be learned
    from them, and an image that has only such would count as labeled.

    Args:
        folder: made if missing; holds one file afterwards.
        images: the labeled images.
        predictions: one for each image.
        classes: names that `labels` point into.
        category_ids: COCO ids of the classes; 1, 2, ... if not given.

    Raises:
        ValueError: numbers of images, boxes, scores, labels or masks do not fit together; a number is not finite, a
            score outside [0, 1], a label without class, a mask not of the image's size.
    """
    if len(images) != len(predictions):
        raise ValueError(f"{len(images)} images but {len(predictions)} predictions: one for each image")
    ids = list(range(1, len(classes) + 1)) if category_ids is None else list(category_ids)
    if len(ids) != len(classes):
        raise ValueError(f"{len(classes)} classes but {len(ids)} category ids")
    kept = [_kept(image, prediction, len(classes)) for image, prediction in zip(images, predictions, strict=True)]
    arrays = {
        **_prediction_arrays(kept),
        **_image_arrays(images),
        **_pack("classes", [name.encode() for name in classes]),
        "format": np.array(FORMAT, np.int64),
        "category_ids": np.array(ids, np.int64),
        "has_masks": np.array(_all_have_masks(predictions)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / FILE_NAME, arrays)


def read_pseudo_labels(folder: Path, images_folder: Path, threshold: float) -> CocoSplit:
    """The pseudo labels above a threshold, as a split to train on.

    Args:
        folder: what `write_pseudo_labels` was given.
        images_folder: where the image files are.
        threshold: delta of the paper, in [0, 1]; a score must exceed it, equal is dropped. Compared as float32, the
            precision of the scores.

    Returns:
        The images that have a label left, possibly none, with `scores` in their labels. Annotation ids do not depend on
        the threshold.

    Raises:
        ValueError: threshold is outside [0, 1].
        DataError: the file is missing, damaged or written by a newer version.

    Source: CA-SSL (ECCV 2022) eq. 2 and 3, sec. 3.1.
    """
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"threshold is a probability in [0, 1], got {threshold}")
    path = folder / FILE_NAME
    arrays = _read(path)
    confident = arrays["scores"] > np.float32(threshold)
    before = np.concatenate([[0], np.cumsum(confident)])
    rows = np.flatnonzero(np.diff(before[arrays["offsets"]]))
    category_ids = tuple(int(number) for number in arrays["category_ids"])
    return CocoSplit(
        source=str(path),
        folder=images_folder,
        images=_image_infos(arrays, rows),
        classes=tuple(_unpack(arrays, "classes")),
        category_ids=category_ids,
        annotations=_Stored(arrays, confident, rows),
        label_of={number: label for label, number in enumerate(category_ids)},
        has_masks=bool(arrays["has_masks"]) and bool(confident.any()),
    )


class _Stored(Sequence[Sequence[Annotation]]):
    """COCO records made from the arrays when asked for: millions of pseudo labels as dicts would not fit in memory."""

    def __init__(self, arrays: Arrays, confident: NDArray[np.bool_], rows: NDArray[np.int64]) -> None:
        self.arrays, self.confident, self.rows = arrays, confident, rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, i: int) -> Sequence[Annotation]: ...
    @overload
    def __getitem__(self, i: slice) -> _Stored: ...
    def __getitem__(self, i: int | slice) -> Sequence[Annotation] | _Stored:
        if isinstance(i, slice):
            return _Stored(self.arrays, self.confident, self.rows[i])
        row = int(self.rows[i])
        first, last = (int(end) for end in self.arrays["offsets"][row : row + 2])
        return [self._record(row, n) for n in range(first, last) if self.confident[n]]

    def _record(self, row: int, n: int) -> Annotation:
        x1, y1, x2, y2 = (float(value) for value in self.arrays["boxes"][n])
        record = {
            "id": n + 1,
            "image_id": int(self.arrays["image_ids"][row]),
            "category_id": int(self.arrays["category_ids"][self.arrays["labels"][n]]),
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "iscrowd": 0,
            "score": float(self.arrays["scores"][n]),
        }
        if self.arrays["has_masks"]:
            width, height = (int(side) for side in self.arrays["sizes"][row])
            begin, end = int(self.arrays["rles_ends"][n - 1]) if n else 0, int(self.arrays["rles_ends"][n])
            counts = self.arrays["rles"][begin:end].tobytes()
            record["segmentation"] = to_json({"size": [height, width], "counts": counts})
        return record


def _all_have_masks(predictions: Sequence[Prediction]) -> bool:
    found = {prediction.rles is not None for prediction in predictions if len(prediction.boxes)}
    if len(found) > 1:
        raise ValueError("some images have masks and others have none: a labeler gives masks for all or for none")
    return found == {True}


def _kept(image: ImageInfo, prediction: Prediction, num_classes: int) -> Prediction:
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
        checked = [to_rle(rle, image.height, image.width) for rle in prediction.rles]
        useful &= np.array([rle_tools.area(rle) > 0 for rle in checked], np.bool_)
        rles = [rle for rle, keep in zip(checked, useful, strict=True) if keep]
    return Prediction(boxes[useful], scores[useful], labels[useful], rles)


def _prediction_arrays(predictions: Sequence[Prediction]) -> dict[str, NDArray[Any]]:
    rles = [rle["counts"] for prediction in predictions for rle in prediction.rles or []]
    return {
        "offsets": np.cumsum([0, *(len(prediction.boxes) for prediction in predictions)], dtype=np.int64),
        "boxes": np.concatenate([np.empty((0, 4), np.float32), *(prediction.boxes for prediction in predictions)]),
        "scores": np.concatenate([np.empty(0, np.float32), *(prediction.scores for prediction in predictions)]),
        "labels": np.concatenate([np.empty(0, np.int64), *(prediction.labels for prediction in predictions)]),
        **_pack("rles", rles),
    }


def _image_arrays(images: Sequence[ImageInfo]) -> dict[str, NDArray[Any]]:
    return {
        "image_ids": np.array([image.id for image in images], np.int64),
        "sizes": np.array([(image.width, image.height) for image in images], np.int64).reshape(-1, 2),
        **_pack("file_names", [image.file_name.encode() for image in images]),
    }


def _image_infos(arrays: Arrays, rows: NDArray[np.int64]) -> tuple[ImageInfo, ...]:
    names, sizes = _unpack(arrays, "file_names"), arrays["sizes"].tolist()
    return tuple(ImageInfo(int(arrays["image_ids"][row]), names[row], *sizes[row]) for row in rows)


def _pack(name: str, texts: Sequence[bytes]) -> dict[str, NDArray[Any]]:
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    return {name: np.frombuffer(b"".join(texts), np.uint8), f"{name}_ends": ends}


def _unpack(arrays: Arrays, name: str) -> list[str]:
    ends = arrays[f"{name}_ends"].tolist()
    whole = arrays[name].tobytes()
    return [whole[begin:end].decode() for begin, end in zip([0, *ends], ends, strict=False)]


def _write(path: Path, arrays: Arrays) -> None:
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with draft.open("xb") as stream:
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
                for name, array in arrays.items():
                    # ZipInfo carries a fixed date, so the bytes do not tell when they were written
                    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, array, allow_pickle=False)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; the pseudo labels were never written.") from error
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: damaged or cut short ({error}). Delete it and label the images again.") from error
    version = int(arrays.get("format", np.array(0)))
    if version > FORMAT:
        raise DataError(f"{path}: format {version} is newer than this casl reads ({FORMAT}). Update casl.")
    if not _consistent(arrays):
        raise DataError(f"{path}: its arrays do not fit together. Delete it and label the images again.")
    return arrays


def _consistent(arrays: Arrays) -> bool:
    texts = ("file_names", "classes", "rles")
    wanted = {"format", "image_ids", "sizes", "offsets", "boxes", "scores", "labels", "category_ids", "has_masks"}
    if not (wanted | set(texts) | {f"{name}_ends" for name in texts}) <= arrays.keys():
        return False
    images, found = len(arrays["image_ids"]), len(arrays["scores"])
    if any(int(arrays[f"{name}_ends"].max(initial=0)) != len(arrays[name]) for name in texts):
        return False
    return (
        len(arrays["sizes"]) == len(arrays["file_names_ends"]) == len(arrays["offsets"]) - 1 == images
        and len(arrays["boxes"]) == len(arrays["labels"]) == int(arrays["offsets"][-1]) == found
        and len(arrays["rles_ends"]) == (found if arrays["has_masks"] else 0)
        and len(arrays["category_ids"]) == len(arrays["classes_ends"])
    )
