"""Ground truth and predictions in COCO's formats: read, checked, and copied into what pycocotools can take.

pycocotools trusts its input. It drops predictions of unknown categories, treats annotation id 0 as "not matched" and
never returns on some damaged masks; so everything is checked here, and only checked copies are passed on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Container, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from casl.codes import are_whole
from casl.errors import DataError
from casl.metrics.masks import to_rle

GroundTruth = dict[str, Any]  # {"images": [...], "annotations": [...], "categories": [...]}
Result = dict[str, Any]  # {"image_id", "category_id", "score", "bbox" XYWH in pixels and / or "segmentation"}

ONE_CATEGORY = {"id": 1, "name": "thing", "supercategory": "thing"}


def read_ground_truth(path: Path) -> GroundTruth:
    """The COCO ground truth in a JSON file.

    Raises:
        DataError: missing or unreadable file, not JSON, or not an object with lists "images" and "annotations".
    """
    content = _read_json(path)
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in ("images", "annotations")):
        raise DataError(f'{path} is not COCO ground truth: expected an object with lists "images" and "annotations"')
    return content


def read_results(path: Path) -> list[Result]:
    """The predictions in a COCO result file: a list of results, or an object whose "annotations" are that list.

    Raises:
        DataError: missing or unreadable file, not JSON, or neither of the two forms.
    """
    content = _read_json(path)
    if isinstance(content, dict):
        content = content.get("annotations")
    if not isinstance(content, list):
        raise DataError(
            f"{path} is not a COCO result file: expected a list of objects with image_id and bbox, segmentation, "
            'keypoints or segments_info, or an object with such a list as "annotations"'
        )
    return content


def has_masks(entries: Sequence[object]) -> bool:
    """Whether every entry (annotation or result) has a segmentation; true of an empty list."""
    return all(isinstance(entry, dict) and bool(entry.get("segmentation")) for entry in entries)


def checked_ground_truth(gt: GroundTruth, masks: bool, agnostic: bool) -> GroundTruth:
    """A copy of the ground truth with just what matching needs, every field present.

    Args:
        gt: COCO ground truth; not changed.
        masks: masks will be compared, so every annotation needs a segmentation and every image its size.
        agnostic: replace all categories by one of id 1.

    Returns:
        {"images", "annotations", "categories"}; `iscrowd` is 0 where absent, `bbox` is taken from the mask where
        absent, and `area` where absent is that of the mask, or of the box when there is no mask.

    Raises:
        DataError: anything missing, of the wrong type, not finite, duplicate or referring to nothing; annotation id 0.
    """
    images = _by_id(_list_of(gt, "images"), "image")
    names = {1: ONE_CATEGORY} if agnostic else _by_id(_list_of(gt, "categories"), "category")
    annotations = _by_id(_list_of(gt, "annotations"), "annotation")
    filled = _filled(list(annotations.values())) if masks else frozenset[int]()
    return {
        "images": [dict(image) for image in images.values()],
        "categories": [dict(category) for category in names.values()],
        "annotations": [
            _annotation(a, images, names, masks, agnostic, i in filled) for i, a in enumerate(annotations.values())
        ],
    }


def checked_results(
    dt: Sequence[Result],
    images: dict[Any, Any],
    names: Container[Any],
    masks: bool,
    agnostic: bool,
    mask_area: bool = False,
) -> list[Result]:
    """Copies of the predictions with just what matching needs, ids counted from 1.

    Args:
        dt: COCO results; not changed.
        images: ground-truth image of each id.
        names: ids of the ground truth's categories.
        masks: compare masks, else boxes. `area` is that of the box, as in `COCO.loadRes`; a result without `bbox` gets
            the box around its mask and the mask's area.
        mask_area: with masks, take the mask's area even where there is a box, as detectron2 and EntitySeg do.
        agnostic: every category becomes 1; category_id may then be absent.

    Raises:
        DataError: an image or category that the ground truth does not have, a score or box that is not finite, a box of
            negative size, no segmentation where masks are compared, or neither box nor segmentation.
    """
    if not isinstance(dt, list | tuple):
        raise DataError(f"predictions must be a list of COCO results, got {type(dt).__name__}")
    plain = None if masks else _plain_boxes(dt, images, names, agnostic)
    if plain is not None:
        return plain
    filled = _filled(dt) if masks else frozenset[int]()
    return [_result(i, r, images, names, masks, agnostic, mask_area, i in filled) for i, r in enumerate(dt)]


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}") from error


def _list_of(gt: object, key: str) -> list[Any]:
    entries = gt.get(key) if isinstance(gt, dict) else None
    if not isinstance(entries, list):
        raise DataError(f'ground truth is not COCO: it has no list "{key}"')
    return entries


def _by_id(entries: list[Any], kind: str) -> dict[Any, dict[str, Any]]:
    found: dict[Any, dict[str, Any]] = {}
    for i, entry in enumerate(entries):
        key = entry.get("id") if isinstance(entry, dict) else None
        if isinstance(key, bool) or not isinstance(key, Integral):
            raise DataError(f"ground truth: {kind} number {i} has no integer id")
        if key in found:
            raise DataError(f"ground truth: {kind} id {key} is used more than once")
        found[key] = entry
    if kind == "annotation" and 0 in found:
        raise DataError(
            "ground truth: annotation id 0 is not usable: pycocotools writes 0 for 'not matched', so a prediction that "
            "finds this object would count as wrong; number the annotations from 1"
        )
    return found


def _filled(entries: Sequence[object]) -> frozenset[int]:
    """Places of entries whose mask is a compressed string that needs no further look; the others may be sound too."""
    found: list[int] = []
    for start in range(0, len(entries), _AT_ONCE):
        places, strings, pixels = [], [], []
        for place, entry in enumerate(entries[start : start + _AT_ONCE], start=start):
            mask = entry.get("segmentation") if isinstance(entry, dict) else None
            counts, size = (mask.get("counts"), mask.get("size")) if isinstance(mask, dict) else (None, None)
            if isinstance(counts, str | bytes) and type(size) is list and [type(side) for side in size] == [int, int]:
                places.append(place)
                strings.append(counts if isinstance(counts, bytes) else counts.encode("utf-8", "surrogatepass"))
                pixels.append(size[0] * size[1])
        if strings and are_whole(strings, pixels):
            found += places
    return frozenset(found)


_AT_ONCE = 500  # masks; of more the arrays do not stay in the processor's cache


def _annotation(
    a: dict[str, Any], images: dict[Any, Any], names: Container[Any], masks: bool, agnostic: bool, filled: bool
) -> dict[str, Any]:
    owner = f"ground truth: annotation {a['id']}"
    image = images[_known(a, "image_id", images, owner)]
    category = 1 if agnostic else _known(a, "category_id", names, owner)
    crowd = a.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise DataError(f"{owner}: iscrowd must be 0 or 1, got {crowd!r}")
    box, area = a.get("bbox"), a.get("area")
    rle = None
    if masks or ((box is None or area is None) and a.get("segmentation")):
        rle = _mask(a, image, owner, filled)
    box = _box(box, owner) if box is not None else _box_around(rle, owner)
    if area is None:
        area = float(coco_mask.area(rle)) if rle else box[2] * box[3]
    if not _is_finite(area) or area < 0:
        raise DataError(f"{owner}: area must be a finite number of pixels >= 0, got {area!r}")
    checked = {"id": int(a["id"]), "image_id": a["image_id"], "category_id": category, "iscrowd": int(crowd)}
    return checked | {"bbox": box, "area": area} | ({"segmentation": rle} if masks else {})


def _plain_boxes(
    dt: Sequence[Any], images: dict[Any, Any], names: Container[Any], agnostic: bool
) -> list[dict[str, Any]] | None:
    """What `_result` makes of each, column by column and so much faster; None if any is not quite ordinary."""
    try:
        places, scores, boxes = ([r[key] for r in dt] for key in ("image_id", "score", "bbox"))
        classes = [1] * len(dt) if agnostic else [r["category_id"] for r in dt]
    except (KeyError, TypeError):
        return None
    if not {type(r) for r in dt} <= {dict} or not {type(box) for box in boxes} <= {list}:
        return None
    sides = [side for box in boxes for side in box]
    ordinary = (
        {type(value) for column in (places, classes) for value in column} <= {int}
        and {type(value) for column in (scores, sides) for value in column} <= {int, float}
        and {len(box) for box in boxes} <= {4}
        and all(place in images for place in set(places))
        and (agnostic or all(number in names for number in set(classes)))
        and all(map(_is_finite, scores))
        and all(map(_is_finite, sides))
        and all(box[2] >= 0 and box[3] >= 0 for box in boxes)
    )
    if not ordinary:
        return None
    rows = enumerate(zip(places, classes, scores, boxes, strict=True), start=1)
    return [
        {"id": i, "image_id": place, "category_id": number, "score": score, "iscrowd": 0}
        | {"bbox": [*box], "area": box[2] * box[3]}
        for i, (place, number, score, box) in rows
    ]


def _result(
    i: int,
    r: object,
    images: dict[Any, Any],
    names: Container[Any],
    masks: bool,
    agnostic: bool,
    mask_area: bool,
    filled: bool,
) -> dict[str, Any]:
    owner = f"predictions: entry {i}"
    if not isinstance(r, dict):
        raise DataError(f"{owner} is not an object but {type(r).__name__}")
    image = images[_known(r, "image_id", images, owner)]
    category = 1 if agnostic else _known(r, "category_id", names, owner)
    if not _is_finite(r.get("score")):
        raise DataError(f"{owner}: score must be a finite number, got {r.get('score')!r}")
    checked = {"id": i + 1, "image_id": r["image_id"], "category_id": category, "score": r["score"], "iscrowd": 0}
    box = _box(r["bbox"], owner) if r.get("bbox") is not None and not (masks and mask_area) else None
    if box is not None and not masks:
        return checked | {"bbox": box, "area": box[2] * box[3]}
    rle = _mask(r, image, owner, filled) if masks or r.get("segmentation") else None
    shape = {"segmentation": rle} if masks else {"bbox": _box_around(rle, owner)}
    return checked | shape | {"area": box[2] * box[3] if box is not None else float(coco_mask.area(rle))}


def _known(entry: dict[str, Any], key: str, known: Container[Any], owner: str) -> Any:
    value = entry.get(key)
    if not isinstance(value, int | Real) or value not in known:
        raise DataError(f"{owner}: {key} {value!r} is not in the ground truth's {_PLURAL[key]}")
    return value


_PLURAL = {"image_id": "images", "category_id": "categories"}


def _is_finite(value: object) -> bool:
    if type(value) is float:  # most are, and asking whether something is a Real takes ten times as long
        return math.isfinite(value)
    try:
        return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)
    except OverflowError:  # an integer beyond floating point
        return False


def _box(box: Any, owner: str) -> list[float]:
    values = list(box) if hasattr(box, "__iter__") and not isinstance(box, str | dict) else []
    if len(values) != 4 or not all(map(_is_finite, values)):
        raise DataError(f"{owner}: bbox must be four finite numbers [x, y, width, height], got {box!r:.80}")
    if values[2] < 0 or values[3] < 0:
        raise DataError(f"{owner}: bbox {values} has a negative size; it is [x, y, width, height], not two corners")
    return values


def _box_around(rle: dict[str, Any] | None, owner: str) -> list[float]:
    if rle is None:
        raise DataError(f"{owner} has neither bbox nor segmentation")
    return [float(value) for value in coco_mask.toBbox(rle)]


def _mask(entry: dict[str, Any], image: dict[str, Any], owner: str, filled: bool) -> dict[str, Any]:
    if not entry.get("segmentation"):
        raise DataError(f"{owner} has no segmentation: a metric on masks needs one; the box metrics do not")
    height, width = image.get("height"), image.get("width")
    if not isinstance(height, Integral) or not isinstance(width, Integral):
        raise DataError(f"ground truth: image {image['id']} has no integer height and width, which masks need")
    return to_rle(entry["segmentation"], int(height), int(width), owner, filled)
