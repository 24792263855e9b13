"""Cases B4 and B5: IoU and accuracy of a confusion matrix, and near boundaries."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_cdt

from casl.metrics.bootstrap import image_weights
from casl.metrics.segmentation import (
    VOID,
    boundary_band,
    class_iou,
    confusion,
    mean_iou,
    miou,
    miou_of_draws,
    pixel_accuracy,
)

B4 = np.array([[50, 2, 3], [4, 30, 1], [6, 0, 20]])


def square(first_column: int) -> NDArray[np.uint8]:
    labels = np.zeros((8, 8), np.uint8)
    labels[2:6, first_column : first_column + 4] = 1
    return labels


def noise(seed: int, classes: int = 3, void: bool = False) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, (6, 9)).repeat(3, 0).repeat(2, 1).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.05 * void] = VOID
    return labels


def test_b4_iou_mean_and_accuracy_of_a_confusion_matrix() -> None:
    assert class_iou(B4) == pytest.approx([0.769231, 0.810811, 0.666667], abs=1e-6)
    assert mean_iou(B4) == pytest.approx(0.748903, abs=1e-6)
    assert pixel_accuracy(B4) == pytest.approx(0.862069, abs=1e-6)


def test_b4_comes_out_of_maps_of_pixels() -> None:
    truth, found = (np.repeat(index.ravel(), B4.ravel()) for index in np.indices(B4.shape))
    assert (confusion(truth, found, 3) == B4).all()


def test_b5_a_shifted_object_is_wrong_near_its_boundary_only() -> None:
    truth, found = square(2), square(3)
    figures = miou([(truth, found)], 2)
    assert figures["mIoU"] == pytest.approx(72.3077, abs=1e-4)
    expected = {1: (28, 55.0, 71.4286), 2: (52, 70.0, 84.6154), 3: (60, 71.6667, 86.6667)}
    for width, (pixels, inside, accuracy) in expected.items():
        assert boundary_band(truth, width).sum() == pixels
        assert figures[f"mIoU_in{width}"] == pytest.approx(inside, abs=1e-4)
        assert figures[f"accuracy_in{width}"] == pytest.approx(accuracy, abs=1e-4)
        assert figures[f"mIoU_out{width}"] == figures[f"accuracy_out{width}"] == 100.0


@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_a_band_is_all_pixels_so_many_steps_from_a_boundary(width: int) -> None:
    labels = noise(0, void=True)
    edge = boundary_band(labels, 1)
    assert (boundary_band(labels, width) == (distance_transform_cdt(~edge, "taxicab") < width)).all()
    for y, x in np.ndindex(labels.shape):
        near = [labels[b, a] for b, a in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
                if 0 <= b < labels.shape[0] and 0 <= a < labels.shape[1]]  # fmt: skip
        assert edge[y, x] == any(other != labels[y, x] for other in near)


def test_a_map_of_one_class_has_no_boundary_so_nothing_is_inside() -> None:
    flat = np.zeros((4, 4), np.uint8)
    figures = miou([(flat, flat)], 2)
    assert figures["mIoU_in3"] == figures["accuracy_in1"] == -1.0
    assert figures["mIoU"] == figures["mIoU_out1"] == 100.0, "a class that is nowhere is not in the mean"


def test_void_is_not_counted_and_a_class_found_where_none_is_costs() -> None:
    truth, found = np.array([[0, 0, VOID]]), np.array([[0, 2, 1]])
    counts = confusion(truth, found, 3)
    assert counts.sum() == 2 and class_iou(counts)[[0, 2]].tolist() == [0.5, 0.0] and np.isnan(class_iou(counts)[1])
    assert mean_iou(counts) == 0.25


def test_images_are_added_up_before_anything_is_divided() -> None:
    pairs = [(noise(n, void=True), noise(n + 7)) for n in range(4)]
    together = sum(confusion(*pair, 3) for pair in pairs)
    assert isinstance(together, np.ndarray)
    assert miou(pairs, 3)["mIoU"] == pytest.approx(100 * mean_iou(together))
    inside = sum(confusion(t[b], f[b], 3) for t, f in pairs for b in [boundary_band(t, 2)])
    assert isinstance(inside, np.ndarray)
    assert miou(pairs, 3)["mIoU_in2"] == pytest.approx(100 * mean_iou(inside))


def test_draws_are_the_metric_on_repeated_images() -> None:
    pairs = [(noise(n), noise(n + 7)) for n in range(4)]
    weights = image_weights(4, draws=6)
    values = miou_of_draws(pairs, 3, weights)
    for value, drawn in zip(values, weights.astype(int), strict=True):
        again = [pair for pair, times in zip(pairs, drawn, strict=True) for _ in range(times)]
        assert value == pytest.approx(miou(again, 3)["mIoU"])


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one class for each pixel"):
        confusion(np.zeros((2, 2), int), np.zeros((2, 3), int), 2)
    with pytest.raises(ValueError, match="found map holds 0 to 2, there are 2 classes"):
        confusion(np.zeros(2, int), np.array([0, 2]), 2)
    with pytest.raises(ValueError, match="at least 1 pixel wide, got 0"):
        boundary_band(np.zeros((2, 2), int), 0)
