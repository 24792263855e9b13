"""COCO annotations as a split that training reads image by image and metrics read as one dict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_tools

from casl.data.entity import entities_from_panoptic
from casl.data.layout import SplitFiles, read_json
from casl.data.records import annotation_problem, category_problem, image_problem
from casl.data.rle import Rle, box_rle, has_mask, to_json, to_rle
from casl.errors import DataError

Annotation = Mapping[str, Any]  # one COCO annotation record

AGNOSTIC = "object"
EDGE_TOLERANCE_PX = 1.0  # COCO's own boxes overshoot the image by fractions of a pixel


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """One image: COCO id, file name relative to the split's folder, size in pixels after EXIF rotation."""

    id: int
    file_name: str
    width: int
    height: int


@dataclass(frozen=True, eq=False)
class Labels:
    """What is known of one image; N = 0 is legal.

    Attributes:
        boxes: (N, 4) float32, XYXY pixels, inside the image, width and height above 0.
        labels: (N,) int64, positions in the split's `classes`.
        rles: N masks in pycocotools' compressed form, none of them empty; None in a split without masks.
        crowd: (N,) bool, COCO's iscrowd: a region of many objects, not a target.
        scores: (N,) float32, 1 for ground truth, the labeler's confidence for pseudo labels.
        annotation_ids: (N,) int64.
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    rles: list[Rle] | None
    crowd: NDArray[np.bool_]
    scores: NDArray[np.float32]
    annotation_ids: NDArray[np.int64]


@dataclass(frozen=True, eq=False, repr=False)
class CocoSplit:
    """Images and annotations of one split, unchangeable.

    Attributes:
        source: what it was read from, for messages.
        folder: where the image files are.
        images: in the order of the file.
        classes: names in the order of the file; a label is a position in it.
        category_ids: COCO's id of each class; need not be contiguous.
        annotations: one sequence of COCO records for each image.
        label_of: label of each category id that annotations may have.
        has_masks: there are annotations, and all but crowds have a mask.
    """

    source: str
    folder: Path
    images: tuple[ImageInfo, ...]
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    annotations: Sequence[Sequence[Annotation]]
    label_of: Mapping[int, int]
    has_masks: bool

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"CocoSplit({self.source}: {len(self)} images, {len(self.classes)} classes, masks: {self.has_masks})"

    def path(self, i: int) -> Path:
        """File of image `i`."""
        return self.folder / self.images[i].file_name

    def labels(self, i: int) -> Labels:
        """Training targets of image `i`, boxes clipped to the image.

        Left out are annotations that no detector can learn from: without area inside the image, or with an empty mask.
        `check` rejects a data set with such annotations unless told to let them pass.

        Raises:
            DataError: a segmentation is malformed.
        """
        image = self.images[i]
        records, boxes, rles = [], [], []
        for record in self.annotations[i]:
            box = _clipped(record["bbox"], image)
            if box[2] <= box[0] or box[3] <= box[1]:
                continue
            if self.has_masks:
                rle = self._rle(record, image)
                if rle_tools.area(rle) == 0:
                    continue
                rles.append(rle)
            records.append(record)
            boxes.append(box)
        return Labels(
            boxes=np.array(boxes, np.float32).reshape(-1, 4),
            labels=np.array([self.label_of[record["category_id"]] for record in records], np.int64),
            rles=rles if self.has_masks else None,
            crowd=np.array([bool(record.get("iscrowd", 0)) for record in records], np.bool_),
            scores=np.array([record.get("score", 1.0) for record in records], np.float32),
            annotation_ids=np.array([record["id"] for record in records], np.int64),
        )

    def coco(self) -> dict[str, Any]:
        """The split as a COCO ground truth dict for metrics: nothing clipped, nothing left out.

        Every annotation has `iscrowd` and `area` (that of the file; else of the mask; else of the box). The records are
        copies, because pycocotools writes into them.
        """
        records = [
            self._complete(record, image)
            for image, annotations in zip(self.images, self.annotations, strict=True)
            for record in annotations
        ]
        return {
            "info": {},
            "images": [
                {"id": image.id, "file_name": image.file_name, "width": image.width, "height": image.height}
                for image in self.images
            ],
            "annotations": records,
            "categories": [
                {"id": number, "name": name} for number, name in zip(self.category_ids, self.classes, strict=True)
            ],
        }

    def _complete(self, record: Annotation, image: ImageInfo) -> dict[str, Any]:
        full = dict(record)
        full["category_id"] = self.category_ids[self.label_of[record["category_id"]]]
        full["iscrowd"] = int(record.get("iscrowd", 0))
        if self.has_masks and not has_mask(record):
            full["segmentation"] = to_json(self._rle(record, image))
        elif not has_mask(record):
            full.pop("segmentation", None)
        if full.get("area") is None:
            masked = "segmentation" in full
            full["area"] = float(
                rle_tools.area(self._rle(record, image)) if masked else record["bbox"][2] * record["bbox"][3]
            )
        return full

    def _rle(self, record: Annotation, image: ImageInfo) -> Rle:
        if not has_mask(record):  # a crowd given as a box only, in a split with masks
            return box_rle(record["bbox"], image.height, image.width)
        try:
            return to_rle(record["segmentation"], image.height, image.width)
        except ValueError as error:
            raise DataError(f"{self.source}: annotation {record['id']}: {error}") from error


def load_split(files: SplitFiles, kind: str = "objects") -> CocoSplit:
    """One split of a data set on disk. Image files are not opened.

    Entities without an entity file are derived from the panoptic PNGs on every call, some 10 ms an image.

    Args:
        files: from `find_splits`.
        kind: "objects" (instance annotations), "entities" (things and stuff as one class), or "images" (no annotations:
            all that semi-supervised training may see of unlabeled images).

    Raises:
        DataError: the split has no such annotations, or the file is not sound COCO; names the first bad record. `check`
            finds all of them, and also those that are well-formed but wrong.
    """
    path = files.source(kind)
    data = read_json(path)
    if kind == "entities" and path == files.panoptic and files.panoptic_pngs:
        data = entities_from_panoptic(data, files.panoptic_pngs)
    images = _images(data, path)
    classes = _categories(data, path, optional=kind == "images")
    annotations = [()] * len(images) if kind == "images" else _by_image(data, path, images, classes)
    objects = [record for records in annotations for record in records if not record.get("iscrowd", 0)]
    return CocoSplit(
        source=str(path),
        folder=files.images,
        images=images,
        classes=tuple(classes.values()),
        category_ids=tuple(classes),
        annotations=tuple(annotations),
        label_of={number: label for label, number in enumerate(classes)},
        has_masks=bool(objects) and all(has_mask(record) for record in objects),
    )


def agnostic(split: CocoSplit) -> CocoSplit:
    """The paper's alpha(.): the same boxes and masks, all of one class "object" with category id 1.

    Source: CA-SSL (ECCV 2022) sec. 3.1.
    """
    return replace(split, classes=(AGNOSTIC,), category_ids=(1,), label_of=dict.fromkeys(split.label_of, 0))


def subset(split: CocoSplit, count: int) -> CocoSplit:
    """The first `count` images of a split, in its order.

    Raises:
        ValueError: count is not in 1 .. len(split).
    """
    if not 1 <= count <= len(split):
        raise ValueError(f"asked for the first {count} images of {split!r}: give a number from 1 to {len(split)}")
    return replace(split, images=split.images[:count], annotations=split.annotations[:count])


def outside_problem(bbox: Sequence[float], image: ImageInfo) -> str | None:
    """How a box XYWH lies outside its image by more than a pixel, or None."""
    x, y, w, h = bbox
    over = max(-x, -y, x + w - image.width, y + h - image.height)
    if over <= EDGE_TOLERANCE_PX:
        return None
    return (
        f"box {list(bbox)} (x, y, width, height) reaches {over:g} px outside image {image.id} "
        f"({image.width}x{image.height}); correct it, is it perhaps x1, y1, x2, y2?"
    )


def empty_box_problem(bbox: Sequence[float], image: ImageInfo) -> str | None:
    """That a box XYWH has no area inside its image, or None."""
    x1, y1, x2, y2 = _clipped(bbox, image)
    return None if x1 < x2 and y1 < y2 else f"box {list(bbox)} (x, y, width, height) has no area; delete the annotation"


def _images(data: dict[str, Any], path: Path) -> tuple[ImageInfo, ...]:
    images: dict[int, ImageInfo] = {}
    for record in _section(data, "images", path):
        problem = image_problem(record)
        if problem is None and record["id"] in images:
            problem = f"id {record['id']} is used twice"
        if problem:
            raise DataError(f"{path}: images: {problem}: {str(record)[:120]}")
        images[record["id"]] = ImageInfo(record["id"], record["file_name"], record["width"], record["height"])
    return tuple(images.values())


def _categories(data: dict[str, Any], path: Path, optional: bool) -> dict[int, str]:
    classes: dict[int, str] = {}
    for record in _section(data, "categories", path) if "categories" in data or not optional else []:
        problem = category_problem(record)
        if problem is None and record["id"] in classes:
            problem = f"id {record['id']} is used twice"
        if problem:
            raise DataError(f"{path}: categories: {problem}")
        classes[record["id"]] = record["name"]
    return classes


def _by_image(
    data: dict[str, Any], path: Path, images: tuple[ImageInfo, ...], classes: dict[int, str]
) -> list[tuple[Annotation, ...]]:
    groups: dict[int, list[Annotation]] = {image.id: [] for image in images}
    seen: set[int] = set()
    for record in _section(data, "annotations", path):
        problem = annotation_problem(record)
        if problem is None and record["id"] in seen:
            problem = f"id {record['id']} is used twice"
        if problem is None and record["image_id"] not in groups:
            problem = f"there is no image {record['image_id']}"
        if problem is None and record["category_id"] not in classes:
            problem = f"there is no category {record['category_id']}"
        if problem:
            raise DataError(f"{path}: annotations: {problem}: {str(record)[:120]}")
        seen.add(record["id"])
        groups[record["image_id"]].append(record)
    return [tuple(records) for records in groups.values()]


def _section(data: dict[str, Any], key: str, path: Path) -> list[Any]:
    if not isinstance(data.get(key), list):
        raise DataError(f"{path}: not COCO: '{key}' is {'not a list' if key in data else 'missing'}.")
    section: list[Any] = data[key]
    return section


def _clipped(bbox: Sequence[float], image: ImageInfo) -> tuple[float, float, float, float]:
    x, y, w, h = bbox
    return (
        min(max(x, 0), image.width),
        min(max(y, 0), image.height),
        min(max(x + w, 0), image.width),
        min(max(y + h, 0), image.height),
    )
