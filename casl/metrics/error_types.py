"""What kind of mistakes cost a detector its AP: the six error types of TIDE.

A prediction that is not a true positive gets the first type that fits, with IoU measured against the objects of its
own class ("own") and of all other classes ("other"), f the foreground and b the background threshold:

    localisation    own from b to f, both included: the right class in the wrong place
    classification  other >= f: in the right place, of another class
    duplicate       own > f, but the object was found by a prediction of higher score
    background      no object of any class overlaps by more than b
    both            the rest: the wrong class and in the wrong place

An object that no prediction found is "missed", unless a localisation or classification error points to it and would
find it once mended. Predictions on crowds are no errors.

Written here because the authors' package, tidecv, has seen no release since 2021 and needs OpenCV and seaborn; numbers
equal its numbers (the order of the types above is its order), but for crowds and for classes without any object.

Source: Bolya et al., TIDE: A General Toolbox for Identifying Object Detection Errors (ECCV 2020), sec. 2.2 and 2.3.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from casl.metrics.matching import coco_eval, silence
from casl.metrics.results import GroundTruth, Result

KINDS = ("classification", "localisation", "both", "duplicate", "background", "missed")
_RECALLS = np.linspace(0.0, 1.0, 101)
_Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Mistake:
    """One error. box: XYXY in pixels, of the prediction, or of the object if it is "missed".

    category_id, score: the prediction's; an object's class and 0 if it is "missed". truth_id: annotation that the error
    points to, None where there is none.
    """

    kind: str
    image_id: int
    category_id: int
    score: float
    box: _Box
    truth_id: int | None


@dataclass(frozen=True)
class Errors:
    """ap: AP in percent at the foreground threshold. counts: kind -> errors. gains: kind -> AP won by mending them all.

    Gains do not add up to 100 - ap: each kind is mended alone. mistakes: every error, by falling score.
    """

    ap: float
    counts: Mapping[str, int]
    gains: Mapping[str, float]
    mistakes: tuple[Mistake, ...]


@dataclass
class _Found:
    """A prediction that takes part. truth: position of the object its error points to."""

    result: Mapping[str, Any]
    right: bool
    kind: str = ""
    truth: int | None = None
    mended: bool = False


def error_types(
    gt: GroundTruth,
    dt: Sequence[Result],
    *,
    masks: bool = False,
    agnostic: bool = False,
    foreground: float = 0.5,
    background: float = 0.1,
) -> Errors:
    """Sort a detector's errors by kind, and say what each kind costs.

    Args:
        gt: COCO ground truth; not changed.
        dt: COCO results; not changed. At most 100 an image and class take part, as in COCO.
        masks: compare masks instead of boxes.
        agnostic: all categories are one, so that nothing can be of the wrong class.
        foreground: IoU from which a prediction finds an object, 0.5 in the paper.
        background: IoU up to which a prediction lies on nothing, 0.1 in the paper.

    Mending: a classification or localisation error becomes a true positive if its object was not found and no error of
    either kind with a higher score points to the same object, else it goes; duplicates, background and both go; missed
    objects need not be found any more, and a class that is left with neither objects nor predictions leaves the mean.
    Where no class is left, the gain is 0.

    Raises:
        ValueError: thresholds not 0 < background < foreground < 1.
        DataError: see casl.metrics.results.
    """
    if not 0 < background < foreground < 1:
        raise ValueError(f"thresholds must be 0 < background < foreground < 1, got {background} and {foreground}")
    judged = _Judged(gt, dt, masks, agnostic, foreground)
    for image_id in judged.images:
        judged.sort_out(image_id, foreground, background)
    judged.mend()
    missed = judged.missed()
    ap = judged.ap()
    gains = {kind: max(0.0, judged.ap(kind, missed) - ap) if ap >= 0 else -1.0 for kind in KINDS}
    mistakes = [*judged.mistakes(), *map(judged.mistake_of, missed)]
    counted = Counter(m.kind for m in mistakes)
    return Errors(ap, {k: counted[k] for k in KINDS}, gains, tuple(sorted(mistakes, key=lambda m: -m.score)))


class _Judged:
    """pycocotools' matching at one threshold, and what becomes of the predictions that match nothing."""

    def __init__(self, gt: GroundTruth, dt: Sequence[Result], masks: bool, agnostic: bool, foreground: float) -> None:
        evaluation = coco_eval(gt, dt, masks, agnostic)
        params = evaluation.params
        params.iouThrs = np.array([foreground])
        params.areaRng, params.areaRngLbl, params.maxDets = params.areaRng[:1], params.areaRngLbl[:1], [100]
        with silence():
            evaluation.evaluate()
        self.form = "segmentation" if masks else "bbox"
        self.images: list[int] = list(params.imgIds)
        truths, results = evaluation.cocoGt.anns, evaluation.cocoDt.anns
        self.found: dict[int, list[_Found]] = defaultdict(list)
        self.truths: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
        self.taken: set[int] = set()
        for judged in filter(None, evaluation.evalImgs):  # by class, then by image, as AP is summed
            matches, ignored = judged["dtMatches"][0], judged["dtIgnore"][0]
            rows = zip(judged["dtIds"], matches, ignored, strict=True)
            self.found[judged["image_id"]] += [_Found(results[i], bool(m)) for i, m, gone in rows if not gone]
            objects = [i for i, gone in zip(judged["gtIds"], judged["gtIgnore"], strict=True) if not gone]
            self.truths[judged["image_id"]] += [truths[i] for i in objects]
            self.taken |= {int(m) for m in matches if m}
        self.by_id = {t["id"]: t for found in self.truths.values() for t in found}

    def sort_out(self, image_id: int, foreground: float, background: float) -> None:
        """Give every wrong prediction of an image its kind."""
        truths, wrong = self.truths[image_id], [f for f in self.found[image_id] if not f.right]
        if not truths:
            for found in wrong:
                found.kind = "background"
            return
        for found, overlaps in zip(wrong, self._overlaps(wrong, truths), strict=True):
            same = np.array([t["category_id"] == found.result["category_id"] for t in truths])
            own, other = np.where(same, overlaps, 0.0), np.where(same, 0.0, overlaps)
            found.kind = _kind(own.max(), other.max(), foreground, background)
            pointed = {"localisation": own, "classification": other, "duplicate": own}.get(found.kind)
            found.truth = int(truths[int(pointed.argmax())]["id"]) if pointed is not None else None

    def _overlaps(self, found: Sequence[_Found], truths: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        if not found:
            return np.zeros((0, len(truths)))
        shapes = ([f.result[self.form] for f in found], [t[self.form] for t in truths])
        return np.asarray(coco_mask.iou(*shapes, [0] * len(truths)))

    def mend(self) -> None:
        """Let the error with the highest score find the object it points to, where no prediction found that object."""
        best: dict[int, _Found] = {}
        for found in self._wrong("classification", "localisation"):
            assert found.truth is not None
            if found.truth not in self.taken:
                before = best.setdefault(found.truth, found)
                if found.result["score"] > before.result["score"]:
                    best[found.truth] = found
        for found in best.values():
            found.mended = True

    def missed(self) -> list[int]:
        """Ids of objects that nothing found, and nothing would find once mended."""
        pointed = {f.truth for f in self._wrong("classification", "localisation")}
        return [i for i in self.by_id if i not in self.taken and i not in pointed]

    def ap(self, mended: str = "", missed: Sequence[int] = ()) -> float:
        """Mean over classes with objects, percent, -1 without any. mended: the kind of error that is put right.

        A class whose objects were all missed has none left once that is mended: 0 if it has predictions, else no part.
        """
        objects = Counter(t["category_id"] for t in self.by_id.values())
        if mended == "missed":
            objects.subtract(self.by_id[i]["category_id"] for i in missed)
        points: dict[int, list[tuple[float, bool]]] = defaultdict(list)
        for image_id in self.images:
            for found in self.found[image_id]:
                if found.kind != mended or not mended:
                    points[found.result["category_id"]].append((found.result["score"], found.right))
                elif found.mended:
                    assert found.truth is not None
                    points[self.by_id[found.truth]["category_id"]].append((found.result["score"], True))
        classes = [c for c in sorted(objects) if objects[c] or points[c]]
        return float(np.mean([_ap(points[c], objects[c]) for c in classes])) if classes else -1.0

    def mistakes(self) -> list[Mistake]:
        """Every wrong prediction."""
        return [
            Mistake(f.kind, r["image_id"], r["category_id"], float(r["score"]), self._corners(r), f.truth)
            for f in self._wrong()
            for r in [f.result]
        ]

    def mistake_of(self, missed: int) -> Mistake:
        """The error of an object that was missed."""
        t = self.by_id[missed]
        return Mistake("missed", t["image_id"], t["category_id"], 0.0, self._corners(t), missed)

    def _wrong(self, *kinds: str) -> Iterable[_Found]:
        every = (f for image_id in self.images for f in self.found[image_id])
        return (f for f in every if not f.right and f.kind in (kinds or KINDS))

    def _corners(self, shape: Mapping[str, Any]) -> _Box:
        x, y, w, h = map(float, shape["bbox"] if "bbox" in shape else coco_mask.toBbox(shape["segmentation"]))
        return x, y, x + w, y + h


def _kind(own: float, other: float, foreground: float, background: float) -> str:
    if background <= own <= foreground:  # at f itself the object is taken by another prediction; TIDE asks this first
        return "localisation"
    if other >= foreground:
        return "classification"
    if own > foreground:
        return "duplicate"
    return "background" if max(own, other) <= background else "both"


def _ap(points: Sequence[tuple[float, bool]], objects: int) -> float:
    """AP of one class in percent, of (score, whether right): COCO's 101 points. 0 where no object is left."""
    if not points or objects <= 0:
        return 0.0
    order = np.argsort([-score for score, _ in points], kind="mergesort")
    right = np.array([good for _, good in points])[order]
    hits = np.cumsum(right)
    precision = np.maximum.accumulate((hits / np.arange(1, len(right) + 1))[::-1])[::-1]
    at = np.searchsorted(hits / objects, _RECALLS, side="left")
    return 100.0 * float(np.concatenate([precision, [0.0]])[at].mean())
