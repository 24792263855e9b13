"""What makes a single COCO record unreadable.

Reading and checking ask the same functions, so they cannot disagree.
"""

from __future__ import annotations

import math
from typing import Any

MOST_PIXELS = 1_000_000  # of one side; a larger number is a slip, and masks of that size would fill the memory


def image_problem(record: Any) -> str | None:
    """What is wrong with an entry of "images", or None."""
    if not isinstance(record, dict):
        return "not an object"
    if not _is_int(record.get("id")):
        return f"'id' must be an integer, is {record.get('id')!r}"
    if not _is_file_name(record.get("file_name")):
        return f"'file_name' must be a name, is {record.get('file_name')!r}"
    for side in ("width", "height"):
        if not _is_int(record.get(side)) or not 1 <= record[side] <= MOST_PIXELS:
            return f"'{side}' must be a positive integer, is {record.get(side)!r}"
    return None


def category_problem(record: Any) -> str | None:
    """What is wrong with an entry of "categories", or None."""
    if not isinstance(record, dict) or not _is_int(record.get("id")) or not isinstance(record.get("name"), str):
        return f"a category is an object with an integer 'id' and a 'name', this is {record!r}"
    return None


def annotation_problem(record: Any) -> str | None:
    """What makes an entry of "annotations" unreadable, or None; whether it fits the image is not asked here."""
    if not isinstance(record, dict):
        return "not an object"
    for key in ("id", "image_id", "category_id"):
        if not _is_int(record.get(key)):
            return f"'{key}' must be an integer, is {record.get(key)!r}"
    if record["id"] == 0:
        return "id is 0, which pycocotools silently counts as never matched; number annotations from 1"
    bbox = record.get("bbox")
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(is_number(value) for value in bbox):
        return f"'bbox' must be four finite numbers [x, y, width, height], is {bbox!r}"
    if record.get("iscrowd", 0) not in (0, 1):
        return f"'iscrowd' must be 0 or 1, is {record['iscrowd']!r}"
    if "area" in record and not is_number(record["area"]):
        return f"'area' must be a finite number, is {record['area']!r}"
    return None


def is_number(value: Any) -> bool:
    """Whether a value from JSON is a finite number; true and false are not numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63  # ids become int64


def _is_file_name(value: Any) -> bool:
    # JSON can say what no file system can: half a character, or a NUL
    if not isinstance(value, str) or not value:
        return False
    return not any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in value)
