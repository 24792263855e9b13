"""Average precision: casl.metrics, pycocotools and faster-coco-eval on the same synthetic predictions.

Run:    ENV/bin/python benchmarks/evaluation.py [--images 5000] [--detections 100] [--classes 80] [--rounds 3]
            [--mask-images 100] [--scenes 60] [--folder DATA ...]
Peers:  pycocotools and faster-coco-eval; both come with casl
Shows:  processor seconds of each from plain dicts to six figures, and how many times as fast as pycocotools; first
        boxes, then masks on fewer images. pycocotools is COCO.loadRes, evaluate, accumulate and summarize; "checked" is
        casl's checking of its input alone, "faster-coco-eval" that library by its own book, without any check.
        Then the largest difference, in percent, of any figure of casl.metrics from pycocotools': on the sets that were
        timed, on random scenes with crowds, ties, objects on the size limits and images without objects, and on the
        instances_val.json of each folder given with --folder.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import faster_coco_eval
import numpy as np
from measuring import Turns, arguments, ratio, report, taking_turns, versions
from pycocotools import mask as rle_tools
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from casl.metrics.ap import ap_det, ap_seg
from casl.metrics.matching import checked_sides

Json = dict[str, Any]
LIMITS = (32.0, 96.0)  # sides of squares on COCO's size limits
METRICS = {"bbox": ap_det, "segm": ap_seg}


def main() -> None:
    options = arguments(__doc__, images=5000, detections=100, classes=80, rounds=3, mask_images=100, scenes=60)
    options.add_argument("--folder", action="append", default=[], type=Path, help="a data set as casl reads it")
    chosen = options.parse_args()
    timed: dict[str, Turns] = {}
    worst: dict[str, float] = {}
    lines: list[str] = []
    for kind, images in (("bbox", chosen.images), ("segm", chosen.mask_images)):
        gt, dt = synthetic(images, chosen.detections, chosen.classes, seed=0)
        if kind == "segm":
            add_masks(gt, dt)
        seen: dict[str, list[float]] = {}
        timed[kind] = turns = taking_turns(sides(gt, dt, kind, seen), chosen.rounds, warm_up=0)
        worst[f"timed set, {kind}"] = difference(seen["casl"], seen["pycocotools"])
        lines.append(f"{kind}, {images} images of {chosen.detections} predictions")
        lines += [
            f"  {name:16}{np.median(own):8.2f} s   {times_as_fast(turns, name)}" for name, own in turns.own.items()
        ]
    worst |= compared(chosen)
    lines += [f"largest difference in percent, {name}: {value:.1e}" for name, value in worst.items()]
    facts = versions("casl", "numpy", "pycocotools", "faster-coco-eval")
    facts |= {name: getattr(chosen, name) for name in ("classes", "rounds", "scenes")}
    figures = {"seconds": {kind: vars(turns) for kind, turns in timed.items()}, "differences": worst}
    report("evaluation: AP of boxes and masks", facts, lines, figures, chosen.json)


def times_as_fast(turns: Turns, name: str) -> str:
    """How a side compares with pycocotools, for people."""
    if name == "pycocotools":
        return ""
    own, wall = (1 / ratio(times, name, "pycocotools") for times in (turns.own, turns.wall))
    return f"{own:.1f} times as fast as pycocotools by processor time, {wall:.1f} by the wall"


def sides(gt: Json, dt: list[Json], kind: str, seen: dict[str, list[float]]) -> dict[str, Callable[[], object]]:
    """What is timed; figures are left in `seen`. All start from plain dicts and leave them as they were."""
    return {
        "pycocotools": lambda: seen.update({"pycocotools": by_pycocotools(gt, dt, kind)}),
        "casl": lambda: seen.update({"casl": by_casl(gt, dt, kind)}),
        "checked": lambda: checked_sides(gt, dt, masks=kind == "segm", agnostic=False),
        "faster-coco-eval": lambda: seen.update({"faster-coco-eval": by_faster(gt, dt, kind)}),
    }


def by_casl(gt: Json, dt: list[Json], kind: str) -> list[float]:
    """The six figures that pycocotools sums up, in percent."""
    return [value for name, value in METRICS[kind](gt, dt).items() if name != "AP70"]


def by_pycocotools(gt: Json, dt: list[Json], kind: str) -> list[float]:
    """The same by the book."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = gt
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(copies(dt)), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return percent(evaluation.stats)


