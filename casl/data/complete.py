"""What an annotation leaves unsaid: the mask of a crowd given as a box, its area, its keypoints."""

from __future__ import annotations

from typing import Any

from pycocotools import mask as rle_tools

from casl.coco.judge import Size
from casl.coco.masks import Rle, box_rle, has_mask, to_json
from casl.coco.records import Record, mask_of


def mask_or_box(record: Record, size: Size, source: str) -> Rle:
    """Compressed RLE of an annotation in a split with masks; a crowd given as a box only is that box.

    Args:
        record: a COCO annotation.
        size: of its image.
        source: where it was read, for messages.

    Raises:
        DataError: the segmentation is illegal.
    """
    if not has_mask(record):
        return box_rle(record["bbox"], *size)
    return mask_of(record, size, f"{source}: annotation {record['id']}")


def with_area_and_mask(record: Record, size: Size, has_masks: bool, source: str) -> dict[str, Any]:
    """A copy of an annotation with `iscrowd`, `area` (that of the file; else of the mask; else of the box) and, in a
    split with masks, `segmentation`; other arguments and errors as in `mask_or_box`.
    """
    full = dict(record)
    full["iscrowd"] = int(record.get("iscrowd", 0))
    if has_masks and not has_mask(record):
        full["segmentation"] = to_json(mask_or_box(record, size, source))
    elif not has_mask(record):
        full.pop("segmentation", None)
    if "area" not in full:
        masked = "segmentation" in full
        full["area"] = float(
            rle_tools.area(mask_or_box(record, size, source)) if masked else record["bbox"][2] * record["bbox"][3]
        )
    return full


def complete_keypoints(record: Record, count: int) -> dict[str, Any]:
    """`keypoints`, all `count` of them in COCO's convention, and `num_keypoints` of an annotation."""
    points = record.get("keypoints") or [0] * (3 * count)
    labelled = sum(visibility > 0 for visibility in points[2::3])
    return {"keypoints": points, "num_keypoints": labelled}
