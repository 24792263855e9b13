"""The bootstrap over images: what a metric would have been on other draws of the same split.

Draw r takes as many images as the split has, with replacement; it is a function of (number of images, r) alone. So draw
r is the same images for every model measured on a split, and the difference of two models' values, draw by draw, is
the paired bootstrap of their difference (Efron and Tibshirani 1993, ch. 13; Koehn 2004).

Matching of predictions to objects happens within an image, so it is done once; only the sorting by score and the sums
are repeated, with images counted as often as they are drawn. That equals pycocotools on a file in which images are
repeated, but for predictions of equal score in different images, whose order is that of the images here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from casl.metrics.keypoints import keypoint_eval
from casl.metrics.matching import coco_eval, silence
from casl.metrics.panoptic import Ids, Pair, checked_categories
from casl.metrics.pq import tallies_of
from casl.metrics.results import GroundTruth, Result

DRAWS = 400
_EPSILON = np.spacing(1)  # as pycocotools keeps 0 / 0 from happening

Weights = NDArray[np.float32]
Figure = Callable[[Any, Any, float, Any], float]  # right, wrong, positives, recalls -> a share


def image_weights(images: int, draws: int = DRAWS) -> Weights:
    """(draws, images) float32: how often each draw takes each image; every row sums to `images`."""
    if images < 1 or draws < 1:
        raise ValueError(f"a bootstrap needs at least one image and one draw, got {images} and {draws}")
    counts = [np.random.default_rng([images, r]).integers(images, size=images) for r in range(draws)]
    return np.stack([np.bincount(drawn, minlength=images) for drawn in counts]).astype(np.float32)


def ap_of_draws(
    gt: GroundTruth,
    dt: Sequence[Result],
    weights: Weights,
    *,
    masks: bool = False,
    agnostic: bool = False,
    mask_area: bool = False,
    classes: Collection[int] | None = None,
) -> NDArray[np.float64]:
    """AP of every draw.

    Args:
        gt, dt: as for the metrics of casl.metrics.ap.
        weights: (R, I), images in the order of the ground truth.
        masks: compare masks, not boxes. agnostic: all categories as one. mask_area: a prediction's area is its mask's.
        classes: ids of the categories that AP is the mean over; None for all.

    Returns:
        (R,) percent, -1.0 for a draw without any object.

    Raises:
        DataError: as the metric.
    """
    evaluation = coco_eval(gt, dt, masks, agnostic, mask_area=mask_area)
    if classes is not None:
        evaluation.params.catIds = [number for number in evaluation.params.catIds if number in classes]
    return _ap_of_draws(evaluation, gt, weights)


def recall_of_draws(
    gt: GroundTruth,
    dt: Sequence[Result],
    weights: Weights,
    *,
    masks: bool = False,
    mask_area: bool = False,
    classes: Collection[int] | None = None,
) -> NDArray[np.float64]:
    """AR100 of every draw, all categories as one; as `ap_of_draws`. classes: as of the metric."""
    evaluation = coco_eval(gt, dt, masks, agnostic=True, mask_area=mask_area, classes=classes)
    return _ap_of_draws(evaluation, gt, weights, _recalled)


# for the rows of the catalog: what each metric compares
boxes = ap_of_draws
agnostic_boxes = partial(ap_of_draws, agnostic=True)
masks = partial(ap_of_draws, masks=True)
agnostic_masks = partial(ap_of_draws, masks=True, agnostic=True)
entity_masks = partial(ap_of_draws, masks=True, agnostic=True, mask_area=True)
agnostic_boxes_recall = recall_of_draws
agnostic_masks_recall = partial(recall_of_draws, masks=True)
entity_masks_recall = partial(recall_of_draws, masks=True, mask_area=True)


def keypoints(gt: GroundTruth, dt: Sequence[Result], weights: Weights) -> NDArray[np.float64]:
    """AP^point of every draw; as `ap_of_draws`."""
    return _ap_of_draws(keypoint_eval(gt, dt), gt, weights)


def _ap_of_draws(
    evaluation: Any, gt: GroundTruth, weights: Weights, figure: Figure | None = None
) -> NDArray[np.float64]:
    """figure: what is made of the judged predictions of a draw, by default the interpolated precision."""
    most = evaluation.params.maxDets[-1]
    # the headline figure needs one size range and one limit; images in the order of the weights, not of their ids
    evaluation.params.areaRng, evaluation.params.areaRngLbl = evaluation.params.areaRng[:1], ["all"]
    evaluation.params.maxDets = [most]
    with silence():
        evaluation.evaluate()
    place = {image["id"]: n for n, image in enumerate(gt["images"])}
    categories = len(evaluation.params.catIds)
    found = evaluation.evalImgs
    images = len(found) // max(1, categories)
    by_class = [[e for e in found[k * images : (k + 1) * images] if e is not None] for k in range(categories)]
    values = [_of_class(entries, place, evaluation.params, weights, figure or _interpolated) for entries in by_class]
    return _mean_of_defined(np.array(values).reshape(categories, len(weights)))


def pq_of_draws(
    pairs: Iterable[tuple[Ids, Sequence[dict[str, Any]], Ids, Sequence[dict[str, Any]]]],
    categories: Sequence[dict[str, Any]],
    weights: Weights,
) -> NDArray[np.float64]:
    """Panoptic quality of every draw: (R,) percent, -1.0 for one without any segment.

    Args:
        pairs, categories: as casl.metrics.pq.pq_of_arrays. weights: (R, I), images in the order of the pairs.
    """
    is_thing = checked_categories(categories)
    counts = np.array(
        [
            [(t.iou, t.matched, t.wrong, t.missed) for t in tallies_of(Pair(*pair), is_thing, f"image number {i}")]
            for i, pair in enumerate(pairs)
        ]
    )  # (I, C, 4)
    iou, matched, wrong, missed = np.moveaxis(np.tensordot(weights.astype(np.float64), counts, axes=1), -1, 0)
    size = matched + 0.5 * wrong + 0.5 * missed
    values = np.where(size > 0, 100.0 * iou / np.maximum(size, 0.5), -1.0)  # (R, C)
    return _mean_of_defined(values.T)


def _of_class(
    entries: Sequence[dict[str, Any]], place: dict[Any, int], params: Any, weights: Weights, figure: Figure
) -> Any:
    """(R,) percent of one category: pycocotools' accumulate with every image counted as often as it is drawn."""
    if not entries:
        return np.full(len(weights), -1.0)
    order = [place[e["image_id"]] for e in entries]
    truths = np.array([np.count_nonzero(np.asarray(e["gtIgnore"]) == 0) for e in entries])
    positives = weights[:, order] @ truths.astype(np.float32)  # (R,)
    scores = np.concatenate([e["dtScores"] for e in entries]) if entries else np.zeros(0)
    by_score = np.argsort(-scores, kind="mergesort")
    image = np.concatenate([np.full(len(e["dtScores"]), n) for n, e in zip(order, entries, strict=True)])
    image = image.astype(np.intp)[by_score]
    matches = np.concatenate([e["dtMatches"] for e in entries], axis=1)[:, by_score] != 0  # (T, D)
    ignored = np.concatenate([e["dtIgnore"] for e in entries], axis=1)[:, by_score] != 0
    right, wrong = (matches & ~ignored).astype(np.float32), (~matches & ~ignored).astype(np.float32)
    values = np.full(len(weights), -1.0)
    for r in np.flatnonzero(positives > 0):
        drawn = weights[r, image]
        values[r] = 100.0 * figure(right * drawn, wrong * drawn, float(positives[r]), params.recThrs)
    return values


def _interpolated(right: Any, wrong: Any, positives: float, recalls: Any) -> float:
    """Mean precision over IoU and recall; right, wrong: (T, D) weights of predictions in falling order of score."""
    tp, fp = np.cumsum(right, axis=1, dtype=np.float64), np.cumsum(wrong, axis=1, dtype=np.float64)
    if not tp.size:
        return 0.0
    precision = tp / (fp + tp + _EPSILON)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    total = 0.0
    for recall, best in zip(tp / positives, envelope, strict=True):
        at = np.searchsorted(recall, recalls, side="left")
        total += float(best[at[at < len(best)]].sum())
    return total / (len(recalls) * len(tp))


def _recalled(right: Any, wrong: Any, positives: float, recalls: Any) -> float:
    """Mean recall over IoU of all predictions; arguments as `_interpolated`, of which it needs two."""
    return float(right.sum(axis=1, dtype=np.float64).mean()) / positives


def _mean_of_defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(C, R) -> (R,): mean over the categories that have a value, -1.0 where none has."""
    defined = values >= 0
    number = defined.sum(axis=0)
    mean = np.where(defined, values, 0.0).sum(axis=0) / np.maximum(number, 1)
    return np.where(number > 0, mean, -1.0)