def by_faster(gt: Json, dt: list[Json], kind: str) -> list[float]:
    """The same of faster-coco-eval, by its book."""
    truth = faster_coco_eval.COCO(print_function=quiet)
    truth.dataset = gt
    truth.createIndex()
    evaluation = faster_coco_eval.COCOeval_faster(truth, truth.loadRes(copies(dt)), kind, print_function=quiet)
    evaluation.run()
    return percent(evaluation.stats)


def percent(stats: Sequence[float]) -> list[float]:
    return [100.0 * float(value) if value >= 0 else -1.0 for value in stats[:6]]


def quiet(*_: object) -> None:
    """Where faster-coco-eval prints."""


def copies(dt: list[Json]) -> list[Json]:
    """loadRes writes into the dicts it is given."""
    return [dict(result) for result in dt]


def difference(a: Sequence[float], b: Sequence[float]) -> float:
    """Largest absolute difference; infinite where only one of two is -1, "nothing to find"."""
    return max(math.inf if (x == -1) != (y == -1) else abs(x - y) for x, y in zip(a, b, strict=True))


def compared(chosen: Any) -> dict[str, float]:
    """Largest differences on random scenes and on folders, boxes and masks."""
    found: dict[str, float] = {}
    for kind in ("bbox", "segm"):
        sets = [random_scene(seed) for seed in range(chosen.scenes)]
        found[f"{chosen.scenes} random scenes, {kind}"] = max((both(gt, dt, kind) for gt, dt in sets), default=0.0)
        for folder in chosen.folder:
            gt = json.loads((folder / "annotations" / "instances_val.json").read_text())
            if kind == "bbox" or all(a.get("segmentation") for a in gt["annotations"]):
                found[f"{folder.name}, {kind}"] = max(both(gt, perturbed(gt, seed), kind) for seed in range(3))
    return found


def both(gt: Json, dt: list[Json], kind: str) -> float:
    return difference(by_pycocotools(copy.deepcopy(gt), copy.deepcopy(dt), kind), by_casl(gt, dt, kind))


def synthetic(images: int, detections: int, classes: int, seed: int) -> tuple[Json, list[Json]]:
    """About seven objects an image as in COCO, and so many predictions: some near objects, most of them not."""
    rng = np.random.default_rng(seed)
    sizes = [{"id": i + 1, "height": 480, "width": 640} for i in range(images)]
    gt: Json = {"images": sizes, "categories": [{"id": c + 1, "name": f"c{c}"} for c in range(classes)]}
    gt["annotations"], dt = [], []
    for image in sizes:
        count = int(rng.poisson(7.3))
        truth = boxes(rng, count)
        labels = rng.integers(1, classes + 1, count)
        for box, label in zip(truth.tolist(), labels.tolist(), strict=True):
            found = {"id": len(gt["annotations"]) + 1, "image_id": image["id"], "category_id": label, "bbox": box}
            gt["annotations"].append(found | {"area": box[2] * box[3] * 0.7, "iscrowd": int(rng.random() < 0.01)})
        near = min(3 * count, detections)
        pick = rng.integers(0, max(count, 1), near)
        found_boxes = np.concatenate([truth[pick] + rng.normal(0, 3, (near, 4)), boxes(rng, detections - near)])
        found_labels = np.concatenate([labels[pick], rng.integers(1, classes + 1, detections - near)])
        scores = rng.random(detections).round(3)
        found_boxes[:, 2:] = np.maximum(found_boxes[:, 2:], 1)
        rows = zip(found_boxes.tolist(), found_labels.tolist(), scores.tolist(), strict=True)
        dt += [{"image_id": image["id"], "category_id": c, "bbox": b, "score": s} for b, c, s in rows]
    return gt, dt


