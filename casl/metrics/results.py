"""Ground truth and predictions in COCO's formats: read, judged, and copied into what pycocotools can take.

pycocotools trusts its input. It drops predictions of unknown categories, treats annotation id 0 as "not matched" and
never returns on some damaged masks; so every record is judged here, and only copies of legal ones are passed on.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from pycocotools import mask as rle_tools

from casl.coco.judge import Size, plainly_legal, result_problems
from casl.coco.masks import Rle, box_rle, has_mask, whole_masks
from casl.coco.reading import read_json, read_object
from casl.coco.records import (
    Record,
    annotation_records,
    category_records,
    check_masks,
    image_records,
    mask_of,
    panoptic_records,
    refuse,
    sizes_of,
)
from casl.errors import DataError

GroundTruth = dict[str, Any]  # {"images": [...], "annotations": [...], "categories": [...]}
Result = dict[str, Any]  # {"image_id", "category_id", "score", "bbox" XYWH in pixels and / or "segmentation"}

TRUTH, FOUND = "ground truth", "predictions"  # whose record it is, in messages
ONE_CATEGORY = {"id": 1, "name": "thing", "supercategory": "thing"}


def read_ground_truth(path: Path) -> GroundTruth:
    """The COCO ground truth in a JSON file, every record of it judged, masks too.

    Raises:
        DataError: missing or unreadable file, not JSON, not COCO, or an illegal record.
    """
    gt = read_object(path)
    images = sizes_of(image_records(gt, path, named=False))
    categories = category_records(gt, path) if "categories" in gt else None
    check_masks(list(annotation_records(gt, path, images, categories)), path, images)
    return gt


def read_panoptic_truth(path: Path) -> GroundTruth:
    """The COCO panoptic ground truth in a JSON file, every record of it judged; errors as read_ground_truth."""
    gt = read_object(path)
    images = image_records(gt, path, named=False)
    panoptic_records(gt, path, images, category_records(gt, path, panoptic=True))
    return gt


def read_results(path: Path) -> list[Result]:
    """The predictions in a COCO result file: a list of results, or an object whose "annotations" are that list.

    The results are judged by the metric, which knows the ground truth that they are about.

    Raises:
        DataError: missing or unreadable file, not JSON, or neither of the two forms.
    """
    content = read_json(path)
    if isinstance(content, dict):
        content = content.get("annotations")
    if not isinstance(content, list):
        raise DataError(
            f"{path}: not a COCO result file: expected a list of objects with image_id and bbox, segmentation, "
            'keypoints or segments_info, or an object with such a list as "annotations"'
        )
    return content


def have_masks(records: Sequence[object]) -> bool:
    """Whether every record (annotation or result) has a segmentation; true of an empty list."""
    return all(isinstance(record, dict) and has_mask(record) for record in records)


def checked_ground_truth(gt: GroundTruth, masks: bool, agnostic: bool) -> GroundTruth:
    """A copy of the ground truth with just what matching needs, every field present.

    Args:
        gt: COCO ground truth; not changed. Its images and categories need no names.
        masks: masks will be compared, so every annotation but a crowd needs a segmentation.
        agnostic: replace all categories by one of id 1; none need be given.

    Returns:
        {"images", "annotations", "categories"}; `iscrowd` is 0 where absent, and `area` where absent is that of the
        mask, or of the box when there is no mask.

    Raises:
        DataError: an illegal record (see casl.coco.judge), or an annotation without mask where masks are compared.
            Masks are judged only where they are used.
    """
    images = image_records(gt, TRUTH, named=False)
    names = {1: ONE_CATEGORY} if agnostic else category_records(gt, TRUTH, named=False)
    sizes = sizes_of(images)
    annotations = list(annotation_records(gt, TRUTH, sizes, None if agnostic else names))
    whole = whole_masks(annotations) if masks else frozenset[int]()
    return {
        "images": [dict(image) for image in images.values()],
        "categories": [dict(category) for category in names.values()],
        "annotations": [
            _annotation(a, sizes[a["image_id"]], masks, agnostic, i in whole) for i, a in enumerate(annotations)
        ],
    }


def checked_results(
    dt: Sequence[Result],
    sizes: Mapping[int, Size],
    names: Container[int] | None,
    masks: bool,
    mask_area: bool = False,
) -> list[Result]:
    """Copies of the predictions with just what matching needs, ids counted from 1.

    Args:
        dt: COCO results; not changed.
        sizes: of the ground truth's images, by id.
        names: ids of the ground truth's categories. None: every category becomes 1, and none need be given.
        masks: compare masks, else boxes. `area` is that of the box, as in `COCO.loadRes`; a result without `bbox` gets
            the box around its mask and the mask's area.
        mask_area: with masks, take the mask's area even where there is a box, as detectron2 and EntitySeg do.

    Raises:
        DataError: an illegal result (see casl.coco.judge), or one without mask where masks are compared. Masks are
            judged only where they are used.
    """
    if not isinstance(dt, list | tuple):
        raise DataError(f"{FOUND} must be a list of COCO results, got {type(dt).__name__}")
    if not masks and plainly_legal(dt, sizes, names):
        return _plain_boxes(dt, agnostic=names is None)
    whole = whole_masks(dt) if masks else frozenset[int]()
    return [_result(i, r, sizes, names, masks, mask_area, i in whole) for i, r in enumerate(dt)]


def _annotation(a: Record, size: Size, masks: bool, agnostic: bool, whole: bool) -> dict[str, Any]:
    owner, box, area = f"{TRUTH}: annotation {a['id']}", list(a["bbox"]), a.get("area")
    rle = None
    if masks and a.get("iscrowd", 0) and not has_mask(a):
        rle = box_rle(box, *size)  # as training reads it: a crowd may be given as a box only
    elif masks or (area is None and has_mask(a)):
        rle = _mask(a, size, owner, whole)
    if area is None:
        area = float(rle_tools.area(rle)) if rle else box[2] * box[3]
    checked = {"id": int(a["id"]), "image_id": a["image_id"], "category_id": 1 if agnostic else a["category_id"]}
    checked |= {"iscrowd": int(a.get("iscrowd", 0)), "bbox": box, "area": area}
    return checked | ({"segmentation": rle} if masks else {})


def _plain_boxes(dt: Sequence[Result], agnostic: bool) -> list[dict[str, Any]]:
    """What `_result` makes of results that are `plainly_legal`, several times as fast."""
    return [
        {"id": i, "image_id": r["image_id"], "category_id": 1 if agnostic else r["category_id"], "score": r["score"]}
        | {"iscrowd": 0, "bbox": [*r["bbox"]], "area": r["bbox"][2] * r["bbox"][3]}
        for i, r in enumerate(dt, start=1)
    ]


def _result(
    i: int,
    r: Any,
    sizes: Mapping[int, Size],
    names: Container[int] | None,
    masks: bool,
    mask_area: bool,
    whole: bool,
) -> dict[str, Any]:
    owner = f"{FOUND}: entry {i}"
    for problem in result_problems(r, sizes, names):
        refuse(f"{owner}: {problem}")
    checked = {"id": i + 1, "image_id": r["image_id"], "category_id": 1 if names is None else r["category_id"]}
    checked |= {"score": r["score"], "iscrowd": 0}
    box = list(r["bbox"]) if r.get("bbox") is not None and not (masks and mask_area) else None
    if box is not None and not masks:
        return checked | {"bbox": box, "area": box[2] * box[3]}
    rle = _mask(r, sizes[r["image_id"]], owner, whole)
    shape = {"segmentation": rle} if masks else {"bbox": [float(value) for value in rle_tools.toBbox(rle)]}
    return checked | shape | {"area": box[2] * box[3] if box is not None else float(rle_tools.area(rle))}


def _mask(record: Record, size: Size, owner: str, whole: bool) -> Rle:
    if not has_mask(record):
        raise DataError(f"{owner} has no segmentation: a metric on masks needs one; the box metrics do not")
    return mask_of(record, size, owner, whole)
