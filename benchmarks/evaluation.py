"""Average precision of boxes: pycocotools, faster-coco-eval and casl.metrics on the same synthetic predictions.

Run:    ENV/bin/python benchmarks/evaluation.py [--images 5000] [--detections 100] [--classes 80] [--rounds 3]
            [--scenes 60] [--folder DATA ...]
Peers:  pycocotools comes with casl; faster-coco-eval: pip install faster-coco-eval
Shows:  processor seconds of each and ratios to pycocotools. "checked" is casl's checking of its input alone; "casl +
        faster" is that and faster-coco-eval on the checked copies, whichever of the two casl.metrics uses by itself.
        Then the largest difference of any of the twelve numbers between pycocotools and faster-coco-eval, boxes and
        masks: on the set that was timed, on random scenes with crowds, ties, objects on the size limits and images
        without objects, and on the instances_val.json of each folder given with --folder.
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

import numpy as np
from measuring import Turns, arguments, ratio, report, taking_turns, versions
from pycocotools import mask as rle_tools
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from casl.metrics.ap import ap_det
from casl.metrics.results import checked_ground_truth, checked_results

try:
    import faster_coco_eval
except ImportError:
    faster_coco_eval = None

Json = dict[str, Any]
LIMITS = (32.0, 96.0)  # sides of squares on COCO's size limits
INSTALL = "faster-coco-eval is left out: pip install faster-coco-eval"


def main() -> None:
    options = arguments(__doc__, images=5000, detections=100, classes=80, rounds=3, scenes=60)
    options.add_argument("--folder", action="append", default=[], type=Path, help="a data set as casl reads it")
    chosen = options.parse_args()
    gt, dt = synthetic(chosen.images, chosen.detections, chosen.classes, seed=0)
    seen: dict[str, Any] = {}
    turns = taking_turns(sides(gt, dt, seen), chosen.rounds, warm_up=0)
    lines = [f"{name:16}{np.median(own):8.2f} s   {names_ratio(turns, name)}" for name, own in turns.own.items()]
    worst: dict[str, float] = {"casl and pycocotools": difference(seen["pycocotools"][:6], seen["casl"])}
    if faster_coco_eval:
        worst |= {"timed set": difference(seen["pycocotools"], seen["faster-coco-eval"]), **compared(chosen)}
    lines += [f"largest difference, {name}: {value:.1e}" for name, value in worst.items()]
    lines += [] if faster_coco_eval else [INSTALL]
    facts = versions("casl", "numpy", "pycocotools", "faster-coco-eval")
    facts |= {name: getattr(chosen, name) for name in ("images", "detections", "classes", "rounds", "scenes")}
    report("evaluation: AP of boxes", facts, lines, {"seconds": vars(turns), "differences": worst}, chosen.json)


def names_ratio(turns: Turns, name: str) -> str:
    """How a side compares with pycocotools, for people."""
    if name == "pycocotools":
        return ""
    own, wall = (1 / ratio(times, name, "pycocotools") for times in (turns.own, turns.wall))
    return f"{own:.1f} times as fast by processor time, {wall:.1f} by the wall"


def sides(gt: Json, dt: list[Json], seen: dict[str, Any]) -> dict[str, Callable[[], None]]:
    """What is timed; each leaves its numbers in `seen`. All start from plain dicts and leave them as they were."""

    def checked() -> None:
        checks(gt, dt)

    found: dict[str, Callable[[], None]] = {
        "pycocotools": lambda: seen.update({"pycocotools": by_pycocotools(gt, dt, "bbox")}),
        "casl": lambda: seen.update({"casl": [v / 100 if v >= 0 else -1.0 for v in ap_det(gt, dt).values()]}),
        "checked": checked,
    }
    if faster_coco_eval:
        found["faster-coco-eval"] = lambda: seen.update({"faster-coco-eval": by_faster(gt, dt, "bbox")})
        found["casl + faster"] = lambda: seen.update({"casl + faster": faster_on(*checks(gt, dt), "bbox")})
    return found


def checks(gt: Json, dt: list[Json]) -> tuple[Json, Json]:
    """casl's checked copies of both sides."""
    truth = checked_ground_truth(gt, masks=False, agnostic=False)
    images = {image["id"]: image for image in truth["images"]}
    names = {category["id"] for category in truth["categories"]}
    return truth, truth | {"annotations": checked_results(dt, images, names, masks=False, agnostic=False)}


def by_pycocotools(gt: Json, dt: list[Json], kind: str) -> list[float]:
    """The twelve numbers by the book."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = gt
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(copies(dt)), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats[:12]]


def by_faster(gt: Json, dt: list[Json], kind: str) -> list[float]:
    """The same of faster-coco-eval, by its book."""
    truth = faster_coco_eval.COCO(print_function=quiet)
    truth.dataset = gt
    truth.createIndex()
    return evaluated(truth, truth.loadRes(copies(dt)), kind)


def faster_on(gt: Json, dt: Json, kind: str) -> list[float]:
    """The same on two checked sides, without `loadRes`."""
    both = []
    for dataset in (gt, dt):
        both.append(faster_coco_eval.COCO(print_function=quiet))
        both[-1].dataset = dataset
        both[-1].createIndex()
    return evaluated(both[0], both[1], kind)


def evaluated(gt: Any, dt: Any, kind: str) -> list[float]:
    evaluation = faster_coco_eval.COCOeval_faster(gt, dt, kind, print_function=quiet)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return [float(value) for value in evaluation.stats[:12]]


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
    return difference(
        by_pycocotools(copy.deepcopy(gt), copy.deepcopy(dt), kind),
        by_faster(copy.deepcopy(gt), copy.deepcopy(dt), kind),
    )


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


def boxes(rng: np.random.Generator, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(count, 4) XYWH inside 640 x 480, sizes from 4 px to most of the image, small ones most often."""
    sides = 4 * 90 ** rng.random((count, 2))
    return np.concatenate([rng.random((count, 2)) * ([640, 480] - sides), sides], axis=1)


def random_scene(seed: int) -> tuple[Json, list[Json]]:
    """Few images, with what makes evaluators differ: crowds, equal scores, areas on the limits, more than a hundred
    predictions of a class, images without objects or without predictions, classes nobody has."""
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
