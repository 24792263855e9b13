"""The matrix of a view, and scores and weights that go where their boxes go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from casl.data.affine import compose, rotation, shear, translation
from casl.data.augment import Sample, flip, resize_sample, weak
from casl.data.augment_stac import stac
from casl.data.augment_strong import erase, recolour, strong, strong_labeled, warp
from casl.data.augment_ut import ut

Augmentation = Callable[[Sample, np.random.Generator, Sequence[int], int], Sample]
EVERY: list[Augmentation] = [weak, strong, strong_labeled, stac, ut]
HEIGHT, WIDTH = 81, 110
BOXES = np.array([[10, 12, 40, 31], [0, 0, 110, 81], [70, 20, 75, 79], [50.5, 3.25, 99, 9], [104, 70, 110, 81]])
SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.5], np.float32)


def sample_of(image: NDArray[np.uint8] | None = None) -> Sample:
    if image is None:
        image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    labels = np.arange(len(BOXES))
    return Sample(image, BOXES.astype(np.float32), labels, scores=SCORES, weights=2 * SCORES)


def moved(points: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 2) points, in homogeneous coordinates times the matrix."""
    homogeneous = np.column_stack([points, np.ones(len(points))])
    mapped: NDArray[np.float64] = (matrix @ homogeneous.T).T
    np.testing.assert_array_equal(mapped[:, 2], 1)
    return mapped[:, :2]


def hulls(boxes: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bounding boxes of the four mapped corners of each box."""
    found = []
    for left, top, right, bottom in boxes:
        corners = moved(np.array([[left, top], [right, top], [left, bottom], [right, bottom]]), matrix)
        found.append([*corners.min(axis=0), *corners.max(axis=0)])
    return np.array(found)


@pytest.mark.parametrize("augmentation", EVERY)
@pytest.mark.parametrize("masked", [False, True])
def test_the_matrix_moves_boxes_of_the_original_to_where_the_augmentation_has_them(
    augmentation: Augmentation, masked: bool
) -> None:
    sample = sample_of()
    if masked:
        y, x = np.arange(HEIGHT)[:, None] + 0.5, np.arange(WIDTH) + 0.5
        masks = [(x > left) & (x < right) & (y > top) & (y < bottom) for left, top, right, bottom in BOXES]
        sample = replace(sample, masks=np.array(masks))
    lost = 0
    for seed in range(150):
        view = augmentation(sample, np.random.default_rng(seed), (48, 64, 90), 120)
        height, width = view.image.shape[:2]
        expected = np.clip(hulls(BOXES, view.matrix), 0, [width, height, width, height])
        np.testing.assert_allclose(view.boxes, expected[view.labels], rtol=0, atol=2e-4)
        assert view.scores is not None and view.weights is not None
        np.testing.assert_array_equal(view.scores, SCORES[view.labels])
        np.testing.assert_array_equal(view.weights, 2 * SCORES[view.labels])
        lost += len(BOXES) - len(view.labels)
    if augmentation in (strong, stac):
        assert lost > 0, "these move some boxes out of the image"
    elif not (masked and augmentation is ut):  # which covers some masks with noise
        assert lost == 0


def marked(bright: tuple[int, int], dark: tuple[int, int]) -> NDArray[np.uint8]:
    """A grey image with a light and a dark square of six pixels a side, centred at two points."""
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    for (x, y), level in ((bright, 200), (dark, 10)):
        image[y - 3 : y + 3, x - 3 : x + 3] = level
    return image


@pytest.mark.parametrize("augmentation", EVERY)
def test_the_matrix_moves_pixels_of_the_original_to_where_the_augmentation_has_them(augmentation: Augmentation) -> None:
    # Two images that differ by the exchange of two squares have the same histogram, so colour treats them alike, and
    # their views differ where the squares went. Without boxes, inside of which STAC's would move pixels alone.
    squares = (35, 50), (80, 25)
    seen = 0
    for seed in range(150):
        views = [
            augmentation(
                sample_of(marked(*pair)).take(np.zeros(len(BOXES), bool)),
                np.random.default_rng(seed),
                (60, 80, 90),
                120,
            )
            for pair in (squares, squares[::-1])
        ]
        difference = np.abs(views[0].image.astype(int) - views[1].image).sum(axis=2)
        rows, columns = np.nonzero(difference > max(30, difference.max() / 2))
        found = np.column_stack([columns + 0.5, rows + 0.5])
        expected = moved(np.array(squares, np.float64), views[0].matrix)
        away = np.linalg.norm(found[:, None] - expected, axis=2)
        assert (away.min(axis=1) < 9).all(), "nothing else differs"
        area = 36 * abs(np.linalg.det(views[0].matrix))
        for place, point in enumerate(expected):
            near = found[away[:, place] < 9]
            if 0.8 * area < len(near) < 1.4 * area:  # else it was erased in part, or left the image
                np.testing.assert_allclose(near.mean(axis=0), point, rtol=0, atol=1.0)
                seen += 1
    assert seen > 200


def test_every_step_composes_with_what_was_before() -> None:
    sample = replace(sample_of(), matrix=compose(translation(7, -3), np.eye(3)))
    turned = flip(warp(resize_sample(sample, 60, 200), rotation(12, 81, 60)))
    width = turned.image.shape[1]
    last = np.array([[-1, 0, width], [0, 1, 0], [0, 0, 1]])
    turn = np.vstack([rotation(12, 81, 60), [0, 0, 1]])
    expected = last @ turn @ np.diag([width / WIDTH, 60 / HEIGHT, 1]) @ np.array([[1, 0, 7], [0, 1, -3], [0, 0, 1]])
    np.testing.assert_allclose(turned.matrix, expected, rtol=1e-12, atol=1e-12)


def test_colour_and_erasing_move_nothing() -> None:
    sample = replace(sample_of(), matrix=compose(shear(10, 4), np.eye(3)))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        assert np.array_equal(erase(recolour(sample, rng), rng).matrix, sample.matrix)


def test_products_of_maps_are_those_of_blas_within_rounding() -> None:
    maps = [rotation(33, 64, 48), shear(-20, 15), translation(3.5, -0.25)]
    for second in maps:
        for first in (np.vstack([m, [0, 0, 1]]) for m in maps):
            expected = np.vstack([second, [0, 0, 1]]) @ first
            np.testing.assert_allclose(compose(second, first), expected, rtol=1e-14, atol=1e-14)


def test_scores_and_weights_are_one_for_each_instance() -> None:
    with pytest.raises(ValueError, match="do not belong together"):
        replace(sample_of(), scores=SCORES[:2])
    with pytest.raises(ValueError, match="do not belong together"):
        replace(sample_of(), weights=SCORES[:2])
