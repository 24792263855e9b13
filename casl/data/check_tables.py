"""Checks of annotation files alone, without their images. `check` runs them.

Every function reports through `error` and `warn`, which take one line, and goes on with what is sound.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from casl.coco.judge import Size, emptiness, is_apart, is_id, keypoint_problems, mask_problems
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
from casl.data.coco import ImageInfo, image_info
from casl.data.keypoints import has_keypoints
from casl.errors import DataError


@dataclass(frozen=True)
class Table:
    """One annotation file: its sound images and categories by id, its annotations as they are."""

    name: str
    images: dict[int, ImageInfo]
    categories: dict[int, Record]
    annotations: list[Any]

    @cached_property
    def sizes(self) -> dict[int, Size]:
        """(height, width) of every image by id."""
        return {image.id: (image.height, image.width) for image in self.images.values()}


def read_table(path: Path, kind: str, error: Say) -> Table | None:
    """Images and categories of a COCO file; None when the file is not COCO at all.

    Args:
        path: the JSON file.
        kind: field of SplitFiles; in a "listing" of images no "annotations" and "categories" are asked for.
        error: called for every problem.
    """
    name, annotated = f"{path.parent.name}/{path.name}", kind != "listing"
    try:
        data = read_object(path)
    except DataError as problem:
        error(str(problem))
        return None
    wanted = ("images", "annotations", "categories") if annotated else ("images",)
    missing = [key for key in wanted if not isinstance(data.get(key), list)]
    if missing:
        error(f"{name}: not COCO: {', '.join(repr(key) for key in missing)} missing or not a list")
        return None
    images = {number: image_info(record) for number, record in image_records(data, name, error=error).items()}
    for file_name, count in Counter(image.file_name for image in images.values()).items():
        if count > 1:
            error(f"{name}: image file {file_name} is listed {count} times; keep one entry")
    if not annotated:
        return Table(name, images, {}, [])
    categories = category_records(data, name, panoptic=kind == "panoptic", error=error)
    return Table(name, images, categories, data["annotations"])


def check_objects(table: Table, drop_empty: bool, error: Say, warn: Say) -> list[Record]:
    """Instance annotations: whether they are legal, and whether something can be learned from them.

    Args:
        table: an instance, entity or keypoint file.
        drop_empty: annotations without area are a warning.
        error, warn: called for every problem.

    Returns:
        The annotations that are legal but for their mask.
    """
    sound, empty, masks, apart = [], 0, 0, []
    data = {"annotations": table.annotations}
    for record in annotation_records(data, table.name, table.sizes, table.categories, error):
        where, size = f"{table.name}: annotation {record['id']}", table.sizes[record["image_id"]]
        sound.append(record)
        masks += has_mask(record) or record.get("iscrowd", 0)
        if problems := mask_problems(record, size):
            error(f"{where}: {problems[0]}")
            continue
        rle = to_rle(record["segmentation"], *size) if has_mask(record) else None
        if nothing := emptiness(record, size, rle):
            empty += 1
            if not drop_empty:
                error(f"{where}: {nothing}")
        elif rle is not None and is_apart(record["bbox"], rle):
            apart.append(record["id"])
    if empty and drop_empty:
        warn(f"{table.name}: {empty} annotations have no area or an empty mask and are left out of training")
    if apart:
        which = f"(the first: annotation {apart[0]}); 'bbox' is the box around the segmentation"
        warn(f"{table.name}: {len(apart)} boxes overlap the box around their mask by less than half {which}")
    if 0 < masks < len(sound) and any(has_mask(record) and not record.get("iscrowd", 0) for record in sound):
        warn(f"{table.name}: {len(sound) - masks} of {len(sound)} annotations have no mask, so no mask is used")
    return sound


def check_keypoints(table: Table, records: list[Record], error: Say) -> int:
    """Keypoints of annotations; returns how many annotations have any."""
    count = 0
    for record in records:
        names = table.categories[record["category_id"]].get("keypoints")
        problems = keypoint_problems(record, len(names) if isinstance(names, list) else 0)
        for problem in problems:
            error(f"{table.name}: annotation {record['id']}: {problem}")
        count += not problems and has_keypoints(record)
    return count


def check_segments(table: Table, error: Say) -> list[Record]:
    """Panoptic annotations without their PNGs; returns the legal ones."""
    data = {"annotations": table.annotations}
    sound = panoptic_records(data, table.name, table.images, table.categories, error)
    named = {record.get("image_id") for record in table.annotations if isinstance(record, dict)}
    for number in sorted(table.images.keys() - {number for number in named if is_id(number)}):
        error(f"{table.name}: image {number} has no panoptic annotation; add it or take the image out of the file")
    return list(sound.values())
