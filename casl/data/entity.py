"""Entities: every thing and every stuff region of a panoptic annotation as one class.

Source: the entity annotations of "Open-World Entity Segmentation" (Qi et al.), made from COCO panoptic.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_tools

from casl.coco.pngs import segment_ids
from casl.coco.records import Record, category_records, image_records, panoptic_records
from casl.errors import DataError

ENTITY = "entity"


def entities_from_panoptic(panoptic: dict[str, Any], png_dir: Path) -> dict[str, Any]:
    """COCO instance dict of the entities in a COCO panoptic dict.

    Crowd segments are skipped, so what they cover is background. A box spans the first to the last pixel *index*:
    `bbox` = [x1, y1, x2 - x1, y2 - y1] and `area` = (x2 - x1)(y2 - y1), one pixel short on each axis, and the area is
    that of the box, not of the mask. Size buckets of entity AP depend on both, so both are kept. A segment one pixel
    wide therefore has a box without area, which counts in metrics and is left out of training.

    Args:
        panoptic: content of a COCO panoptic JSON.
        png_dir: folder of its PNGs, pixel id = R + 256 G + 65536 B.

    Returns:
        COCO dict with the single category {id 1, "entity"}; annotations are numbered from 1 in the order of the file
        and have `segmentation` (compressed RLE, counts as str), `isthing` and `source_category_id`.

    Raises:
        DataError: an illegal record; a PNG that is missing, of another size, or without a pixel of a segment.
    """
    source = f"annotations of {png_dir}"
    images, categories = image_records(panoptic, source), category_records(panoptic, source, panoptic=True)
    records: list[dict[str, Any]] = []
    for number, annotation in panoptic_records(panoptic, source, images, categories).items():
        records += _entities(annotation, images[number], categories, png_dir)
    for number, record in enumerate(records, start=1):
        record["id"] = number
    return {
        "info": panoptic.get("info", {}),
        "images": panoptic["images"],
        "annotations": records,
        "categories": [{"id": 1, "name": ENTITY, "supercategory": ENTITY}],
    }


def _entities(
    annotation: Record, image: Record, categories: Mapping[int, Record], png_dir: Path
) -> list[dict[str, Any]]:
    path = png_dir / annotation["file_name"]
    ids = np.asfortranarray(segment_ids(path))  # pycocotools encodes column by column
    if ids.shape != (image["height"], image["width"]):
        raise DataError(f"{path}: is {ids.shape[1]}x{ids.shape[0]}, its image {image['width']}x{image['height']}.")
    records = []
    for segment in annotation["segments_info"]:
        if segment.get("iscrowd", 0):
            continue
        mask = ids == segment["id"]
        if not mask.any():
            raise DataError(f"{path}: no pixel of segment {segment['id']}, which the JSON lists.")
        record = _record(mask, image["id"])
        record["isthing"] = int(categories[segment["category_id"]]["isthing"])
        record["source_category_id"] = segment["category_id"]
        records.append(record)
    return records


def _record(mask: NDArray[np.bool_], image_id: int) -> dict[str, Any]:
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    x1, x2, y1, y2 = (int(index) for index in (columns[0], columns[-1], rows[0], rows[-1]))
    rle = rle_tools.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {
        "image_id": image_id,
        "category_id": 1,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "iscrowd": 0,
        "segmentation": {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")},
    }
