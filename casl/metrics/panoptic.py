"""Panoptic images and their segments: read, checked, and turned into ids.

A panoptic image is two things: ids (H, W), one segment a pixel, 0 is void; and a list of segments, each
{"id", "category_id", "iscrowd" (0 where absent), "area" in pixels}. On disk the ids are a PNG with
id = R + 256 G + 65536 B, and the lists are the "segments_info" of a COCO panoptic JSON file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from casl.coco.judge import png_problems, segment_problems
from casl.coco.pngs import segment_ids
from casl.coco.records import category_records, panoptic_records
from casl.errors import DataError

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
        DataError: an illegal record, a list, a folder or a PNG that is missing or damaged, an image without prediction.
    """
    categories = checked_categories(gt.get("categories"))
    truth = panoptic_records(gt, "ground truth", None, categories)
    found = panoptic_records(dt, "predictions", None, categories)
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
        DataError: not a list, or an illegal category.
    """
    records = category_records({"categories": categories}, "ground truth", named=False, panoptic=True)
    return {int(number): bool(record["isthing"]) for number, record in records.items()}


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
        DataError: an illegal segment, or one that only the list or only the image has.
    """
    if not isinstance(segments, list | tuple):
        raise DataError(f"{owner}: segments_info must be a list, is {type(segments).__name__}")
    problems = segment_problems(segments, categories)
    for problem in problems or png_problems((segment["id"] for segment in segments), pixels):
        raise DataError(f"{owner}: {problem}")
    return {
        int(segment["id"]): Segment(
            int(segment["category_id"]),
            bool(segment.get("iscrowd", 0)),
            float(segment.get("area", pixels[int(segment["id"])])),
        )
        for segment in segments
    }


def _read_ids(path: Path, owner: str) -> NDArray[np.int32]:
    try:
        return segment_ids(path)
    except DataError as error:
        raise DataError(f"{owner}: {error}") from error
