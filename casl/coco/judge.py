"""What a legal record of a COCO file is: the one judge that checking, reading, metrics and `casl score` ask.

Each function takes one record and returns what is wrong with it, one sentence a fault, without saying whose record it
is; an empty list means that the record is legal. A rule is changed here and nowhere else.

Legal is not the same as useful: a box of width 0 and a mask without pixel are in COCO 2017 as downloaded. They count
in metrics and are left out of training, and the check counts them in a warning; `is_empty` finds them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import islice
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_tools

from casl.coco.masks import Rle, has_mask, segmentation_problem

Size = tuple[int, int]  # height, width in pixels
Box = tuple[float, float, float, float]

MOST_PIXELS = 1_000_000  # of one side; a larger number is a slip, and masks of that size would fill the memory
EDGE_TOLERANCE_PX = 1.0  # COCO's own boxes overshoot the image by fractions of a pixel
SAME_PLACE_IOU = 0.5  # of a box and the box around its mask; less, and they are not of one object
VOID = 0  # segment id of a panoptic PNG


def image_problems(record: Any, named: bool = True) -> list[str]:
    """Of an entry of "images". named: its file will be opened, so it needs a legal name."""
    if not isinstance(record, dict):
        return ["not an object"]
    problems = _id_problems(record, "id")
    if (named or "file_name" in record) and not _is_file_name(record.get("file_name")):
        problems.append(f"'file_name' must be a name, is {record.get('file_name')!r:.80}")
    elif named and (record["file_name"].startswith("/") or ".." in record["file_name"].split("/")):
        problems.append(f"'file_name' must stay inside the folder of the images, is {record['file_name']!r:.80}")
    for side in ("width", "height"):
        if not is_id(record.get(side)) or not 1 <= record[side] <= MOST_PIXELS:
            problems.append(f"'{side}' must be a positive integer, is {record.get(side)!r:.80}")
    return problems


def plainly_legal_images(
    ids: NDArray[np.int64], names: Sequence[str], widths: NDArray[np.int64], heights: NDArray[np.int64]
) -> bool:
    """Whether all of many images are legal but for equal ids, told from columns, names from UTF-8; False asks for a
    closer look."""
    together = "\n" + "\n".join(names) + "\n"  # searched at once, which is 20 times as fast as name by name
    return not len(ids) or bool(
        ids.min() > -(2**63)
        and min(widths.min(), heights.min()) >= 1
        and max(widths.max(), heights.max()) <= MOST_PIXELS
        and not any(odd in together for odd in ("\0", "..", "\n/", "\n\n"))
    )


def category_problems(record: Any, named: bool = True, panoptic: bool = False) -> list[str]:
    """Of an entry of "categories". named: it needs a name. panoptic: it must say whether it is a thing."""
    name = record.get("name", None if named else "") if isinstance(record, dict) else None
    if not isinstance(record, dict) or not is_id(record.get("id")) or not isinstance(name, str):
        return [f"a category is an object with an integer 'id' and a 'name', this is {record!r:.120}"]
    if panoptic and record.get("isthing") not in (0, 1):
        return [f"'isthing' must be 0 or 1, is {record.get('isthing')!r:.80}"]
    return []


def annotation_problems(record: Any, sizes: Mapping[int, Size], categories: Container[int] | None) -> list[str]:
    """Of an entry of "annotations" of an instance file, but for its mask (`mask_problems`) and keypoints.

    Args:
        record: the entry.
        sizes: of all images of the file, by id.
        categories: ids of the file's categories; None where classes do not matter, and need not be given.
    """
    if not isinstance(record, dict):
        return ["not an object"]
    problems = _id_problems(record, "id", "image_id", *(() if categories is None else ("category_id",)))
    if not problems and record["id"] == 0:
        problems.append("id is 0, which pycocotools silently counts as never matched; number annotations from 1")
    problems += _box_problems(record.get("bbox"))
    if record.get("iscrowd", 0) not in (0, 1):
        problems.append(f"'iscrowd' must be 0 or 1, is {record['iscrowd']!r:.80}")
    problems += _area_problems(record)
    return problems or [*_reference_problems(record, sizes, categories), *_outside(record, sizes)]


def mask_problems(record: Mapping[str, Any], size: Size, whole: bool = False) -> list[str]:
    """Of the segmentation of an annotation or result; none at all is legal. whole: see casl.coco.masks.to_rle."""
    problem = segmentation_problem(record["segmentation"], *size, whole) if has_mask(record) else None
    return [problem] if problem else []


def keypoint_problems(record: Mapping[str, Any], count: int | None, found: bool = False) -> list[str]:
    """Of the keypoints of an annotation or result; none at all is legal.

    Args:
        record: the entry.
        count: keypoints of its category; None if the category does not say.
        found: it is a result, whose third number of each keypoint is not its visibility.
    """
    points = record.get("keypoints", [])
    number = len(points) if hasattr(points, "__len__") and not isinstance(points, str | bytes | dict) else 1
    legal = number % 3 == 0 if count is None else number in (0, 3 * count)
    if not legal or not all(map(is_number, points)):
        many = "finite numbers" if count is None else f"{3 * count} finite numbers"
        return [f"'keypoints' must be {many} x, y, visibility, ... in one flat list, or absent, is {points!r:.80}"]
    labelled = sum(value > 0 for value in points[2::3])
    if not found and record.get("num_keypoints", labelled) != labelled:
        return [f"'num_keypoints' is {record['num_keypoints']!r:.80} but {labelled} are labeled"]
    return []


def sigmas_problem(category: Mapping[str, Any], count: int) -> str | None:
    """What is wrong with the "sigmas" of a category of `count` keypoints, which it need not have; None if nothing."""
    sigmas = category.get("sigmas")
    listed = isinstance(sigmas, list | tuple) and len(sigmas) == count
    if sigmas is None or (listed and all(is_number(sigma) and sigma > 0 for sigma in sigmas)):
        return None
    return f"sigmas must be {count} positive numbers, one a keypoint, got {sigmas!r:.80}"


def result_problems(record: Any, sizes: Mapping[int, Size], categories: Container[int] | None) -> list[str]:
    """Of an entry of a result file, but for its mask and keypoints.

    Args:
        record: the entry.
        sizes: of all images of the ground truth, by id.
        categories: ids of the ground truth's categories; None where classes do not matter, and need not be given.
    """
    if not isinstance(record, dict):
        return [f"not an object but {type(record).__name__}"]
    problems = _id_problems(record, "image_id", *(() if categories is None else ("category_id",)))
    if not is_number(record.get("score")):
        problems.append(f"'score' must be a finite number, is {record.get('score')!r:.80}")
    if record.get("bbox") is not None:
        problems += _box_problems(record["bbox"])
    elif not has_mask(record):
        problems.append("has neither 'bbox' nor 'segmentation'")
    return problems or _reference_problems(record, sizes, categories)


def plainly_legal(records: Sequence[Any], sizes: Container[int], categories: Container[int] | None) -> bool:
    """Whether all of many results are legal boxes made of plain numbers: told column by column, and so fast.

    False says only that one of them needs a closer look. Arguments as `result_problems`.
    """
    try:
        images, scores, boxes = ([record[key] for record in records] for key in ("image_id", "score", "bbox"))
        classes = [] if categories is None else [record["category_id"] for record in records]
    except (KeyError, TypeError):
        return False
    if not {type(record) for record in records} <= {dict} or not {type(box) for box in boxes} <= {list}:
        return False
    sides = [side for box in boxes for side in box]
    return (
        {type(value) for column in (images, classes) for value in column} <= {int}
        and {type(value) for column in (scores, sides) for value in column} <= {int, float}
        and {len(box) for box in boxes} <= {4}
        and all(number in sizes for number in set(images))
        and (categories is None or all(number in categories for number in set(classes)))
        and all(map(is_number, scores))
        and all(map(is_number, sides))
        and all(box[2] >= 0 and box[3] >= 0 for box in boxes)
    )


def panoptic_problems(record: Any, images: Container[int] | None, categories: Container[int]) -> list[str]:
    """Of an entry of "annotations" of a panoptic file. images: known ids; None where others are left out unread."""
    if not isinstance(record, dict) or not isinstance(record.get("segments_info"), list | tuple):
        return ["a panoptic annotation has 'image_id', 'file_name' and a list 'segments_info'"]
    problems = _id_problems(record, "image_id")
    if not _is_file_name(record.get("file_name")):
        problems.append(f"'file_name' must be the name of its PNG, is {record.get('file_name')!r:.80}")
    if not problems and images is not None and record["image_id"] not in images:
        problems.append(f"there is no image {record['image_id']}{_known(images)}")
    return problems + segment_problems(record["segments_info"], categories)


def segment_problems(segments: Iterable[Any], categories: Container[int]) -> list[str]:
    """Of the "segments_info" of one image, without its PNG."""
    problems: list[str] = []
    seen: Counter[int] = Counter()
    for position, segment in enumerate(segments):
        if not isinstance(segment, dict) or not is_id(segment.get("id")) or not is_id(segment.get("category_id")):
            problems.append(f"a segment has integers 'id' and 'category_id', number {position} is {segment!r:.80}")
            continue
        seen[segment["id"]] += 1
        where = f"segment {segment['id']}"
        if segment["id"] == VOID:
            problems.append("a segment has id 0, which means void")
        if segment["category_id"] not in categories:
            problems.append(f"{where}: there is no category {segment['category_id']}{_known(categories)}")
        if segment.get("iscrowd", 0) not in (0, 1):
            problems.append(f"{where}: 'iscrowd' must be 0 or 1, is {segment['iscrowd']!r:.80}")
        problems += [f"{where}: {problem}" for problem in _area_problems(segment)]
    return problems + [f"{count} segments have id {number}" for number, count in seen.items() if count > 1]


def png_problems(listed: Iterable[int], present: Iterable[int]) -> list[str]:
    """Of a panoptic PNG. listed: segment ids in the JSON file. present: ids that have pixels."""
    names, ids = set(listed) - {VOID}, set(present) - {VOID}
    problems = []
    if missing := sorted(names - ids)[:5]:
        problems.append(f"no pixel of the segments {missing} that the JSON lists; write the PNG again")
    if extra := sorted(ids - names)[:5]:
        problems.append(f"holds segments {extra} that the JSON does not list; write the JSON again")
    return problems


def is_empty(record: Mapping[str, Any], size: Size, rle: Rle | None) -> bool:
    """Whether a legal annotation has no area inside its image, or a mask without pixel: nothing is learned from it.

    Args:
        record: the annotation.
        size: of its image.
        rle: its mask, None without one.
    """
    x1, y1, x2, y2 = clipped(record["bbox"], size)
    return x1 >= x2 or y1 >= y2 or (rle is not None and rle_tools.area(rle) == 0)


def is_apart(bbox: Sequence[float], rle: Rle) -> bool:
    """Whether a box XYWH is elsewhere than the box around its mask: IoU below 0.5, a side off by more than a pixel."""
    around = rle_tools.toBbox(rle)
    (x, y, w, h), (left, top, width, height) = bbox, around.tolist()
    off = max(abs(x - left), abs(y - top), abs(x + w - left - width), abs(y + h - top - height))
    return off > EDGE_TOLERANCE_PX and float(rle_tools.iou([list(bbox)], [around], [0])[0, 0]) < SAME_PLACE_IOU


def points_outside(record: Mapping[str, Any], size: Size) -> bool:
    """Whether a legal polygon of an annotation leaves its image by more than a pixel."""
    polygons = record.get("segmentation")
    if not isinstance(polygons, list | tuple):
        return False
    height, width = size
    for polygon in polygons:
        if len(polygon) and (
            min(polygon) < -EDGE_TOLERANCE_PX
            or max(polygon[0::2]) > width + EDGE_TOLERANCE_PX
            or max(polygon[1::2]) > height + EDGE_TOLERANCE_PX
        ):
            return True
    return False


def keypoints_outside(record: Mapping[str, Any], size: Size) -> bool:
    """Whether a labeled, legal keypoint of an annotation lies outside its image; x = 0 is the middle of a pixel."""
    points, (height, width) = record.get("keypoints") or [], size
    return any(
        visibility > 0 and not (-0.5 <= x < width - 0.5 and -0.5 <= y < height - 0.5)
        for x, y, visibility in zip(points[0::3], points[1::3], points[2::3], strict=True)
    )


def clipped(bbox: Sequence[float], size: Size) -> Box:
    """Corners x1, y1, x2, y2 of the part of a box XYWH inside its image."""
    (x, y, w, h), (height, width) = bbox, size
    return (
        min(max(x, 0), width),
        min(max(y, 0), height),
        min(max(x + w, 0), width),
        min(max(y + h, 0), height),
    )


def is_number(value: object) -> bool:
    """Whether a value is a finite number; true and false are none."""
    if type(value) is float:  # most are, and asking whether something is a Real takes ten times as long
        return math.isfinite(value)
    try:
        return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)
    except OverflowError:  # an integer beyond floating point
        return False


def is_id(value: object) -> bool:
    """Whether a value is an integer that fits into 64 bits, as ids must; true and false are none."""
    if type(value) is not int and (isinstance(value, bool) or not isinstance(value, Integral)):
        return False
    return abs(int(value)) < 2**63


def _id_problems(record: Mapping[str, Any], *keys: str) -> list[str]:
    return [f"'{key}' must be an integer, is {record.get(key)!r:.80}" for key in keys if not is_id(record.get(key))]


def _box_problems(bbox: Any) -> list[str]:
    values = list(bbox) if hasattr(bbox, "__iter__") and not isinstance(bbox, str | dict) else []
    if len(values) != 4 or not all(map(is_number, values)):
        return [f"'bbox' must be four finite numbers [x, y, width, height], is {bbox!r:.80}"]
    if values[2] < 0 or values[3] < 0:
        return [f"bbox {values!s:.80} has a negative size; it is [x, y, width, height], not two corners"]
    return []


def _area_problems(record: Mapping[str, Any]) -> list[str]:
    area = record.get("area", 0)
    if is_number(area) and area >= 0:
        return []
    return [f"'area' must be a finite number of pixels >= 0, or absent, is {area!r:.80}"]


def _reference_problems(
    record: Mapping[str, Any], sizes: Container[int], categories: Container[int] | None
) -> list[str]:
    problems = []
    if record["image_id"] not in sizes:
        problems.append(f"there is no image {record['image_id']}{_known(sizes)}")
    if categories is not None and record["category_id"] not in categories:
        problems.append(f"there is no category {record['category_id']}{_known(categories)}")
    return problems


def _outside(record: Mapping[str, Any], sizes: Mapping[int, Size]) -> list[str]:
    """That a box lies outside its image by more than a pixel."""
    size = sizes.get(record["image_id"])
    if size is None:
        return []
    (x, y, w, h), (height, width) = map(float, record["bbox"]), size  # the sum of two large integers is no float
    over = max(-x, -y, x + w - width, y + h - height)
    if over <= EDGE_TOLERANCE_PX:
        return []
    return [
        f"box {list(record['bbox'])!s:.80} (x, y, width, height) reaches {over:g} px outside "
        f"image {record['image_id']} ({_text(size)}); correct it, is it perhaps x1, y1, x2, y2?"
    ]


def _known(ids: Container[int]) -> str:
    first = [str(number) for number in islice(ids, 11)] if isinstance(ids, Iterable) else []
    return "; known: " + (", ".join(first[:10]) or "none") + ", ..." * (len(first) > 10)


def _text(size: Size) -> str:
    return f"{size[1]}x{size[0]}"


def _is_file_name(value: Any) -> bool:
    # JSON can say what no file system can: half a character, or a NUL
    if not isinstance(value, str) or not value:
        return False
    return not any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in value)
