"""Random ground truth and predictions, and pycocotools run on them by the book: the oracle of this folder."""

from __future__ import annotations

import contextlib
import copy
import io
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

Json = dict[str, Any]
KEYS = ("AP", "AP50", "AP70", "AP75", "APs", "APm", "APl")
SUMMARY = tuple(key for key in KEYS if key != "AP70")  # which pycocotools has in its table, and not in its summary
RECALLS = ("AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def oracle(
    gt: Json, dt: list[Json], iou_type: str, agnostic: bool, drop_box: bool = False, names: tuple[str, ...] = KEYS
) -> dict[str, float]:
    """Values as COCO.loadRes and COCOeval give them, by their names.

    drop_box: without the boxes, as detectron2 does.
    """
    gt, dt = copy.deepcopy(gt), copy.deepcopy(dt)
    if agnostic:
        gt["categories"] = [{"id": 1, "name": "thing"}]
        for entry in gt["annotations"] + dt:
            entry["category_id"] = 1
    if drop_box:
        for result in dt:
            result.pop("bbox", None)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = gt
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(dt), iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    values = dict(zip((*SUMMARY, *RECALLS), evaluation.stats, strict=True)) | {"AP70": at_seventy(evaluation)}
    return {name: float(values[name]) * 100 if values[name] >= 0 else -1.0 for name in names}


def at_seventy(evaluation: Any) -> float:
    """As COCOeval.summarize has it of .5 and .75."""
    at = evaluation.eval["precision"][np.isclose(evaluation.params.iouThrs, 0.7), ..., 0, -1]
    known = at[at > -1]
    return float(np.mean(known)) if known.size else -1.0


def ellipse_rle(box: list[float], height: int, width: int) -> Json:
    x, y, w, h = box
    rows, columns = np.mgrid[:height, :width]
    inside = ((columns - x - w / 2) / max(w, 1)) ** 2 + ((rows - y - h / 2) / max(h, 1)) ** 2 <= 0.25
    rle = coco_mask.encode(np.asfortranarray(inside.astype(np.uint8)))
    return {"size": [height, width], "counts": rle["counts"].decode()}


def jittered(gt: Json, spread: float, seed: int, extra: int = 3) -> list[Json]:
    """Most true objects moved by `spread` of their size, some twice, some of another class, and `extra` invented."""
    rng = np.random.default_rng(seed)
    sizes = {image["id"]: (image["height"], image["width"]) for image in gt["images"]}
    classes = [category["id"] for category in gt["categories"]]
    seeds = [(a["image_id"], a["category_id"], a["bbox"]) for a in gt["annotations"] if rng.random() < 0.85]
    seeds += [(a["image_id"], a["category_id"], a["bbox"]) for a in gt["annotations"] if rng.random() < 0.3]
    for image_id, (height, width) in sizes.items():
        boxes = rng.uniform(0, 1, (extra, 4)) * [width * 0.7, height * 0.7, width * 0.3, height * 0.3]
        seeds += [(image_id, int(rng.choice(classes)), box.tolist()) for box in boxes]
    found = []
    for image_id, category, (x, y, w, h) in seeds:
        moved = np.array([x, y, w, h]) + rng.normal(0, spread, 4) * [w, h, w, h]
        box = np.maximum(moved, [0, 0, 1, 1]).tolist()
        category = int(rng.choice(classes)) if rng.random() < 0.15 else category
        # few distinct scores, so that ties are common
        result: Json = {
            "image_id": image_id,
            "category_id": category,
            "score": round(float(rng.random()), 2),
            "bbox": box,
        }
        found.append(result | {"segmentation": ellipse_rle(box, *sizes[image_id])})
    return [found[i] for i in rng.permutation(len(found))]


def random_scene(seed: int, num_images: int = 8, num_objects: int = 7) -> tuple[Json, list[Json]]:
    """Overlapping objects of all three sizes, polygons and both RLE forms, crowds, an image without objects."""
    rng = np.random.default_rng(seed)
    height, width = 150, 180
    gt: Json = {"images": [], "annotations": [], "categories": [{"id": i, "name": f"c{i}"} for i in (2, 5, 90)]}
    for image_id in range(num_images):
        gt["images"].append({"id": image_id, "height": height, "width": width})
        for _ in range(0 if image_id == 3 else num_objects):
            x, y, w, h = (rng.uniform(0, 1, 4) ** [1, 1, 2, 2] * [width * 0.6, height * 0.6, 110, 110]).tolist()
            box = [x, y, min(w + 4, width - x), min(h + 4, height - y)]
            crowd = int(rng.random() < 0.12)
            rle = ellipse_rle(box, height, width)
            segmentation = [rle, _polygon(box), _uncompressed(rle)][2 if crowd else int(rng.integers(3))]
            gt["annotations"].append(
                {"id": 10 + len(gt["annotations"]), "image_id": image_id, "category_id": int(rng.choice([2, 5, 90]))}
                | {"bbox": box, "area": float(coco_mask.area(rle)), "iscrowd": crowd, "segmentation": segmentation}
            )
    return gt, jittered(gt, 0.12, seed)


def _polygon(box: list[float]) -> list[list[float]]:
    x, y, w, h = box
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    points = np.stack([x + w / 2 * (1 + np.cos(angles)), y + h / 2 * (1 + np.sin(angles))], axis=1)
    return [points.ravel().tolist()]


def _uncompressed(rle: Json) -> Json:
    flat = np.concatenate([[0], coco_mask.decode(rle).ravel(order="F"), [2]])
    changes = np.flatnonzero(np.diff(flat.astype(int)))
    runs = np.diff(np.concatenate([[0], changes]))
    return {"size": rle["size"], "counts": runs.tolist()}
