"""What an annotation leaves unsaid: the mask of a crowd given as a box, its area, its keypoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pycocotools import mask as rle_tools

from casl.data.rle import Rle, box_rle, has_mask, to_json, to_rle
from casl.errors import DataError


def mask_of(record: Mapping[str, Any], height: int, width: int, source: str) -> Rle:
    """Compressed RLE of an annotation in a split with masks; a crowd given as a box only is that box.

    Args:
        record: a COCO annotation.
        height, width: of its image.
        source: where it was read, for messages.

    Raises:
        DataError: the segmentation is malformed.
    """
    if not has_mask(record):
        return box_rle(record["bbox"], height, width)
    try:
        return to_rle(record["segmentation"], height, width)
    except ValueError as error:
        raise DataError(f"{source}: annotation {record['id']}: {error}") from error


def with_area_and_mask(
    record: Mapping[str, Any], height: int, width: int, has_masks: bool, source: str
) -> dict[str, Any]:
    """A copy of an annotation with `iscrowd`, `area` (that of the file; else of the mask; else of the box) and, in a
    split with masks, `segmentation`; other arguments and errors as in `mask_of`.
    """
    full = dict(record)
    full["iscrowd"] = int(record.get("iscrowd", 0))
    if has_masks and not has_mask(record):
        full["segmentation"] = to_json(mask_of(record, height, width, source))
    elif not has_mask(record):
        full.pop("segmentation", None)
    if full.get("area") is None:
        masked = "segmentation" in full
        full["area"] = float(
            rle_tools.area(mask_of(record, height, width, source)) if masked else record["bbox"][2] * record["bbox"][3]
        )
    return full


def complete_keypoints(record: Mapping[str, Any], count: int) -> dict[str, Any]:
    """`keypoints`, all `count` of them in COCO's convention, and `num_keypoints` of an annotation."""
    points = record.get("keypoints") or [0] * (3 * count)
    labelled = sum(visibility > 0 for visibility in points[2::3])
    return {"keypoints": points, "num_keypoints": record.get("num_keypoints", labelled)}
