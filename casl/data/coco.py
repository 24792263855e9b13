"""COCO annotations as a split that training reads image by image and metrics read as one dict."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from casl.coco.judge import clipped, is_empty, keypoint_problems
from casl.coco.masks import Rle, has_mask
from casl.coco.reading import read_object
from casl.coco.records import Record, annotation_records, category_records, image_records, refuse, sizes_of
from casl.data.complete import complete_keypoints, mask_or_box, with_area_and_mask
from casl.data.entity import entities_from_panoptic
from casl.data.image_info import ImageInfo, image_info
from casl.data.keypoints import KeypointSet, continuous_keypoints, has_keypoints, keypoint_set
from casl.data.layout import MANIFEST, SplitFiles
from casl.data.panoptic import PanopticTruth, read_panoptic, things_from_panoptic
from casl.errors import DataError

AGNOSTIC = "object"


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
        keypoints: (N, K, 3) float32, x, y in continuous pixels and visibility, see casl.data.keypoints; all zero for an
            object none of whose keypoints is labelled. None unless read as "keypoints".
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    rles: list[Rle] | None
    crowd: NDArray[np.bool_]
    scores: NDArray[np.float32]
    annotation_ids: NDArray[np.int64]
    keypoints: NDArray[np.float32] | None = None


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
        scored: records have the "score" of a labeler. A score in an annotation file means nothing and is not read.
        points: what keypoints there are; None unless read as "keypoints".
        truth: the panoptic annotations; None unless read as "panoptic".
    """

    source: str
    folder: Path
    images: Sequence[ImageInfo]
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    annotations: Sequence[Sequence[Record]]
    label_of: Mapping[int, int]
    has_masks: bool
    scored: bool = False
    points: KeypointSet | None = None
    truth: PanopticTruth | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"CocoSplit({self.source}: {len(self)} images, {len(self.classes)} classes, masks: {self.has_masks})"

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """Names of the K keypoints; empty unless read as "keypoints"."""
        return self.points.names if self.points else ()

    @property
    def flip_pairs(self) -> tuple[tuple[int, int], ...]:
        """Positions in `keypoint_names` that trade places in a mirror image."""
        return self.points.flip_pairs if self.points else ()

    @property
    def stuff_classes(self) -> tuple[str, ...]:
        """Names of stuff in the order of the panoptic file, index 1 of `semantic` first; empty unless "panoptic"."""
        return tuple(self.truth.stuff.values()) if self.truth else ()

    @property
    def stuff_category_ids(self) -> tuple[int, ...]:
        """COCO's id of each of `stuff_classes`."""
        return tuple(self.truth.stuff) if self.truth else ()

    def path(self, i: int) -> Path:
        """File of image `i`."""
        return self.folder / self.images[i].file_name

    def labels(self, i: int) -> Labels:
        """Training targets of image `i`, boxes clipped to the image.

        Left out are annotations that no detector can learn from: without area inside the image, or with an empty mask.
        `check` counts them in a warning.

        Raises:
            DataError: a segmentation is malformed.
        """
        image = self.images[i]
        size = image.height, image.width
        records, boxes, rles = [], [], []
        for record in self.annotations[i]:
            rle = mask_or_box(record, size, self.source) if self.has_masks else None
            if is_empty(record, size, rle):
                continue
            if rle is not None:
                rles.append(rle)
            records.append(record)
            boxes.append(clipped(record["bbox"], size))
        return Labels(
            boxes=np.array(boxes, np.float32).reshape(-1, 4),
            labels=np.array([self.label_of[record["category_id"]] for record in records], np.int64),
            rles=rles if self.has_masks else None,
            crowd=np.array([bool(record.get("iscrowd", 0)) for record in records], np.bool_),
            scores=np.array([record["score"] if self.scored else 1.0 for record in records], np.float32),
            annotation_ids=np.array([record["id"] for record in records], np.int64),
            keypoints=continuous_keypoints(records, self.points, image.width, image.height) if self.points else None,
        )

    def semantic(self, i: int) -> NDArray[np.uint8]:
        """Stuff of image `i`: (H, W) uint8, 1..S position in `stuff_classes` plus 1, 0 any thing, 255 void or crowd.

        Raises:
            ValueError: the split was not read as "panoptic".
            DataError: the PNG is missing, damaged or of another size.
        """
        return self._panoptic_truth().semantic(self.images[i].id)

    def panoptic(self) -> dict[str, Any]:
        """The panoptic ground truth of these images as a COCO panoptic dict, for metrics; a copy, classes as read.

        The PNGs are in `truth.pngs`, or read by `panoptic_png`. Raises ValueError as `semantic`.
        """
        return self._panoptic_truth().json(image.id for image in self.images)

    def panoptic_png(self, i: int) -> NDArray[np.int32]:
        """(H, W) int32 segment of every pixel of image `i`, 0 is void. Raises as `semantic`."""
        return self._panoptic_truth().ids(self.images[i].id)

    def coco(self) -> dict[str, Any]:
        """The split as a COCO ground truth dict for metrics: nothing clipped, nothing left out.

        Every annotation has `iscrowd` and `area` (that of the file; else of the mask; else of the box). Keypoints are
        those of the file, in COCO's convention, and every annotation has `num_keypoints`. The records are copies,
        because pycocotools writes into them.
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
                {"id": number, "name": name, **(self.points.fields if self.points else {})}
                for number, name in zip(self.category_ids, self.classes, strict=True)
            ],
        }

    def _complete(self, record: Record, image: ImageInfo) -> dict[str, Any]:
        full = with_area_and_mask(record, (image.height, image.width), self.has_masks, self.source)
        full["category_id"] = self.category_ids[self.label_of[record["category_id"]]]
        return full if self.points is None else full | complete_keypoints(record, len(self.points.names))

    def _panoptic_truth(self) -> PanopticTruth:
        if self.truth is None:
            raise ValueError(f"{self!r} was not read as 'panoptic'")
        return self.truth


def load_split(files: SplitFiles, kind: str = "objects") -> CocoSplit:
    """One split of a data set on disk. Image files are not opened.

    Entities without an entity file, and things without an instance file, are derived from the panoptic PNGs on every
    call, some 10 ms an image.

    Args:
        files: from `find_splits`.
        kind: "objects" (instance annotations), "entities" (things and stuff as one class), "keypoints" (objects of the
            keypoint file, also those without a labelled keypoint; see `with_keypoints`), "panoptic" (objects, and stuff
            as `semantic`; the images are those of the panoptic file), or "images" (no annotations: all that
            semi-supervised training may see of unlabeled images).

    Raises:
        DataError: the split has no such annotations, or the file is not sound COCO; names the first bad record. `check`
            finds all of them, and also those that are well-formed but wrong.
    """
    path = files.source(kind)
    if path.suffix == MANIFEST:
        return _listed(path, files.images)
    data = read_object(path)
    if kind == "keypoints":
        return _keypoint_split(data, path, files)
    if kind == "panoptic" and files.panoptic_pngs:
        return _panoptic_split(read_panoptic(data, path, files.panoptic_pngs), path, files)
    if files.derives(kind) and files.panoptic_pngs:
        return _split(entities_from_panoptic(data, files.panoptic_pngs), path, files.images)
    return _split(data, path, files.images, kind != "images", files.crowds_are_objects)


def _split(
    data: dict[str, Any], path: Path, folder: Path, annotated: bool = True, crowds_are_objects: bool = False
) -> CocoSplit:
    images = image_records(data, path)
    categories = category_records(data, path) if annotated or "categories" in data else {}
    groups: dict[int, list[Record]] = {number: [] for number in images}
    for record in annotation_records(data, path, sizes_of(images), categories) if annotated else ():
        groups[record["image_id"]].append({**record, "iscrowd": 0} if crowds_are_objects else record)
    objects = [record for records in groups.values() for record in records if not record.get("iscrowd", 0)]
    return CocoSplit(
        source=str(path),
        folder=folder,
        images=tuple(image_info(record) for record in images.values()),
        classes=tuple(record["name"] for record in categories.values()),
        category_ids=tuple(categories),
        annotations=tuple(tuple(records) for records in groups.values()),
        label_of={number: label for label, number in enumerate(categories)},
        has_masks=bool(objects) and all(has_mask(record) for record in objects),
    )


def _listed(path: Path, folder: Path) -> CocoSplit:
    from casl.data.manifest import Manifest, NoRecords, read_images  # and pyarrow, which most sets need not

    manifest = Manifest(path)
    images = read_images(manifest)
    named = _split({"images": [], "categories": manifest.categories}, path, folder, annotated=False)
    return replace(named, images=images, annotations=NoRecords(len(images)))


def _keypoint_split(data: dict[str, Any], path: Path, files: SplitFiles) -> CocoSplit:
    split = _split(data, path, files.images, crowds_are_objects=files.crowds_are_objects)
    points = keypoint_set(data["categories"], path)
    for record in (record for records in split.annotations for record in records):
        for problem in keypoint_problems(record, len(points.names)):
            refuse(f"{path}: annotation {record['id']}: {problem}")
    return replace(split, points=points)


def _panoptic_split(truth: PanopticTruth, path: Path, files: SplitFiles) -> CocoSplit:
    if files.instances is None:
        return replace(_split(things_from_panoptic(truth), path, files.images), truth=truth)
    split = _split(
        read_object(files.instances), files.instances, files.images, crowds_are_objects=files.crowds_are_objects
    )
    objects = dict(zip(split.category_ids, split.classes, strict=True))
    images = {image.id: (image.file_name, image.width, image.height) for image in split.images}
    if problem := truth.problem_with(images, objects):
        raise DataError(f"{path} and {files.instances.name}: {problem}")
    return replace(
        _chosen(split, [i for i, image in enumerate(split.images) if image.id in truth.records]), truth=truth
    )


def agnostic(split: CocoSplit) -> CocoSplit:
    """The paper's alpha(.): the same boxes and masks, all of one class "object" with category id 1. Stuff stays.

    Source: CA-SSL (ECCV 2022) sec. 3.1.
    """
    return replace(split, classes=(AGNOSTIC,), category_ids=(1,), label_of=dict.fromkeys(split.label_of, 0))


def with_keypoints(split: CocoSplit) -> CocoSplit:
    """The images to train keypoints on: those where at least one object, not a crowd, has a labelled keypoint.

    Objects without a labelled keypoint stay in them: boxes learn from them, and their visibility is 0 throughout, so a
    loss on keypoints leaves them out. Evaluation keeps all images. The result may have no image.

    Source: detectron2, filter_images_with_few_keypoints with its default of one keypoint an image.
    """
    good = [any(has_keypoints(r) and not r.get("iscrowd", 0) for r in records) for records in split.annotations]
    return _chosen(split, [i for i, kept in enumerate(good) if kept])


def with_objects(split: CocoSplit) -> CocoSplit:
    """The images to train on: those with at least one annotation that is no crowd. The result may have no image.

    Source: detectron2, filter_images_with_only_crowd_annotations.
    """
    good = [any(not record.get("iscrowd", 0) for record in records) for records in split.annotations]
    return _chosen(split, [i for i, kept in enumerate(good) if kept])


def without_categories(split: CocoSplit, categories: Collection[int]) -> CocoSplit:
    """The same images without the annotations of some category ids; the list of classes stays."""
    left = [[r for r in records if r["category_id"] not in categories] for records in split.annotations]
    return replace(split, annotations=left)


def sample(split: CocoSplit, count: int, fold: int = 0) -> CocoSplit:
    """`count` images of a split by chance, in its order.

    They are the first of a permutation that follows from the length of the split and the fold alone, so that a smaller
    sample is part of a larger one of the same fold. Neighbours in a list are often alike, frames of one video or photos
    of one place.

    Raises:
        ValueError: count is not in 1 .. len(split).
    """
    if not 1 <= count <= len(split):
        raise ValueError(f"asked for {count} images of {split!r}: give a number from 1 to {len(split)}")
    order = np.random.default_rng(fold).permutation(len(split))
    return _chosen(split, sorted(order[:count].tolist()))


def subset(split: CocoSplit, count: int) -> CocoSplit:
    """The first `count` images of a split, in its order.

    Raises:
        ValueError: count is not in 1 .. len(split).
    """
    if not 1 <= count <= len(split):
        raise ValueError(f"asked for the first {count} images of {split!r}: give a number from 1 to {len(split)}")
    return replace(split, images=split.images[:count], annotations=split.annotations[:count])


def with_images(split: CocoSplit, names: Collection[str]) -> CocoSplit:
    """A split with the images alone whose file names these are, in its own order."""
    return _chosen(split, [i for i, image in enumerate(split.images) if image.file_name in names])


def _chosen(split: CocoSplit, rows: Sequence[int]) -> CocoSplit:
    return replace(
        split,
        images=tuple(split.images[i] for i in rows),
        annotations=tuple(split.annotations[i] for i in rows),
    )
