"""Panoptic images and their segments: read, checked, and turned into ids.

A panoptic image is two things: ids (H, W), one segment a pixel, 0 is void; and a list of segments, each
{"id", "category_id", "iscrowd" (0 where absent), "area" in pixels}. On disk the ids are a PNG with
id = R + 256 G + 65536 B, and the lists are the "segments_info" of a COCO panoptic JSON file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from casl.codes import segment_ids
from casl.errors import DataError

VOID = 0
ID_LIMIT = 256**3  # three bytes of a PNG's pixel

Ids = NDArray[np.integer[Any]]


class Pair(NamedTuple):
    """Truth and prediction of one image.

    Attributes:
        gt_ids: (H, W) integer, segment of every pixel, 0 is void.
        gt_segments: COCO "segments_info" of the truth.
        dt_ids: (H, W) integer, as gt_ids.
        dt_segments: COCO "segments_info" of the prediction; only "id" and "category_id" are looked at.
    """

    gt_ids: Ids
    gt_segments: Sequence[dict[str, Any]]
    dt_ids: Ids
    dt_segments: Sequence[dict[str, Any]]


class Segment(NamedTuple):
    """What judging needs of a segment; area in pixels, as its list says or as counted."""

    category: int
    crowd: bool
    area: float


def rgb_of_ids(ids: Ids) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB, the pixels of a panoptic PNG, for (H, W) ids in [0, 256³)."""
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)


def read_pairs(gt: dict[str, Any], gt_pngs: Path, dt: dict[str, Any], dt_pngs: Path) -> Iterator[tuple[str, Pair]]:
    """Truth and prediction of every image of the ground truth, read one by one.

    Args:
        gt: COCO panoptic ground truth; its "annotations" are {"image_id", "file_name", "segments_info"}.
        gt_pngs: folder of the PNGs that those annotations name.
        dt: predictions in the same form. Images that the ground truth lacks are left out.
        dt_pngs: folder of their PNGs.

    Yields:
        ("image 12", its Pair), in the order of the ground truth.

    Raises:
        DataError: a list, a folder or a PNG is missing or damaged, an image is there twice or has no prediction.
    """
    truth, found = _by_image(gt, "ground truth"), _by_image(dt, "predictions")
    if missing := [image for image in truth if image not in found]:
        raise DataError(
            f"predictions: no prediction for image {missing[0]} ({len(missing)} of {len(truth)} images have none); "
            "an image in which nothing was found needs an entry with an empty segments_info and a black PNG"
        )
    for folder, whose, option in ((gt_pngs, "ground truth", "--gt-pngs"), (dt_pngs, "predictions", "--dt-pngs")):
        if not folder.is_dir():
            raise DataError(f"{whose}: no folder {folder} with panoptic PNGs; name it with {option}")
    for image, record in truth.items():
        yield (
            f"image {image}",
            Pair(
                _read_ids(gt_pngs / record["file_name"], f"ground truth: image {image}"),
                record["segments_info"],
                _read_ids(dt_pngs / found[image]["file_name"], f"predictions: image {image}"),
                found[image]["segments_info"],
            ),
        )


def checked_categories(categories: object) -> dict[int, bool]:
    """Whether each category, by id, is a thing.

    Raises:
        DataError: not a list, an id that is no integer or is used twice, or `isthing` is not 0 or 1.
    """
    if not isinstance(categories, list | tuple):
        raise DataError('ground truth is not COCO panoptic: it has no list "categories"')
    is_thing: dict[int, bool] = {}
    for i, category in enumerate(categories):
        number = category.get("id") if isinstance(category, dict) else None
        if not isinstance(number, Integral):
            raise DataError(f"ground truth: category number {i} has no integer id")
        if int(number) in is_thing:
            raise DataError(f"ground truth: category id {number} is used more than once")
        if category.get("isthing") not in (0, 1):
            raise DataError(f"ground truth: category {number}: isthing must be 0 or 1, got {category.get('isthing')!r}")
        is_thing[int(number)] = bool(category["isthing"])
    return is_thing


def checked_segments(
    segments: Sequence[dict[str, Any]], pixels: dict[int, int], categories: dict[int, bool], owner: str
) -> dict[int, Segment]:
    """The segments of one image by id.

    Args:
        segments: COCO "segments_info".
        pixels: number of pixels of each id in the image, void left out or not.
        categories: the known ones are its keys.
        owner: whose segments they are, for the error message: "predictions: image 12".

    Returns:
        One Segment an id, order kept; `area` as the list says, where it says nothing the number of pixels.

    Raises:
        DataError: an id that is void, used twice, in the list and not among the pixels or the other way round; an
            unknown category; iscrowd that is not 0 or 1; an area that is not a finite number >= 0.
    """
    if not isinstance(segments, list | tuple):
        raise DataError(f"{owner}: segments_info must be a list, got {type(segments).__name__}")
    known: dict[int, Segment] = {}
    for i, segment in enumerate(segments):
        number = segment.get("id") if isinstance(segment, dict) else None
        if not isinstance(number, Integral) or number == VOID:
            raise DataError(f"{owner}: segment number {i} needs an integer id other than 0, which is void")
        if number in known:
            raise DataError(f"{owner}: segment id {number} is used more than once")
        if number not in pixels:
            raise DataError(f"{owner}: segment {number} is in the JSON and has no pixel in the PNG")
        known[int(number)] = _segment(segment, pixels[int(number)], categories, f"{owner}: segment {number}")
    if extra := sorted(pixels.keys() - known.keys() - {VOID}):
        raise DataError(f"{owner}: segment {extra[0]} has pixels in the PNG and is not in the JSON")
    return known


def _segment(segment: dict[str, Any], pixels: int, categories: dict[int, bool], owner: str) -> Segment:
    category, crowd, area = segment.get("category_id"), segment.get("iscrowd", 0), segment.get("area", pixels)
    if not isinstance(category, Integral) or int(category) not in categories:
        raise DataError(f"{owner}: category_id {category!r} is not in the ground truth's categories")
    if crowd not in (0, 1):
        raise DataError(f"{owner}: iscrowd must be 0 or 1, got {crowd!r}")
    if not isinstance(area, Real) or not math.isfinite(area) or area < 0:
        raise DataError(f"{owner}: area must be a finite number of pixels >= 0, got {area!r}")
    return Segment(int(category), bool(crowd), float(area))


def _by_image(content: object, whose: str) -> dict[int, dict[str, Any]]:
    records = content.get("annotations") if isinstance(content, dict) else None
    if not isinstance(records, list | tuple):
        raise DataError(f'{whose}: not COCO panoptic: there is no list "annotations"')
    found: dict[int, dict[str, Any]] = {}
    for i, record in enumerate(records):
        image = record.get("image_id") if isinstance(record, dict) else None
        if not isinstance(image, Integral):
            raise DataError(f"{whose}: annotation number {i} has no integer image_id")
        if image in found:
            raise DataError(f"{whose}: image {image} is there more than once")
        if not isinstance(record.get("file_name"), str) or "segments_info" not in record:
            raise DataError(f"{whose}: image {image}: a panoptic annotation has a file_name and segments_info")
        found[int(image)] = record
    return found


def _read_ids(path: Path, owner: str) -> NDArray[np.int32]:
    try:
        return segment_ids(path)
    except FileNotFoundError as error:
        raise DataError(f"{owner}: panoptic PNG {path} does not exist") from error
    except ValueError as error:
        raise DataError(f"{owner}: {path}: {error}") from error
