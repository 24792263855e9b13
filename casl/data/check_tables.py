"""Checks of annotation files alone, without their images. `check` runs them.

Every function reports through `error` and `warn`, which take one line, and goes on with what is sound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from casl.coco.judge import (
    Size,
    is_apart,
    is_empty,
    is_id,
    keypoint_problems,
    keypoints_outside,
    mask_problems,
    points_outside,
)
from casl.coco.masks import has_mask, to_rle
from casl.coco.reading import read_object
from casl.coco.records import (
    Record,
    Say,
    annotation_records,
    category_records,
    image_records,
    panoptic_records,
)
from casl.data.image_info import ImageInfo, image_info
from casl.data.keypoints import has_keypoints
from casl.data.layout import MANIFEST
from casl.data.manifest import Manifest
from casl.errors import DataError
from casl.words import noun, number_of

LEAST_BOXES = 10  # fewer may all have a width above x and a height above y by chance


@dataclass(frozen=True)
class Table:
    """One annotation file: its sound images and categories by id, its annotations as they are."""

    name: str
    images: dict[int, ImageInfo]
    categories: dict[int, Record]
    annotations: list[Any]
    crowds_are_objects: bool = False

    @cached_property
    def sizes(self) -> dict[int, Size]:
        """(height, width) of every image by id."""
        return {image.id: (image.height, image.width) for image in self.images.values()}


def read_table(path: Path, kind: str, error: Say) -> Table | None:
    """Images and categories of a COCO file; None when the file is not COCO at all.

    Args:
        path: the JSON file, or the manifest.
        kind: field of SplitFiles; in a "listing" of images no "annotations" and "categories" are asked for.
        error: called for every problem.
    """
    name = f"{path.parent.name}/{path.name}"
    try:
        if path.suffix == MANIFEST:
            return Table(name, _images(Manifest(path).records(name, error), name, error), {}, [])
        data = read_object(path)
    except DataError as problem:
        error(str(problem))
        return None
    annotated = kind != "listing"
    wanted = ("images", "annotations", "categories") if annotated else ("images",)
    missing = [key for key in wanted if not isinstance(data.get(key), list)]
    if missing:
        error(f"{name}: not COCO: {', '.join(repr(key) for key in missing)} missing or not a list")
        return None
    images = _images(image_records(data, name, error=error).values(), name, error)
    if not annotated:
        return Table(name, images, {}, [])
    categories = category_records(data, name, panoptic=kind == "panoptic", error=error)
    return Table(name, images, categories, data["annotations"])


def _images(records: Iterable[Record], name: str, error: Say) -> dict[int, ImageInfo]:
    """Images of a file by id; a file that is listed twice is an error."""
    images = {record["id"]: image_info(record) for record in records}
    for file_name, count in Counter(image.file_name for image in images.values()).items():
        if count > 1:
            error(f"{name}: image file {file_name} is listed {count} times; keep one entry")
    return images


def check_objects(table: Table, error: Say, warn: Say) -> list[Record]:
    """Instance annotations: whether they are legal, and what is legal but seldom meant.

    Args:
        table: an instance, entity or keypoint file.
        error, warn: called for every problem.

    Returns:
        The annotations that are legal but for their mask.
    """
    seen = _Seen()
    data = {"annotations": table.annotations}
    for record in annotation_records(data, table.name, table.sizes, table.categories, error):
        size, crowd = table.sizes[record["image_id"]], record.get("iscrowd", 0) and not table.crowds_are_objects
        seen.sound.append(record)
        seen.masks += has_mask(record) or bool(crowd)
        x, y, width, height = record["bbox"]
        seen.like_corners += width > x and height > y
        if problems := mask_problems(record, size):
            error(f"{table.name}: annotation {record['id']}: {problems[0]}")
            continue
        rle = to_rle(record["segmentation"], *size) if has_mask(record) else None
        if is_empty(record, size, rle):
            seen.empty.append(record["id"])
        elif rle is not None and is_apart(record["bbox"], rle):
            seen.apart.append(record["id"])
        if points_outside(record, size):
            seen.outside.append(record["id"])
    for sentence in seen.warnings(table.crowds_are_objects):
        warn(f"{table.name}: {sentence}")
    return seen.sound


@dataclass
class _Seen:
    """What is legal but seldom meant in one file. masks: annotations that have a mask or need none. like_corners: boxes
    whose width is above x and height above y, as all are that are written as corners. empty, apart, outside: ids."""

    sound: list[Record] = field(default_factory=list)
    masks: int = 0
    like_corners: int = 0
    empty: list[int] = field(default_factory=list)
    apart: list[int] = field(default_factory=list)
    outside: list[int] = field(default_factory=list)

    def warnings(self, crowds_are_objects: bool) -> list[str]:
        """One sentence for each kind of it, with its count and the first annotation."""
        count, found = len(self.sound), []
        if self.empty:
            found.append(
                f"{number_of(len(self.empty), 'annotation has', 'annotations have')} no area or an empty mask (the "
                f"first: annotation {self.empty[0]}) and {noun(len(self.empty), 'is', 'are')} left out of training"
            )
        if self.apart:
            found.append(
                f"{number_of(len(self.apart), 'box overlaps', 'boxes overlap')} the box around the mask by less than "
                f"half (the first: annotation {self.apart[0]}); 'bbox' is the box around the segmentation"
            )
        if self.outside:
            found.append(
                f"{number_of(len(self.outside), 'annotation has', 'annotations have')} points outside the image (the "
                f"first: annotation {self.outside[0]}), which are cut off"
            )
        if count >= LEAST_BOXES and self.like_corners == count:
            found.append(
                f"all {count} boxes have a width above x and a height above y, as x1, y1, x2, y2 would; "
                "'bbox' is x, y, width, height"
            )
        plain = [r for r in self.sound if has_mask(r) and (crowds_are_objects or not r.get("iscrowd", 0))]
        if 0 < self.masks < count and plain:
            found.append(f"{count - self.masks} of {count} annotations have no mask, so no mask is used")
        return found


def check_keypoints(table: Table, records: list[Record], error: Say, warn: Say) -> int:
    """Keypoints of annotations; returns how many annotations have any."""
    count, outside = 0, []
    for record in records:
        names = table.categories[record["category_id"]].get("keypoints")
        problems = keypoint_problems(record, len(names) if isinstance(names, list) else 0)
        for problem in problems:
            error(f"{table.name}: annotation {record['id']}: {problem}")
        if problems or not has_keypoints(record):
            continue
        count += 1
        if keypoints_outside(record, table.sizes[record["image_id"]]):
            outside.append(record["id"])
    if outside:
        warn(
            f"{table.name}: {number_of(len(outside), 'annotation has', 'annotations have')} labeled keypoints outside "
            f"the image (the first: annotation {outside[0]}), which nothing is learned from"
        )
    return count


def check_segments(table: Table, error: Say) -> list[Record]:
    """Panoptic annotations without their PNGs; returns the legal ones."""
    data = {"annotations": table.annotations}
    sound = panoptic_records(data, table.name, table.images, table.categories, error)
    named = [record.get("image_id") for record in table.annotations if isinstance(record, dict)]
    for number in sorted(table.images.keys() - {number for number in named if is_id(number)}):
        error(f"{table.name}: image {number} has no panoptic annotation; add it or take the image out of the file")
    return list(sound.values())
