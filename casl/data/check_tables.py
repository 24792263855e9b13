"""Checks of annotation files alone, without their images. `check` runs them.

Every function reports through `error` and `warn`, which take one line, and goes on with what is sound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycocotools import mask as rle_tools

from casl.data.coco import Annotation, ImageInfo, empty_box_problem, outside_problem
from casl.data.keypoints import keypoint_problem
from casl.data.layout import read_json
from casl.data.panoptic import panoptic_problem
from casl.data.records import annotation_problem, category_problem, image_problem
from casl.data.rle import has_mask, to_rle
from casl.errors import DataError

Say = Callable[[str], None]


@dataclass(frozen=True)
class Table:
    """One annotation file: its sound images and categories by id, its annotations as they are."""

    name: str
    images: dict[int, ImageInfo]
    categories: dict[int, dict[str, Any]]
    annotations: list[Any]


def read_table(path: Path, annotated: bool, error: Say) -> Table | None:
    """Images and categories of a COCO file; None when the file is not COCO at all.

    Args:
        path: the JSON file.
        annotated: False for a mere list of images, where "annotations" and "categories" are not asked for.
        error: called for every problem.
    """
    name = f"{path.parent.name}/{path.name}"
    try:
        data = read_json(path)
    except DataError as problem:
        error(str(problem))
        return None
    wanted = ("images", "annotations", "categories") if annotated else ("images",)
    missing = [key for key in wanted if not isinstance(data.get(key), list)]
    if missing:
        error(f"{name}: not COCO: {', '.join(repr(key) for key in missing)} missing or not a list")
        return None
    images = {
        record["id"]: ImageInfo(record["id"], record["file_name"], record["width"], record["height"])
        for record in _sound(data["images"], f"{name}: image", image_problem, error)
    }
    for file_name, count in Counter(image.file_name for image in images.values()).items():
        if count > 1:
            error(f"{name}: image file {file_name} is listed {count} times; keep one entry")
    if not annotated:
        return Table(name, images, {}, [])
    categories = {
        record["id"]: record for record in _sound(data["categories"], f"{name}: category", category_problem, error)
    }
    return Table(name, images, categories, data["annotations"])


def check_objects(table: Table, drop_empty: bool, error: Say, warn: Say) -> list[Annotation]:
    """Instance annotations: ids, references, numbers, boxes, masks.

    Args:
        table: an instance, entity or keypoint file.
        drop_empty: annotations without area are a warning.
        error, warn: called for every problem.

    Returns:
        The annotations that are well-formed and belong to a known image and category.
    """
    sound, dropped, masks = [], 0, 0
    for record in _sound(table.annotations, f"{table.name}: annotation", annotation_problem, error):
        where = f"{table.name}: annotation {record['id']}"
        image = table.images.get(record["image_id"])
        if image is None:
            error(f"{where}: there is no image {record['image_id']}; add it to 'images' or delete the annotation")
        elif record["category_id"] not in table.categories:
            error(f"{where}: there is no category {record['category_id']}; known: {_ids(table)}")
        else:
            sound.append(record)
            masks += has_mask(record) or record.get("iscrowd", 0)
            if problem := outside_problem(record["bbox"], image) or _mask_problem(record, image):
                error(f"{where}: {problem}")
            elif problem := empty_box_problem(record["bbox"], image) or _empty_mask_problem(record, image):
                dropped += drop_empty
                if not drop_empty:
                    error(f"{where}: {problem}")
    if dropped:
        warn(f"{table.name}: {dropped} annotations have no area or an empty mask and are left out of training")
    if 0 < masks < len(sound) and any(has_mask(record) and not record.get("iscrowd", 0) for record in sound):
        warn(f"{table.name}: {len(sound) - masks} of {len(sound)} annotations have no mask, so no mask is used")
    return sound


def check_keypoints(table: Table, records: list[Annotation], error: Say) -> int:
    """Keypoints of annotations; returns how many annotations have any."""
    count = 0
    for record in records:
        points = record.get("keypoints", [])
        names = table.categories[record["category_id"]].get("keypoints")
        if problem := keypoint_problem(record, len(names) if isinstance(names, list) else 0):
            error(f"{table.name}: annotation {record['id']}: {problem}")
            continue
        visible = sum(value > 0 for value in points[2::3])
        if record.get("num_keypoints", visible) != visible:
            error(
                f"{table.name}: annotation {record['id']}: 'num_keypoints' is {record['num_keypoints']} "
                f"but {visible} are labeled"
            )
        count += visible > 0
    return count


def check_segments(table: Table, error: Say) -> list[Annotation]:
    """Panoptic annotations without their PNGs; returns those that have a known image and well-formed segments."""
    sound: list[Annotation] = []
    seen: set[int | None] = set()
    for record in table.annotations:
        problem = panoptic_problem(record)
        if problem is None and record["image_id"] not in table.images:
            problem = f"there is no image {record['image_id']}"
        if problem is None and record["image_id"] in seen:
            problem = f"image {record['image_id']} is annotated twice"
        if problem:
            number = record.get("image_id") if isinstance(record, dict) else None
            where = f"annotation {str(record)[:60]}..." if number not in table.images else f"image {number}"
            error(f"{table.name}: {where}: {problem}")
            seen.add(number)  # it has an annotation, if a bad one
            continue
        seen.add(record["image_id"])
        sound.append(record)
        unknown = {segment["category_id"] for segment in record["segments_info"]} - table.categories.keys()
        if unknown:
            error(
                f"{table.name}: image {record['image_id']}: segments of unknown categories {sorted(unknown)}; "
                f"known: {_ids(table)}"
            )
    for number in sorted(table.images.keys() - seen):
        error(f"{table.name}: image {number} has no panoptic annotation; add it or take the image out of the file")
    return sound


def _sound(records: list[Any], what: str, problem_of: Callable[[Any], str | None], error: Say) -> Iterator[Any]:
    seen: set[int] = set()
    for position, record in enumerate(records):
        problem = problem_of(record)
        named = record.get("id") if isinstance(record, dict) else None
        if problem is None and record["id"] in seen:
            problem = "this id is used twice; give every entry its own"
        if problem:
            error(f"{what} {f'at position {position}' if named is None else named}: {problem}")
            continue
        seen.add(record["id"])
        yield record


def _mask_problem(record: Annotation, image: ImageInfo) -> str | None:
    try:
        if has_mask(record):
            to_rle(record["segmentation"], image.height, image.width)
    except ValueError as problem:
        return str(problem)
    return None


def _empty_mask_problem(record: Annotation, image: ImageInfo) -> str | None:
    if has_mask(record) and rle_tools.area(to_rle(record["segmentation"], image.height, image.width)) == 0:
        return f"the mask has no pixel inside image {image.id} ({image.width}x{image.height}); delete the annotation"
    return None


def _ids(table: Table) -> str:
    ids = [str(number) for number in table.categories]
    return ", ".join(ids[:10]) + ", ..." * (len(ids) > 10)
