"""Semantic segmentation: IoU of classes and pixel accuracy, of all pixels and of those near boundaries.

A confusion matrix counts pixels: row the true class, column the class found. The IoU of a class is its diagonal entry
over its row and column together; the mean is over the classes that a pixel truly is or was taken for, so a class that
is found where there is none costs. Void pixels of the truth are never counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, generate_binary_structure

VOID = 255  # in a map of true classes
BANDS = (1, 2, 3)  # widths of the bands around boundaries, pixels

Labels = NDArray[np.integer[Any]]
Counts = NDArray[np.integer[Any] | np.floating[Any]]
Share = NDArray[np.float64]


def confusion(truth: Labels, found: Labels, classes: int) -> NDArray[np.int64]:
    """Pixels by true class and by class found.

    Args:
        truth: integers of any shape in 0..classes-1, VOID where nothing is known.
        found: of the same shape, in 0..classes-1 wherever the truth is not void.
        classes: number of them.

    Returns:
        (classes, classes), rows the truth.

    Raises:
        ValueError: shapes differ, or a map holds a class that is not there.
    """
    if truth.shape != found.shape:
        raise ValueError(f"a true map of {truth.shape} and a found one of {found.shape}: one class for each pixel")
    known = truth != VOID
    real, taken = truth[known].astype(np.int64), found[known].astype(np.int64)
    for whose, values in (("true", real), ("found", taken)):
        if values.size and not 0 <= values.min() <= values.max() < classes:
            raise ValueError(f"a {whose} map holds {values.min()} to {values.max()}, there are {classes} classes")
    return np.bincount(real * classes + taken, minlength=classes * classes).reshape(classes, classes)


def class_iou(counts: Counts) -> Share:
    """IoU of every class, fractions; nan for one that no pixel is or was taken for.

    Args:
        counts: (..., C, C) as of `confusion`.

    Returns:
        (..., C).
    """
    right = np.diagonal(counts, axis1=-2, axis2=-1).astype(np.float64)
    union = counts.sum(-1) + counts.sum(-2) - right
    return np.where(union > 0, right / np.where(union > 0, union, 1), np.nan)


def mean_iou(counts: Counts) -> Share:
    """Mean of the IoU that are defined, a fraction; nan where none is. (..., C, C) -> (...)."""
    each = class_iou(counts)
    number = np.count_nonzero(~np.isnan(each), axis=-1)
    return np.where(number > 0, np.nansum(each, axis=-1) / np.maximum(number, 1), np.nan)


def pixel_accuracy(counts: Counts) -> Share:
    """Share of the pixels that are right, a fraction; nan without any. (..., C, C) -> (...)."""
    right, whole = np.trace(counts, axis1=-2, axis2=-1), counts.sum((-2, -1))
    return np.where(whole > 0, right / np.where(whole > 0, whole, 1), np.nan)


def boundary_band(labels: Labels, width: int) -> NDArray[np.bool_]:
    """Pixels near a boundary between classes: those with a neighbour of another class, and what is near them.

    Neighbours share an edge; the edge of the image is no boundary. Void is a class here, since data sets that draw
    boundaries as void have them there.

    Args:
        labels: (H, W) integer.
        width: at least 1; each step beyond 1 adds the neighbours of the band.

    Returns:
        (H, W), true in the band.

    Raises:
        ValueError: the width is less than 1.
    """
    if width < 1:
        raise ValueError(f"a band around boundaries is at least 1 pixel wide, got {width}")
    band = np.zeros(labels.shape, np.bool_)
    down, right = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    band[1:] |= down
    band[:-1] |= down
    band[:, 1:] |= right
    band[:, :-1] |= right
    if width > 1:
        band = binary_dilation(band, generate_binary_structure(2, 1), iterations=width - 1)
    return band


def miou(pairs: Iterable[tuple[Labels, Labels]], classes: int) -> dict[str, float]:
    """Mean IoU and pixel accuracy over all pixels of all images, and inside and outside of bands around boundaries.

    Args:
        pairs: true and found map of every image, as of `confusion`. Read once, one at a time.
        classes: number of them.

    Returns:
        {"mIoU", "accuracy"} and for each of BANDS w {"mIoU_in<w>", "mIoU_out<w>", "accuracy_in<w>", "accuracy_out<w>"},
        percent, -1.0 where there is no pixel.
    """
    whole = sum(counted(pairs, classes), np.zeros((len(places()), classes, classes), np.int64))
    figures = {"mIoU": mean_iou(whole), "accuracy": pixel_accuracy(whole)}
    return {f"{name}{place}": _percent(value[n]) for n, place in enumerate(places()) for name, value in figures.items()}


def miou_of_draws(pairs: Iterable[tuple[Labels, Labels]], classes: int, weights: NDArray[np.float32]) -> Share:
    """Mean IoU of every draw of the bootstrap over images: (R,) percent, -1.0 for one without any pixel.

    Args:
        pairs, classes: as `miou`. weights: (R, I), images in the order of the pairs.
    """
    each = np.stack([counts[0] for counts in counted(pairs, classes)]).astype(np.float64)  # (I, C, C)
    values = 100.0 * mean_iou(np.tensordot(weights.astype(np.float64), each, axes=1))
    return np.nan_to_num(values, nan=-1.0)


def places(bands: Sequence[int] = BANDS) -> tuple[str, ...]:
    """Endings of the figures' names, in the order of what `counted` counts."""
    return ("", *(f"_{side}{width}" for width in bands for side in ("in", "out")))


def counted(pairs: Iterable[tuple[Labels, Labels]], classes: int) -> Iterable[NDArray[np.int64]]:
    """(len(places()), classes, classes) of every image: confusion of all pixels, then inside and outside each band."""
    for truth, found in pairs:
        whole = confusion(truth, found, classes)
        matrices = [whole]
        for width in BANDS:
            inside = boundary_band(truth, width)
            near = confusion(truth[inside], found[inside], classes)
            matrices += [near, whole - near]
        yield np.stack(matrices)


def _percent(share: float) -> float:
    return -1.0 if np.isnan(share) else 100.0 * float(share)
