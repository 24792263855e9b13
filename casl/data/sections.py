"""The three lists of a COCO file. Every record that comes out is sound; the first that is not is named in the error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from casl.data.records import annotation_problem, category_problem, image_problem
from casl.errors import DataError

Record = Mapping[str, Any]  # one entry of a COCO list, as the file has it


def image_records(data: Mapping[str, Any], path: Path) -> dict[int, Record]:
    """Entries of "images" by id, in the order of the file.

    Args:
        data: content of a COCO file.
        path: where it was read, for messages.

    Raises:
        DataError: there is no such list, or an entry is malformed or has the id of another.
    """
    images: dict[int, Record] = {}
    for record in section(data, "images", path):
        problem = image_problem(record)
        if problem is None and record["id"] in images:
            problem = f"id {record['id']} is used twice"
        if problem:
            raise DataError(f"{path}: images: {problem}: {str(record)[:120]}")
        images[record["id"]] = record
    return images


def category_records(data: Mapping[str, Any], path: Path) -> dict[int, Record]:
    """Entries of "categories" by id, in the order of the file; arguments and errors as in `image_records`."""
    categories: dict[int, Record] = {}
    for record in section(data, "categories", path):
        problem = category_problem(record)
        if problem is None and record["id"] in categories:
            problem = f"id {record['id']} is used twice"
        if problem:
            raise DataError(f"{path}: categories: {problem}")
        categories[record["id"]] = record
    return categories


def annotation_records(
    data: Mapping[str, Any], path: Path, images: Mapping[int, Any], categories: Mapping[int, Any]
) -> Iterator[Record]:
    """Entries of "annotations" of an instance file; those of `images` and `categories` are the ids they may name.

    Raises:
        DataError: as in `image_records`, or an entry names an unknown image or category.
    """
    seen: set[int] = set()
    for record in section(data, "annotations", path):
        problem = annotation_problem(record)
        if problem is None and record["id"] in seen:
            problem = f"id {record['id']} is used twice"
        if problem is None and record["image_id"] not in images:
            problem = f"there is no image {record['image_id']}"
        if problem is None and record["category_id"] not in categories:
            problem = f"there is no category {record['category_id']}"
        if problem:
            raise DataError(f"{path}: annotations: {problem}: {str(record)[:120]}")
        seen.add(record["id"])
        yield record


def section(data: Mapping[str, Any], key: str, path: Path) -> list[Any]:
    """The list `key` of a COCO file.

    Raises:
        DataError: there is no such list.
    """
    if not isinstance(data.get(key), list):
        raise DataError(f"{path}: not COCO: '{key}' is {'not a list' if key in data else 'missing'}.")
    found: list[Any] = data[key]
    return found
