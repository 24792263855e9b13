"""Entities: every thing and every stuff region of a panoptic annotation as one class.

Source: the entity annotations of "Open-World Entity Segmentation" (Qi et al.), made from COCO panoptic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_tools

from casl.codes import segment_ids
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
        DataError: not panoptic, a PNG is missing or of another size, or it has no pixel of a segment.
    """
    try:
        images = {image["id"]: image for image in panoptic["images"]}
        is_thing = {category["id"]: int(category.get("isthing", 1)) for category in panoptic["categories"]}
        records: list[dict[str, Any]] = []
        for annotation in panoptic["annotations"]:
            records += _entities(annotation, images[annotation["image_id"]], is_thing, png_dir)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"the annotations of {png_dir} are not COCO panoptic: {error!r}") from error
    for number, record in enumerate(records, start=1):
        record["id"] = number
    return {
        "info": panoptic.get("info", {}),
        "images": panoptic["images"],
        "annotations": records,
        "categories": [{"id": 1, "name": ENTITY, "supercategory": ENTITY}],
    }


def merge_classes(coco: dict[str, Any], name: str = "object") -> dict[str, Any]:
    """The paper's alpha(.) on a COCO dict: every annotation gets category id 1, the only one left. A shallow copy."""
    return {
        **coco,
        "annotations": [{**record, "category_id": 1} for record in coco["annotations"]],
        "categories": [{"id": 1, "name": name}],
    }


def read_panoptic_png(path: Path) -> NDArray[np.int32]:
    """Segment ids of a COCO panoptic PNG.

    Returns:
        (H, W) int32, R + 256 G + 65536 B; 0 is void.

    Raises:
        DataError: missing, damaged, or not an 8-bit RGB image.
    """
    try:
        return segment_ids(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such panoptic PNG.") from error
    except ValueError as error:
        raise DataError(f"{path}: {error}.") from error


def _entities(
    annotation: dict[str, Any], image: dict[str, Any], is_thing: dict[int, int], png_dir: Path
) -> list[dict[str, Any]]:
    path = png_dir / annotation["file_name"]
    ids = np.asfortranarray(read_panoptic_png(path))  # pycocotools encodes column by column
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
        record["isthing"] = is_thing[segment["category_id"]]
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