def add_masks(gt: Json, dt: list[Json]) -> None:
    """An ellipse in each box of a synthetic set."""
    sizes = {image["id"]: (image["height"], image["width"]) for image in gt["images"]}
    for entry in gt["annotations"] + dt:
        entry["segmentation"] = ellipse(entry["bbox"], *sizes[entry["image_id"]])


def boxes(rng: np.random.Generator, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(count, 4) XYWH inside 640 x 480, sizes from 4 px to most of the image, small ones most often."""
    sides = 4 * 90 ** rng.random((count, 2))
    return np.concatenate([rng.random((count, 2)) * ([640, 480] - sides), sides], axis=1)


def random_scene(seed: int) -> tuple[Json, list[Json]]:
    """Few images, with what makes evaluators differ: crowds, equal scores, areas on the limits, more than a hundred
    predictions of a class, images without objects or without predictions, classes without objects."""
    rng = np.random.default_rng([seed, 1])
    height, width = 140, 180
    gt: Json = {"images": [{"id": 3 * i, "height": height, "width": width} for i in range(6)], "annotations": []}
    gt["categories"] = [{"id": number, "name": f"c{number}"} for number in (1, 7, 90, 91)]
    for image in gt["images"][:-1]:
        for _ in range(int(rng.integers(0, 9))):
            side = float(rng.choice(LIMITS)) if rng.random() < 0.3 else float(rng.uniform(3, 120))
            box = [float(v) for v in (rng.uniform(0, width - side), rng.uniform(0, max(1, height - side)), side, side)]
            crowd = int(rng.random() < 0.15)
            area = side * side if rng.random() < 0.5 else float(rng.uniform(0.3, 1.0)) * side * side
            annotation = {"id": len(gt["annotations"]) + 1, "image_id": image["id"], "bbox": box, "area": area}
            annotation |= {"category_id": int(rng.choice([1, 7, 90])), "iscrowd": crowd}
            gt["annotations"].append(annotation | {"segmentation": ellipse(box, height, width)})
    dt = [result for result in perturbed(gt, seed) if result["image_id"] != 3]
    crowded = [{**result, "image_id": 6} for result in dt[:1] for _ in range(130)]
    return gt, dt + [{**result, "score": round(float(rng.random()), 1)} for result in crowded]


def perturbed(gt: Json, seed: int) -> list[Json]:
    """Predictions for a ground truth: objects moved a little, some of another class, some twice, scores with ties."""
    rng = np.random.default_rng([seed, 2])
    sizes = {image["id"]: (image["height"], image["width"]) for image in gt["images"]}
    classes = [category["id"] for category in gt["categories"]]
    found: list[Json] = []
    for annotation in gt["annotations"]:
        for _ in range(int(rng.integers(0, 4))):
            x, y, w, h = annotation["bbox"]
            moved = np.array([x, y, w, h]) + rng.normal(0, 0.1, 4) * [w, h, w, h] * (rng.random() < 0.9)
            box = np.maximum(moved, [0, 0, 1, 1]).tolist()
            label = annotation["category_id"] if rng.random() < 0.85 else int(rng.choice(classes))
            result = {"image_id": annotation["image_id"], "category_id": label, "bbox": box}
            mask = ellipse(box, *sizes[annotation["image_id"]])
            found.append(result | {"score": round(float(rng.random()), 2), "segmentation": mask})
    return [found[i] for i in rng.permutation(len(found))]


def ellipse(box: Sequence[float], height: int, width: int) -> Json:
    """The mask of an ellipse in a box, as compressed run lengths."""
    x, y, w, h = box
    rows, columns = np.mgrid[:height, :width]
    inside = ((columns - x - w / 2) / max(w, 1)) ** 2 + ((rows - y - h / 2) / max(h, 1)) ** 2 <= 0.25
    rle = rle_tools.encode(np.asfortranarray(inside.astype(np.uint8)))
    return {"size": [height, width], "counts": rle["counts"].decode()}


if __name__ == "__main__":
    main()
