"""Precision at every IoU, recall, class and size of object: matched and counted by faster-coco-eval.

The tables equal pycocotools' to the last bit, so every mean over them does. Two things are arranged for that:

- faster-coco-eval keeps numbers of images, classes and objects as floating point, and 0 as "not matched"; so all are
  numbered anew here, in the order in which pycocotools sorts them.
- pycocotools divides by right + wrong + 2.2e-16, which is felt where one prediction alone has been judged: if it is
  right, precision is 1 - 2.2e-16 there, and 1 with faster-coco-eval. `_as_pycocotools` takes that back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from casl.metrics.results import GroundTruth, Result

Table = NDArray[np.float64]  # (IoU .50:.05:.95, recall 0:.01:1, class by rising id, size); -1 without objects
_AFTER_ONE = 1 / (1 + np.spacing(1))  # pycocotools' precision of one right prediction and no other
_AT = {"AP50": 0, "AP70": 4, "AP75": 5}  # figure at one IoU -> row of a table


def precision_table(
    truth: GroundTruth, found: Sequence[Result], kind: str, sigmas: Mapping[int, NDArray[np.float64]] | None = None
) -> Table:
    """The table of one kind of match.

    Args:
        truth, found: checked (see casl.metrics.matching.checked_sides); both are used up: their ids change.
        kind: "bbox", "segm" or "keypoints".
        sigmas: of the keypoints of each category that has objects.

    Returns:
        Sizes are all, small, medium, large; without small for keypoints. At most 100 predictions an image and class,
        of keypoints 20.
    """
    classes = _numbered_anew(truth, found)
    both = _indexed(truth), _indexed(truth | {"annotations": found})
    # masks as boxes whose overlap we say; its own way to compare masks writes each of them anew
    judge = COCOeval_faster(*both, "keypoints" if kind == "keypoints" else "bbox", print_function=_quiet)
    params = judge.params
    params.imgIds = list(range(1, 1 + len(truth["images"])))
    params.catIds = list(range(1, 1 + len(classes)))
    params.maxDets = params.maxDets[-1:]
    if not params.imgIds or not params.catIds:
        return np.full((len(params.iouThrs), len(params.recThrs), len(classes), len(params.areaRng)), -1.0)
    if kind == "segm":
        judge.computeIoU = _overlap(truth["annotations"], found, params.maxDets[-1])
    if sigmas is not None:
        _use_sigmas(judge, {classes[number]: own for number, own in sigmas.items()})
    recalls, objects = params.recThrs, _objects(truth, len(classes), params.areaRng, kind == "keypoints")
    params.recThrs = np.union1d(recalls, 2 / np.maximum(2, objects))
    judge.evaluate()
    judge.accumulate()
    return _as_pycocotools(judge.eval["precision"][..., 0], params.recThrs, recalls, objects)


def summary(table: Table, sizes: Sequence[str]) -> dict[str, float]:
    """{"AP", "AP50", "AP70", "AP75"} and AP of each of the sizes after the first: percent, -1.0 without objects."""
    parts = {"AP": table[..., 0]} | {name: table[place, ..., 0] for name, place in _AT.items()}
    parts |= {f"AP{name}": table[..., place] for place, name in enumerate(sizes, start=1)}
    return {name: _mean(part) for name, part in parts.items()}


def _mean(part: NDArray[np.float64]) -> float:
    known = part[part > -1]
    return 100.0 * float(np.mean(known)) if known.size else -1.0


def _numbered_anew(truth: GroundTruth, found: Sequence[Result]) -> dict[int, int]:
    """Everything counted from 1, images and classes by rising id; returns the number of each class."""
    images = {number: place for place, number in enumerate(sorted(i["id"] for i in truth["images"]), start=1)}
    classes = {number: place for place, number in enumerate(sorted(c["id"] for c in truth["categories"]), start=1)}
    truth["images"] = [image | {"id": images[image["id"]]} for image in truth["images"]]
    truth["categories"] = [{"id": place} for place in classes.values()]
    for entries in (truth["annotations"], found):
        for place, entry in enumerate(entries, start=1):
            entry["id"] = place
            entry["image_id"] = images[entry["image_id"]]
            entry["category_id"] = classes[entry["category_id"]]
    return classes


def _indexed(dataset: GroundTruth) -> Any:
    coco = COCO(print_function=_quiet)
    coco.dataset = dataset
    coco.createIndex()
    return coco


def _quiet(*_: object) -> None:
    """Where faster-coco-eval prints."""


def _overlap(truths: Sequence[Result], found: Sequence[Result], most: int) -> Callable[[int, int], NDArray[np.float64]]:
    """IoU of masks in an image and class, by pycocotools itself: (predictions by falling score, objects)."""
    objects: defaultdict[tuple[int, int], list[Result]] = defaultdict(list)
    predictions: defaultdict[tuple[int, int], list[Result]] = defaultdict(list)
    for entries, groups in ((truths, objects), (found, predictions)):
        for entry in entries:
            groups[entry["image_id"], entry["category_id"]].append(entry)

    def overlap(image_id: int, class_id: int) -> NDArray[np.float64]:
        own = objects[image_id, class_id]
        best = sorted(predictions[image_id, class_id], key=lambda p: -p["score"])[:most]
        shapes = [p["segmentation"] for p in best], [o["segmentation"] for o in own]
        iou: NDArray[np.float64] = coco_mask.iou(*shapes, [o["iscrowd"] for o in own])
        return iou

    return overlap


def _use_sigmas(judge: Any, sigmas: Mapping[int, NDArray[np.float64]]) -> None:
    similarity = judge.computeOks

    def similarity_by_class(image_id: int, class_id: int) -> Any:
        # as in pycocotools, there is one set of sigmas for all classes
        judge.params.kpt_oks_sigmas = sigmas[int(class_id)]
        return similarity(image_id, class_id)

    judge.computeOks = similarity_by_class


def _objects(truth: GroundTruth, classes: int, sizes: Sequence[Sequence[float]], labeled: bool) -> NDArray[np.float64]:
    """(K, A): objects of each class and size that are to be found."""
    judged = [
        (a["category_id"] - 1, a["area"])
        for a in truth["annotations"]
        if not a["iscrowd"] and not (labeled and a["num_keypoints"] == 0)
    ]
    owner, area = np.array([k for k, _ in judged], dtype=np.intp), np.array([s for _, s in judged], dtype=np.float64)
    counts = [np.bincount(owner[(area >= low) & (area <= high)], minlength=classes) for low, high in sizes]
    return np.stack(counts, axis=1).astype(np.float64)


def _as_pycocotools(
    table: Table, asked: NDArray[np.float64], recalls: NDArray[np.float64], objects: NDArray[np.float64]
) -> Table:
    """The rows of COCO's recalls, with pycocotools' value where only the first prediction is without a wrong one.

    table: (T, R, K, A) at the recalls asked for. Among those is 2 / objects, that of the second right prediction;
    precision there is 1 if and only if no prediction before it is wrong.
    """
    second = np.searchsorted(asked, 2 / np.maximum(2, objects))  # (K, A)
    classes, sizes = np.indices(objects.shape)
    alone = (objects == 1) | (table[:, second, classes, sizes] < 1)  # (T, K, A)
    rows = table[:, np.searchsorted(asked, recalls)]
    return np.where((rows == 1) & alone[:, None], _AFTER_ONE, rows)
